"""Two ranks that divide every matrix train what one process would, save it whole, and go on from a checkpoint."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from runner.engines.environment import Environment
from runner.record import read_metrics
from tests.engine.conftest import Smoke
from tests.engine.stand_ins import nightly


def rendered(scratch: Smoke, folder: Path) -> Path:
    done = scratch.call(
        "render", "phase2/parallel-tensor", "--profile", "smoke", "--set=max_steps=6", "--set=save_steps=3",
        "--out", str(folder),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def run(folder: Path) -> list[float]:
    done = subprocess.run(["bash", "launch.sh"], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    rows, _ = read_metrics(folder)
    return [row["loss"] for row in rows if "loss" in row]


@pytest.fixture(scope="module")
def divided(scratch: Smoke, axolotl: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    need = scratch.call("run", "phase1/data-fineweb-edu", "--profile", "smoke")
    assert need.returncode == 0, need.stderr
    folder = rendered(scratch, tmp_path_factory.mktemp("tensor") / "divided")
    run(folder)
    return folder


def test_the_losses_are_those_of_one_process(divided: Path, scratch: Smoke, tmp_path: Path) -> None:
    alone = rendered(scratch, tmp_path / "alone")
    config = yaml.safe_load((alone / "axolotl.yaml").read_text())
    config["tensor_parallel_size"] = 1
    config["plugins"].remove("tensor_parallel.TensorParallelPlugin")
    (alone / "axolotl.yaml").write_text(yaml.safe_dump(config))
    launch = (alone / "launch.sh").read_text()
    assert "--nproc_per_node 2" in launch
    (alone / "launch.sh").write_text(launch.replace("--nproc_per_node 2", "--nproc_per_node 1"))
    rows, _ = read_metrics(divided)
    assert [row["loss"] for row in rows if "loss" in row] == pytest.approx(run(alone), abs=0.02)


def test_what_is_left_is_whole(divided: Path, axolotl: Environment) -> None:
    code = "import sys, torch; from transformers import AutoModelForCausalLM\n"
    code += "a, b = (AutoModelForCausalLM.from_pretrained(p) for p in sys.argv[1:])\n"
    code += "print(a.model.layers[0].mlp.down_proj.weight.shape[1], a.config.intermediate_size,"
    code += " all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values())))"
    done = subprocess.run(
        [axolotl.python, "-c", code, str(divided / "output"), str(divided / "output/checkpoint-6")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    wide, meant, equal = done.stdout.split()[-3:]
    assert (wide, equal) == (meant, "True")


@nightly
def test_it_goes_on_with_each_ranks_own_states(divided: Path, scratch: Smoke, tmp_path: Path) -> None:
    again = rendered(scratch, tmp_path / "again")
    shutil.copytree(divided / "output/checkpoint-3", again / "output/checkpoint-3")
    assert {f.name for f in (again / "output/checkpoint-3").glob("optimizer-*")} == {"optimizer-0.pt", "optimizer-1.pt"}
    rows, _ = read_metrics(divided)
    whole = [row["loss"] for row in rows if "loss" in row]
    assert run(again) == pytest.approx(whole[3:], abs=1e-3)
    assert json.loads((again / "output/checkpoint-6/trainer_state.json").read_text())["global_step"] == 6
