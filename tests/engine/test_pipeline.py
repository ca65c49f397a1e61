"""A pipeline trains what one process would: the same losses and weights, from plain transformers and a plain loop."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runner.engines import jobs_dir
from runner.engines.environment import Environment
from runner.record import read_metrics
from tests.engine.conftest import Smoke
from tests.engine.stand_ins import nightly

# AutoModelForCausalLM with the pipeline's first weights, torch's own AdamW and clipping, the same blocks of data
PLAIN = """
import json, sys
import torch
from transformers import AutoConfig, AutoModelForCausalLM, get_scheduler
import pipeline

given = json.load(open("pipeline.json"))
settings = json.load(open("deepspeed.json"))["optimizer"]["params"]
settings.pop("torch_adam")
config = AutoConfig.from_pretrained("model", attn_implementation="eager")
state = {}
specs = pipeline.layers_of(config, given["seed"])
for spec in specs[:-1] if config.tie_word_embeddings else specs:
    piece = spec.build()
    state |= {piece.prefix + name: value for name, value in piece.inner.state_dict().items()}
model = AutoModelForCausalLM.from_config(config)
model.load_state_dict(state, strict=not config.tie_word_embeddings)
groups = [{"params": [p for p in model.parameters() if p.dim() > 1]},
          {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0}]
optimizer = torch.optim.AdamW(groups, **settings)
schedule = get_scheduler(given["schedule"]["name"], optimizer, given["schedule"]["warmup_steps"], given["max_steps"],
                         scheduler_specific_kwargs=given["schedule"]["settings"])
blocks, micros, losses, norms = pipeline.Blocks(given, 1, 0), given["gradient_accumulation_steps"], [], []
for step in range(given["max_steps"]):
    found = []
    for ids, labels in blocks.of_step(step):
        loss = torch.nn.functional.cross_entropy(model(ids).logits.flatten(0, 1), labels.flatten())
        (loss / micros).backward()
        found.append(loss.item())
    norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)))
    optimizer.step(), schedule.step(), optimizer.zero_grad()
    losses.append(sum(found) / micros)
left = AutoModelForCausalLM.from_pretrained("output", dtype=torch.float32)
ids = next(blocks.of_step(0))[0]
with torch.no_grad():
    apart = float((left(ids).logits - model(ids).logits).abs().max())
print("PLAIN " + json.dumps({"losses": losses, "norms": norms, "apart": apart}))
"""


@dataclass(frozen=True)
class Folder:
    path: Path
    env: Environment

    def run(self, code: int = 0) -> str:
        done = subprocess.run(["bash", "launch.sh"], cwd=self.path, capture_output=True, text=True, timeout=300)
        assert done.returncode == code, done.stdout[-2000:] + done.stderr[-3000:]
        return done.stdout

    def column(self, name: str) -> list[float]:
        rows, _ = read_metrics(self.path)
        return [row[name] for row in rows if name in row]

    def plain(self) -> dict[str, Any]:
        done = subprocess.run(
            [self.env.python, "-c", PLAIN],
            cwd=self.path,
            env={**os.environ, "PYTHONPATH": str(jobs_dir()), "DS_ACCELERATOR": "cpu", "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        said = [line[6:] for line in done.stdout.splitlines() if line.startswith("PLAIN ")]
        found: dict[str, Any] = json.loads(said[0])
        return found


SHARDS = "prepared: ${needs.data.dataset}\ntokenizer_config: ${needs.data.tokenizer}\n"
TEXT = """\
tokenizer_config: EleutherAI/gpt-neox-20b
datasets:
  - {path: HuggingFaceFW/fineweb-edu, name: sample-10BT, split: train, field: text}
"""


def rendered(scratch: Smoke, axolotl: Environment, folder: Path, *sets: str) -> Folder:
    """The shipped recipe on text, which the run makes into shards itself, so that it stands alone."""
    shipped = scratch.project.recipe_file("phase2/parallel-pipeline").read_text()
    alone = shipped.replace("needs:\n  data: phase1/data-fineweb-edu\n", "").replace(SHARDS, TEXT)
    assert "${needs" not in alone
    scratch.project.recipe_file("phase2/pipeline-of-text").write_text(alone)
    done = scratch.call(
        "render", "phase2/pipeline-of-text", "--profile", "smoke", "--set=max_steps=8", "--set=save_steps=4",
        *(f"--set={s}" for s in sets), "--out", str(folder),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Folder(folder, axolotl)


@pytest.mark.parametrize(
    ("name", "sets"),
    [
        ("llama", ()),
        pytest.param(
            "tied", ("architecture.tie_word_embeddings=true", "activation_checkpoint_interval=1"), marks=nightly
        ),
        pytest.param(
            "qwen3",
            ("architecture.model_type=qwen3", "architecture.head_dim=32", "partition_method=uniform"),
            marks=nightly,
        ),
    ],
)
def test_it_learns_what_one_process_learns(
    name: str, sets: tuple[str, ...], scratch: Smoke, axolotl: Environment, tmp_path: Path
) -> None:
    folder = rendered(scratch, axolotl, tmp_path / name, *sets)
    folder.run()
    plain = folder.plain()
    assert folder.column("loss") == pytest.approx(plain["losses"], abs=2e-3)
    assert folder.column("grad_norm") == pytest.approx(plain["norms"], rel=2e-3)
    assert plain["losses"][-1] < plain["losses"][0] - 0.5
    assert plain["apart"] < 0.02, "logits of the saved model and of the plain one after eight steps"
    weights = json.loads((folder.path / "output/model.safetensors.index.json").read_text())["weight_map"]
    assert len(set(weights.values())) == 2, "each stage wrote its own file"
    assert ("lm_head.weight" in weights) == (name != "tied")


@nightly
def test_it_goes_on_from_its_newest_checkpoint(scratch: Smoke, axolotl: Environment, tmp_path: Path) -> None:
    whole = rendered(scratch, axolotl, tmp_path / "whole")
    whole.run()
    again = rendered(scratch, axolotl, tmp_path / "again")
    for kept in ("data", "output/checkpoint-4"):  # as a run that was killed after its first checkpoint leaves it
        shutil.copytree(whole.path / kept, again.path / kept)
    (again.path / "output/latest").write_text("checkpoint-4")
    again.run()
    assert again.column("loss") == pytest.approx(whole.column("loss")[4:], abs=1e-5)
    rows, _ = read_metrics(again.path)
    assert [row["step"] for row in rows if "loss" in row] == [5, 6, 7, 8]


@nightly
def test_in_16_bits_it_learns_nearly_the_same(scratch: Smoke, axolotl: Environment, tmp_path: Path) -> None:
    """The path of GPUs, BF16_Optimizer, whose sums of gradients are in 32 bits; smoke itself runs in 32 throughout."""
    folder = rendered(scratch, axolotl, tmp_path / "bf16")
    config = json.loads((folder.path / "deepspeed.json").read_text())
    config |= {"bf16": {"enabled": True}, "data_types": {"grad_accum_dtype": "fp32"}}
    (folder.path / "deepspeed.json").write_text(json.dumps(config))
    folder.run()
    assert folder.column("loss") == pytest.approx(folder.plain()["losses"], abs=0.03)
    saved = json.loads((folder.path / "output/config.json").read_text())
    assert saved["dtype"] == "bfloat16"


@nightly
def test_broken_data_is_named(scratch: Smoke, axolotl: Environment, tmp_path: Path) -> None:
    from runner.engines.deepspeed_pipeline import failure

    folder = rendered(scratch, axolotl, tmp_path / "broken")
    folder.run()
    shutil.rmtree(folder.path / "output")
    with (folder.path / "data/train/00000.ds").open("ab") as out:
        out.write(b"x")
    done = subprocess.run(["bash", "launch.sh"], cwd=folder.path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    said = failure(done.stdout + done.stderr)
    assert said is not None
    assert said.startswith("BadShards: ")
    assert "00000.ds" in said


def test_deepspeed_divides_layers_as_the_plan_says(axolotl: Environment) -> None:
    from runner.facts.partition import balanced, uniform

    cases = [([103, *[44] * 22, 0, 103], 2), ([103, *[44] * 22, 0, 103], 4), ([5, *[3] * 30, 1, 9], 8)]
    cases += [([0, *[1] * 22, 0, 0], 4), ([7, *[2] * 5, 0, 7], 3), ([1, 1, 1], 3), ([1, 2], 4)]
    code = "import json, sys; from deepspeed.runtime.utils import partition_balanced as b, partition_uniform as u\n"
    code += "found = [[b(w, p), u(len(w), p)] for w, p in json.loads(sys.argv[1])]\n"
    code += "print(json.dumps(found, default=int))"
    done = subprocess.run(
        [axolotl.python, "-c", code, json.dumps(cases)],
        env={**os.environ, "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == [[balanced(w, p), uniform(len(w), p)] for w, p in cases]
