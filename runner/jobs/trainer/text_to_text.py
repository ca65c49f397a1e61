"""An encoder-decoder learns answers to texts; how many it gets right is found out by generating them."""

from typing import Any

import torch
from transformers.models.auto.modeling_auto import AutoModelForSeq2SeqLM

from .classification import padded
from .objectives import Task
from .settings import Settings
from .sources import name_of, pairs
from .splits import split_rows
from .tokens import load_tokenizer, new_config

SAMPLES, NEW_TOKENS = 200, 64


def load(settings: Settings, args: Any) -> Task:
    named: dict[str, str] = {}  # where a held out text comes from

    def read(item: dict[str, Any]) -> Any:
        for source, target in pairs(item):
            named.setdefault(source, name_of(item))
            yield source, target

    train, held = split_rows(settings, read, args.seed)
    tokenizer = load_tokenizer(settings, lambda: (text for row in train for text in row))
    if settings.own.get("base_model"):
        model = AutoModelForSeq2SeqLM.from_pretrained(settings.own["base_model"])
    else:
        model = AutoModelForSeq2SeqLM.from_config(new_config(settings, tokenizer))
    coder = Coder(tokenizer, settings.own["sequence_len"], model.config)
    wanted = settings.own.get("generation") or {}
    generator = Generator(coder, [(s, t, named[s]) for s, t in held], wanted)
    return Task(model, coder.encoded(train), coder.encoded(held), coder, score=generator, tokenizer=tokenizer)


class Coder:
    """Texts -> tokens that end with the end token, and rows of them -> a batch; also with `decoder_input_ids`, since a
    smoothed loss is computed outside the model."""

    def __init__(self, tokenizer: Any, longest: int, config: Any) -> None:
        self.tokenizer, self.longest, self.pad = tokenizer, longest, tokenizer.pad_token_id
        self.start = config.decoder_start_token_id

    def ids(self, texts: list[str]) -> list[list[int]]:
        found = self.tokenizer(texts, truncation=True, max_length=self.longest - 1, add_special_tokens=False)
        return [[*ids, self.tokenizer.eos_token_id] for ids in found["input_ids"]]

    def encoded(self, rows: list[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
        return list(zip(self.ids([s for s, _ in rows]), self.ids([t for _, t in rows]), strict=True))

    def inputs(self, rows: list[list[int]]) -> dict[str, Any]:
        ids = padded(rows, self.pad)
        lengths = torch.tensor([len(row) for row in rows])
        return {"input_ids": ids, "attention_mask": (torch.arange(ids.shape[1])[None] < lengths[:, None]).long()}

    def __call__(self, rows: list[tuple[list[int], list[int]]]) -> dict[str, Any]:
        targets = [target for _, target in rows]
        before = padded([[self.start, *target[:-1]] for target in targets], self.pad)
        return {
            **self.inputs([source for source, _ in rows]),
            "decoder_input_ids": before,
            "labels": padded(targets, -100),
        }


class Generator:
    """The first `samples` of each dataset that is held out, answered greedily (or by `num_beams`) and compared."""

    def __init__(self, coder: Coder, held: list[tuple[str, str, str]], wanted: dict[str, Any]) -> None:
        self.coder, self.options = coder, wanted
        self.rows: dict[str, list[tuple[str, str]]] = {}
        for source, target, name in held:
            self.rows.setdefault(name, []).append((source, target))

    def __call__(self, trainer: Any) -> dict[str, float]:
        """`exact_match`, the share of answers that are right as a whole, and `token_accuracy`, the share of places
        where answer and truth have the same token; each of all datasets together and `/name` of each."""
        counted = {}
        for name, rows in self.rows.items():
            rows = rows[: self.options.get("samples", SAMPLES)]
            said = self.answers(trainer, [source for source, _ in rows])
            counted[name] = tally(said, self.coder.ids([target for _, target in rows]))
        found = {"exact_match": _share(counted.values(), 0), "token_accuracy": _share(counted.values(), 1)}
        if len(counted) > 1:
            for name, (exact, tokens) in counted.items():
                found |= {f"exact_match/{name}": exact[0] / exact[1], f"token_accuracy/{name}": tokens[0] / tokens[1]}
        return found

    def answers(self, trainer: Any, sources: list[str]) -> list[list[int]]:
        model, batch = trainer.model.eval(), trainer.args.per_device_eval_batch_size
        end, pad = self.coder.tokenizer.eos_token_id, self.coder.pad
        found: list[list[int]] = []
        rows = self.coder.ids(sources)
        for at in range(0, len(rows), batch):
            inputs = {k: v.to(model.device) for k, v in self.coder.inputs(rows[at : at + batch]).items()}
            with torch.no_grad():
                said = model.generate(
                    **inputs,
                    max_new_tokens=self.options.get("max_new_tokens", NEW_TOKENS),
                    num_beams=self.options.get("num_beams", 1),
                    do_sample=False,
                    decoder_start_token_id=self.coder.start,
                    pad_token_id=pad,
                    eos_token_id=end,
                    use_cache=True,
                )
            found += [upto(row, end) for row in said[:, 1:].tolist()]  # without the token that starts it
        return found


def upto(row: list[int], end: int) -> list[int]:
    """With the end token, without what was padded after it."""
    return row[: row.index(end) + 1] if end in row else row


Tally = tuple[tuple[int, int], tuple[int, int]]


def tally(said: list[list[int]], true: list[list[int]]) -> Tally:
    """(answers that are right, all), (places with the same token, places of the longer of the two)."""
    right = sum(a == b for a, b in zip(said, true, strict=True))
    same = sum(x == y for a, b in zip(said, true, strict=True) for x, y in zip(a, b, strict=False))
    places = sum(max(len(a), len(b)) for a, b in zip(said, true, strict=True))
    return (right, len(true)), (same, places)


def _share(counted: Any, which: int) -> float:
    parts = [each[which] for each in counted]
    return float(sum(p[0] for p in parts) / sum(p[1] for p in parts))
