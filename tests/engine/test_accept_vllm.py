"""vLLM's own parser and config check: each form of argument is accepted, and they really refuse."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from runner.engines import jobs_dir
from runner.engines.environment import Environment, ensure, environment
from runner.facts.models import catalogue
from runner.launch.validators import Answer, ask, cases_of
from runner.project import Project
from runner.recipe.compose import compose
from runner.recipe.kinds import kind_schema
from runner.recipe.resolve import resolve
from runner.recipe.rules.vllm.removed import REMOVED, SECRETS
from runner.render import render
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def vllm() -> Environment:
    env = environment("vllm")
    ensure(env, lambda progress: None)
    return env


def rendered(name: str, *sets: str) -> Mapping[str, Any]:
    project = Project(ROOT)
    doc = compose(project, project.recipe_file(name), sets=sets)
    recipe = resolve(project, doc, "full", lambda recipe, profile: None)
    (case,) = cases_of(recipe, render(recipe))
    return case.body


def by_hand(*words: str, model: str = "llama-2-13b") -> Mapping[str, Any]:
    server = {"argv": ["vllm", "serve", "MODEL", *words], "config": catalogue()[model].config}
    return {"files": {}, "servers": [server]}


# one of each form in which an argument is written
FORMS = [
    "enable_prefix_caching=false",
    "disable_log_stats=true",
    'served_model_name=["a","b"]',
    "speculative_config={method: ngram, num_speculative_tokens: 4, prompt_lookup_max: 4}",
    'allowed_origins=["https://example.org"]',
    "cudagraph_capture_sizes=[1, 2, 4]",
    "hf_overrides={rope_parameters: {rope_type: linear, factor: 2.0, rope_theta: 10000.0}}",
    "override_generation_config={temperature: 0.5}",
    "limit_mm_per_prompt={image: 0}",
    "structured_outputs_config={backend: xgrammar}",
    "seed=7",
    "lora_modules=[{name: sql, path: me/sql}]",
]


def test_each_form_is_accepted_and_they_really_refuse(vllm: Environment) -> None:
    """In one process: importing vLLM takes longer than all of the cases."""
    cases = {
        "latency": rendered("serve/llama-2-13b", "layout=latency"),
        "forms": rendered("serve/llama-2-13b", *FORMS),
        "flag": by_hand("--max-model-length", "4096"),
        "removed": by_hand("--swap-space", "4"),
        "type": by_hand("--max-num-seqs", "many"),
        "choice": by_hand("--kv-cache-dtype", "fp9"),
        "heads": by_hand("--tensor-parallel-size", "3"),
        "length": by_hand("--max-model-len", "8192"),
        "quantization": by_hand("--quantization", "bitsandbytes"),
    }
    found = dict(zip(cases, ask("by_vllm", vllm, list(cases.values())), strict=True))
    said = {name: _said(answer) for name, answer in found.items()}
    assert (said["latency"], said["forms"]) == ("", "")
    assert "--max-model-length" in said["flag"]
    assert "--swap-space" in said["removed"]
    assert found["type"].problems[0].keys == ("max_num_seqs",)
    assert "fp9" in said["choice"]
    assert "40" in said["heads"]
    assert "8192" in said["length"]
    assert "bitsandbytes" in said["quantization"]


def _said(answer: Answer) -> str:
    return "; ".join(problem.said for problem in answer.problems)


def test_the_schema_is_the_parsers(vllm: Environment) -> None:
    """What `make schemas` would write is what lies there, and no argument that it told to be gone has come back."""
    done = subprocess.run(
        [vllm.python, str(jobs_dir() / "vllm_schema.py")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    arguments = json.loads(done.stdout)["schema"]["properties"]
    ours = kind_schema("serve")["properties"]
    assert [key for key in arguments if key not in ours] == []
    assert [key for key in REMOVED if key in arguments] == []
    deprecated = {key for key, schema in ours.items() if schema.get("deprecated") and key not in arguments}
    assert deprecated == set(REMOVED)
    assert set(SECRETS) <= set(REMOVED)
