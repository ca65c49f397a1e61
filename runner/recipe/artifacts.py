"""What a recipe leaves behind: typed outputs, declared by its kind's schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from runner.recipe.document import Document, Node, Path, walk
from runner.recipe.kinds import kind_schema

REFERENCE = re.compile(r"\$\{needs\.(?P<alias>[^.{}]*)\.(?P<output>[^.{}]*)\}")
# which types of artifact a key can take; `*` is any list item
ACCEPTS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("base_model",): ("model",),
    ("model",): ("model", "quantized-model", "adapter"),
    ("lora_modules", "*", "path"): ("adapter",),
    ("peft",): ("adapter",),
    ("serve", "tokenizer"): ("model", "adapter", "quantized-model", "tokenizer"),
    ("judge", "serve", "model"): ("model", "quantized-model"),
    ("judge", "against"): ("results",),
    ("runs", "*", "results"): ("results",),
    ("runs", "*", "gate"): ("table", "gate"),
    ("runs", "*", "bench"): ("table",),
    ("runs", "*", "run"): ("model", "adapter", "reward-model", "quantized-model", "results", "table", "dataset"),
    ("prepared",): ("dataset",),
    ("tokenizer_config",): ("model", "adapter", "reward-model", "tokenizer"),
    ("lora_model_dir",): ("adapter",),
    ("trl", "reward_funcs", "*"): ("reward-model",),
    ("datasets", "*", "path"): ("dataset",),
    ("test_datasets", "*", "path"): ("dataset",),
    ("pretraining_dataset", "*", "path"): ("dataset",),
    ("calibration", "path"): ("dataset",),
    ("held_out", "path"): ("dataset",),
    ("endpoints", "*", "model"): ("model", "quantized-model"),
    ("generator", "serve", "model"): ("model", "quantized-model", "adapter"),
    ("generator", "serve", "tokenizer"): ("model", "adapter", "quantized-model", "tokenizer"),
    ("generator", "serve", "lora_modules", "*", "path"): ("adapter",),
    ("evaluation", "judge", "serve", "model"): ("model", "quantized-model"),
    ("embedding", "model"): ("model",),
}
# keys that name the model a recipe starts from: one to train, or one to serve and measure
MODEL_KEYS = ("base_model", "model")


@dataclass(frozen=True, slots=True)
class Output:
    """One artifact of a run: `name` is what `${needs.alias.name}` asks for, `path` is relative to the run."""

    name: str
    type: str
    path: str


def outputs_of(doc: Document) -> tuple[Output, ...]:
    """The artifacts that a composed recipe leaves, from its kind's `x-runner.outputs`."""
    declared = kind_schema(str(doc.keys["kind"].value))["x-runner"]["outputs"]

    def given(key: str) -> bool:
        node = doc.find(key)
        return node is not None and node.value not in (None, False)

    return tuple(
        Output(each["name"], each["type"], each["path"])
        for each in declared
        if ("if" not in each or given(each["if"])) and ("unless" not in each or not given(each["unless"]))
    )


def model_key(doc: Document) -> str | None:
    """The key that names the recipe's model; None where it has none."""
    return next((key for key in MODEL_KEYS if key in doc.keys), None)


def references(doc: Document) -> Iterator[tuple[Path, Node]]:
    """Every text value that holds a `${`, with its path; header keys take none."""
    for path, node in walk(doc.root):
        if isinstance(node.value, str) and "${" in node.value:
            yield path, node


def accepted(path: Path, kind: str = "") -> tuple[str, ...] | None:
    """The artifact types that the key at `path` can take; None where any will do. A kind may take fewer of them."""
    shape = tuple("*" if isinstance(part, int) else part for part in path)
    narrower = kind_schema(kind)["x-runner"].get("accepts", {}) if kind else {}
    given = narrower.get(".".join(shape))
    return tuple(given) if given is not None else ACCEPTS.get(shape)
