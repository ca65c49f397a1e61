"""What `deepspeed` names in a config -> a stage that the runner knows by name, or what the file holds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from runner.diagnostics import Diagnostic, Span
from runner.engines.deepspeed import stage_name
from runner.recipe.load import printable

# LLaMA-Factory's files; its third stage offloads parameters as well
_FACTORY = re.compile(r"(?:.*/)?ds_z([0123])(_offload)?_config\.json")


def known_stage(given: str) -> str | None:
    """`zero3` for `zero3`, for one of Axolotl's files and for one of LLaMA-Factory's; "" where nothing is divided."""
    try:
        return stage_name(given)
    except ValueError:
        pass
    match = _FACTORY.fullmatch(given)
    if match is None:
        return None
    stage, offload = match.groups()
    return "" if stage == "0" else f"zero{stage}" + ("" if not offload else "_offload_all" if stage == "3" else offload)


def from_file(given: str, at: Span, *folders: Path) -> dict[str, Any] | Diagnostic | None:
    """What lies there in the first of the folders that has it; None where none has."""
    place = next((p for p in (folder / given for folder in folders) if _is_file(p)), None)
    if place is None:
        return None
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    except (OSError, ValueError, RecursionError):
        pass
    return Diagnostic("R818", f"`{printable(given)}` is no JSON object, as DeepSpeed wants it", at)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
