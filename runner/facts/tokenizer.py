"""A tokenizer by its files, without torch or transformers: special tokens, chat template, whether it has a token.

Looked for in a local folder, and of a name of the hub in the cache that huggingface_hub keeps on this machine.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from runner.facts.models import cached_snapshots

_CONFIG, _TEMPLATE = "tokenizer_config.json", "chat_template.jinja"
# where the tokens themselves stand, the first that there is: of `tokenizers`, of SentencePiece, and of GPT-2 once
_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json")
_MOST_BYTES = 1 << 26


@dataclass(frozen=True)
class Tokenizer:
    """`config` is tokenizer_config.json, empty where there is none."""

    name: str
    folder: Path
    config: dict[str, Any]

    def special(self, which: str) -> str | None:
        """`eos_token`, `pad_token`, ...: its text, of tokenizer_config.json or special_tokens_map.json."""
        given = self.config.get(which, self._map.get(which))
        if isinstance(given, dict):
            given = given.get("content")
        return given if isinstance(given, str) else None

    @cached_property
    def _map(self) -> dict[str, Any]:
        return _json(self.folder / "special_tokens_map.json")

    @cached_property
    def template(self) -> str | None:
        """The chat template: the file of its own, which transformers prefers, or that of the config, of several the one
        called `default`."""
        own = _bytes(self.folder / _TEMPLATE)
        if own is not None:
            return own.decode("utf-8", "replace")
        given = self.config.get("chat_template", _json(self.folder / "chat_template.json").get("chat_template"))
        if isinstance(given, list):
            named = {t.get("name"): t.get("template") for t in given if isinstance(t, dict)}
            given = named.get("default")
        return given if isinstance(given, str) else None

    def has(self, token: str) -> bool | None:
        """Whether the token is one of the vocabulary; None where its files don't say. Found as the text that the file
        would hold, which takes milliseconds where reading the file as JSON takes tenths of a second."""
        if self._vocabulary is None or not token:
            return None
        spelt = {json.dumps(token)[1:-1], json.dumps(token, ensure_ascii=False)[1:-1], token}
        return any(
            form.encode("utf-8", "replace") in held for form in spelt for held in (self._vocabulary, self._added)
        )

    @cached_property
    def _vocabulary(self) -> bytes | None:
        return next((found for name in _VOCABULARIES if (found := _bytes(self.folder / name)) is not None), None)

    @cached_property
    def _added(self) -> bytes:
        return b"".join(_bytes(self.folder / name) or b"" for name in (_CONFIG, "added_tokens.json"))


@lru_cache(maxsize=64)
def find_tokenizer(name: str, root: Path | None = None) -> Tokenizer | None:
    """Of a folder, seen from `root`, or of a model of the hub that was downloaded before; None where nothing is known
    without the network."""
    if not name or "\x00" in name or len(name) > 1024 or name.startswith("${"):
        return None
    for folder in (Path(root or Path.cwd()) / name, *cached_snapshots(name)[-1:]):
        if any(_there(folder / file) for file in (_CONFIG, *_VOCABULARIES[:2])):
            return Tokenizer(name, folder, _json(folder / _CONFIG))
    return None


def _there(file: Path) -> bool:
    return os.path.isfile(file)  # noqa: PTH113 - Path's raises on odd names


def _bytes(file: Path) -> bytes | None:
    try:
        if not file.is_file() or file.stat().st_size > _MOST_BYTES:
            return None
        return file.read_bytes()
    except (OSError, ValueError):
        return None


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(_bytes(file) or b"{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
