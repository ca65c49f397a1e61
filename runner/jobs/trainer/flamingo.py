"""The first stage of a Flamingo: a language model that has read captions and seen none of their pictures."""

from typing import Any

from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from .captions import Captions, rows
from .objectives import Task
from .settings import Settings
from .tokens import load_tokenizer, new_config


def load(settings: Settings, args: Any) -> Task:
    train, held = rows(settings, args.seed)
    tokenizer = load_tokenizer(settings, lambda: (caption for _, caption in train))
    model = AutoModelForCausalLM.from_config(new_config(settings, tokenizer))
    return Task(model, train, held, Captions(tokenizer, settings.own["sequence_len"]), tokenizer=tokenizer)
