"""Rule about evaluation rows, counted in local data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from runner.diagnostics import Diagnostic
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.axolotl.local_data import Local, local_data

_SHARED = "https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/data/shared.py"


@dataclass(frozen=True, slots=True)
class _Split:
    """Rows that are left to train on and that are held out."""

    train: int
    held: int


@rule("R863", "an evaluation split that can't be made", source=_SHARED)
def split(facts: Facts) -> Iterator[Diagnostic]:
    """`val_set_size` is a share of the rows below 1, and a number of rows from 2 on. As many rows as there are, or a
    share that leaves none to train on, end the run when the data were made ready. Fewer held-out rows than one
    evaluation batch of all GPUs is no error, and an evaluation loss of so few rows is mostly chance. Counted where all
    the data lie on this machine and are small enough to be read whole.
    """
    size = facts.get("val_set_size")
    if not isinstance(size, (int, float)) or isinstance(size, bool) or size <= 0 or facts.has("test_datasets"):
        return
    rows = _rows(facts)
    if rows is None:
        return
    made = _split(rows, size)
    if made is None or made.train < 1:
        yield facts.report(
            "R863",
            "val_set_size",
            f"`val_set_size: {size}` leaves nothing to train on",
            label=f"the data have {rows:,} rows",
            help=f"set `val_set_size: {_share(rows)}`" if rows > 1 else "add data, or remove `val_set_size`",
        )
        return
    ranks = facts.box.total_gpus if facts.box.gpus else 1
    batch = facts.get("eval_batch_size") or facts.get("micro_batch_size") or 1
    evaluates = any(facts.has(k) for k in ("eval_steps", "evals_per_epoch", "eval_strategy", "load_best_model_at_end"))
    if made.held < batch * ranks and evaluates:
        yield facts.report(
            "R863",
            "val_set_size",
            f"{made.held} held-out {'row is' if made.held == 1 else 'rows are'} less than one evaluation batch",
            label=f"{ranks} GPUs take {batch * ranks} at a time, and the data have {rows:,} rows"
            if ranks > 1
            else f"a batch has {batch}, and the data have {rows:,} rows",
            help=f"set `val_set_size: {_enough(rows, batch * ranks)}`"
            if rows > 2 * batch * ranks
            else "name more rows to evaluate on in `test_datasets`",
            severity="warning",
        )


def _rows(facts: Facts) -> int | None:
    """Rows of all datasets; None where one is not here, or was not read to its end."""
    found = {local.at: local for local in local_data(facts)}
    total = 0
    for at, node in facts.all("datasets.*"):
        local, entry = found.get(at), node.plain()
        if local is None or not _whole(local) or entry.get("shards") or (entry.get("split") or "train") != "train":
            return None
        total += sum(len(p.rows) for p in local.peeks)
    return total or None


def _whole(local: Local) -> bool:
    return bool(local.peeks) and all(p.whole and not p.trouble for p in local.peeks) and not _folder(local)


def _folder(local: Local) -> bool:
    """Of a folder not every file need have been looked at."""
    return not local.entry.get("data_files") and len(local.peeks) > 1


def _split(rows: int, size: float) -> _Split | None:
    """As datasets' train_test_split: a share is rounded up; None where it refuses."""
    held = int(size) if size > 1 else math.ceil(rows * size)
    return None if held >= rows else _Split(rows - held, held)


def _share(rows: int) -> float:
    return 0.1 if rows >= 10 else round(1 / rows, 2)


def _enough(rows: int, batch: int) -> float:
    return min(0.5, math.ceil(100 * batch / rows) / 100)
