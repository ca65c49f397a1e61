"""Datasets of the recipe -> rows/*.jsonl for Axolotl; refuses rows that are longer than `sequence_len`.

Axolotl's collator for pictures cuts nothing: a row that is too long goes through whole, past the memory that was
planned and past the model's positions. Cut, it would lose a part of a picture's tokens, and the model counts them.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .problem import Problem
from .sources import Message, conversations, is_made_here

BATCH = 256
FOLDER = Path("rows")


def write_rows(config: dict[str, Any]) -> None:
    """`datasets` lists for each split what the recipe names; `processor`, `chat_template` and `sequence_len` say how
    long a row may be, and `drop` that longer ones are left out."""
    measure = Lengths(config)
    for split, listed in config["datasets"].items():
        for number, item in enumerate(listed):
            if is_made_here(item):
                _write(FOLDER / f"{split}-{number}.jsonl", conversations(item, FOLDER / "pictures"), measure)
            else:
                _check_hub(item, measure)
    print(f"multimodal: {measure.told()}", flush=True)


def _write(file: Path, rows: Iterator[tuple[str, list[Message]]], measure: "Lengths") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    work = file.with_suffix(".part")
    with work.open("w", encoding="utf-8") as out:
        for batch in _batches(rows):
            for messages in measure.kept(batch):
                out.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
    measure.refuse_long()
    if not work.stat().st_size:
        raise Problem(f"{file.stem}: no row is left")
    work.replace(file)


def _check_hub(item: dict[str, Any], measure: "Lengths") -> None:
    """Reads the text alone: a column of pictures is not decoded."""
    from datasets import load_dataset

    chosen = {key: item[key] for key in ("name", "revision") if key in item}
    field = item.get("field_messages", "messages")
    rows = load_dataset(item["path"], split=item.get("split", "train"), **chosen)
    if field not in rows.column_names:
        raise Problem(f"`{item['path']}` has no column `{field}`; it has {', '.join(rows.column_names)}")
    texts = ((f"{item['path']}, row {i}", row[field]) for i, row in enumerate(rows.select_columns([field]), 1))
    for batch in _batches(texts):
        measure.kept(batch)
    # what the hub holds is Axolotl's to read, and it leaves nothing out
    measure.refuse_long(always=True)


def _batches(rows: Iterator[Any]) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


class Lengths:
    """Tokens of every row, counted as the model will see them: each picture as its patches."""

    def __init__(self, config: dict[str, Any]) -> None:
        from transformers import AutoProcessor

        self.limit, self.drop = int(config["sequence_len"]), bool(config["drop"])
        self.processor = AutoProcessor.from_pretrained(config["processor"])
        if not hasattr(self.processor, "image_processor"):
            raise Problem(f"{config['processor']}: no model that takes pictures")
        self.template = config["chat_template"] or self.processor.chat_template
        self.image = tokens_of_image(self.processor)
        self.rows = self.longest = self.long = 0
        self.first = ""

    def kept(self, batch: list[tuple[str, list[Message]]]) -> list[list[Message]]:
        texts = [
            self.processor.apply_chat_template(messages, tokenize=False, chat_template=self.template)
            for _, messages in batch
        ]
        tokens = self.processor.tokenizer(texts, add_special_tokens=False)["input_ids"]
        found = []
        for (where, messages), ids in zip(batch, tokens, strict=True):
            images = sum(
                p["type"] == "image" for m in messages if not isinstance(m["content"], str) for p in m["content"]
            )
            length = len(ids) + images * (self.image - 1)
            self.rows, self.longest = self.rows + 1, max(self.longest, length)
            if length > self.limit:
                self.long += 1
                self.first = self.first or f"{where} has {length}, {images * self.image} of them of its pictures"
            else:
                found.append(messages)
        return found

    def refuse_long(self, always: bool = False) -> None:
        if self.long and (always or not self.drop):
            raise Problem(
                f"{self.long:,} rows have more tokens than `sequence_len` {self.limit}: {self.first}; "
                f"set `sequence_len` to {self.longest}"
                + ("" if always else ", or `excess_length_strategy: drop` to leave them out")
            )

    def told(self) -> str:
        left = f", {self.long:,} longer ones left out" if self.long else ""
        return f"{self.rows:,} rows, {self.longest} tokens at most, {self.image} of each picture{left}"


def tokens_of_image(processor: Any) -> int:
    """Of one picture, once it is cropped: LLaVA's is always of the same size."""
    size = processor.image_processor.crop_size
    counted = processor._get_num_multimodal_tokens(image_sizes=[(size["height"], size["width"])])
    return int(counted["num_image_tokens"][0])
