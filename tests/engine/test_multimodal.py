"""Models that see, in smoke: they name colours and shapes of pictures that they have not seen."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from runner.engines.environment import Environment
from tests.engine.conftest import Smoke
from tests.engine.stand_ins import nightly

STAGES = ("phase5/llava-7b-projector", "phase5/llava-7b")


def test_it_names_colours_and_shapes(smoked: Smoke) -> None:
    found = smoked.run("phase5/llava-7b").record["metrics"]
    assert found["accuracy"] > found["chance"] + 0.4, found
    for question in ("What colour is it?", "What shape is it?"):
        assert found[f"accuracy/{question}"] > found["chance"] + 0.25, found
    rows = (smoked.run("phase5/llava-7b").path / "questions/answers.jsonl").read_text().splitlines()
    assert len(rows) == 200
    assert sum(json.loads(row)["right"] for row in rows) / 200 == found["accuracy"]


def test_the_second_stage_starts_from_the_first_ones_projector(smoked: Smoke, axolotl: Environment) -> None:
    first, second = map(smoked.run, STAGES)
    assert {u["alias"]: u["run"] for u in second.record["upstream"]} == {"projector": first.id}
    done = subprocess.run(
        [axolotl.python, "-c", CHANGED, str(first.path / "base"), *(str(r.path / "output") for r in (first, second))],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "drawn anew: model.multi_modal_projector.linear_2" in (first.path / "log.txt").read_text()
    projector, instructed = json.loads(done.stdout)
    assert projector == ["multi_modal_projector"]
    assert instructed == ["language_model", "lm_head", "multi_modal_projector"]


CHANGED = """
import json, sys
from pathlib import Path
from safetensors.torch import load_file
parts = ("vision_tower", "multi_modal_projector", "lm_head", "language_model")
def weights(folder):
    found = {}
    for file in Path(folder).glob("*.safetensors"):
        found |= load_file(file)
    return found
def changed(before, after):
    assert before.keys() == after.keys()
    names = [n for n in before if not before[n].equal(after[n])]
    return sorted({next(p for p in parts if p in n) for n in names})
base, first, second = map(weights, sys.argv[1:])
print(json.dumps([changed(base, first), changed(first, second)]))
"""


@nightly
def test_an_adapter_on_the_language_model_is_merged(smoked: Smoke) -> None:
    """The merged model is what is asked: were nothing merged, as by Axolotl's own default, it would know nothing."""
    run = smoked.run("phase5/llava-13b-lora")
    found = run.record["metrics"]
    assert found["accuracy"] > found["chance"] + 0.15, found
    assert (run.path / "output/merged/model.safetensors").is_file()
    adapter = json.loads((run.path / "output/adapter_config.json").read_text())
    assert "language_model" in adapter["target_modules"]


@nightly
def test_vllm_serves_what_was_trained_and_is_asked_about_pictures(smoked: Smoke) -> None:
    """By OpenAI's interface, the picture in the request; a server that did not look would guess."""
    run = smoked.run("phase5/llava-13b-lora")
    told = json.loads((run.path / "questions/summary.json").read_text())
    assert (told["through"], told["questions"]) == ("vllm", 200)
    assert json.loads((run.path / "endpoint-state.json").read_text())["status"] == "stopped"


def test_rows_that_do_not_fit_are_refused_before_training(smoked: Smoke, axolotl: Environment, tmp_path: Path) -> None:
    """The same run with a shorter sequence: a picture's 16 tokens and the question do not go into 20."""
    source = smoked.run("phase5/llava-7b-projector").path
    for name in ("jobs", "base"):
        (tmp_path / name).symlink_to(source / name)
    config = json.loads((source / "rows.json").read_text())
    (tmp_path / "rows.json").write_text(json.dumps(config | {"sequence_len": 20}))
    done = subprocess.run(
        [axolotl.python, "-m", "multimodal", "rows", "rows.json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": "jobs", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert said.startswith("multimodal: error: 1,000 rows have more tokens than `sequence_len` 20: captions 1 has ")
    assert ", 16 of them of its pictures; set `sequence_len` to " in said
    assert not (tmp_path / "rows" / "train-0.jsonl").exists()


def test_a_flamingo_opens_its_eyes(smoked: Smoke, axolotl: Environment) -> None:
    run = smoked.run("phase5/flamingo-small")
    found = run.record["metrics"]
    assert found["finetune/accuracy"] > found["finetune/chance"] + 0.4, found
    assert found["finetune/accuracy_blind"] < 0.15, "the language model alone can but guess"
    assert found["finetune/gates"] > 0
    done = subprocess.run(
        [axolotl.python, "-c", CLOSED, str(run.path / "output"), str(run.path / "finetuned")],
        env={**os.environ, "PYTHONPATH": str(run.path / "jobs"), "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"closed": True, "frozen": True, "open": True}


CLOSED = """
import json, sys
import torch
from transformers import AutoModelForCausalLM
from trainer.sight import Sighted, SightedConfig
language, seeing = sys.argv[1:]
before = AutoModelForCausalLM.from_pretrained(language).eval()
trained = Sighted.from_pretrained(seeing).eval()
new = Sighted(SightedConfig(language=before.config.to_dict(), vision=trained.config.vision), before).eval()
ids, picture = torch.tensor([[1, 40, 50, 60]]), torch.randn(1, 3, 56, 56)
with torch.no_grad():
    alone = before(input_ids=ids).logits
    print(json.dumps({
        "closed": torch.equal(new(ids, picture).logits, alone),
        "frozen": torch.equal(trained(ids).logits, alone),
        "open": not torch.allclose(trained(ids, picture).logits, alone, atol=1e-2),
    }))
"""
