"""Document -> Recipe: the profile applied, references and paths filled in, header and engine keys apart."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runner.diagnostics import Diagnostic
from runner.facts.boxes import Box
from runner.facts.models import Model, catalogue
from runner.project import Project, shipped
from runner.recipe.adapters import Values, with_base
from runner.recipe.artifacts import REFERENCE, Output, outputs_of
from runner.recipe.check import box_of
from runner.recipe.document import Document, Node
from runner.recipe.graph import Library, needs_of
from runner.recipe.kinds import engine_of, header_keys, kind_schema, servers_in, serves
from runner.recipe.load import Refused
from runner.recipe.model_code import code_file
from runner.recipe.profile import in_profile
from runner.recipe.smoke import TinyModel, smoke_dir
from runner.recipe.sweep import Child, children_of, is_sweep

# (recipe name, profile) -> directory of its newest finished run, or None
Locate = Callable[[str, str], Path | None]
# keys that may name a model of data/models
NAMED = ("base_model", "model", "tokenizer_config", "processor_config")
# keys whose value may be a file or folder of the project, written relative to it
LOCAL = (
    "base_model",
    "model",
    "api_key_file",
    "tokenizer_config",
    "processor_config",
    "lora_model_dir",
    "path",
    "images",
    "data_files",
    "reward_funcs",
    "prepared",
    "source",
    "tokenizer",
    "dataset",
    "peft",
    "include_path",
    "results",
    "against",
    "gate",
    "bench",
    "run",
    "questions",
)


@dataclass(frozen=True, slots=True)
class Upstream:
    """A need: `run` is the directory of its newest finished run, None where it has not run yet."""

    alias: str
    recipe: str
    run: Path | None


@dataclass(frozen=True, slots=True)
class Recipe:
    """What will run. `values` holds the engine's keys only, references resolved; `doc` says where each came from.

    `children` are a sweep's; `prepared` is the folder of tokenized shards to train on, with manifest.json in it
    (runner/jobs/shards.py). `model_code` is a model class of the user's own, its file's place under `path`.
    """

    name: str
    kind: str
    engine: str
    profile: str
    title: str
    box: Box
    doc: Document
    values: dict[str, Any]
    outputs: tuple[Output, ...]
    upstreams: tuple[Upstream, ...]
    model: Model | None
    tiny: TinyModel | None
    architecture: dict[str, Any] | None
    merge: bool
    prepared: str | None = None
    children: tuple[Child, ...] = ()
    model_code: dict[str, str] | None = None

    @property
    def missing(self) -> list[Upstream]:
        return [u for u in self.upstreams if u.run is None]


def resolve(project: Project, doc: Document, profile: str, locate: Locate, *, library: Library | None = None) -> Recipe:
    """`doc` must have passed `check`. Raises Refused where the smoke profile can't stand in for it (R407), or a sweep
    makes no children (R420 to R423)."""
    library = library or Library(project, profile)
    doc, tiny, model = in_profile(library, doc, profile)
    upstreams = tuple(Upstream(a, str(n.value), locate(str(n.value), profile)) for a, n in needs_of(doc).items())
    paths = _output_paths(project, library, upstreams, profile)
    header = header_keys()
    values = {
        key: _fill(node, key, project, paths)
        for key, node in doc.keys.items()
        if key not in header and node.value is not None
    }
    architecture = doc.keys.get("architecture")
    merge = doc.keys.get("merge")
    prepared = doc.keys.get("prepared")
    kind = str(doc.keys["kind"].value)
    values = _on_their_bases(doc, kind, values, library, lambda n: _values_of(project, library, n, profile, locate))
    return Recipe(
        name=doc.name,
        kind=kind,
        engine=engine_of(kind),
        profile=profile,
        title=str(doc.keys["title"].value),
        box=box_of(doc),
        doc=doc,
        values=values,
        outputs=outputs_of(doc),
        upstreams=upstreams,
        model=model,
        tiny=tiny,
        architecture=architecture.plain() if architecture is not None else None,
        merge=bool(merge is not None and merge.value),
        children=tuple(children_of(library, doc)) if is_sweep(doc) else (),
        prepared=_fill(prepared, "prepared", project, paths) if prepared is not None else None,
        model_code=_code(project, doc),
    )


def _on_their_bases(
    doc: Document, kind: str, values: dict[str, Any], library: Library, values_of: Values
) -> dict[str, Any]:
    """With the base of every adapter that is served: as the recipe's model, or below a key of a server."""
    if {"lora_modules", "peft"} & kind_schema(kind)["properties"].keys() and "model" in values:
        values = with_base(library, doc, doc.root, values, served_name(values, doc.name), values_of)
    for path in servers_in(kind):
        at = doc.find(path)
        *above, last = path.split(".")
        holder: Any = values
        for part in above:
            holder = (holder or {}).get(part)
        if at is not None and at.child("model") is not None and holder and "model" in (holder.get(last) or {}):
            given = holder[last]
            holder[last] = with_base(library, doc, at, given, served_name(given, doc.name), values_of)
    return values


def _code(project: Project, doc: Document) -> dict[str, str] | None:
    node = doc.keys.get("model_code")
    if node is None or not isinstance(node.value, dict):
        return None
    given = {key: str(value) for key, value in node.plain().items()}
    return {**given, "path": str(code_file(given, project.root))}


def _values_of(project: Project, library: Library, name: str, profile: str, locate: Locate) -> dict[str, Any]:
    return resolve(project, library.get(name), profile, locate, library=library).values


def served_name(values: Mapping[str, Any], name: str) -> str:
    """What users of an endpoint write under `model`: the first `served_model_name`, else the recipe's short name."""
    given = values.get("served_model_name") or name.rpartition("/")[2]
    return str(given[0] if isinstance(given, list) else given)


def _output_paths(project: Project, library: Library, upstreams: tuple[Upstream, ...], profile: str) -> dict[str, str]:
    """`alias.output` -> absolute path; for a need that has not run, the place where `latest` will be."""
    paths = {}
    for up in upstreams:
        run = up.run or project.artifacts / up.recipe / profile / "latest"
        for output in outputs_of(library.get(up.recipe)):
            paths[f"{up.alias}.{output.name}"] = str(run / output.path)
    return paths


def _fill(node: Node, key: str, project: Project, paths: dict[str, str]) -> Any:
    if isinstance(node.value, dict):
        return {k: _fill(v, k, project, paths) for k, v in node.value.items() if v.value is not None}
    if isinstance(node.value, list):
        return [_fill(v, key, project, paths) for v in node.value]
    if not isinstance(node.value, str):
        return node.value
    text = node.value
    if key in NAMED and text in catalogue():
        return catalogue()[text].hub  # `llama-2-13b` of data/models, which no engine knows by that name
    match = REFERENCE.fullmatch(text)
    if match:
        return paths[f"{match['alias']}.{match['output']}"]
    for name, folder in (("data", shipped("data")), ("project", project.root), ("smoke", smoke_dir(project))):
        text = text.replace(f"${{{name}}}", str(folder))
    if key in LOCAL and not text.startswith("/") and "\x00" not in text and len(text) < 1024:
        local = project.root / text
        # relative to the project, while an engine runs in its own directory; Path's own test raises on odd names
        if os.path.exists(local):  # noqa: PTH110
            return str(local)
    return text


def refuse_missing(recipe: Recipe) -> None:
    """Raises Refused (R410) when a need has not run in this profile."""
    found = []
    for up in recipe.missing:
        node = needs_of(recipe.doc)[up.alias]
        profile = "" if recipe.profile == "full" else f" PROFILE={recipe.profile}"
        help = f"`make recipe R={recipe.name}{profile}` runs what it needs first"
        if serves(recipe.kind):  # which make does not build
            help = f"`make recipe R={up.recipe}{profile}` runs it"
        found.append(
            Diagnostic(
                "R410",
                f"`{up.recipe}` has not run in profile `{recipe.profile}` yet",
                replace(node.key),
                label=f"`{recipe.name}` starts from what it leaves",
                help=help,
            )
        )
    if found:
        raise Refused(*found)
