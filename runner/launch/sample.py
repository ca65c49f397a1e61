"""A trained model in its engine's environment, asked to speak; its words go straight to our stdout."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from runner.engines import jobs_dir
from runner.engines.environment import Environment
from runner.record import Run

# what of a run can speak, the most complete first
SPEAKS = ("model", "reward-model", "adapter")


def speaking(run: Run) -> Path | None:
    """The output of a finished run that can be sampled from; None where it left none."""
    outputs = sorted(
        (o for o in run.record.get("outputs", []) if o["type"] in SPEAKS), key=lambda o: SPEAKS.index(o["type"])
    )
    return run.path / outputs[0]["path"] if outputs else None


def sample(env: Environment, model: Path, request: dict[str, Any], *, online: bool) -> tuple[int, str]:
    """Runs jobs/sample.py to its end. Returns its exit code and the last of what it said on stderr."""
    offline = {} if online else {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    with tempfile.TemporaryDirectory(prefix="sample-") as folder:
        file = Path(folder) / "request.json"
        file.write_text(json.dumps({"model": str(model), "tokenizer": str(model), **request}))
        done = subprocess.run(
            [str(env.python), str(jobs_dir() / "sample.py"), str(file)],
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, **offline, "TOKENIZERS_PARALLELISM": "false"},
        )
    return done.returncode, done.stderr[-4000:]
