"""Texts -> vectors of length 1, each text computed once and kept by its content; refuses a model that isn't there."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import models
from .config import Config
from .types import Problem, Vectors
from .vector_cache import VectorCache

# at once on a CPU: what its caches hold. Half as fast again as sentence-transformers' 32 texts (measured, AVX2)
CPU_TOKENS = 1024


class Embedder:
    """May be called from several threads; the model is loaded when it is first needed."""

    def __init__(self, settings: dict[str, Any], cache: Path | None) -> None:
        self.model = models.find(settings["model"])
        self.tokenizer = models.tokenizer(self.model.folder)
        self.dimension = self.model.dimension
        self.max_length = min(int(settings.get("max_length") or self.model.positions), self.model.positions)
        self.batch_size = int(settings.get("batch_size") or 64)
        self.normalize = bool(settings.get("normalize", True))
        self.prefixes = {"passage": settings.get("passage_prefix") or "", "query": settings.get("query_prefix") or ""}
        # what the tokenizer puts around a text, and the prefix before it
        self.special = self.tokenizer.num_special_tokens_to_add(False) + self.count(self.prefixes["passage"])
        self.identity = (
            f"{self.model.name} {self.model.digest[:16]}, {self.max_length} tokens, "
            f"prefix {self.prefixes['passage']!r}, {'normalized' if self.normalize else 'as it is'}"
        )
        named = hashlib.sha256(f"{self.model.digest} {self.max_length} {self.normalize}".encode()).hexdigest()[:16]
        self._cache = VectorCache(cache / f"vectors-{named}.sqlite", self.dimension) if cache else None
        self._loading = threading.Lock()
        self._loaded: Any = None
        self.computed, self.computing_s = 0, 0.0  # texts that were not known from before, and the time they took

    def passages(self, texts: Sequence[str]) -> Vectors:
        """(n, dimension), in the order of `texts`."""
        return self._vectors([self.prefixes["passage"] + text for text in texts])

    def queries(self, texts: Sequence[str]) -> Vectors:
        return self._vectors([self.prefixes["query"] + text for text in texts], kept=False)

    def query(self, text: str) -> Vectors:
        """(dimension,)"""
        return self.queries([text])[0]

    def count(self, text: str) -> int:
        """Tokens of a text by itself, without the special ones."""
        return len(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def warm(self) -> None:
        """Loads the model, so that the first query doesn't wait for it."""
        self.query("warm")

    def close(self) -> None:
        if self._cache:
            self._cache.close()

    def _vectors(self, texts: list[str], kept: bool = True) -> Vectors:
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        cache = self._cache if kept else None
        keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
        found = cache.get(set(keys)) if cache else {}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        if missing:
            made = dict(zip(missing, self._compute(list(missing.values())), strict=True))
            if cache:
                cache.put(made)
            found |= made
        return np.stack([found[key] for key in keys])

    def _compute(self, texts: list[str]) -> Vectors:
        import torch

        model = self._model()
        began = time.monotonic()
        encodings = self.tokenizer.encode_batch_fast(texts)
        tail = self.tokenizer.num_special_tokens_to_add(False) // 2
        ids = [_cut(encoding.ids, self.max_length, tail) for encoding in encodings]
        out = np.empty((len(texts), self.dimension), np.float32)
        with torch.inference_mode():
            most = CPU_TOKENS if model.device.type == "cpu" else None
            for rows in batches([len(row) for row in ids], self.batch_size, most):
                width = len(ids[rows[-1]])
                filled = torch.zeros((len(rows), width), dtype=torch.long)
                mask = torch.zeros((len(rows), width), dtype=torch.long)
                for at, row in enumerate(rows):
                    filled[at, : len(ids[row])] = torch.tensor(ids[row])
                    mask[at, : len(ids[row])] = 1
                features = {"input_ids": filled.to(model.device), "attention_mask": mask.to(model.device)}
                vectors = model(features)["sentence_embedding"].float()
                if self.normalize:
                    vectors = torch.nn.functional.normalize(vectors, dim=1)
                out[rows] = vectors.cpu().numpy()
        self.computed, self.computing_s = self.computed + len(texts), self.computing_s + time.monotonic() - began
        return out

    def _model(self) -> Any:
        with self._loading:
            if self._loaded is None:
                os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
                from sentence_transformers import SentenceTransformer
                from transformers.utils import logging

                logging.disable_progress_bar()
                try:
                    self._loaded = SentenceTransformer(str(self.model.folder)).eval()
                except (OSError, ValueError, RuntimeError) as error:
                    said = str(error).strip().splitlines()[0]
                    raise Problem(f"the embedding model {self.model.name!r} can't be loaded: {said}") from error
        return self._loaded


def open_embedder(config: Config) -> Embedder:
    return Embedder(config.embedding, config.cache)


def batches(lengths: Sequence[int], batch_size: int, tokens: int | None) -> Iterator[list[int]]:
    """Rows by length, next to no filling up, in batches of at most `batch_size` texts and so many tokens."""
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    batch: list[int] = []
    for row in order:
        full = tokens is not None and (len(batch) + 1) * lengths[row] > tokens
        if batch and (full or len(batch) >= batch_size):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _cut(ids: list[int], most: int, tail: int) -> list[int]:
    """The first tokens, and the special ones that end a text."""
    return ids if len(ids) <= most else ids[: most - tail] + ids[len(ids) - tail :]
