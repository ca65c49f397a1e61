"""T5's pretraining: spans of the text are left out of the input and told by the target."""

from typing import Any

import numpy as np
import torch
from transformers.models.auto.modeling_auto import AutoModelForSeq2SeqLM

from .blocks import Blocks, load_blocks
from .objectives import Task
from .settings import Settings
from .spans import corrupt, counts, lengths, noise_mask
from .tokens import load_tokenizer, new_config

DENSITY, SPAN = 0.15, 3.0
SENTINEL = "<extra_id_{}>"


def load(settings: Settings, args: Any) -> Task:
    tokenizer = load_tokenizer(settings)
    density = settings.own.get("noise_density", DENSITY)
    mean = settings.own.get("mean_noise_span_length", SPAN)
    raw, _ = lengths(settings.own["sequence_len"], density, mean)
    _, spans = counts(raw, density, mean)
    sentinels = _sentinels(tokenizer, spans)
    train, validation, _ = load_blocks(settings, raw)
    train.seq_len = settings.own["sequence_len"]
    corrupter = Corrupter(raw, density, mean, sentinels, tokenizer.eos_token_id, args.seed)
    model = AutoModelForSeq2SeqLM.from_config(new_config(settings, tokenizer))
    return Task(model, train, Corrupted(validation, corrupter), corrupter, tokenizer=tokenizer)


def _sentinels(tokenizer: Any, count: int) -> Any:
    """Ids of `<extra_id_0>` and so on, added after the tokenizer's own where it has none."""
    names = [SENTINEL.format(i) for i in range(count)]
    known = tokenizer.get_vocab()
    missing = [name for name in names if name not in known]
    if missing:
        tokenizer.add_tokens(missing, special_tokens=True)
    return np.asarray(tokenizer.convert_tokens_to_ids(names))


class Corrupter:
    """Rows of raw tokens -> a batch. Every row loses equally many, so that nothing is padded."""

    def __init__(self, raw: int, density: float, mean: float, sentinels: Any, end: int, seed: int) -> None:
        self.shape, self.sentinels, self.end, self.seed = (raw, density, mean), sentinels, end, seed

    def __call__(self, rows: Any) -> dict[str, Any]:
        # torch's generator is the one that a checkpoint keeps
        return rows if isinstance(rows, dict) else self.made(rows, int(torch.randint(2**62, ())))

    def made(self, rows: Any, seed: int) -> dict[str, Any]:
        draw = np.random.default_rng(seed)
        pairs = [corrupt(row, noise_mask(*self.shape, draw), self.sentinels, self.end) for row in rows.numpy()]
        inputs, targets = (torch.from_numpy(np.stack(side)) for side in zip(*pairs, strict=True))
        return {"input_ids": inputs, "attention_mask": torch.ones_like(inputs), "labels": targets}


class Corrupted(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Blocks for evaluation: the same spans of a batch whenever it is asked for."""

    def __init__(self, blocks: Blocks, corrupter: Corrupter) -> None:
        self.blocks, self.corrupter = blocks, corrupter

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> Any:
        rows = self.blocks.__getitems__(indices)
        return self.corrupter.made(rows, self.corrupter.seed * 1_000_003 + indices[0])
