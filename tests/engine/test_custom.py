"""A model class of the user's own for real: trained, loaded from its run, evaluated, and served by vLLM's transformers
backend, which says the same as transformers itself."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.engines.environment import Environment
from runner.facts.families import architecture_of
from tests.engine.conftest import ROOT, Smoke
from tests.engine.serving import three_ports
from tests.engine.stand_ins import nightly

RECIPE = "phase5/custom-architecture"
SERVED = "serve/custom-gpt"
FILE = "recipes/phase5/custom-architecture/modeling_parallel_gpt.py"
WORKER = Path(__file__).with_name("own_model_worker.py")
PROMPT = "def "


@pytest.fixture(scope="module")
def output(smoked: Smoke) -> Path:
    return smoked.run(RECIPE).path / "output"


@pytest.fixture(scope="module")
def loaded(output: Path, axolotl: Environment) -> dict[str, Any]:
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [str(axolotl.python), str(WORKER), str(output), PROMPT], env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_run_holds_the_class_beside_the_weights(output: Path) -> None:
    assert (output / "modeling_parallel_gpt.py").read_text() == (ROOT / FILE).read_text()
    config = json.loads((output / "config.json").read_text())
    assert list(config["auto_map"]) == ["AutoConfig", "AutoModel", "AutoModelForCausalLM"]
    assert config["architectures"] == ["ParallelGPTForCausalLM"]


def test_anybody_loads_it_and_the_plan_counted_it_right(smoked: Smoke, output: Path, loaded: dict[str, Any]) -> None:
    assert (loaded["class"], loaded["blocks"]) == ("ParallelGPTForCausalLM", "ParallelBlock")
    counted = architecture_of(json.loads((output / "config.json").read_text()))
    assert counted.known
    assert loaded["parameters"] == counted.parameters == smoked.run(RECIPE).record["metrics"]["parameters"]
    assert loaded["looks_ahead"] == 0


def test_it_is_evaluated(smoked: Smoke) -> None:
    results = smoked.run("phase5/eval-custom-architecture").path / "results"
    assert json.loads((results / "summary.json").read_text())["tasks"]["smoke_choices"]["n"] == 78


@nightly
def test_it_is_compared_with_the_usual_order(smoked: Smoke) -> None:
    table = json.loads((smoked.run("phase5/custom-compare").path / "output/table.json").read_text())
    assert [row["child"] for row in table["rows"]] == [
        f"{name}-seed{seed}" for name in ("in-turn", "side-by-side") for seed in (1, 2)
    ]
    assert len({(row["params"], row["flops_per_token"], row["tokens"]) for row in table["rows"]}) == 1
    losses = [row["loss"] for row in table["rows"]]
    assert max(losses) < 7.3
    assert len(set(losses)) == 4


@pytest.fixture
def port(smoked: Smoke, output: Path) -> Iterator[int]:
    port = three_ports()
    sets = [word for each in (f"port={port}", "dtype=float32") for word in ("--set", each)]
    started = smoked.call("serve", SERVED, "--profile", "smoke", "--detach", *sets, timeout=900)
    assert started.returncode == 0, started.stdout + started.stderr
    yield port
    smoked.call("stop", SERVED)


def test_vllm_serves_it_and_says_the_same(port: int, loaded: dict[str, Any]) -> None:
    body = {"model": "custom-gpt", "prompt": PROMPT, "max_tokens": 12, "temperature": 0}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        assert json.load(answer)["choices"][0]["text"].rstrip("\n") == loaded["said"].rstrip("\n")


def test_code_that_does_not_run_ends_in_one_line(scratch: Smoke) -> None:
    need = scratch.call("run", "phase1/data-fineweb-edu", "--profile", "smoke")
    assert need.returncode == 0, need.stderr
    file = scratch.project.root / FILE
    broken = file.with_name("modeling_broken.py")
    broken.write_text(file.read_text().replace("from torch import", "import no_such_module\nfrom torch import"))
    recipe = scratch.project.recipe_file("phase5/broken")
    recipe.write_text(
        scratch.project.recipe_file(RECIPE).read_text().replace(FILE, str(Path(FILE).with_name(broken.name)))
    )
    line = broken.read_text().splitlines().index("import no_such_module") + 1
    done = scratch.call("run", "phase5/broken", "--profile", "smoke")
    recipe.unlink()
    broken.unlink()
    assert done.returncode == 4
    assert f"the model's code does not run: modeling_broken.py, line {line}: ModuleNotFoundError" in done.stderr
    assert "Traceback" not in done.stderr
