"""Facts about embedding models: data/embedders.yaml, or the files of a local folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from runner.facts.families import architecture_of
from runner.facts.read import read_facts
from runner.project import shipped


@dataclass(frozen=True, slots=True)
class Embedder:
    """`dimension` is the length of a vector, `max_length` the tokens that are read. Prefixes are what the model was
    trained to have before a text; empty where none."""

    parameters: int
    dimension: int
    vocab_size: int
    max_length: int
    query_prefix: str = ""
    passage_prefix: str = ""

    @property
    def multiplied(self) -> int:
        """Parameters that every token is multiplied with: all but the table that tokens are looked up in."""
        return self.parameters - self.vocab_size * self.dimension


@cache
def known_embedders() -> dict[str, Embedder]:
    return {name: Embedder(**given) for name, given in read_facts(shipped("data") / "embedders.yaml").items()}


def find_embedder(name: str, root: Path | None = None) -> Embedder | None:
    """By its name on the hub, or its folder; None where nothing is known without the network."""
    known = known_embedders().get(name) or known_embedders().get(f"sentence-transformers/{name}")
    return known if known is not None else _local((root or Path.cwd()) / name)


def _local(folder: Path) -> Embedder | None:
    config, own = _read(folder / "config.json"), _read(folder / "sentence_bert_config.json")
    width, words = config.get("hidden_size"), config.get("vocab_size")
    positions = own.get("max_seq_length") or config.get("max_position_embeddings")
    if not isinstance(width, int) or not isinstance(words, int) or not isinstance(positions, int):
        return None
    try:
        return Embedder(architecture_of(config).parameters, width, words, positions)
    except ValueError:
        return None


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
