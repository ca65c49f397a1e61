"""The second stage of a Flamingo: the language model frozen, sight trained; what it says of unseen pictures is counted.

Accuracy is that of whole captions, greedily generated. Beside it stands what the language model says without looking,
with its gates closed as they were at first, and what the commonest caption would get.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import torch
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from .captions import Captions, Row, rows
from .objectives import Task
from .settings import Settings
from .sight import Sighted, SightedConfig
from .tokens import load_tokenizer

SAMPLES, NEW_TOKENS = 200, 16
MEAN, SPREAD = 0.5, 0.25


def load(settings: Settings, args: Any) -> Task:
    train, held = rows(settings, args.seed)
    tokenizer = load_tokenizer(settings)
    language = AutoModelForCausalLM.from_pretrained(settings.own["base_model"])
    config = SightedConfig(language=language.config.to_dict(), vision=settings.own.get("vision") or {})
    model = Sighted(config, language)
    coder = Seen(tokenizer, settings.own["sequence_len"], model.config.vision["image_size"])
    return Task(model, train, held, coder, score=Score(coder, held), tokenizer=tokenizer)


class Seen(Captions):
    """Captions and their pictures -> a batch. Pictures are read when they are due, and kept."""

    def __init__(self, tokenizer: Any, longest: int, side: int) -> None:
        super().__init__(tokenizer, longest)
        self.side = side
        self.kept: dict[str, torch.Tensor] = {}

    def pictures(self, batch: list[Row]) -> torch.Tensor:
        return torch.stack([self._picture(file) for file, _ in batch])

    def _picture(self, file: str) -> torch.Tensor:
        if file not in self.kept:
            import numpy as np
            from PIL import Image

            with Image.open(Path(file)) as image:
                pixels = np.asarray(image.convert("RGB").resize((self.side, self.side)), dtype="float32") / 255
            found = torch.from_numpy((pixels - MEAN) / SPREAD).permute(2, 0, 1).contiguous()
            if len(self.kept) > 20_000:
                return found
            self.kept[file] = found
        return self.kept[file]

    def __call__(self, batch: list[Row]) -> dict[str, Any]:
        return {**super().__call__(batch), "pixel_values": self.pictures(batch)}


class Score:
    def __init__(self, coder: Seen, held: list[Row]) -> None:
        self.coder, self.held = coder, held[:SAMPLES]

    def __call__(self, trainer: Any) -> dict[str, float]:
        wanted = [caption for _, caption in self.held]
        said, blind = self.answers(trainer, see=True), self.answers(trainer, see=False)
        common = Counter(wanted).most_common(1)[0][1]
        return {
            "accuracy": _share(said, wanted),
            "accuracy_blind": _share(blind, wanted),
            "accuracy_words": _words(said, wanted),
            "chance": common / len(wanted),
            "gates": trainer.model.openness(),
        }

    def answers(self, trainer: Any, *, see: bool) -> list[str]:
        model, batch = trainer.model.eval(), trainer.args.per_device_eval_batch_size
        found: list[str] = []
        for at in range(0, len(self.held), batch):
            pictures = self.coder.pictures(self.held[at : at + batch]).to(model.device)
            found += self._say(model, pictures if see else None, len(pictures))
        return found

    def _say(self, model: Any, pictures: torch.Tensor | None, count: int) -> list[str]:
        tokenizer = self.coder.tokenizer
        ids = torch.full((count, 1), self.coder.begin, device=model.device)
        with torch.no_grad():
            for _ in range(NEW_TOKENS):
                logits = model(input_ids=ids, pixel_values=pictures).logits[:, -1]
                ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], dim=1)
                if (ids == tokenizer.eos_token_id).any(1).all():
                    break
        ended = [row[: row.index(tokenizer.eos_token_id)] if tokenizer.eos_token_id in row else row
                 for row in ids[:, 1:].tolist()]  # fmt: skip
        return [text.strip() for text in tokenizer.batch_decode(ended, skip_special_tokens=True)]


def _share(said: list[str], wanted: list[str]) -> float:
    return sum(a == b for a, b in zip(said, wanted, strict=True)) / len(wanted)


def _words(said: list[str], wanted: list[str]) -> float:
    """Of words that stand in their place."""
    pairs = [(a.split(), b.split()) for a, b in zip(said, wanted, strict=True)]
    right = sum(x == y for a, b in pairs for x, y in zip(a, b, strict=False))
    return right / sum(max(len(a), len(b)) for a, b in pairs)
