"""What every recipe renders for its box is accepted by the engines' own validators, which really do refuse."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.cli.validate_engine import diagnose
from runner.diagnostics import Diagnostic
from runner.engines.environment import Environment, ensure, environment
from runner.facts.boxes import make_box
from runner.launch.validators import VALIDATORS, Answer, ask, cases_of
from runner.plan.fit import search
from runner.project import Project
from runner.recipe.compose import compose
from runner.recipe.document import Document
from runner.recipe.resolve import Recipe, resolve
from runner.render import render, to_yaml
from tests.conftest import ROOT
from tests.differential.measure import SEED, Compared, World, compare, rate
from tests.engine.conftest import Smoke

SMALLER = (("phase4/sft-13b", "RTX 4090"), ("phase4/full-13b", "A100-40GB"), ("phase2/pretrain-7b", "A100-40GB"))
# recipes that the bounded differential test draws
MUTATED = 150
EXPERTS = (
    "adapter=qlora", "load_in_4bit=true", "lora_target_linear=null", 'lora_target_modules=["q_proj","v_proj"]',
    "deepspeed=null", "lora_target_parameters=null",
)  # fmt: skip


@pytest.fixture(scope="module")
def built(axolotl: Environment) -> Callable[[str], Environment]:
    """An environment by name, whole."""

    def made(name: str) -> Environment:
        env = environment(name)
        ensure(env, lambda progress: None)
        return env

    return cache(made)


def opened(name: str, *sets: str) -> Recipe:
    project = Project(ROOT)
    doc = compose(project, project.recipe_file(name), sets=sets)
    return resolve(project, doc, "full", lambda recipe, profile: None)


def body(name: str, *sets: str, **changed: Any) -> dict[str, Any]:
    """What the validator of a shipped recipe is asked, with keys of a rendered file (`axolotl` for axolotl.yaml)
    changed."""
    recipe = opened(name, *sets)
    case = cases_of(recipe, render(recipe))[0]
    files = dict(case.body["files"])
    for stem, values in changed.items():
        file = next(f for f in files if f.startswith(stem))
        read, write = (json.loads, json.dumps) if file.endswith(".json") else (yaml.safe_load, to_yaml)
        files[file] = write({**read(files[file]), **values})
    return {**case.body, "files": files}


def test_every_shipped_recipe_is_accepted(scratch: Smoke, built: Callable[[str], Environment]) -> None:
    """By Axolotl, DeepSpeed, transformers, llm-compressor and vLLM, through the command that people call."""
    for name in set(VALIDATORS.values()):
        built(name)
    done = scratch.call("validate", "--engine", "--format", "json", timeout=1800)
    found = json.loads(done.stdout)["diagnostics"]
    assert [d["message"] for d in found if d["severity"] == "error"] == []
    assert done.returncode == 0
    told = scratch.call("validate", "--engine", "phase3/quantize-bnb-nf4-13b", "phase3/quantize-gptq-13b")
    assert "asked the engines' own validators about" in told.stdout + told.stderr


@dataclass(frozen=True)
class Asked:
    doc: Document
    answer: Answer

    @property
    def said(self) -> str:
        return "; ".join(f"{p.by}: {p.said}" for p in self.answer.problems)

    @property
    def diagnostics(self) -> list[Diagnostic]:
        return list(diagnose(self.doc, self.answer))


@dataclass(frozen=True)
class AllAsked:
    named: dict[str, Asked]
    mutated: list[Compared]


@pytest.fixture(scope="module")
def all_asked(built: Callable[[str], Environment]) -> AllAsked:
    """Everything that Axolotl's environment is asked, in one process: importing takes longer than all of the cases."""
    cases = {
        "pipeline": ("phase2/parallel-pipeline", body("phase2/parallel-pipeline", deepspeed={"train_batch_size": 7})),
        "batch": ("phase2/zero3-13b", body("phase2/zero3-13b", deepspeed={"train_batch_size": 7})),
        "key": ("phase4/lora-13b", body("phase4/lora-13b", axolotl={"lora_dropuot": 0.1})),
        "clash": ("phase4/lora-13b", body("phase4/lora-13b", axolotl={"warmup_ratio": 0.1, "warmup_steps": 5})),
        "type": ("phase4/lora-13b", body("phase4/lora-13b", axolotl={"lora_r": "many"})),
        "nested": ("phase4/lora-13b", body("phase4/lora-13b", axolotl={"fsdp_config": {"made_up": True}})),
        "experts": ("phase5/moe-mixtral-lora", body("phase5/moe-mixtral-lora", *EXPERTS)),
        **{f"advised {name}": (name, _advised(name, gpu)) for name, gpu in SMALLER},
    }
    world = World()
    drawn = world.draw(MUTATED, SEED)
    judged = [world.judge(each) for each in drawn]
    bodies = [*(each for _, each in cases.values()), *(each.body for each in judged)]
    answers = ask("by_axolotl", built("axolotl"), bodies)
    docs = [compose(Project(ROOT), Project(ROOT).recipe_file(name)) for name, _ in cases.values()]
    first, rest = answers[: len(cases)], answers[len(cases) :]
    named = {name: Asked(doc, answer) for name, doc, answer in zip(cases, docs, first, strict=True)}
    return AllAsked(named, compare(drawn, judged, rest))


@pytest.fixture(scope="module")
def asked(all_asked: AllAsked) -> dict[str, Asked]:
    return all_asked.named


def _advised(name: str, gpu: str) -> dict[str, Any]:
    """What `plan --fit` makes of a recipe on a smaller box."""
    best = search(opened(name), make_box("pair", {"gpu": gpu, "gpus": 2})).best
    assert best is not None, f"nothing makes {name} fit two {gpu}"
    return body(name, *(f"{key}={json.dumps(value)}" for key, value in best.settings.items()))


def test_the_validators_really_refuse(asked: dict[str, Asked]) -> None:
    assert "train_batch_size" in asked["batch"].said
    assert "train_batch_size" in asked["pipeline"].said
    assert "mutually exclusive" in asked["clash"].said
    assert [(p.keys[0], p.dropped) for p in asked["key"].answer.problems] == [("lora_dropuot", True)]
    assert [p.keys[0] for p in asked["nested"].answer.problems] == ["fsdp_config.made_up"]


def test_what_they_say_stands_at_the_line_of_the_key_they_name(asked: dict[str, Asked]) -> None:
    (wrong,) = asked["type"].diagnostics
    lines = Path(asked["type"].doc.file).read_text().splitlines()
    assert lines[wrong.span.line - 1].startswith("lora_r:")
    assert wrong.code == "R820"
    assert wrong.message.startswith("Axolotl refuses `lora_r`: Input should be a valid integer")
    (dropped,) = asked["key"].diagnostics
    assert (dropped.code, dropped.message) == ("R822", "Axolotl would drop `lora_dropuot` without a word")
    unnamed = replace(asked["type"].answer.problems[0], keys=())
    (whole,) = diagnose(asked["type"].doc, Answer((unnamed,)))
    assert (whole.code, whole.span.line) == ("R821", 1)


def test_our_verdict_on_mutated_recipes_is_axolotls(all_asked: AllAsked) -> None:
    """The bounded form of `make differential`: nothing is accepted here that Axolotl refuses."""
    found = Counter(each.verdict for each in all_asked.mutated)
    assert len(all_asked.mutated) > MUTATED / 2
    looser = [
        (each.mutated.base, each.mutated.what, each.theirs) for each in all_asked.mutated if each.verdict == "looser"
    ]
    assert looser == []
    assert min(found["both accept"], found["both refuse"]) > MUTATED / 10
    assert rate(found) > 0.95, [each for each in all_asked.mutated if each.verdict == "stricter"]


def test_what_the_plan_advises_is_accepted(asked: dict[str, Asked]) -> None:
    """`--fit` would be worth nothing if the engine refused what it finds."""
    advised = {name: each.said for name, each in asked.items() if name.startswith("advised")}
    assert len(advised) == len(SMALLER)
    assert {name: said for name, said in advised.items() if said} == {}


def test_a_model_of_experts_in_4_bits_quantizes_its_experts(asked: dict[str, Asked]) -> None:
    assert "quantize_moe_experts: true" in body("phase5/moe-mixtral-lora", *EXPERTS)["files"]["axolotl.yaml"]
    assert asked["experts"].said == ""


def test_trainingarguments_and_llm_compressor_really_refuse(built: Callable[[str], Environment]) -> None:
    bad = body("phase1/bert-mlm", trainer={"lr_scheduler_type": "nocosine"})
    (answer,) = ask("by_transformers", built("axolotl"), [bad])
    assert "nocosine" in answer.problems[0].said
    bad = body("phase3/quantize-gptq-13b", quantize={"block_size": "many"})
    unknown = body("phase3/quantize-gptq-13b", quantize={"scheme": "W3A5"})
    size, scheme = ask("by_llmcompressor", built("llmcompressor"), [bad, unknown])
    assert size.problems[0].keys[0] == "block_size"
    assert "W3A5" in scheme.problems[0].said
