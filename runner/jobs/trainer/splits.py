"""Rows for training and rows held out, none of which is in both."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .settings import BadSettings, Settings

DEFAULT = 0.05


def split_rows(
    settings: Settings, read: Callable[[dict[str, Any]], Iterable[tuple[str, Any]]], seed: int
) -> tuple[list[tuple[str, Any]], list[tuple[str, Any]]]:
    """`read` gives `(text, answer)` of a dataset. A text that is held out is taken out of training, wherever it came
    from. Raises BadSettings where nothing is left on one side."""
    rows = [row for item in settings.own.get("datasets", ()) for row in read(item)]
    held = [row for item in settings.own.get("test_datasets", ()) for row in read(item)]
    if not held:
        chosen = drawn(len(rows), settings.own.get("val_set_size", DEFAULT), seed)
        held = [row for at, row in enumerate(rows) if at in chosen]
    apart = {text for text, _ in held}
    rows = [row for row in rows if row[0] not in apart]
    if not rows or not held:
        raise BadSettings(f"{len(rows):,} rows to train on and {len(held):,} to evaluate on: both need some")
    return rows, held


def drawn(count: int, share: float, seed: int) -> set[int]:
    """Which of `count` rows are held out: a share below 1, or that many."""
    wanted = int(share) if share >= 1 else max(1, round(share * count))
    return set(np.random.default_rng(seed).permutation(count)[:wanted].tolist())
