"""`runner doctor` and `runner env`, as typed."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from runner.cli import doctor, env
from runner.engines import locks
from runner.engines.environment import READY, environment
from runner.gpus import Gpu
from runner.machine import Machine
from runner.recipe.box_file import find_box
from runner.recipe.load import Refused

H100 = Gpu("NVIDIA H100 80GB HBM3", 79.6, 79.1, "sm_90")
BIG = Machine(
    system="Linux 6.8 x86_64",
    python="3.11.7",
    cores=52,
    ram_gib=442,
    ram_available_gib=430,
    disk_free_gib=2000,
    disk="/data",
    gpus=(H100, H100),
    driver="580.95.05",
    driver_cuda="13.0",
    nvlink=18,
    cxx="/usr/bin/c++",
    nvcc="/usr/local/cuda/bin/nvcc",
    nvcc_version="13.0",
    cuda_home="/usr/local/cuda",
)
SMALL = Machine("Linux 6.8 x86_64", "3.11.7", 2, 23.5, 3.0, 67, "/work")
RECIPE = "recipe: 1\nkind: finetune\ntitle: a try\nbox: 2xh100\nbase_model: x\n"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "recipes" / "phase4"
    folder.mkdir(parents=True)
    (folder / "plain.yaml").write_text(RECIPE)
    (folder / "offload.yaml").write_text(RECIPE + "deepspeed: zero3_offload\n")
    (folder / "inline.yaml").write_text(
        RECIPE + "deepspeed:\n  zero_optimization:\n    stage: 2\n    offload_optimizer: {device: cpu}\n"
    )
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "tiny.txt").write_text("tiny==1.0\n")
    monkeypatch.setattr(locks, "FOLDER", tmp_path / "locks")
    monkeypatch.setenv("RUNNER_PROJECT", str(tmp_path))
    monkeypatch.setenv("RUNNER_CACHE", str(tmp_path / "cache"))
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, machine: Machine, *args: str) -> Result:
    monkeypatch.setattr(doctor, "probe", lambda root: machine)
    return CliRunner().invoke(doctor.command, list(args))


def built(engine: str = "tiny") -> Path:
    """A folder that passes for a finished environment."""
    made = environment(engine)
    made.python.parent.mkdir(parents=True)
    made.python.symlink_to(sys.executable)
    record = {"engine": engine, "bytes": 5_000_000_000, "seconds": 99, "versions": {engine: "1.0"}, "built": "today"}
    (made.path / READY).write_text(json.dumps(record))
    return made.path


def test_what_a_small_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, SMALL)
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0] == "machine"
    assert "warning memory 23.5 GiB, 3.0 GiB available" in lines
    assert "missing nvidia no GPU; every recipe runs in small with PROFILE=smoke" in lines
    assert "missing tiny made on first use, or by `runner env build tiny`" in lines
    assert result.stderr == ""
    assert "\x1b" not in result.output


def test_what_a_big_machine_has(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    made = built()
    stale = made.with_name("tiny-0123456789ab")
    stale.mkdir()
    text = run(monkeypatch, BIG).stdout
    assert "gpu 0      NVIDIA H100 80GB HBM3, 79.6 GiB (79.1 GiB free), sm_90" in text
    assert "driver     580.95.05, CUDA up to 13.0" in text
    assert "nvlink     18 links per GPU" in text
    assert f"1.0 in {made}" in text
    assert "1 of older locks, 0.0 GB; `runner env remove --stale` deletes them" in text


def test_a_recipe_that_this_machine_meets(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, BIG, "phase4/plain")
    assert result.exit_code == 0
    assert "this machine meets the box of phase4/plain (2xh100)" in result.stdout


def test_a_recipe_that_it_does_not_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, SMALL, "phase4/plain")
    assert result.exit_code == 1
    assert "<this machine>: error[R310]: box `2xh100` has 2 GPUs (NVIDIA H100 80GB HBM3)" in result.stderr
    assert "make recipe R=phase4/plain PROFILE=smoke" in result.stderr
    assert "error[R312]" in result.stderr


@pytest.mark.parametrize("recipe", ["phase4/offload", "phase4/inline"])
def test_offload_needs_compilers(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, BIG, recipe).exit_code == 0
    result = run(monkeypatch, replace(BIG, nvcc="", cuda_home=""), recipe)
    assert result.exit_code == 1
    assert "error[R320]: there is no CUDA toolkit" in result.stderr
    assert run(monkeypatch, replace(BIG, nvcc="", cuda_home=""), "phase4/plain").exit_code == 0


def test_json_has_stable_names(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, SMALL, "phase4/plain", "--json")
    assert result.exit_code == 1
    data = json.loads(result.stdout)
    assert list(data) == ["machine", "environments", "recipe", "box", "meets_box", "diagnostics"]
    assert data["machine"]["cores"] == 2
    assert data["environments"][0]["engine"] == "tiny"
    assert (data["recipe"], data["box"], data["meets_box"]) == ("phase4/plain", "2xh100", False)
    assert [d["code"] for d in data["diagnostics"]] == ["R310", "R312"]
    alone = json.loads(run(monkeypatch, BIG, "--json").stdout)
    assert (alone["recipe"], alone["meets_box"], alone["diagnostics"]) == (None, None, [])
    assert alone["machine"]["gpus"][0]["compute_capability"] == "sm_90"


def invoke(*args: str) -> Result:
    return CliRunner().invoke(env.command, list(args))


def test_env_lists_and_removes() -> None:
    assert "tiny  not built" in invoke("list").stdout
    made = built()
    stale = made.with_name("tiny-0123456789ab")
    stale.mkdir()
    lines = invoke("list").stdout.splitlines()
    assert lines[0].split() == ["tiny", "stale", "0.0", "GB", str(stale)]
    assert lines[1].split() == ["tiny", "ready", "5.0", "GB", str(made)]
    data = json.loads(invoke("list", "--json").stdout)
    assert [(row["engine"], row["state"]) for row in data] == [("tiny", "stale"), ("tiny", "ready")]

    assert invoke("remove").exit_code == 2
    assert invoke("remove", "tinny").exit_code == 2
    assert f"removed {stale}" in invoke("remove", "--stale").stdout
    assert made.is_dir()
    assert invoke("remove", "--stale").stdout == "nothing stale\n"
    assert f"removed {made}" in invoke("remove", "tiny").stdout
    assert not made.exists()


def test_env_build_knows_its_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    result = invoke("build", "axolotle")
    assert result.exit_code == 2
    assert "axolotl" in result.stderr


def test_a_box_file_for_this_machine(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    monkeypatch.setattr(doctor.platform, "node", lambda: "GPU_box-7.example.org")
    done = run(monkeypatch, BIG, "--write-box")
    file = project / "boxes" / "gpu-box-7.yaml"
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == f"wrote {file}\n"
    box = find_box("gpu-box-7", project)
    assert (box.gpus, box.gpu, box.gpu_memory_gib, box.cores, box.ram_gib) == (2, H100.name, 79.1, 52, 442)
    assert box.disk_gib == 2000
    assert run(monkeypatch, BIG, "--write-box", "-").stdout == file.read_text()


def test_a_box_file_is_not_overwritten(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    file = project / "mine.yaml"
    file.write_text("gpus: 0\n")
    with pytest.raises(Refused) as caught:
        CliRunner().invoke(doctor.command, ["--write-box", str(file)], catch_exceptions=False)
    (found,) = caught.value.diagnostics
    assert (found.code, found.help) == ("R019", "`--force` overwrites it, or name another PATH")
    assert file.read_text() == "gpus: 0\n"
    assert run(monkeypatch, SMALL, "--write-box", str(file), "--force").exit_code == 0
    assert find_box(str(file), project).cores == 2
    result = run(monkeypatch, SMALL, "--write-box", str(file / "below" / "it.yaml"))
    assert isinstance(result.exception, Refused)
    assert result.exception.diagnostics[0].message.startswith("can't write `")


@pytest.mark.parametrize("args", [("--write-box", "phase4/plain"), ("phase4/plain", "--write-box")])
def test_write_box_is_not_about_a_recipe(args: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, BIG, *args)
    assert result.exit_code == 2
    assert "--write-box" in result.stderr


def test_a_gpu_without_facts_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, replace(BIG, gpus=(Gpu("NVIDIA GB10", 0.0, 0.0, "sm_121"),)), "--write-box", "-")
    assert result.exit_code == 0
    assert "no facts about `NVIDIA GB10`; fill in `bf16_tflops` and `memory_gb_s`" in result.stderr


def test_a_host_called_like_a_shipped_box(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    monkeypatch.setattr(doctor.platform, "node", lambda: "cpu")
    assert run(monkeypatch, SMALL, "--write-box").stdout == f"wrote {project / 'boxes' / 'cpu-box.yaml'}\n"
