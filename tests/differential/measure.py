"""Mutated recipes -> how often our verdict is Axolotl's: `python -m tests.differential.measure --count 3000`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings

from runner.diagnostics import Span
from runner.engines.axolotl import ranks
from runner.engines.deepspeed import STAGES
from runner.engines.environment import Environment, ensure, environment
from runner.launch.validators import Answer, ask, capabilities, cases_of
from runner.project import Project
from runner.recipe.check import check
from runner.recipe.compose import compose
from runner.recipe.document import Document, make_node
from runner.recipe.graph import Library
from runner.recipe.kinds import header_keys
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe, resolve
from runner.render import render, to_yaml
from tests.conftest import ROOT, recipes_of
from tests.differential.later import is_later
from tests.differential.mutations import Mutated, apply, mutations

SEED = 23
VERDICTS = ("both accept", "both refuse", "later", "stricter", "looser")


@dataclass(frozen=True, slots=True)
class Base:
    doc: Document
    recipe: Recipe
    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class Judged:
    """The codes of our errors and what they say, none where we accept; and what Axolotl is asked."""

    codes: tuple[str, ...]
    told: tuple[str, ...]
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Compared:
    """`ours` are the codes of our errors, none where we accept; `theirs` what Axolotl says, or would drop."""

    mutated: Mutated
    ours: tuple[str, ...]
    told: tuple[str, ...]
    theirs: str

    @property
    def verdict(self) -> str:
        if bool(self.ours) == bool(self.theirs):
            return "both refuse" if self.ours else "both accept"
        if self.theirs:
            return "looser"
        return "later" if is_later(self.ours, self.told) else "stricter"


class World:
    """The shipped recipes that Axolotl runs, and how a mutated one is judged."""

    def __init__(self) -> None:
        self.project = Project(ROOT)
        self.library = Library(self.project, "full")
        self.bases = {name: self._base(name) for name in recipes_of("axolotl")}

    def _base(self, name: str) -> Base:
        doc = compose(self.project, self.project.recipe_file(name))
        recipe = self._open(doc)
        return Base(doc, recipe, render(recipe))

    def _open(self, doc: Document) -> Recipe:
        return resolve(self.project, doc, "full", lambda name, profile: None, library=self.library)

    def draw(self, count: int, number: int) -> list[Mutated]:
        drawn: list[Mutated] = []

        @seed(number)
        @settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(mutations({name: self._engines(base) for name, base in self.bases.items()}))
        def collect(mutated: Mutated) -> None:
            drawn.append(mutated)

        collect()
        return drawn

    def _engines(self, base: Base) -> dict[str, Any]:
        """Less the keys that are the runner's own, and never reach Axolotl."""
        config = yaml.safe_load(base.files["axolotl.yaml"])
        own = ("datasets", "test_datasets") if base.recipe.kind == "multimodal" else ()
        given = base.doc.plain().items()
        return {k: v for k, v in given if (k in config and k not in own) or k in header_keys()}

    def judge(self, mutated: Mutated) -> Judged:
        """What we accept is asked about as it really renders; what we refuse can't be rendered, and is the shipped
        rendering with the same changes."""
        base = self.bases[mutated.base]
        values = apply(base.doc.plain(), mutated.changes)
        doc = replace(base.doc, root=make_node(values, Span("<mutated>")))
        errors = [d for d in check(doc, self.project.root) if d.is_error]
        if not errors:
            try:
                recipe = self._open(doc)
                self.library.add(base.doc)  # resolving put the mutated one there, which others may start from
                (case,) = (c for c in cases_of(recipe, render(recipe)) if c.validator == "by_axolotl")
                return Judged((), (), case.body)
            except Refused as refused:
                self.library.add(base.doc)
                errors = refused.diagnostics
        codes, told = tuple(d.code for d in errors), tuple(d.message for d in errors)
        return Judged(codes, told, self._patched(base, mutated))

    def _patched(self, base: Base, mutated: Mutated) -> dict[str, Any]:
        config = apply(yaml.safe_load(base.files["axolotl.yaml"]), mutated.changes)
        files = {name: text for name, text in base.files.items() if name == "deepspeed.json"}
        if config.get("deepspeed") in STAGES or isinstance(config.get("deepspeed"), dict):
            files.setdefault("deepspeed.json", json.dumps({"zero_optimization": {"stage": 2}, "train_batch_size": 2}))
            config["deepspeed"] = "deepspeed.json"
        config = {key: value for key, value in config.items() if value is not None}
        files["axolotl.yaml"] = to_yaml(config)
        if "deepspeed" not in config:
            files.pop("deepspeed.json", None)
        return {"files": files, "gpus": capabilities(base.recipe.box), "ranks": ranks(base.recipe)}


def said(answer: Answer) -> str:
    return "; ".join(f"drops {p.keys[0]}" if p.dropped else f"{p.by}: {p.said}" for p in answer.problems)


def compare(drawn: list[Mutated], judged: list[Judged], answers: list[Answer]) -> list[Compared]:
    return [
        Compared(mutated, ours.codes, ours.told, said(answer))
        for mutated, ours, answer in zip(drawn, judged, answers, strict=True)
    ]


def rate(found: Counter[str]) -> float:
    """The share of equal verdicts, of those where ours is about what Axolotl's validator looks at."""
    same = found["both accept"] + found["both refuse"]
    return same / (same + found["stricter"] + found["looser"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, help="write the figures there, as JSON")
    parser.add_argument("--show", default="looser,stricter", help="verdicts to print, of %(default)s and later")
    given = parser.parse_args()
    began = time.monotonic()
    env = environment("axolotl")
    ensure(env, lambda progress: None)
    world = World()
    drawn = world.draw(given.count, given.seed)
    judged = [world.judge(each) for each in drawn]
    compared = compare(drawn, judged, ask("by_axolotl", env, [each.body for each in judged]))
    found = Counter(each.verdict for each in compared)
    for each in compared:
        if each.verdict in given.show.split(","):
            print(f"{each.verdict}: {each.mutated.base}: {each.mutated.what}\n  ours: {each.ours} {each.told}")
            print(f"  theirs: {each.theirs or 'accepted'}")
    seconds = time.monotonic() - began
    print(f"{len(compared)} configs in {seconds:.0f} s: {dict(found)}, agreement {rate(found):.2%}")
    if given.out:
        given.out.write_text(json.dumps(figures(found, env, given.seed), indent=1) + "\n")
    sys.exit(1 if found["looser"] else 0)


def figures(found: Counter[str], env: Environment, number: int) -> dict[str, Any]:
    return {
        "axolotl": env.versions().get("axolotl", ""),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "seed": number,
        "configs": sum(found.values()),
        "recipes": len(recipes_of("axolotl")),
        **{
            name.replace(" ", "_"): found[name]
            for name in ("both accept", "both refuse", "later", "stricter", "looser")
        },
    }


if __name__ == "__main__":
    main()
