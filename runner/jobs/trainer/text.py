"""Text datasets -> shards of the run's own, in the format of jobs/shards.py: tokenized once, split by document."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from shards import FORMAT, MANIFEST

from .settings import BadSettings, Settings
from .sources import texts as texts_of
from .splits import DEFAULT, drawn

FOLDER = "prepared"
BATCH = 32  # documents; what the tokenizer says of a batch takes a hundred times its text


def prepare(settings: Settings) -> Path:
    """The folder, made where it is not there yet; the manifest is written last. Raises BadSettings."""
    folder = Path(FOLDER)
    if (folder / MANIFEST).is_file():
        return folder
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(settings.own["tokenizer_config"])
    if tokenizer.eos_token_id is None:
        raise BadSettings("the tokenizer has no end token, which closes each document")
    texts = list(texts_of(settings.own["datasets"]))
    if not texts:
        raise BadSettings("the datasets hold no text")
    held = list(texts_of(settings.own.get("test_datasets", ())))
    if not held:
        chosen = drawn(len(texts), settings.own.get("val_set_size", DEFAULT), settings.arguments.get("seed", 42))
        held = [text for at, text in enumerate(texts) if at in chosen]
        texts = [text for at, text in enumerate(texts) if at not in chosen]
    if not texts or not held:
        texts, held = _cut("\n".join([*texts, *held]))
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


def _cut(whole: str) -> tuple[list[str], list[str]]:
    """One long text (a book, a play) has no documents to choose from: its last tenth is held out."""
    at = len(whole) * 9 // 10
    return [whole[:at]], [whole[at:]]


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
