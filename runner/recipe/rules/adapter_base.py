"""Rule about an adapter on this machine and the model that it is put on, to train it further or to serve it."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.diagnostics import Diagnostic
from runner.facts.models import Model, find_model
from runner.recipe.load import printable
from runner.recipe.rules import Facts, rule

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
# a header of names and shapes is a few hundred kilobytes
_MOST_BYTES = 1 << 25
_EMBEDDINGS = ("embed_tokens", "lm_head", "wte", "embed_in", "embed_out", "word_embeddings")
# projections that read the residual stream, whose width is the model's
_READS_STREAM = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "query_key_value", "c_attn", "qkv_proj")


@dataclass(frozen=True, slots=True)
class _Shapes:
    """What an adapter's weights tell of its base; None where they don't."""

    width: int | None
    vocab: int | None


@rule(
    "R860",
    "an adapter of another base",
    source="https://github.com/huggingface/peft/blob/main/src/peft/utils/save_and_load.py",
)
def base(facts: Facts) -> Iterator[Diagnostic]:
    """An adapter is a difference to one model's weights. On a model of another width it does not load, and neither do
    embeddings that it saved for a vocabulary of another size; on another model of the same sizes it loads, and does
    something that nobody trained it for. `adapter_config.json` says which model it was made on, and the head of its
    weights how large that was.
    """
    for at, path, key in _adapters(facts):
        folder = (facts.root or Path.cwd()) / path
        config = _json(folder / _CONFIG)
        if not config or facts.model is None or facts.model.model_type == "":
            continue
        shapes = _shapes(folder / _WEIGHTS, facts.model)
        wrong = _mismatch(facts, config, shapes, facts.model)
        if wrong:
            message, severity = wrong
            made = config.get("base_model_name_or_path")
            yield facts.report(
                "R860",
                at,
                message,
                note=f"it was made on `{printable(str(made), 80)}`" if made else (),
                help=f"set `{key}` to the model that it was made on, or name another adapter",
                severity="error" if severity else "warning",
            )


def _adapters(facts: Facts) -> Iterator[tuple[str, str, str]]:
    """Where an adapter is named, its path, and the key that names its base."""
    given = facts.get("lora_model_dir")
    if isinstance(given, str) and not given.startswith("${"):
        yield "lora_model_dir", given, "base_model"
    for at, node in facts.all("lora_modules.*.path"):
        if isinstance(node.value, str) and not node.value.startswith("${"):
            yield at, node.value, "model"


def _mismatch(facts: Facts, config: dict[str, Any], shapes: _Shapes, model: Model) -> tuple[str, bool] | None:
    if shapes.width and model.hidden_size and shapes.width != model.hidden_size:
        said = f"the adapter is for a model of width {shapes.width:,}, this one has {model.hidden_size:,}"
        return said, True
    vocab = model.count("vocab_size")
    changes = ("tokens", "special_tokens", "tokenizer_config", "resize_token_embeddings_to_32x")
    if shapes.vocab and vocab and shapes.vocab != vocab and not any(facts.has(key) for key in changes):
        return f"the adapter saved embeddings of {shapes.vocab:,} tokens, the model has {vocab:,}", True
    made = config.get("base_model_name_or_path")
    known = find_model(made, facts.root) if isinstance(made, str) and made and "\x00" not in made else None
    if known is not None and known.model_type and known.model_type != model.model_type:
        return (
            f"the adapter was made on a `{printable(known.model_type, 40)}`, the model is a `{model.model_type}`",
            True,
        )
    if known is not None and known.hub and model.hub and known.hub != model.hub:
        return f"the adapter was made on another model than `{printable(model.hub, 60)}`", False
    return None


def _shapes(file: Path, model: Model) -> _Shapes:
    """Of the head of a safetensors file: eight bytes of its length, then JSON of names and shapes."""
    try:
        if not file.is_file():
            return _Shapes(None, None)
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            held = json.loads(stream.read(length)) if length <= _MOST_BYTES else {}
    except (OSError, ValueError, struct.error, RecursionError):
        return _Shapes(None, None)
    width = vocab = None
    for name, about in held.items() if isinstance(held, dict) else ():
        shape = about.get("shape") if isinstance(about, dict) else None
        if not isinstance(shape, list) or len(shape) != 2 or not all(isinstance(n, int) for n in shape):
            continue
        parts = str(name).split(".")
        if "lora_A" in parts and any(p in _READS_STREAM for p in parts):
            width = width or shape[1]
        elif any(p in _EMBEDDINGS for p in parts) and not any(p.startswith("lora_") for p in parts):
            vocab = vocab or shape[0]
    return _Shapes(width, vocab)


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes()[:_MOST_BYTES]) if file.is_file() else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
