"""Prepared shards against the recipe that will train on them, from their manifest: before an engine starts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner.diagnostics import Diagnostic, Span, shown_path
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe


def refuse_shards(recipe: Recipe) -> None:
    """Raises Refused (R413) where the recipe's prepared data are not whole, or do not go with its model."""
    if recipe.prepared is None:
        return
    found = list(_check(recipe, Path(recipe.prepared)))
    if found:
        raise Refused(*found)


def _check(recipe: Recipe, folder: Path) -> Iterator[Diagnostic]:
    def told(message: str, at: str = "prepared", *, help: str, notes: tuple[str, ...] = ()) -> Diagnostic:
        return Diagnostic("R413", message, _span(recipe, at), notes=notes, help=help)

    shown = shown_path(str(folder))
    again = "prepare the data again"
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        width, splits = int(manifest["token_bytes"]), manifest["splits"]
    except FileNotFoundError:
        yield told(
            f"`{shown}` is no prepared dataset: it has no manifest.json", help="name what a `prepare` recipe left"
        )
        return
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield told(f"`{shown}/manifest.json` can't be read: {error}", help=again)
        return
    for each in (each for split in splits.values() for each in split["files"]):
        size = _size(folder / each["path"])
        if size != each["tokens"] * width:
            state = "is missing" if size is None else f"has {size:,} bytes of {each['tokens'] * width:,}"
            yield told(f"`{shown}/{each['path']}` {state}", help=again)
    vocabulary = (recipe.architecture or {}).get("vocab_size")
    if isinstance(vocabulary, int) and manifest.get("vocab_size", 0) > vocabulary:
        yield told(
            f"the data have a vocabulary of {manifest['vocab_size']:,}, the model one of {vocabulary:,}",
            "architecture.vocab_size",
            notes=("a token beyond it would be an index out of range in the embedding",),
            help=f"set `vocab_size: {_padded(manifest['vocab_size'])}`",
        )
    yield from _too_few(recipe, splits, told)


def _too_few(recipe: Recipe, splits: dict[str, Any], told: Any) -> Iterator[Diagnostic]:
    length = recipe.values.get("sequence_len")
    if not isinstance(length, int):
        return
    tokens = splits.get("train", {}).get("tokens", 0)
    if tokens < length:
        yield told(
            f"the data have {tokens:,} tokens to train on, less than one row of {length:,}",
            help="prepare more text, or lower `sequence_len`",
        )
    evaluates = next((k for k in ("eval_steps", "evals_per_epoch", "eval_strategy") if recipe.values.get(k)), None)
    held = splits.get("validation", {}).get("tokens", 0)
    if evaluates and recipe.values.get(evaluates) != "no" and held < length:
        yield told(
            f"the data have {held:,} tokens to evaluate on, less than one row of {length:,}",
            evaluates,
            help=f"prepare them with a larger validation share, or remove `{evaluates}`",
        )


def _padded(size: int) -> int:
    """The next multiple of 128, which tensor cores like."""
    return -(-size // 128) * 128


def _size(file: Path) -> int | None:
    return file.stat().st_size if file.is_file() else None


def _span(recipe: Recipe, path: str) -> Span:
    node = recipe.doc.find(path) or recipe.doc.find("prepared")
    return node.span if node is not None else recipe.doc.root.span
