"""A recipe and a row's number -> that row as the engine makes it for training, by runner/jobs/training_row."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.engines.environment import Environment
from runner.launch.question import OFFLINE, ask_program, last_word
from runner.launch.validators import capabilities
from runner.recipe.load import printable
from runner.recipe.resolve import Recipe
from runner.record import write_files

TIMEOUT_S = 1800
_ANSWER = "ROW "


@dataclass(frozen=True, slots=True)
class Run:
    """Tokens from `start` on up to the next run, all learned or none; `text` is what they add to the text before."""

    text: str
    start: int
    learned: bool


@dataclass(frozen=True, slots=True)
class End:
    """What follows a learned run: the token that ends its turn, None where there is none; whether it is learned."""

    by: str | None
    learned: bool


@dataclass(frozen=True, slots=True)
class Part:
    """One sequence of token ids; `learned` says of each whether it counts in the loss."""

    name: str
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    learned: tuple[bool, ...]
    runs: tuple[Run, ...]
    ends: tuple[End, ...]


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """`index` of `rows` in `dataset`. `learns`: `labels` (each learned token), `pair` (chosen against rejected),
    `completion, desirable` or `undesirable`, `score` (one number at the end), `rewards` (what a model will write).
    `long` says what becomes of rows above `sequence_len`: `drop`, `truncate`, `raise`; `cut` of a stream."""

    dataset: str
    type: str
    index: int
    rows: int | None
    sequence_len: int
    long: str
    eos: str | None
    learns: str
    parts: tuple[Part, ...]


class NoRow(Exception):
    """`kind`: `missing`, there is no such row; `data`, the engine can't read it; `unshown`, rows of this sort are not
    shown; `engine`, it gave no answer."""

    def __init__(self, kind: str, said: str) -> None:
        super().__init__(said)
        self.kind = kind


def training_row(env: Environment, recipe: Recipe, files: Mapping[str, str], row: int) -> TrainingRow:
    """`files` are what the recipe renders to. Raises NoRow."""
    with tempfile.TemporaryDirectory(prefix="row-") as made:
        folder = Path(made)
        write_files(folder, dict(files))
        if os.path.isabs(base := str(recipe.values.get("base_model", ""))):  # noqa: PTH117 - a name of the hub may be odd
            (folder / "base").symlink_to(base)
        if "tiny.json" in files:
            _ask(env, recipe, folder, ["jobs/build_tiny.py", "tiny.json"])
        request = {"row": row, "gpus": capabilities(recipe.box)}
        (folder / "request.json").write_text(json.dumps(request))
        said, told = _ask(env, recipe, folder, ["-m", "training_row", "request.json"])
    answer = next((line for line in reversed(said.splitlines()) if line.startswith(_ANSWER)), None)
    if answer is None:
        raise NoRow("engine", last_word(told, 400) or "it said nothing")
    return _read(json.loads(answer.removeprefix(_ANSWER)))


def _ask(env: Environment, recipe: Recipe, folder: Path, argv: list[str]) -> tuple[str, str]:
    """stdout and stderr. Raises NoRow where it fails or takes too long."""
    offline = OFFLINE if recipe.profile == "smoke" else {}
    try:
        done = ask_program(env, argv, folder, {**_VARIABLES, **offline, "PYTHONPATH": str(folder)}, TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise NoRow("engine", f"no answer within {TIMEOUT_S // 60} minutes") from None
    if done.returncode:
        raise NoRow("engine", last_word(done.stderr, 400) or "it said nothing")
    return done.stdout, done.stderr


_VARIABLES = {"TOKENIZERS_PARALLELISM": "false", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}


def _read(answer: dict[str, Any]) -> TrainingRow:
    if problem := answer.get("error"):
        raise NoRow(str(problem["kind"]), printable(str(problem["said"]), 600))
    parts = tuple(
        Part(
            str(p["name"]),
            tuple(p["ids"]),
            tuple(p["tokens"]),
            tuple(p["learned"]),
            tuple(Run(**run) for run in p["runs"]),
            tuple(End(**end) for end in p["ends"]),
        )
        for p in answer["parts"]
    )
    return TrainingRow(**{**answer, "parts": parts})
