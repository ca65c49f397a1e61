"""Every shipped recipe trains for real on CPU, through the engine it names, and learns."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from runner.engines.environment import Environment
from runner.failures import find
from runner.jobs.shards import Shards, read_manifest
from runner.record import read_metrics
from tests.conftest import recipes_of
from tests.engine.conftest import Smoke
from tests.engine.stand_ins import each, nightly

RECIPES = [name for engine in ("axolotl", "transformers", "deepspeed_pipeline") for name in recipes_of(engine)]
PREFERENCE = ["phase4/dpo-13b", "phase4/dpo-34b", "phase4/orpo-13b", "phase4/kto-13b"]
# trains tokenizers, which have no loss
COMPARED = ["phase1/tokenizers"]
# rewards are sampled a few answers at a time and say little in a dozen steps; that they are there and finite is tested
SAMPLED = ["phase4/rlhf-13b"]


def why(smoked: Smoke, recipe: str) -> str:
    logs = sorted((smoked.project.artifacts / recipe / "smoke").glob("2*/log.txt"))
    said = logs[-1] if logs else smoked.project.root / "make.log"
    return said.read_text(errors="replace")[-3000:]


@pytest.mark.parametrize("recipe", each(RECIPES))
def test_it_finishes_and_learns(smoked: Smoke, recipe: str) -> None:
    if not (smoked.project.artifacts / recipe / "smoke" / "done").exists():
        pytest.fail(why(smoked, recipe))
    record = smoked.run(recipe).record
    assert record["status"] == "finished"
    assert record["engine"]["versions"]["deepspeed"].startswith("0.18.")
    assert record["engine"]["versions"]["axolotl"] == "0.19.0"
    metrics = record["metrics"]
    assert metrics["step"] == metrics["max_steps"] > 0
    if recipe not in (*SAMPLED, *COMPARED):
        assert metrics["loss"] < 0.85 * metrics["first_loss"]
    for output in record["outputs"]:
        assert output["bytes"] > 0
        assert (smoked.run(recipe).path / output["path"]).is_dir()


@pytest.mark.parametrize("recipe", each(recipes_of("datatrove")))
def test_data_are_prepared_for_tiny_models(smoked: Smoke, recipe: str) -> None:
    """What tiny models need: 2,048 tokens, the special ones with the ids that their configs have."""
    if not (smoked.project.artifacts / recipe / "smoke" / "done").exists():
        pytest.fail(why(smoked, recipe))
    run = smoked.run(recipe)
    dataset, tokenizer = (run.path / each["path"] for each in run.record["outputs"])
    manifest = read_manifest(dataset)
    assert (manifest["vocab_size"], manifest["eos_token_id"]) == (2048, 2)
    special = json.loads((tokenizer / "tokenizer.json").read_text())["added_tokens"]
    assert [each["content"] for each in special[:4]] == ["<unk>", "<s>", "<|im_end|>", "<pad>"]
    assert [each["id"] for each in special[:4]] == [0, 1, 2, 3]
    assert run.record["metrics"]["tokens"] == sum(split["tokens"] for split in manifest["splits"].values())
    assert run.record["metrics"]["tokens_per_s_per_core"] > 10_000
    assert len(Shards(dataset, "train", 128)) > len(Shards(dataset, "validation", 128)) > 0


def _rows(smoked: Smoke, recipe: str) -> list[dict[str, str]]:
    with (smoked.run(recipe).path / "output/runs.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("recipe", each(recipes_of("make")))
def test_a_sweep_runs_all_its_children(smoked: Smoke, recipe: str) -> None:
    if not (smoked.project.artifacts / recipe / "smoke" / "done").exists():
        pytest.fail(why(smoked, recipe))
    rows = _rows(smoked, recipe)
    if any(math.isnan(float(row["loss"])) for row in rows):
        # DeepSpeed's ZeRO on two processor ranks does so once in many runs, from one step to the next: trained again
        shutil.rmtree(smoked.project.artifacts / recipe)
        smoked.call("run", recipe, "--profile", "smoke", timeout=900)
        rows = _rows(smoked, recipe)
    run = smoked.run(recipe)
    children = json.loads((run.path / "points.json").read_text())
    assert [row["child"] for row in rows] == list(children)
    assert run.record["metrics"]["children"] == len(children) > 1
    for row in rows:
        assert float(row["flops"]) == 6 * float(row["params"]) * float(row["tokens"])
        assert 0 < float(row["loss"]) < 9
        if budget := row.get("axis.budget"):
            assert float(row["flops"]) == pytest.approx(float(budget), rel=0.1)


@nightly
def test_tiny_gpts_have_a_best_size_for_each_budget(smoked: Smoke) -> None:
    """The fit of the smoke sweep, as it is: minima that move right as the budget grows, and their intervals."""
    output = smoked.run("phase2/scaling-sweep").path / "output"
    isoflop = json.loads((output / "isoflop/fit.json").read_text())
    assert 0.2 < isoflop["optimal"]["a"]["value"] < 0.9
    chinchilla = json.loads((output / "chinchilla/fit.json").read_text())
    assert chinchilla["points"] == 14
    assert chinchilla["residuals"]["rmse_log_loss"] < 0.05
    for law, plot in (("isoflop", "isoflop"), ("chinchilla", "predicted"), ("chinchilla", "contours")):
        assert (output / law / f"{plot}.png").read_bytes().startswith(b"\x89PNG")


def test_a_model_from_scratch_speaks(smoked: Smoke) -> None:
    for recipe in ("phase1/gpt-nano", "phase4/lora-13b"):
        said = smoked.call("sample", recipe, "--profile", "smoke", "--prompt", "def ", "--max-new-tokens", "12")
        assert said.returncode == 0, said.stderr
        assert said.stdout.startswith("def ")
    drawn = smoked.call("curve", "phase1", "phase2", "--profile", "smoke")
    assert drawn.returncode == 0, drawn.stderr
    assert (smoked.project.artifacts / "curves/curves-smoke.png").stat().st_size > 50_000


@pytest.mark.parametrize("recipe", each(PREFERENCE))
def test_the_reward_margin_rises(smoked: Smoke, recipe: str) -> None:
    metrics = smoked.run(recipe).record["metrics"]
    assert metrics["rewards/margins"] > metrics["first_rewards/margins"] + 0.2


def test_rlhf_is_scored_by_the_trained_reward_model(smoked: Smoke) -> None:
    run = smoked.run("phase4/rlhf-13b")
    reward = smoked.run("phase4/reward-13b")
    upstream = {u["alias"]: u["run"] for u in run.record["upstream"]}
    assert upstream["reward"] == reward.id
    rows, _ = read_metrics(run.path)
    assert any("reward" in row for row in rows)
    assert str(reward.path) in (run.path / "axolotl.yaml").read_text()


def test_dpo_starts_from_the_merged_sft_model(smoked: Smoke) -> None:
    sft = smoked.run("phase4/sft-13b")
    assert {o["name"]: o["type"] for o in sft.record["outputs"]} == {"adapter": "adapter", "model": "model"}
    dpo = smoked.run("phase4/dpo-13b")
    assert (dpo.path / "base").resolve() == (sft.path / "output/merged").resolve()
    adapter = json.loads((dpo.path / "output/adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == str((sft.path / "output/merged").resolve())


@pytest.mark.parametrize(
    ("recipe", "stage", "written"),
    [
        ("phase2/zero2-13b", 2, "zero_pp_rank_1_mp_rank_00_optim_states.pt"),
        ("phase2/zero3-13b", 3, "zero_pp_rank_1_mp_rank_00_model_states.pt"),
    ],
)
def test_zero_shards_over_two_ranks(smoked: Smoke, recipe: str, stage: int, written: str) -> None:
    run = smoked.run(recipe)
    config = json.loads((run.path / "deepspeed.json").read_text())
    assert config["zero_optimization"]["stage"] == stage
    shards = {p.name for p in run.path.glob("output/checkpoint-*/global_step*/*")}
    assert written in shards


CHECK = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
for kind, path in json.loads(sys.argv[1]):
    tokenizer = AutoTokenizer.from_pretrained(path)
    asked = [{"role": "user", "content": "What is 2 plus 3?"}]
    text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    batch = tokenizer(text, return_tensors="pt")
    batch.pop("token_type_ids", None)
    if kind == "reward-model":
        model = AutoModelForSequenceClassification.from_pretrained(path, num_labels=1)
        # the score is read at the last token, so the text must end as in training: the template closes the turn
        def score(answer):
            told = asked + [{"role": "assistant", "content": answer}]
            ids = tokenizer(tokenizer.apply_chat_template(told, tokenize=False), return_tensors="pt")["input_ids"]
            return float(model(ids).logits.detach())
        print("REWARD", score("The answer is 5.") > score("no idea, leave me alone"))
    else:
        model = AutoModelForCausalLM.from_pretrained(path)
        out = model.generate(**batch, max_new_tokens=8, do_sample=False)
        print("SAID", tokenizer.decode(out[0][batch["input_ids"].shape[1]:]).replace("\\n", " "))
"""


def test_what_they_leave_loads_and_works(smoked: Smoke, left_out: frozenset[str], axolotl: Environment) -> None:
    """Merged and full models generate in plain transformers; the merged reward model ranks good over bad."""
    models = []
    lora = "phase4/lora-13b" if "phase4/lora-30b" in left_out else "phase4/lora-30b"
    for recipe in ("phase4/sft-13b", "phase4/dpo-13b", "phase2/zero3-13b", lora, "phase4/reward-13b"):
        run = smoked.run(recipe)
        output = next(o for o in run.record["outputs"] if o["name"] == "model")
        models.append((output["type"], str(run.path / output["path"])))
    done = subprocess.run(
        [axolotl.python, "-c", CHECK, json.dumps(models)],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = [line for line in done.stdout.splitlines() if line.startswith("SAID")]
    assert len(said) == 4
    assert all("The answer is" in line for line in said[:1]), said
    assert "REWARD True" in done.stdout


def test_no_log_of_a_healthy_run_is_taken_for_a_failure(smoked: Smoke, left_out: frozenset[str]) -> None:
    """Warnings that sound like errors stand in most of them."""
    read = 0
    for record in smoked.project.artifacts.glob("**/2*/run.json"):
        told = json.loads(record.read_text())
        # one that was killed by another test, and then went on, says so
        if told["status"] != "finished" or told.get("resumed") or len(told.get("attempts", ())) > 1:
            continue
        for log in (record.parent / "log.txt", *record.parent.glob("*.log")):
            found = find(log.read_text(errors="replace"))
            assert found is None, f"{log}: {found.failure.name}: {found.said}"
            read += 1
    assert read >= len(set(RECIPES) - left_out)


def test_the_second_time_nothing_runs(smoked: Smoke) -> None:
    before = smoked.run("phase4/dpo-13b").id
    again = smoked.call("run", "phase4/dpo-13b", "--profile", "smoke")
    assert again.returncode == 0, again.stderr
    assert "up to date" in again.stdout
    assert smoked.run("phase4/dpo-13b").id == before


def test_a_run_stands_alone(smoked: Smoke, axolotl: Environment, tmp_path: Path) -> None:
    """launch.sh by hand, from another folder, does what the runner did."""
    source = smoked.run("phase4/lora-13b").path
    copy = tmp_path / "by-hand"
    copy.mkdir()
    for name in ("launch.sh", "axolotl.yaml", "merge.yaml", "tiny.json"):
        (copy / name).write_text((source / name).read_text())
    (copy / "jobs").mkdir()
    for job in (source / "jobs").glob("*.py"):
        (copy / "jobs" / job.name).write_text(job.read_text())
    done = subprocess.run(["bash", str(copy / "launch.sh")], cwd="/", capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert (copy / "output" / "merged" / "model.safetensors").exists()
