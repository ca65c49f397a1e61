"""Datasets of pictures -> rows of (picture's file, caption), and captions as tokens."""

from pathlib import Path
from typing import Any

import torch
from multimodal.problem import Problem
from multimodal.sources import conversations

from .classification import padded
from .settings import BadSettings, Settings
from .splits import DEFAULT, drawn

PICTURES = Path("pictures")
Row = tuple[str, str]


def rows(settings: Settings, seed: int) -> tuple[list[Row], list[Row]]:
    """`(train, held out)`. Raises BadSettings where a row has no picture or either side is empty."""
    try:
        found, held = (_read(settings.own.get(key) or ()) for key in ("datasets", "test_datasets"))
    except Problem as problem:
        raise BadSettings(str(problem)) from None
    if not held:
        chosen = drawn(len(found), settings.own.get("val_set_size", DEFAULT), seed)
        held = [row for at, row in enumerate(found) if at in chosen]
        found = [row for at, row in enumerate(found) if at not in chosen]
    if not found or not held:
        raise BadSettings(f"{len(found):,} captions to train on and {len(held):,} to evaluate on: both need some")
    return found, held


def _read(listed: Any) -> list[Row]:
    found = []
    for item in listed:
        for where, messages in conversations(item, PICTURES):
            pictures = [p["path"] for m in messages for p in m["content"] if p["type"] == "image"]
            if len(pictures) != 1:
                raise BadSettings(f"{where}: {len(pictures)} pictures; a caption belongs to one")
            found.append((pictures[0], " ".join(p["text"] for p in messages[-1]["content"] if p["type"] == "text")))
    return found


class Captions:
    """Captions -> a batch: from the token that begins to the one that ends, padded on the right."""

    def __init__(self, tokenizer: Any, longest: int) -> None:
        self.tokenizer, self.longest = tokenizer, longest
        self.begin = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id

    def ids(self, texts: list[str]) -> list[list[int]]:
        found = self.tokenizer(texts, truncation=True, max_length=self.longest - 2, add_special_tokens=False)
        return [[self.begin, *ids, self.tokenizer.eos_token_id] for ids in found["input_ids"]]

    def __call__(self, batch: list[Row]) -> dict[str, Any]:
        ids = self.ids([caption for _, caption in batch])
        lengths = torch.tensor([len(row) for row in ids])
        inputs = padded(ids, self.tokenizer.pad_token_id)
        mask = (torch.arange(inputs.shape[1])[None] < lengths[:, None]).long()
        # the first token is given, not learned; with padding and end the same token, only the mask can tell
        return {"input_ids": inputs, "attention_mask": mask, "labels": padded(ids, -100)}
