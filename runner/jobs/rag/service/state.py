"""endpoint-state.json, where the runner has started the service: `runner ps` reads there what it is doing."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

FILE = "endpoint-state.json"
# in the environment of all that the runner starts: the folder of what it belongs to
MARK = "RUNNER_RUN"


class State:
    """The runner has written the file, and what is said here goes into it; nothing is written where there is none."""

    def __init__(self) -> None:
        self.file = Path(os.environ.get(MARK, "/nowhere")) / FILE
        self.values: dict[str, Any] = {}
        self.began = time.monotonic()
        if self.file.is_file():
            self.values = json.loads(self.file.read_text())

    def looked(self, missing: str) -> None:
        """`missing` is empty where all parts answer. Until they do for the first time it is starting."""
        if self.values.get("status") == "stopping":
            return
        if not missing and self.values.get("ready_after_s") is None:
            self._set(ready_after_s=round(time.monotonic() - self.began, 2))
        ready = self.values.get("ready_after_s") is not None
        self._set(status=("degraded" if missing else "ready") if ready else "starting")

    def stopping(self, missing: str) -> None:
        """One that lacks a part when it is asked to stop was not asked by a person, most likely."""
        self._set(status="stopping", error=missing or None)

    def _set(self, **values: Any) -> None:
        merged = {**self.values, **values}
        if not self.values or merged == self.values:
            return
        self.values = merged
        draft = self.file.with_name(f".{FILE}.{os.getpid()}")
        draft.write_text(json.dumps(merged, indent=1) + "\n")
        draft.replace(self.file)
