"""What every serve recipe renders for two H100s is accepted by vLLM's own parser and its own config check."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from runner.engines import jobs_dir
from runner.engines.environment import Environment, ensure, environment
from runner.engines.serving import endpoint_spec
from runner.facts.models import catalogue
from runner.plan.serving.recipe import laid_out
from runner.project import Project
from runner.recipe.compose import compose
from runner.recipe.kinds import kind_schema
from runner.recipe.resolve import Recipe, resolve
from runner.recipe.rules.vllm.removed import REMOVED, SECRETS
from tests.conftest import ROOT, recipes_of

Case = dict[str, Any]
Verdicts = Callable[[list[Case]], dict[str, str | None]]


@pytest.fixture(scope="module")
def vllm() -> Environment:
    env = environment("vllm")
    ensure(env, lambda progress: None)
    return env


@pytest.fixture(scope="module")
def verdicts(vllm: Environment, tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    def ask(cases: list[Case]) -> dict[str, str | None]:
        file = tmp_path_factory.mktemp("accept") / "cases.json"
        file.write_text(json.dumps(cases))
        done = subprocess.run(
            [vllm.python, str(jobs_dir() / "accept_vllm.py"), str(file)],
            env={**os.environ, "PYTHONPATH": str(jobs_dir()), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
            timeout=400,
        )
        rows = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("ACCEPT ")]
        assert len(rows) == len(cases), done.stderr[-2000:]
        return {row["name"]: row["error"] for row in rows}

    return ask


def opened(name: str, *sets: str) -> Recipe:
    project = Project(ROOT)
    doc = compose(project, project.recipe_file(name), sets=sets)
    return laid_out(resolve(project, doc, "full", lambda recipe, profile: None))


def case(name: str, recipe: Recipe) -> Case:
    assert recipe.model is not None
    spec = endpoint_spec(recipe.values, engine="vllm", box=recipe.box, profile="full", name=recipe.name)
    assert len({len(replica["argv"]) for replica in spec["replicas"]}) == 1, "replicas differ in their port alone"
    config = dict(recipe.model.config)
    if "counts_as" in config:  # a class of one's own, which is served in test_custom.py: the arguments alone
        config["model_type"] = config["counts_as"]
    return {"name": name, "argv": spec["replicas"][0]["argv"], "config": config}


def by_hand(name: str, *words: str, model: str = "llama-2-13b") -> Case:
    return {"name": name, "argv": ["vllm", "serve", "MODEL", *words], "config": catalogue()[model].config}


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


def test_every_rendering_is_accepted_and_the_validators_really_refuse(verdicts: Verdicts) -> None:
    """In one process: importing vLLM takes longer than all of the cases."""
    names = recipes_of("vllm")
    assert len(names) >= 6
    good = [case(name, opened(name)) for name in names]
    good += [case(f"{name} for latency", opened(name, "layout=latency")) for name in ("serve/llama-2-13b",)]
    good.append(case("forms", opened("serve/llama-2-13b", *FORMS)))
    bad = [
        by_hand("flag", "--max-model-length", "4096"),
        by_hand("removed", "--swap-space", "4"),
        by_hand("type", "--max-num-seqs", "many"),
        by_hand("choice", "--kv-cache-dtype", "fp9"),
        by_hand("heads", "--tensor-parallel-size", "3"),
        by_hand("length", "--max-model-len", "8192"),
        by_hand("quantization", "--quantization", "bitsandbytes"),
    ]
    found = verdicts([*good, *bad])
    assert {name: error for name, error in found.items() if error and name in {c["name"] for c in good}} == {}
    said = {c["name"]: str(found[c["name"]]) for c in bad}
    assert "--max-model-length" in said["flag"]
    assert "--swap-space" in said["removed"]
    assert "invalid" in said["type"]
    assert "fp9" in said["choice"]
    assert "40" in said["heads"]
    assert "8192" in said["length"]
    assert "bitsandbytes" in said["quantization"]


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
