"""Architecture -> what transformers calls each weight, for keys of recipes that choose weights by name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from runner.facts.architecture import Architecture, Stack, Weight

# of LLaVA, in transformers 5: the tower, the projector, the language model, and the head beside them
TOWER, PROJECTOR, LANGUAGE = "model.vision_tower", "model.multi_modal_projector", "model.language_model"
_BLOCKS = {"attention": "self_attn.", "mlp": "mlp.", "norm": ""}
_AROUND_TOWER = {
    "class_embedding": "embeddings.class_embedding", "patch_embedding": "embeddings.patch_embedding",
    "position_embedding": "embeddings.position_embedding",
}  # fmt: skip
_DOT = re.compile(r"\.(?!\+)")


@dataclass(frozen=True, slots=True)
class Named:
    """A module with weights: `name` is that in the first layer of its stack; `stack` is None outside of any."""

    name: str
    weight: Weight
    stack: Stack | None

    @property
    def part(self) -> str:
        """`tower`, `projector` or `language`."""
        return {TOWER: "tower", PROJECTOR: "projector"}.get(".".join(self.name.split(".")[:2]), "language")


def named_modules(architecture: Architecture) -> tuple[Named, ...]:
    """Empty for a family whose names are not known here."""
    return tuple(_llava(architecture)) if architecture.model_type == "llava" else ()


def _llava(architecture: Architecture) -> Iterator[Named]:
    for stack in architecture.stacks:
        root = f"{TOWER}.encoder" if stack.name == "vision" else LANGUAGE
        for weight in stack.weights:
            yield Named(f"{root}.layers.0.{_BLOCKS.get(weight.part, '')}{weight.name}", weight, stack)
    for weight in architecture.outer:
        yield Named(_outside(weight), weight, None)


def _outside(weight: Weight) -> str:
    if weight.part == "projector":
        return f"{PROJECTOR}.{weight.name}"
    if weight.part == "head":
        return weight.name
    if weight.name in _AROUND_TOWER or "layrnorm" in weight.name or weight.name == "post_layernorm":
        return f"{TOWER}.{_AROUND_TOWER.get(weight.name, weight.name)}"
    return f"{LANGUAGE}.{weight.name}"


def unfrozen(name: str, patterns: list[str]) -> bool:
    """Whether Axolotl's `unfrozen_parameters` trains the parameter: from its start on, with each dot taken as one
    (axolotl utils/freeze.py, LayerNamePattern). Raises re.error for what is no pattern."""
    return any(re.match(_DOT.sub(r"\\.", re.sub(r"\[[\d:]*\]$", "", each)), name) for each in patterns)


def adapted(name: str, targets: str | list[str]) -> bool:
    """Whether PEFT puts an adapter on the module: a text is a pattern for the whole name, a list names its ends
    (peft tuners/tuners_utils.py, check_target_module_exists). Raises re.error for what is no pattern."""
    if isinstance(targets, str):
        return re.fullmatch(targets, name) is not None
    return any(name == each or name.endswith(f".{each}") for each in targets)
