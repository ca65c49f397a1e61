"""What is rendered for several nodes and for schedulers: golden files, and values that can't leave their place."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from runner import __version__
from runner.engines.nodes import nodes_of, on_box
from runner.facts.boxes import Box, load_box, make_box
from runner.render import render
from tests.conftest import ROOT
from tests.test_render import resolved

GOLDEN = ROOT / "tests/golden/nodes"
# recipe, profile, box -> files that are kept
CASES = {
    ("phase4/full-13b", "full", "slurm-4x8xh100"): ("launch.sh", "job.sbatch", "hosts.sh"),
    ("phase4/full-13b", "full", "sky-8xh100"): ("task.sky.yaml",),
    ("phase4/full-13b", "full", "sky-2x8xh100"): ("task.sky.yaml",),
    ("phase2/t5-small", "smoke", "slurm-2xcpu"): ("launch.sh", "job.sbatch"),
}


def on(name: str, profile: str, box: Box | str) -> dict[str, str]:
    files = render(on_box(resolved(name, profile), load_box(box) if isinstance(box, str) else box))
    shown = {}
    for file, text in files.items():
        text = re.sub(r"envs/(\w+)-[0-9a-f]{12}", r"envs/\1-HASH", text.replace(str(ROOT), "/project"))
        shown[file] = text.replace(f"runner {__version__}", "runner VERSION")
    return shown


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_golden(case: tuple[str, str, str]) -> None:
    files = on(*case)
    for name in CASES[case]:
        kept = GOLDEN / case[2] / case[0].replace("/", "-") / name
        if os.environ.get("UPDATE_EXPECTED"):
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(files[name])
        assert files[name] == kept.read_text()
        if name != "task.sky.yaml":
            done = subprocess.run(["bash", "-n"], input=files[name], text=True, capture_output=True)
            assert (done.returncode, done.stderr) == (0, "")


def test_nothing_changes_for_one_machine() -> None:
    files = on("phase4/full-13b", "full", "8xh100")
    assert "--standalone --nproc_per_node 8" in files["launch.sh"]
    assert not {"hosts.sh", "job.sbatch", "task.sky.yaml"} & set(files)
    assert "dynamic_checkpoint" not in files["axolotl.yaml"]


def test_ranks_are_those_of_all_nodes() -> None:
    files = on("phase4/full-13b", "full", "slurm-4x8xh100")
    assert "--nnodes 4 --nproc_per_node 8" in files["launch.sh"]
    assert '"train_batch_size": ' in files["deepspeed.json"]
    config, deepspeed = yaml.safe_load(files["axolotl.yaml"]), yaml.safe_load(files["deepspeed.json"])
    each = config["micro_batch_size"] * config["gradient_accumulation_steps"]
    assert deepspeed["train_batch_size"] == 32 * each
    assert config["dynamic_checkpoint"] == {"enabled": True, "check_interval": 1}


@pytest.mark.parametrize(
    ("name", "profile", "box", "nodes", "gpus"),
    [
        ("phase4/full-13b", "full", "slurm-4x8xh100", 4, 8),
        ("phase4/full-13b", "smoke", "slurm-4x8xh100", 4, 0),  # the pipeline on the cluster, tiny, on processors
        ("phase1/data-pile", "full", "slurm-4x8xh100", 1, 0),  # needs no GPU and has no ranks
        ("phase3/quantize-fp8-13b", "full", "slurm-4x8xh100", 1, 8),
        ("phase2/parallel-pipeline", "full", "slurm-4x8xh100", 4, 8),
        ("phase2/parallel-pipeline", "smoke", "slurm-2xcpu", 2, 0),
        ("phase1/gpt-nano", "full", "slurm-2xcpu", 2, 0),
    ],
)
def test_a_recipe_takes_the_nodes_that_its_engine_can_use(
    name: str, profile: str, box: str, nodes: int, gpus: int
) -> None:
    recipe = on_box(resolved(name, profile), load_box(box))
    assert (recipe.box.nodes, recipe.box.gpus, nodes_of(recipe)) == (nodes, gpus, nodes)
    script = render(recipe)["job.sbatch"]
    assert f"#SBATCH --nodes={nodes}\n" in script
    assert (f"#SBATCH --gres=gpu:{gpus}\n" in script) == bool(gpus)


def test_what_a_box_says_stands_in_the_job() -> None:
    given = {"type": "slurm", "partition": "gpu,long", "account": "me", "time_limit": "2-00", "save_before_s": 600,
             "gpu_type": "h100", "cpus_per_node": 96, "max_requeues": 2,
             "env": {"NCCL_IB_HCA": "mlx5; rm ~"}}  # fmt: skip
    box = make_box("mine", {"gpus": 4, "gpu": "H100", "nodes": 2, "network_gb_s": 200, "scheduler": given})
    script = on("phase4/full-13b", "full", box)["job.sbatch"]
    for line in (
        "--partition=gpu,long", "--account=me", "--time=2-00", "--signal=B:USR1@600", "--gres=gpu:h100:4",
        "--cpus-per-task=96",
    ):  # fmt: skip
        assert f"#SBATCH {line}\n" in script
    assert "export NCCL_IB_HCA='mlx5; rm ~'\n" in script
    assert "MAX_REQUEUES=2\n" in script
    assert "exclusive" not in script


def test_an_engine_that_saves_nothing_on_request_is_left_alone() -> None:
    script = on("phase3/quantize-fp8-13b", "full", "slurm-4x8xh100")["job.sbatch"]
    assert "axolotl_checkpoint.save" not in script
    assert "goes on from what it saved last" in script


def test_a_node_that_was_not_told_which_it_is_says_so(tmp_path: Path) -> None:
    script = on("phase4/full-13b", "full", replace(load_box("4x8xh100"), name="four"))["launch.sh"]
    env = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "RUNNER_ENV": "/usr"}
    script = script.replace('PYTHON="$RUNNER_ENV/bin/python"', "PYTHON=/bin/true")
    (tmp_path / "launch.sh").write_text(script)
    done = subprocess.run(["bash", "launch.sh"], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: this is one node's part of 4: set NODE_RANK and MASTER_ADDR, or use hosts.sh\n"
