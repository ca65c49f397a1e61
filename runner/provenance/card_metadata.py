"""A run's record -> the metadata at the head of a model's card, in the hub's format.

The fields are those of the hub's specification, https://github.com/huggingface/hub-docs/blob/main/modelcard.md, and
the results those of https://github.com/huggingface/huggingface_hub/blob/main/src/huggingface_hub/repocard_data.py.
"""

from __future__ import annotations

import re
from typing import Any

from runner.provenance.lineage import sources
from runner.record import Run

# by kind; what is left generates text
PIPELINES = {
    "reward": "text-classification",
    "masked-lm": "fill-mask",
    "multimodal": "image-text-to-text",
    "flamingo": "image-text-to-text",
    "seq2seq": "translation",
}
# and by what an output is, where that says more
OUTPUT_PIPELINES = {
    "classifier": "text-classification",
    "captioner": "image-to-text",
    "reward-model": "text-classification",
}
# how a model came from its base: one of the hub's four relations
RELATIONS = {"adapter": "adapter", "quantized-model": "quantized"}
_BASES = ("base_model", "model")
# what an evaluation measured, less how long it took and how much it read
_METRIC = re.compile(r"eval_(?!runtime|samples_per_second|steps_per_second|model_preparation_time|num_tokens)\w+")


def metadata(run: Run, output: dict[str, Any]) -> dict[str, Any]:
    """The fields that a record can tell, in the hub's order; none that it can't."""
    record = run.record
    kind, type = str(record["kind"]), str(output["type"])
    base = base_of(run)
    pipeline = OUTPUT_PIPELINES.get(type, PIPELINES.get(kind, "text-generation"))
    found: dict[str, Any] = {"library_name": "peft" if type == "adapter" else "transformers"}
    if base is None:
        found["license"] = "unknown"
    else:
        found |= {
            "license": "other",
            "license_name": "that-of-the-base-model",
            "license_link": f"https://huggingface.co/{base}",
            "base_model": base,
            "base_model_relation": RELATIONS.get(type, "finetune"),
        }
    if datasets := datasets_of(run):
        found["datasets"] = datasets
    found |= {"pipeline_tag": pipeline, "tags": tags_of(record, type)}
    if results := _results(run, pipeline, datasets):
        found["model-index"] = [{"name": name_of(record), "results": results}]
    return found


def name_of(record: dict[str, Any]) -> str:
    return str(record["recipe"]).rpartition("/")[2]


def tags_of(record: dict[str, Any], type: str) -> list[str]:
    values = record.get("values", {})
    named = [record["kind"], record["engine"]["name"], values.get("rl"), values.get("adapter"), type]
    tags = ["llm-recipes", *(str(name) for name in named if isinstance(name, str))]
    return list(dict.fromkeys([*tags, *(["smoke"] if record.get("profile") == "smoke" else [])]))


def base_of(run: Run) -> str | None:
    """The model of the hub that it all began with, through the runs behind this one; None where it began with none."""
    for each in run.record.get("hub", []):
        if each["type"] == "model" and each.get("key") in _BASES:
            return str(each["name"])
    named = [str(run.record.get("values", {}).get(key, "")) for key in _BASES]
    for source in sources(run):
        if source.run is not None and any(f"/{source.id}/" in f"{name}/" for name in named):
            return base_of(source.run)
    return None


def datasets_of(run: Run) -> list[str]:
    """Datasets of the hub that this run read, and those of the runs that prepared what it read."""
    names = [str(each["name"]) for each in run.record.get("hub", []) if each["type"] == "dataset"]
    for source in sources(run):
        if source.run is not None and source.run.record.get("kind") == "prepare":
            names += datasets_of(source.run)
    return list(dict.fromkeys(names))


def _results(run: Run, pipeline: str, datasets: list[str]) -> list[dict[str, Any]]:
    metrics = {k: v for k, v in run.record.get("metrics", {}).items() if _METRIC.fullmatch(k)}
    measured = [
        {"type": name.removeprefix("eval_"), "value": value, "name": f"Evaluation {name.removeprefix('eval_')}"}
        for name, value in sorted(metrics.items())
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    ]
    if not measured:
        return []
    name = datasets[0] if datasets else "the recipe's held-out data"
    data = {"type": datasets[0] if datasets else "local", "name": name}
    return [{"task": {"type": pipeline}, "dataset": data, "metrics": measured}]
