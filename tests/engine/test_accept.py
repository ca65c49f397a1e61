"""What every recipe renders for two H100s is accepted by Axolotl's own validator and DeepSpeed's own config class."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from runner.engines import jobs_dir
from runner.engines.environment import Environment
from runner.facts.boxes import make_box
from runner.plan.fit import search
from runner.recipe.compose import compose
from runner.recipe.resolve import resolve
from tests.conftest import recipes_of
from tests.engine.conftest import Smoke


def verdicts(env: Environment, folders: list[Path]) -> dict[str, str | None]:
    done = subprocess.run(
        [env.python, str(jobs_dir() / "accept.py"), *map(str, folders)],
        env={**os.environ, "PYTHONPATH": str(jobs_dir()), "HF_HUB_OFFLINE": "1", "AXOLOTL_DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    rows = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("ACCEPT ")]
    assert len(rows) == len(folders), done.stderr[-2000:]
    return {Path(row["folder"]).name: row["error"] for row in rows}


def test_every_rendering_is_accepted(scratch: Smoke, axolotl: Environment, tmp_path: Path) -> None:
    folders = []
    for name in recipes_of("axolotl"):
        folder = tmp_path / name.replace("/", "_")
        done = scratch.call("render", name, "--out", str(folder))
        assert done.returncode == 0, done.stderr
        folders.append(folder)
    assert len(folders) > 25
    assert {k: v for k, v in verdicts(axolotl, folders).items() if v} == {}


def test_a_pipelines_config_is_refused_where_deepspeed_refuses_it(
    scratch: Smoke, axolotl: Environment, tmp_path: Path
) -> None:
    scratch.call("render", "phase2/parallel-pipeline", "--out", str(tmp_path / "pipe"))
    sharded = tmp_path / "pipe" / "deepspeed.json"
    sharded.write_text(json.dumps({**json.loads(sharded.read_text()), "train_batch_size": 7}))
    assert "train_batch_size" in str(verdicts(axolotl, [tmp_path / "pipe"])["pipe"])


def test_the_validators_really_refuse(scratch: Smoke, axolotl: Environment, tmp_path: Path) -> None:
    """The check above would be worth nothing if these passed too."""
    scratch.call("render", "phase2/zero3-13b", "--out", str(tmp_path / "batch"))
    sharded = tmp_path / "batch" / "deepspeed.json"
    config = json.loads(sharded.read_text())
    sharded.write_text(json.dumps({**config, "train_batch_size": 7}))
    scratch.call("render", "phase4/lora-13b", "--out", str(tmp_path / "key"))
    with (tmp_path / "key" / "axolotl.yaml").open("a") as out:
        out.write("lora_dropuot: 0.1\n")
    scratch.call("render", "phase4/lora-13b", "--out", str(tmp_path / "clash"))
    with (tmp_path / "clash" / "axolotl.yaml").open("a") as out:
        out.write("save_steps: 5\n")
    found = verdicts(axolotl, [tmp_path / "batch", tmp_path / "key", tmp_path / "clash"])
    assert "train_batch_size" in str(found["batch"])
    assert found["key"] == "axolotl drops lora_dropuot"
    assert "save_steps" in str(found["clash"])


def test_what_the_plan_advises_is_accepted(scratch: Smoke, axolotl: Environment, tmp_path: Path) -> None:
    """`--fit` would be worth nothing if the engine refused what it finds."""
    folders = []
    smaller = (("phase4/sft-13b", "RTX 4090"), ("phase4/full-13b", "A100-40GB"), ("phase2/pretrain-7b", "A100-40GB"))
    for name, gpu in smaller:
        doc = compose(scratch.project, scratch.project.recipe_file(name))
        opened = resolve(scratch.project, doc, "full", lambda recipe, profile: None)
        best = search(opened, make_box("pair", {"gpu": gpu, "gpus": 2})).best
        assert best is not None, f"nothing makes {name} fit two {gpu}"
        folder = tmp_path / name.replace("/", "_")
        sets = [f"--set={key}={json.dumps(value)}" for key, value in best.settings.items()]
        done = scratch.call("render", name, *sets, "--out", str(folder))
        assert done.returncode == 0, done.stderr
        folders.append(folder)
    assert {k: v for k, v in verdicts(axolotl, folders).items() if v} == {}


def test_a_model_of_experts_in_4_bits_quantizes_its_experts(
    scratch: Smoke, axolotl: Environment, tmp_path: Path
) -> None:
    sets = ["adapter=qlora", "load_in_4bit=true", "lora_target_linear=null", 'lora_target_modules=["q_proj","v_proj"]']
    sets += ["deepspeed=null", "lora_target_parameters=null"]
    folder = tmp_path / "experts"
    done = scratch.call("render", "phase5/moe-mixtral-lora", *(f"--set={s}" for s in sets), "--out", str(folder))
    assert done.returncode == 0, done.stderr
    assert "quantize_moe_experts: true" in (folder / "axolotl.yaml").read_text()
    assert verdicts(axolotl, [folder]) == {"experts": None}


ARGUMENTS = """
import json, os, sys, yaml, torch
from transformers import AutoConfig, TrainingArguments
from trainer import own_model
from trainer.settings import read_settings
from pathlib import Path
for file in sys.argv[1:]:
    settings = read_settings(Path(file))
    # these ask the hardware, which is not here
    given = {k: v for k, v in settings.arguments.items() if k not in ("bf16", "fp16", "tf32")}
    error = None
    try:
        TrainingArguments(**{**given, "use_cpu": True, "output_dir": "/tmp/none"})
        os.chdir(Path(file).parent)  # where the code of a class of one's own was rendered
        own_model.register(settings)
        if "architecture" in settings.own:
            config = dict(settings.own["architecture"])
            AutoConfig.for_model(config.pop("model_type"), **config)
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}"
    print("ACCEPT", json.dumps({"file": file, "error": error}))
"""


def test_every_stage_is_accepted_by_trainingarguments(scratch: Smoke, axolotl: Environment, tmp_path: Path) -> None:
    """The arguments but for what only a GPU can say, and the architecture as transformers' own config class."""
    for name in recipes_of("transformers"):
        assert scratch.call("render", name, "--out", str(tmp_path / name.replace("/", "_"))).returncode == 0
    files = [*tmp_path.glob("*/trainer.yaml"), *tmp_path.glob("*/finetune.yaml")]
    assert len(files) >= 6
    bad = tmp_path / "bad.yaml"
    bad.write_text(files[0].read_text().replace("lr_scheduler_type: ", "lr_scheduler_type: no"))
    done = subprocess.run(
        [axolotl.python, "-c", ARGUMENTS, *map(str, [*files, bad])],
        env={**os.environ, "PYTHONPATH": str(jobs_dir()), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    rows = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("ACCEPT ")]
    assert len(rows) == len(files) + 1, done.stderr[-2000:]
    assert [row["error"] for row in rows[:-1] if row["error"]] == []
    assert "lr_scheduler_type" in str(rows[-1]["error"]) or "not a valid SchedulerType" in str(rows[-1]["error"])
