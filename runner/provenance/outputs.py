"""What a run left: sizes, and hashes of each output and of its files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from runner.recipe.artifacts import Output
from runner.recipe.resolve import Recipe
from runner.record import file_hash

# beside a model's weights, where the hub looks for it
CARD = "README.md"
MODEL_TYPES = ("model", "adapter", "reward-model", "quantized-model", "classifier", "captioner")


def describe_outputs(recipe: Recipe, run: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """As `describe`, of what a recipe leaves."""
    return describe(recipe.outputs, run)


def describe(outputs: Iterable[Output], run: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """What the run left, with sizes in bytes and a hash of each and of its files; and the paths that should be there
    and are not. A model's card is not part of it: it tells of the run, this hash included."""
    found, missing = [], []
    for output in outputs:
        path = run / output.path
        files = [f for f in _output_files(path) if f.name != CARD or output.type not in MODEL_TYPES]
        if not files:
            missing.append(output.path)
            continue
        hashes = {str(file.relative_to(path)): file_hash(file) for file in files}
        # a dataset's manifest carries the hash of each of its files, which may be many GiB; an index is a database, of
        # which the hash is that of what it says about itself
        counted = path.rglob("*") if output.type in ("dataset", "index") else files
        size = sum(f.stat().st_size for f in counted if f.is_file())
        found.append(
            {
                "name": output.name,
                "type": output.type,
                "path": output.path,
                "bytes": size,
                "sha256": combined_hash(hashes),
                "files": hashes,
            }
        )
    return found, missing


def combined_hash(hashes: dict[str, str]) -> str:
    """One hash of files by name, in the order that they were listed."""
    return hashlib.sha256("".join(f"{name}\0{each}\n" for name, each in hashes.items()).encode()).hexdigest()


_OUTPUT_SUFFIXES = (
    ".safetensors", ".bin", ".json", ".jinja", ".model", ".txt", ".pt",  # models and tokenizers
    ".csv", ".md", ".png", ".svg",  # tables and figures
)  # fmt: skip


def _output_files(path: Path) -> Iterator[Path]:
    """A model directory's own files: not its checkpoints, logs, or a merged model inside an adapter's directory."""
    if not path.is_dir():
        return
    for file in sorted(path.iterdir()):
        if file.is_file() and file.suffix in _OUTPUT_SUFFIXES:
            yield file
