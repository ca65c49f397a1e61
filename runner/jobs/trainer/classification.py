"""A model that was pretrained learns to sort texts, as BERT on GLUE: accuracy, F1, and what guessing would give."""

from typing import Any

import numpy as np
import torch
from transformers.models.auto.modeling_auto import AutoModelForSequenceClassification

from .objectives import Task
from .settings import BadSettings, Settings
from .sources import labelled
from .splits import split_rows
from .tokens import load_tokenizer


def load(settings: Settings, args: Any) -> Task:
    tokenizer = load_tokenizer(settings)
    train, held = split_rows(settings, labelled, args.seed)
    classes = 1 + max(label for _, label in [*train, *held])
    if classes < 2:
        raise BadSettings("all rows are of one class: there is nothing to learn")
    longest = settings.own["sequence_len"]
    model = AutoModelForSequenceClassification.from_pretrained(settings.own["base_model"], num_labels=classes)

    def encode(rows: list[tuple[str, int]]) -> list[dict[str, Any]]:
        found = tokenizer([text for text, _ in rows], truncation=True, max_length=longest - 2, add_special_tokens=False)
        first = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
        last = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
        return [
            {"input_ids": [first, *ids, last], "label": label}
            for ids, (_, label) in zip(found["input_ids"], rows, strict=True)
        ]

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        ids = padded([row["input_ids"] for row in rows], tokenizer.pad_token_id)
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        mask = (torch.arange(ids.shape[1])[None] < lengths[:, None]).long()
        return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([row["label"] for row in rows])}

    return Task(model, encode(train), encode(held), collate, compute_metrics=scores, tokenizer=tokenizer)


def padded(rows: list[list[int]], filler: int) -> torch.Tensor:
    """[rows, longest] as int64."""
    out = np.full((len(rows), max(map(len, rows))), filler, np.int64)
    for at, row in enumerate(rows):
        out[at, : len(row)] = row
    return torch.from_numpy(out)


def scores(prediction: Any) -> dict[str, float]:
    """Accuracy, F1 (of class 1 where there are two, as GLUE has it, else the mean over classes), and `majority`, the
    accuracy of always saying the commonest class."""
    logits = prediction.predictions[0] if isinstance(prediction.predictions, tuple) else prediction.predictions
    said, true = logits.argmax(-1), prediction.label_ids
    classes = logits.shape[-1]
    wanted = [1] if classes == 2 else list(range(classes))
    return {
        "accuracy": float((said == true).mean()),
        "f1": float(np.mean([_f1(said == c, true == c) for c in wanted])),
        "majority": float(np.bincount(true).max() / len(true)),
    }


def _f1(said: Any, true: Any) -> float:
    both, either = (said & true).sum(), said.sum() + true.sum()
    return float(2 * both / either) if either else 0.0
