"""Causal language modelling from scratch: every token of a block predicts the next one, across the block's end; of rows
in two parts (continued.py) the second is learned."""

from typing import Any

from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from . import continued, own_model
from .blocks import load_blocks
from .objectives import Task
from .settings import BadSettings, Settings
from .tokens import new_config


def load(settings: Settings, args: Any) -> Task:
    if continued.wanted(settings):
        return continued.load(settings, args)
    train, validation, manifest = load_blocks(settings, settings.own["sequence_len"], extra=1)
    own_model.register(settings)
    config = new_config(settings)
    own_model.note_base(settings, config)
    config.use_cache = False
    if config.vocab_size < manifest["vocab_size"]:
        raise BadSettings(
            f"the data has {manifest['vocab_size']:,} kinds of tokens, the model only {config.vocab_size:,}: "
            f"set architecture.vocab_size"
        )
    model = AutoModelForCausalLM.from_config(config)
    return Task(model, train, validation, collate)


def collate(rows: Any) -> dict[str, Any]:
    """`shift_labels` are what the loss compares with; `labels` only tell the trainer that there is one."""
    after = rows[:, 1:].contiguous()
    return {"input_ids": rows[:, :-1].contiguous(), "labels": after, "shift_labels": after}
