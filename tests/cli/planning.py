"""What the tests of `runner plan` share: reading what it says, and models and recipes to plan."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from runner.facts.models import find_model
from tests.conftest import ROOT, Bench
from tests.plan.schema import faults


def told(err: str) -> list[str]:
    return re.findall(r"(?:error|warning)\[(R\d+)\]", err)


def plan_of(out: str, part: str = "") -> dict[str, Any]:
    data: dict[str, Any] = json.loads(out)
    assert faults(data, part) == []
    return data


def ship(bench: Bench) -> None:
    shutil.copytree(ROOT / "recipes", bench.project.recipes, dirs_exist_ok=True)


def a_model(folder: Path) -> Path:
    """A folder that holds just a config.json: that of Llama-2 7B."""
    known = find_model("llama-2-7b")
    assert known is not None
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(known.config))
    return folder
