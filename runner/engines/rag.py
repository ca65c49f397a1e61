"""Retrieval and answering: documents into an index, labelled questions through it; jobs/rag in their environment.

The language model that answers, and the one that judges, are served for the run from vLLM's environment.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from runner.engines import Step, jobs_dir
from runner.engines.axolotl import failure as traceback_in
from runner.engines.serving import HOST, endpoint_spec, own_port
from runner.recipe.kinds import kind_schema
from runner.recipe.resolve import Recipe

ENVIRONMENT = "rag"
SERVER = "vllm"
GENERATOR, JUDGE = "generator.serve", "evaluation.judge.serve"
# what every rag.json has, given or not
_ALWAYS = ("chunking", "embedding", "store", "retrieval", "answer", "service")
# questions that are made, whatever folder may have this name
MADE = ("stdlib", "packages", "register")
_ALL_FILES = ["**/*"]


def also(recipe: Recipe) -> tuple[str, ...]:
    return (SERVER,) if served_values(recipe, GENERATOR) or served_values(recipe, JUDGE) else ()


def served_values(recipe: Recipe, path: str) -> dict[str, Any] | None:
    """Keys of kind `serve` at `generator.serve` or `evaluation.judge.serve`; None where nothing is served there."""
    found: Any = recipe.values
    for part in path.split("."):
        found = (found or {}).get(part)
    return found or None


def evaluates(recipe: Recipe) -> bool:
    return bool((recipe.values.get("evaluation") or {}).get("questions"))


def judges(recipe: Recipe) -> bool:
    return evaluates(recipe) and bool(recipe.values["evaluation"].get("judge"))


def jobs(recipe: Recipe) -> tuple[str, ...]:
    packages = ("rag", *(("endpoint",) if also(recipe) else ()))
    files = [file for name in packages for file in sorted((jobs_dir() / name).rglob("*"))]
    found = (str(f.relative_to(jobs_dir())) for f in files if f.is_file() and "__pycache__" not in f.parts)
    return ("facts.py", *(("build_tiny.py",) if recipe.tiny is not None else ()), *found)


def steps(recipe: Recipe) -> tuple[Step, ...]:
    found = [Step("build", "a tiny model of the same architecture")] if recipe.tiny is not None else []
    read = ", ".join("the standard library" if s.get("stdlib") else str(s["path"]) for s in recipe.values["sources"])
    found.append(Step("ingest", f"{read} into the index"))
    if evaluates(recipe):
        found.append(Step("evaluate", "labelled questions, through every way to retrieve"))
    if judges(recipe):
        found.append(Step("judge", "do answers follow from their passages, and answer the question"))
    if evaluates(recipe):
        found.append(Step("plot", "what each way finds, and how long it takes"))
    return tuple(found)


def context(recipe: Recipe) -> dict[str, Any]:
    served, judge = (_endpoint(recipe, path) for path in (GENERATOR, JUDGE))
    return {
        "config": config(recipe, served, judge),
        "served": served,
        "judge_served": judge,
        "evaluates": evaluates(recipe),
        "judges": judges(recipe),
        "cpu": recipe.box.gpus == 0,
        # in smoke two runs go on at a time
        "threads": 1 if recipe.profile == "smoke" else max(1, recipe.box.cores),
        "online": recipe.profile != "smoke",
        "tiny": asdict(recipe.tiny) if recipe.tiny is not None else None,
    }


def _endpoint(recipe: Recipe, path: str) -> dict[str, Any] | None:
    given = served_values(recipe, path)
    if given is None:
        return None
    values = {"port": own_port(recipe.name, recipe.profile, path), **given}
    return endpoint_spec(values, engine=SERVER, box=recipe.box, profile=recipe.profile, name=recipe.name)


def config(recipe: Recipe, served: dict[str, Any] | None, judge: dict[str, Any] | None) -> dict[str, Any]:
    """rag.json, as jobs/rag/config.py reads it: every key of the schema, given or by default."""
    schema = kind_schema(recipe.kind)["properties"]
    values = {**{key: {} for key in _ALWAYS}, **recipe.values}
    found = {key: filled(schema[key], values.get(key)) for key in schema if key in values or "default" in schema[key]}
    found = {key: value for key, value in found.items() if value is not None}
    for source in found["sources"]:
        if source["stdlib"] and source["include"] == _ALL_FILES:
            source["include"] = ["*"]  # names of modules, which have no folders
    found["chunking"]["framework"] = found.get("framework")
    if generator := found.get("generator"):
        given = generator.pop("serve", None) or {}
        if tokenizer := given.get("tokenizer") or given.get("model"):
            generator["tokenizer"] = tokenizer  # prompts are counted by it
        generator |= _address(served)
    if evaluation := found.get("evaluation"):
        evaluation["variants"] = _variants(recipe)
        asked = recipe.doc.find("evaluation.questions")
        if asked is not None and str(asked.value).partition(":")[0] in MADE:
            evaluation["questions"] = asked.value  # whatever folder may have this name
        if evaluation.get("price_per_hour") is None:
            evaluation["price_per_hour"] = recipe.box.price_usd_per_hour or None
        if evaluation.get("judge"):
            evaluation["judge"].pop("serve", None)
            evaluation["judge"] |= _address(judge)
    variants = (found.get("evaluation") or {}).get("variants") or []
    for way in (found["retrieval"], *(variant["retrieval"] for variant in variants)):
        if (way.get("bm25") or {}).get("stemmer") == "none":
            way["bm25"]["stemmer"] = None
    return {"name": recipe.name, "cache": _cache(recipe.name), **found}


def _cache(name: str) -> str:
    """artifacts/.cache/rag as seen from artifacts/<name>/<profile>/<run>."""
    return "../" * (len(name.split("/")) + 2) + ".cache/rag"


def _address(spec: dict[str, Any] | None) -> dict[str, Any]:
    return {} if spec is None else {"endpoint": f"http://{HOST}:{spec['port']}/v1", "model": spec["model"]}


def _variants(recipe: Recipe) -> list[dict[str, Any]]:
    """As they are written: what differs alone, where `null` takes a stage away."""
    node = recipe.doc.find("evaluation.variants")
    given: list[dict[str, Any]] = (node.plain() if node is not None else None) or []
    return given


def filled(schema: dict[str, Any], value: Any) -> Any:
    """The value with every default below it; what may be null and is not given is null."""
    if isinstance(value, list) and "items" in schema:
        return [filled(schema["items"], item) for item in value]
    below = schema.get("properties")
    if not isinstance(value, dict) or not below:
        return schema.get("default") if value is None else value
    found = dict(value)
    for key, inner in below.items():
        kinds = inner.get("type", ())
        if value.get(key) is None and kinds == "object" and "properties" in inner and "serve" not in key:
            found[key] = filled(inner, {})
        elif value.get(key) is not None or "default" in inner or "null" in kinds:
            found[key] = filled(inner, value.get(key))
    return found


_SAID = re.compile(r"error: (?P<what>.+)")


def failure(log: str) -> str | None:
    """What a job of ours or the endpoint said in its one line; else the last Python exception."""
    said = [match["what"] for line in log.splitlines() if (match := _SAID.fullmatch(line.strip()))]
    return said[-1] if said else traceback_in(log)
