"""BERT's objective: 15% of the tokens are to be told again, of which 80% are masked, 10% another, 10% as they were."""

from typing import Any

import torch
from transformers.data.data_collator import DataCollatorForLanguageModeling
from transformers.models.auto.modeling_auto import AutoModelForMaskedLM

from .blocks import Blocks, load_blocks
from .objectives import Task
from .settings import BadSettings, Settings
from .tokens import load_tokenizer, new_config

MASK = "[MASK]"


def load(settings: Settings, args: Any) -> Task:
    tokenizer = load_tokenizer(settings)
    if tokenizer.mask_token_id is None:
        tokenizer.add_special_tokens({"mask_token": MASK})
    train, validation, _ = load_blocks(settings, settings.own["sequence_len"] - 2, used=2)
    masker = Masker(tokenizer, settings.own, args.seed)
    model = AutoModelForMaskedLM.from_config(new_config(settings, tokenizer))
    return Task(model, train, Masked(validation, masker), masker, tokenizer=tokenizer)


class Masker:
    """Rows of plain tokens -> a batch: the first token and the last are those that the tokenizer has for that."""

    def __init__(self, tokenizer: Any, own: dict[str, Any], seed: int) -> None:
        names = ("mlm_probability", "mask_replace_prob", "random_replace_prob")
        self.collator = DataCollatorForLanguageModeling(tokenizer, **{n: own[n] for n in names if n in own})
        self.seed = seed
        self.special = torch.tensor(sorted(set(tokenizer.all_special_ids)))
        ends = (tokenizer.cls_token_id, tokenizer.bos_token_id), (tokenizer.sep_token_id, tokenizer.eos_token_id)
        first, last = (next((i for i in pair if i is not None), None) for pair in ends)
        if first is None or last is None:
            raise BadSettings("the tokenizer has no tokens to open and close a row with")
        self.first, self.last = first, last

    def __call__(self, rows: Any) -> dict[str, Any]:
        if isinstance(rows, dict):
            return rows
        count = rows.shape[0]
        inputs = torch.cat([rows.new_full((count, 1), self.first), rows, rows.new_full((count, 1), self.last)], dim=1)
        special = torch.isin(inputs, self.special)
        inputs, labels = self.collator.torch_mask_tokens(inputs, special)
        return {"input_ids": inputs, "attention_mask": torch.ones_like(inputs), "labels": labels}

    def fixed(self, rows: Any, number: int) -> dict[str, Any]:
        """The same masks whenever this batch is asked for, so that losses of two evaluations can be compared."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * 1_000_003 + number)
            return self(rows)


class Masked(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Blocks for evaluation: masked here, by their place."""

    def __init__(self, blocks: Blocks, masker: Masker) -> None:
        self.blocks, self.masker = blocks, masker

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> Any:
        return self.masker.fixed(self.blocks.__getitems__(indices), indices[0])
