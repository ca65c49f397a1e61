"""endpoint-state.json: what an endpoint is doing, written whole or not at all."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

FILE = "endpoint-state.json"


class State:
    """`set` writes the file where something has changed."""

    def __init__(self, **first: Any) -> None:
        self.values: dict[str, Any] = {}
        started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.set(status="starting", **first, pid=os.getpid(), started=started, ready_after_s=None, error=None)

    def set(self, **values: Any) -> None:
        merged = {**self.values, **values}
        if merged == self.values:
            return
        self.values = merged
        temporary = Path(f".{FILE}.{os.getpid()}")
        temporary.write_text(json.dumps(merged, indent=1) + "\n")
        temporary.replace(FILE)
