"""A language model from scratch on texts in two parts, of which it learns the second: an answer below its question, or
a chunk of text behind what was found for it."""

from typing import Any

import torch
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from . import neighbours, own_model
from .classification import padded
from .objectives import Task
from .settings import BadSettings, Settings
from .sources import pairs, texts
from .splits import DEFAULT, drawn, split_rows
from .tokens import load_tokenizer, new_config

Row = tuple[list[int], list[int]]


def wanted(settings: Settings) -> bool:
    """Whether the recipe's rows have two parts, rather than being text alone."""
    return bool(settings.own.get("context")) or any(in_two(item) for item in settings.own.get("datasets") or ())


def in_two(item: dict[str, Any]) -> bool:
    return "target_field" in item or item.get("generate") in ("open-book", "closed-book")


def load(settings: Settings, args: Any) -> Task:
    read = _behind_passages if settings.own.get("context") else _answers
    tokenizer, train, held = read(settings, args)
    longest = settings.own["sequence_len"]
    for before, learned in (*train, *held):
        if len(before) + len(learned) > longest:
            raise BadSettings(f"a row has {len(before) + len(learned)} tokens: set `sequence_len` to that or more")
    own_model.register(settings)
    config = new_config(settings, tokenizer)
    own_model.note_base(settings, config)
    config.use_cache = False
    model = AutoModelForCausalLM.from_config(config)
    rows = [[{"input_ids": [*b, *a], "before": len(b)} for b, a in part] for part in (train, held)]
    return Task(model, *rows, Collate(tokenizer.pad_token_id), tokenizer=tokenizer)


def _answers(settings: Settings, args: Any) -> tuple[Any, list[Row], list[Row]]:
    """Of the answers the end token is learned, too."""
    train, held = split_rows(settings, pairs, args.seed)
    tokenizer = load_tokenizer(settings, lambda: (text for row in train for text in row))

    def encoded(rows: list[tuple[str, str]]) -> list[Row]:
        before, after = (_ids(tokenizer, [row[at] for row in rows]) for at in (0, 1))
        return [(b, [*a, tokenizer.eos_token_id]) for b, a in zip(before, after, strict=True)]

    return tokenizer, encoded(train), encoded(held)


def _behind_passages(settings: Settings, args: Any) -> tuple[Any, list[Row], list[Row]]:
    train = list(texts(settings.own["datasets"]))
    held = list(texts(settings.own.get("test_datasets") or ()))
    if not held:
        chosen = drawn(len(train), settings.own.get("val_set_size", DEFAULT), args.seed)
        held = [text for at, text in enumerate(train) if at in chosen]
        train = [text for at, text in enumerate(train) if at not in chosen]
    apart = set(held)
    train = [text for text in train if text not in apart]
    tokenizer = load_tokenizer(settings, lambda: train)
    context = settings.own["context"]
    size = context.get("chunk_size", neighbours.CHUNK)
    known, asked = (neighbours.cut(_ids(tokenizer, part), size) for part in (train, held))
    source = context["from"]
    return (
        tokenizer,
        neighbours.rows(known, known, True, source, args.seed),
        neighbours.rows(asked, known, False, source, args.seed),
    )


def _ids(tokenizer: Any, given: list[str]) -> list[list[int]]:
    found: list[list[int]] = tokenizer(given, add_special_tokens=False)["input_ids"]
    return found


class Collate:
    """Rows -> a batch as wide as its longest row; what stands before is not learned."""

    def __init__(self, pad: int) -> None:
        self.pad = pad

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        ids = padded([row["input_ids"] for row in rows], self.pad)
        labels = padded([[*([-100] * row["before"]), *row["input_ids"][row["before"] :]] for row in rows], -100)
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        mask = (torch.arange(ids.shape[1])[None] < lengths[:, None]).long()
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}
