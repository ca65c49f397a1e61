"""Kind `multimodal`, beside what Axolotl does: rows with pictures made ready before it, questions asked after it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.engines import Step, jobs_dir
from runner.engines.serving import HOST, endpoint_spec, own_port
from runner.recipe.resolve import Recipe

KIND = "multimodal"
PACKAGE = "multimodal"
SERVER = "vllm"
# a line of the job's own, where it knows what is wrong
SAID = "multimodal: error: "
ROWS = "./rows"
# of Axolotl's keys: what a dataset of the hub is loaded by
_LOADED = ("path", "name", "revision", "split", "field_messages")


def has_images(recipe: Recipe) -> bool:
    return recipe.kind == KIND


def serves(recipe: Recipe) -> bool:
    """An adapter that is not merged is asked where it was trained: vLLM takes none for the parts that see."""
    whole = any(output.type == "model" for output in recipe.outputs)
    return whole and (recipe.values.get("questions") or {}).get("serve") is not None


def jobs(recipe: Recipe) -> tuple[str, ...]:
    packages = [PACKAGE, *(["endpoint"] if serves(recipe) else [])]
    return tuple(f"{name}/{file.name}" for name in packages for file in sorted((jobs_dir() / name).glob("*.py")))


def before(recipe: Recipe) -> Step:
    return Step("rows", "conversations and their pictures, none longer than the model is trained on")


def after(recipe: Recipe) -> tuple[Step, ...]:
    if not recipe.values.get("questions"):
        return ()
    where = "a server of it" if serves(recipe) else "the model"
    return (Step("questions", f"{where} is asked about pictures it has not seen"),)


def config(values: dict[str, Any]) -> dict[str, Any]:
    """Axolotl's keys: it reads the rows that are made before it, and the hub's as they are."""
    found = {key: value for key, value in values.items() if key != "questions"}
    for key, split in (("datasets", "train"), ("test_datasets", "test")):
        if found.get(key):
            found[key] = [_dataset(item, split, number) for number, item in enumerate(found[key])]
    return found


def _dataset(item: Mapping[str, Any], split: str, number: int) -> dict[str, Any]:
    kind = {"type": "chat_template"}
    if is_made_here(item):
        return {"path": f"{ROWS}/{split}-{number}.jsonl", "ds_type": "json", **kind}
    return {**{key: item[key] for key in _LOADED if key in item}, **kind}


def is_made_here(item: Mapping[str, Any]) -> bool:
    """As runner/jobs/multimodal/sources.py has it."""
    return "generate" in item or Path(str(item.get("path"))).suffix in (".json", ".jsonl")


def context(recipe: Recipe, base: str) -> dict[str, Any]:
    """`base` is where the run finds the model that it starts from."""
    values = recipe.values
    return {
        "rows": {
            "datasets": {
                split: values[key]
                for key, split in (("datasets", "train"), ("test_datasets", "test"))
                if values.get(key)
            },
            "processor": values.get("processor_config") or base,
            "chat_template": _template(values),
            "sequence_len": values["sequence_len"],
            "drop": values.get("excess_length_strategy") == "drop",
        },
        "questions": _questions(recipe, base) if values.get("questions") else None,
        "served": _served(recipe) if serves(recipe) else None,
    }


def merging(recipe: Recipe) -> dict[str, Any]:
    """Axolotl 0.19 merges weights file by file, under the names that they have on disk. LLaVA's are not those of its
    modules, to which the adapter belongs: nothing is merged, and a warning is all that says so. Of the whole model
    loaded, as before, it merges all."""
    return {"merge_method": "legacy"} if has_images(recipe) else {}


def _template(values: Mapping[str, Any]) -> str | None:
    """The recipe's own chat template; None for the model's."""
    return values.get("chat_template_jinja") if values.get("chat_template") == "jinja" else None


def _questions(recipe: Recipe, base: str) -> dict[str, Any]:
    given = {"max_new_tokens": 16, "num_concurrent": 8, "limit": None, **recipe.values["questions"]}
    given.pop("serve", None)
    spec = _served(recipe) if serves(recipe) else None
    model = next(o.path for o in reversed(recipe.outputs))
    adapter = bool(recipe.values.get("adapter")) and not recipe.merge
    return given | {
        "model": f"./{model}",
        "base": base if adapter else None,
        "processor": base,
        "chat_template": _template(recipe.values),
        "endpoint": f"http://{HOST}:{spec['port']}/v1" if spec is not None else None,
        "served_as": spec["model"] if spec is not None else None,
    }


def _served(recipe: Recipe) -> dict[str, Any]:
    """endpoint.json of the trained model."""
    model = next(o.path for o in recipe.outputs if o.type == "model")
    port = own_port(recipe.name, recipe.profile, "questions")
    values = {"port": port, "model": f"./{model}", **recipe.values["questions"]["serve"]}
    if template := _template(recipe.values):
        values = {"chat_template": template, **values}
    return endpoint_spec(values, engine=SERVER, box=recipe.box, profile=recipe.profile, name=recipe.name)


def failure(log: str) -> str | None:
    said = [line.removeprefix(SAID) for line in log.splitlines() if line.startswith(SAID)]
    return said[-1] if said else None
