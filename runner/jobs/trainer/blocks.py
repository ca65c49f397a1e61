"""Prepared shards as a torch dataset that hands out whole batches."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from shards import Shards, read_manifest

from .settings import BadSettings, Settings
from .text import prepare

TRAIN, VALIDATION = "train", "validation"


class Blocks(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Blocks of one split. torch's loader asks `__getitems__` for all rows of a batch at once, which is then collated
    already: [rows, length] as int64."""

    def __init__(self, shards: Shards, seq_len: int) -> None:
        self.shards, self.seq_len = shards, seq_len  # tokens of a row as the model sees it
        self.width = shards.length + shards.extra

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> Any:
        rows = np.empty((len(indices), self.width), np.int64)
        for at, index in enumerate(indices):
            rows[at] = self.shards.read(index * self.shards.length, self.width)
        return torch.from_numpy(rows)


def load_blocks(
    settings: Settings, length: int, *, extra: int = 0, used: int = 0
) -> tuple[Blocks, Blocks, dict[str, Any]]:
    """Train, validation and the manifest; `used` positions of `length` are the objective's own. Text becomes shards of
    the run first. Raises BadShards, BadSettings."""
    folder = Path(settings.own.get("prepared") or prepare(settings))
    manifest = read_manifest(folder)
    splits = []
    for split in (TRAIN, VALIDATION):
        shards = Shards(folder, split, length, extra=extra)
        if len(shards) == 0:
            raise BadSettings(
                f"{folder}: the split `{split}` has {shards.tokens:,} tokens, less than one block of {length + extra}"
            )
        splits.append(Blocks(shards, length + used))
    return splits[0], splits[1], manifest
