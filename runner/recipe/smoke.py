"""The smoke profile: any recipe -> the same pipeline with a tiny model, small local data and CPU-safe settings.

One mechanism for every recipe: data/smoke/engines/<engine>.yaml says what is set, dropped and replaced, and when; for a
model there stands in a tiny one of the same architecture, shrunk from its own config as data/smoke/profile.yaml says.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from runner.diagnostics import Diagnostic, Span
from runner.facts.models import Model, find_model
from runner.project import Project, shipped
from runner.recipe.artifacts import model_key
from runner.recipe.document import Document, Node, make_node, merge
from runner.recipe.kinds import engine_of, servers_in
from runner.recipe.load import Refused

ORIGIN = Span("<smoke profile>")
# the token that stands for a picture in the text of a model that sees
IMAGE = "<image>"
# of an engine that has no file of its own
PLAIN: dict[str, Any] = {"drop": [], "parts": [{"set": {"box": "cpu"}}]}


@dataclass(frozen=True, slots=True)
class TinyModel:
    """A model to be built on the spot: `config` is a transformers config, `path` where it will lie.

    `weights` is False for a recipe that starts from scratch: it takes just the tokenizer from there, which is trained
    as `tokenizer` says on the text that is put at `text`.
    """

    config: dict[str, Any]
    path: str
    weights: bool
    text: str
    tokenizer: dict[str, Any]


@cache
def _profile() -> dict[str, Any]:
    given: dict[str, Any] = yaml.safe_load((shipped("data") / "smoke" / "profile.yaml").read_text())
    return given


@cache
def _of_engine(engine: str) -> dict[str, Any]:
    file = shipped("data") / "smoke" / "engines" / f"{engine}.yaml"
    given: dict[str, Any] = yaml.safe_load(file.read_text()) if file.is_file() else PLAIN
    return given


def smoke(project: Project, doc: Document, model: Model | None) -> tuple[Document, TinyModel | None]:
    """The recipe as it runs in smoke. Raises Refused (R407) when the architecture of its model is not known."""
    profile = _of_engine(engine_of(str(doc.keys["kind"].value)))
    root = doc.root
    assert isinstance(root.value, dict)
    kept = {k: v for k, v in root.value.items() if _from_need(v) or not _dropped(k, profile["drop"])}
    root = replace(root, value=kept)
    for part in profile["parts"]:
        if _matches(part.get("when", {}), doc):
            root = merge(root, make_node(part["set"], ORIGIN))
    tiny = _tiny_model(project, doc, model)
    if tiny is not None:
        if tiny.weights:
            root = merge(root, make_node({model_key(doc) or "base_model": tiny.path}, ORIGIN))
        else:
            root = merge(root, make_node({"architecture": tiny.config}, ORIGIN))
            tokenizer = root.value.get("tokenizer_config") if isinstance(root.value, dict) else None
            if tokenizer is not None and _from_need(tokenizer):
                tiny = None  # prepared data comes with its own
            elif "tokenizer_config" not in doc.keys and profile.get("trains_tokenizer"):
                tiny = None  # the run trains one on its own text
            else:
                root = merge(root, make_node({"tokenizer_config": tiny.path}, ORIGIN))
    staged = replace(doc, root=merge(root, doc.wishes) if doc.wishes else root)
    for path in servers_in(str(doc.keys["kind"].value)):
        staged, tiny = _small_server(project, staged, path, profile.get("servers", {}), tiny)
    if "entries" in profile:
        return _entries(project, staged, profile["entries"])
    return staged, tiny


def _entries(project: Project, doc: Document, rules: dict[str, Any]) -> tuple[Document, TinyModel | None]:
    """Of a kind with models in a list: fewer entries, each made small, the hub's all with the first one's tiny model.
    `one_of_each` names the key of which every value is kept once, `drop` lists entries that can't run on a CPU."""
    assert isinstance(doc.root.value, dict)
    key = str(rules["key"])
    seen: set[Any] = set()
    kept: list[Node] = []
    tiny: TinyModel | None = None
    entries = doc.root.value[key].value
    for entry in entries if isinstance(entries, list) else ():
        assert isinstance(entry.value, dict)
        plain = entry.plain()
        kind = plain.get(rules["one_of_each"])
        if kind in seen or any(_like(plain, pattern) for pattern in rules["drop"]):
            continue
        seen.add(kind)
        small = {k: v for k, v in entry.value.items() if not _dropped(k, rules["keys"])}
        for part in rules["parts"]:
            if all(_like(plain, {k: v}) for k, v in part.get("when", {}).items()):
                small |= {k: make_node(v, ORIGIN) for k, v in part["set"].items()}
        model = small.get("model")
        if model is not None and "url" not in small and not _from_need(model):
            tiny = tiny or make_tiny(project, _known(project, model), weights=True)
            small["model"] = make_node(tiny.path, ORIGIN)
        kept.append(replace(entry, value=small))
    root = replace(doc.root, value={**doc.root.value, key: replace(doc.root.value[key], value=kept)})
    return replace(doc, root=root), tiny


def _small_server(
    project: Project, doc: Document, path: str, more: dict[str, Any], tiny: TinyModel | None
) -> tuple[Document, TinyModel | None]:
    """A server that a recipe starts beside its own work, made small as a recipe of kind `serve` is, with `more` over
    that; what the recipe says of it for smoke wins. All models of the hub become the first one's tiny model."""
    node, profile = doc.find(path), _of_engine("vllm")
    if node is None or not isinstance(node.value, dict):
        return doc, tiny
    wished = Document(doc.name, doc.file, doc.wishes).find(path) if doc.wishes else None
    small = {k: v for k, v in node.value.items() if not _dropped(k, profile["drop"])}
    sets = {k: v for part in profile["parts"] for k, v in part["set"].items() if k not in ("box", "engine")} | more
    small |= {k: make_node(v, ORIGIN) for k, v in sets.items()}
    model = small.get("model")
    if model is not None and not _from_need(model):
        tiny = tiny or make_tiny(project, _known(project, model), weights=True)
        small["model"] = make_node(tiny.path, ORIGIN)
    made = replace(node, value=small)
    return replace(doc, root=_put(doc.root, path.split("."), merge(made, wished) if wished else made)), tiny


def _put(root: Node, path: list[str], node: Node) -> Node:
    if not path:
        return node
    assert isinstance(root.value, dict)
    return replace(root, value={**root.value, path[0]: _put(root.value[path[0]], path[1:], node)})


def _like(entry: dict[str, Any], pattern: dict[str, Any]) -> bool:
    """Every key of the pattern matches; `null` stands for a key that is not there."""
    return all(
        any(
            entry.get(key) is None if want is None else fnmatch.fnmatch(str(entry.get(key, "")), str(want))
            for want in (wanted if isinstance(wanted, list) else [wanted])
        )
        for key, wanted in pattern.items()
    )


def _known(project: Project, node: Node) -> Model:
    """Raises Refused (R407)."""
    found = find_model(str(node.value), project.root)
    if found is None:
        raise Refused(_unknown(node.span))
    return found


def _dropped(key: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatch(key, pattern) for pattern in patterns)


def _from_need(node: Node) -> bool:
    """What another recipe leaves in smoke is small and local already."""
    return isinstance(node.value, str) and node.value.startswith("${needs.")


def _matches(when: dict[str, Any], doc: Document) -> bool:
    """Every key equal to one of the values; `present` and `absent` list keys."""
    for key, wanted in when.items():
        if key in ("present", "absent"):
            there = [(n := doc.find(k)) is not None and n.value not in (None, False) for k in wanted]
            if not all(t == (key == "present") for t in there):
                return False
            continue
        node = doc.find(key)
        value = node.plain() if node is not None else None
        if value not in (wanted if isinstance(wanted, list) else [wanted]):
            return False
    return True


def _tiny_model(project: Project, doc: Document, model: Model | None) -> TinyModel | None:
    base = doc.keys.get(model_key(doc) or "")
    own = doc.keys.get("architecture")
    if own is None and base is None:
        return None  # the kind has no model, or the schema has told that it lacks one
    if own is None and base is not None and _from_need(base):
        return None  # what the need left in smoke is tiny already
    if model is None:
        raise Refused(_unknown(base.span if base is not None else doc.root.span))
    return make_tiny(project, model, own is None)


def _unknown(span: Span) -> Diagnostic:
    return Diagnostic(
        "R407",
        "the smoke profile can't tell this model's architecture",
        span,
        notes=("without the network only models in data/models and local directories are known",),
        help="add a file for it to data/models, or name a directory with its config.json",
    )


def make_tiny(project: Project, model: Model, weights: bool) -> TinyModel:
    """What stands in for a model."""
    config, tokenizer = shrink(model.config, _profile()["tiny"]), _profile()["tokenizer"]
    if "vision_config" in config:
        tokenizer = {**tokenizer, "special_tokens": [*tokenizer["special_tokens"], IMAGE]}
        config["image_token_index"] = len(tokenizer["special_tokens"]) - 1
    digest = hashlib.sha256(json.dumps([config, weights, tokenizer], sort_keys=True).encode()).hexdigest()
    family = re.sub(r"[^A-Za-z0-9_-]+", "-", str(config["model_type"]))[:40]  # a word of the recipe's, in a path
    path = smoke_dir(project) / f"{family}-{digest[:12]}"
    text = smoke_dir(project) / "text"
    return TinyModel(config, str(path), weights, str(text), tokenizer)


def smoke_dir(project: Project) -> Path:
    """Where tiny models, their tokenizer and the text it was trained on are kept between runs."""
    return project.artifacts / ".smoke"


def shrunk(config: dict[str, Any]) -> dict[str, Any]:
    """What the smoke profile makes of a model's config."""
    return shrink(config, _profile()["tiny"])


def shrink(config: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    """The same architecture, tiny: sizes capped, ratios that change the code path (grouped heads, experts) kept."""
    small = {k: v for k, v in config.items() if k not in limits["drop"]}
    heads = config.get("num_attention_heads")
    groups = config.get("num_key_value_heads")
    for key, cap in limits["cap"].items():
        if isinstance(small.get(key), int):
            small[key] = min(small[key], cap)
    if isinstance(heads, int) and isinstance(groups, int) and heads and groups:
        small["num_key_value_heads"] = small["num_attention_heads"] if groups == heads else 2
    experts, chosen = small.get("num_local_experts") or small.get("num_experts"), small.get("num_experts_per_tok")
    if isinstance(experts, int) and isinstance(chosen, int) and experts:
        small["num_experts_per_tok"] = min(chosen, max(1, experts // 2))
    # what a model that sees is put together from
    small.update(
        {k: shrink(small[k], limits) for k in ("text_config", "vision_config") if isinstance(small.get(k), dict)}
    )
    small.update(limits["set"])
    return small
