"""Reads the request, answers in one line; whatever goes wrong is an answer too."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from training_row.problem import Unshown

LONGEST = 600


def answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        from training_row.by_axolotl import shown

        return shown(request)
    except Unshown as problem:
        return {"error": {"kind": problem.kind, "said": str(problem)}}
    except Exception as error:
        if os.environ.get("RUNNER_DEBUG"):
            raise
        return {"error": {"kind": "data", "said": told(error)}}


def told(error: BaseException) -> str:
    """The innermost cause in one line: datasets wraps what a row's format raised."""
    while error.__cause__ is not None:
        error = error.__cause__
    said = " ".join(str(error).split())
    if isinstance(error, KeyError):
        said = f"a row has no {said}"
    plain = isinstance(error, (ValueError, KeyError)) and said
    return (said if plain else f"{type(error).__name__}: {said}")[:LONGEST]


if __name__ == "__main__":
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Axolotl prints a banner, and datasets bars
    logging.disable(logging.WARNING)
    print("ROW " + json.dumps(answer(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))), file=out, flush=True)
