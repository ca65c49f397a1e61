"""A recipe that starts from an adapter -> the base it was trained on, with the adapter beside it, as vLLM serves it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.recipe.artifacts import REFERENCE, outputs_of
from runner.recipe.document import Document, Node
from runner.recipe.graph import Library, needs_of

# ranks that vLLM makes room for, and what it does by itself
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
DEFAULT_RANK = 16
CONFIG = "adapter_config.json"

# name of a recipe -> its own values, resolved
Values = Callable[[str], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Adapter:
    """Where it lies, on which base, of which rank; `tokenizer` says whether it has one of its own."""

    path: str
    base: str | None
    rank: int
    tokenizer: bool


def with_base(
    library: Library, doc: Document, at: Node, values: dict[str, Any], name: str, values_of: Values
) -> dict[str, Any]:
    """`values` of a mapping with `model`, which stands at `at`: where that is an adapter, its base stands there and it
    is one of the `lora_modules`, under `name`. `max_lora_rank` is what the adapters need, where it is not given."""
    found = dict(values)
    model = at.child("model")
    assert model is not None
    own = _adapter(library, doc, model, str(values["model"]), values_of)
    adapters = _listed(library, doc, at, values, values_of)
    if own is not None:
        found["model"] = own.base
        found["lora_modules"] = [{"name": name, "path": own.path}, *(values.get("lora_modules") or ())]
        if own.tokenizer:
            found.setdefault("tokenizer", own.path)  # with the chat template that it was trained on
        adapters = [own, *adapters]
    needed = max((adapter.rank for adapter in adapters), default=0)
    if needed > DEFAULT_RANK and "max_lora_rank" not in values:
        found["max_lora_rank"] = next((rank for rank in RANKS if rank >= needed), RANKS[-1])
    return found


def _listed(library: Library, doc: Document, at: Node, values: Mapping[str, Any], values_of: Values) -> list[Adapter]:
    node = at.child("lora_modules")
    items = node.value if node is not None and isinstance(node.value, list) else []
    modules = values.get("lora_modules") or ()
    paths = [(item.child("path"), module["path"]) for item, module in zip(items, modules, strict=True)]
    found = [_adapter(library, doc, at, str(path), values_of) for at, path in paths if at is not None]
    return [adapter for adapter in found if adapter is not None]


def _adapter(library: Library, doc: Document, node: Node, path: str, values_of: Values) -> Adapter | None:
    """The adapter at `path`, by its own config, or by the recipe that will leave it; None for a whole model."""
    trained = _training(library, doc, node, values_of)
    config = _config(Path(path))
    if config is None and trained is None:
        return None
    base = _base(Path(path), config) or (trained or {}).get("base_model")
    rank = (config or {}).get("r") or (trained or {}).get("lora_r") or DEFAULT_RANK
    tokenizer = config is None or (Path(path) / "tokenizer_config.json").is_file()
    return Adapter(path, str(base) if base else None, rank if isinstance(rank, int) else DEFAULT_RANK, tokenizer)


def _training(library: Library, doc: Document, node: Node, values_of: Values) -> Mapping[str, Any] | None:
    """The values of the recipe that trains the adapter which `node` refers to."""
    match = REFERENCE.fullmatch(str(node.value))
    need = needs_of(doc).get(match["alias"]) if match else None
    if match is None or need is None:
        return None
    upstream = str(need.value)
    output = next((o for o in outputs_of(library.get(upstream)) if o.name == match["output"]), None)
    return values_of(upstream) if output is not None and output.type == "adapter" else None


def _config(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _base(folder: Path, config: Mapping[str, Any] | None) -> str | None:
    """What it was trained on: a name of the hub, or a folder as seen from the run that left it."""
    named = (config or {}).get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        return None
    local = folder.parent / named
    return str(local.resolve()) if local.is_dir() else named
