"""Text datasets -> shards of the run's own, in the format of jobs/shards.py: tokenized once, split by document."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from shards import FORMAT, MANIFEST

from .settings import BadSettings, Settings, local_file

FOLDER = "prepared"
BATCH = 256


def prepare(settings: Settings) -> Path:
    """The folder, made where it is not there yet; the manifest is written last. Raises BadSettings."""
    folder = Path(FOLDER)
    if (folder / MANIFEST).is_file():
        return folder
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(settings.own["tokenizer_config"])
    if tokenizer.eos_token_id is None:
        raise BadSettings("the tokenizer has no end token, which closes each document")
    texts = list(documents(settings.own["datasets"]))
    if not texts:
        raise BadSettings("the datasets hold no text")
    held = list(documents(settings.own.get("test_datasets", ())))
    if not held:
        share = settings.own.get("val_set_size", 0.05)
        count = int(share) if share >= 1 else max(1, round(share * len(texts)))
        if count >= len(texts):
            held, texts = _halves(texts)
        else:
            held, texts = _drawn(texts, count, settings.arguments.get("seed", 42))
    manifest = {
        "format": FORMAT,
        "token_bytes": 2 if len(tokenizer) <= 1 << 16 else 4,
        "vocab_size": len(tokenizer),
        "eos_token_id": tokenizer.eos_token_id,
        "splits": {},
    }
    for split, part in (("train", texts), ("validation", held)):
        manifest["splits"][split] = _write(folder, split, part, tokenizer, manifest["token_bytes"])
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    return folder


def _drawn(texts: list[str], count: int, seed: int) -> tuple[list[str], list[str]]:
    chosen = set(np.random.default_rng(seed).permutation(len(texts))[:count].tolist())
    return [t for i, t in enumerate(texts) if i in chosen], [t for i, t in enumerate(texts) if i not in chosen]


def _halves(texts: list[str]) -> tuple[list[str], list[str]]:
    """One long text (a book, a play) has no documents to choose from: its last tenth is held out."""
    whole = "\n".join(texts)
    cut = len(whole) * 9 // 10
    return [whole[cut:]], [whole[:cut]]


def documents(listed: list[dict[str, Any]]) -> Iterator[str]:
    for item in listed:
        for row in rows(item):
            text = row if isinstance(row, str) else row.get(item.get("field", "text"))
            if isinstance(text, str) and text:
                yield text


def rows(item: dict[str, Any]) -> Iterator[Any]:
    """Rows of a local JSON-lines file, a text file as one row, or what the `datasets` library loads."""
    file = local_file(item)
    if file is not None and not file.is_file():
        raise BadSettings(f"{file}: no such file")
    if file is not None and file.suffix == ".txt":
        yield file.read_text(encoding="utf-8")
    elif file is not None:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield json.loads(line)
                except ValueError:
                    raise BadSettings(f"{file}:{number}: not a line of JSON") from None
    else:
        from datasets import load_dataset

        chosen = {key: item[key] for key in ("name", "revision", "data_files") if key in item}
        yield from load_dataset(item["path"], split=item.get("split", "train"), **chosen)


def _write(folder: Path, split: str, texts: list[str], tokenizer: Any, width: int) -> dict[str, Any]:
    target = folder / split / "00000.ds"
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, tokens, end = hashlib.sha256(), 0, tokenizer.eos_token_id
    with target.open("wb") as out:
        for start in range(0, len(texts), BATCH):
            found = tokenizer(texts[start : start + BATCH], add_special_tokens=False)["input_ids"]
            flat = np.concatenate([np.asarray([*ids, end], dtype=f"<u{width}") for ids in found])
            digest.update(flat.tobytes())
            out.write(flat.tobytes())
            tokens += len(flat)
    file = {"path": f"{split}/{target.name}", "tokens": tokens, "documents": len(texts), "sha256": digest.hexdigest()}
    return {"documents": len(texts), "tokens": tokens, "files": [file]}
