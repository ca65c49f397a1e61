"""The recipes of transformers' own Trainer: what they learn besides a loss, and that a run that was stopped goes on."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from runner.engines.environment import Environment
from runner.record import read_metrics
from tests.engine.conftest import ROOT, RUNNER, Smoke
from tests.engine.stand_ins import nightly


def metrics(smoked: Smoke, recipe: str) -> dict[str, float]:
    found: dict[str, float] = smoked.run(recipe).record["metrics"]
    return found


def test_the_small_gpt_says_what_a_scaling_law_needs(smoked: Smoke) -> None:
    found = metrics(smoked, "phase1/gpt-nano")
    values = smoked.run("phase1/gpt-nano").record["values"]
    batch = values["per_device_train_batch_size"] * values["sequence_len"]
    assert found["tokens"] == found["max_steps"] * batch
    assert 0 < found["parameters_non_embedding"] < found["parameters"]
    assert found["eval_loss"] < 0.8 * found["first_loss"]


def test_bert_sorts_lines_far_better_than_by_guessing(smoked: Smoke) -> None:
    found = metrics(smoked, "phase1/bert-mlm")
    assert found["finetune/eval_accuracy"] > found["finetune/eval_majority"] + 0.25
    assert found["finetune/eval_f1"] > 0.75
    run = smoked.run("phase1/bert-mlm")
    config = json.loads((run.path / "finetuned/config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert {o["name"]: o["type"] for o in run.record["outputs"]} == {"model": "model", "classifier": "classifier"}


def test_the_transformer_copies_and_reverses(smoked: Smoke) -> None:
    found = metrics(smoked, "phase1/annotated-transformer")
    for task in ("copy", "reverse", "toy-translation"):
        assert found[f"exact_match/{task}"] > 0.9, found
        assert found[f"token_accuracy/{task}"] > 0.9, found


def test_t5_answers_in_words(smoked: Smoke) -> None:
    assert metrics(smoked, "phase2/t5-small")["finetune/exact_match"] > 0.75


def test_only_bytes_bring_every_text_back(smoked: Smoke) -> None:
    run = smoked.run("phase1/tokenizers")
    with (run.path / "output/table.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3 * 2 * 4
    for row in rows:
        exact = row["algorithm"] == "byte-bpe"
        assert (float(row["round_trip"]) == 1.0) >= exact
        assert (float(row["unknown_rate"]) == 0.0) >= exact
    for text in {row["text"] for row in rows} - {"other scripts"}:
        small, large = (
            float(
                next(r for r in rows if r["text"] == text and r["algorithm"] == "byte-bpe" and r["vocab_size"] == v)[
                    "tokens_per_word"
                ]
            )
            for v in ("1000", "4000")
        )
        assert large < small, "a larger vocabulary needs fewer tokens"
    for name in ("fertility.png", "fertility.svg", "sizes.png", "sizes.svg", "table.md"):
        assert (run.path / "output" / name).stat().st_size > 500


CHECK = """
import json, sys
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoModelForSequenceClassification, AutoTokenizer
from transformers import pipeline
nano, bert, seq, t5, tok = json.loads(sys.argv[1])
model, tokenizer = AutoModelForCausalLM.from_pretrained(nano), AutoTokenizer.from_pretrained(nano)
ids = tokenizer("import os", return_tensors="pt", add_special_tokens=False)["input_ids"]
print("SAID", len(tokenizer.decode(model.generate(ids, max_new_tokens=8)[0])) > 9)
model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(seq), AutoTokenizer.from_pretrained(seq)
ids = tokenizer("reverse : a b c d e f", return_tensors="pt", add_special_tokens=False)["input_ids"]
end = ids.new_full((1, 1), tokenizer.eos_token_id)
import torch
said = model.generate(torch.cat([ids, end], 1), max_new_tokens=16, do_sample=False)
print("REVERSED", tokenizer.decode(said[0], skip_special_tokens=True).strip())
AutoModelForSequenceClassification.from_pretrained(bert)
AutoModelForSeq2SeqLM.from_pretrained(t5)
tokenizer = AutoTokenizer.from_pretrained(tok)
print("BACK", tokenizer.decode(tokenizer("for é in 数:")["input_ids"]) == "for é in 数:")
"""


def test_what_they_leave_loads_and_works(smoked: Smoke, axolotl: Environment) -> None:
    places = [("gpt-nano", "output"), ("bert-mlm", "finetuned"), ("annotated-transformer", "output")]
    folders = [str(smoked.run(f"phase1/{name}").path / place) for name, place in places]
    folders += [str(smoked.run("phase2/t5-small").path / "finetuned")]
    folders += [str(smoked.run("phase1/tokenizers").path / "output/tokenizer")]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [axolotl.python, "-c", CHECK, json.dumps(folders)], env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = done.stdout.splitlines()
    assert "SAID True" in said
    assert "REVERSED f e d c b a" in said
    assert "BACK True" in said


@nightly
def test_a_run_that_was_stopped_goes_on(smoked: Smoke) -> None:
    """SIGINT to the runner: the trainer saves, and the same command trains only what is left."""
    sets = [
        "--set",
        "max_steps=300",
        "--set",
        "save_steps=1000",
        "--set",
        "eval_steps=1000",
        "--set",
        "logging_steps=5",
    ]
    command = [*RUNNER, "run", "phase1/gpt-nano", "--profile", "smoke", *sets]
    folder = smoked.project.artifacts / "phase1/gpt-nano/smoke"
    before = list(folder.glob("2*"))
    process = subprocess.Popen(command, cwd=smoked.project.root, env=smoked.env, stdout=subprocess.DEVNULL)
    begun = time.monotonic()
    while not (
        runs := [r for r in folder.glob("2*") if r not in before and any("loss" in row for row in read_metrics(r)[0])]
    ):
        assert process.poll() is None
        assert time.monotonic() - begun < 180
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    (run,) = runs
    saved = [int(p.name.split("-")[1]) for p in (run / "output").glob("checkpoint-*")]
    assert len(saved) == 1
    assert 0 < saved[0] < 300
    done = smoked.call(*command[len(RUNNER) :])
    assert done.returncode == 0, done.stdout + done.stderr
    rows, _ = read_metrics(run)
    steps = [row["step"] for row in rows if "loss" in row]
    assert steps == sorted(set(steps)), "no step was trained twice"
    record = json.loads((run / "run.json").read_text())
    assert record["metrics"]["step"] == 300
    assert record["metrics"]["tokens"] == 300 * 12 * 64
    assert len(record["resumed"]) == 1


@pytest.mark.parametrize(
    ("files", "said", "code"),
    [
        (
            [{"path": "train/0.ds", "tokens": 500, "documents": 1, "sha256": ""}],
            "is missing",
            1,
        ),  # told before anything starts
        ([], "has 0 tokens, less than one block of 65", 4),
    ],
)
def test_shards_that_cannot_be_read_are_named(
    smoked: Smoke, tmp_path: Path, files: list[dict[str, object]], said: str, code: int
) -> None:
    split = {"documents": 1, "tokens": 500, "files": files}
    manifest = {"format": 1, "token_bytes": 2, "vocab_size": 256, "eos_token_id": 1}
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "splits": {"train": split, "validation": split}}))
    sets = [f"prepared={tmp_path}", "tokenizer_config=null"]
    words = [word for each in sets for word in ("--set", each)]
    done = smoked.call("run", "phase1/gpt-nano", "--profile", "smoke", *words)
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@nightly
def test_the_benchmark_compares_like_with_like(axolotl: Environment) -> None:
    """Few steps, so that no speed is asked for: both loops learn the same from the same tokens."""
    import sys

    env = {**os.environ, "PYTHONPATH": str(ROOT), "RUNNER_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    command = [axolotl.python, "-m", "tests.benchmarks.small_gpt", "--json", "--steps", "200"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith('{"compile"')))
    losses = found["validation_loss"]
    assert abs(losses["trainer"] - losses["plain"]) < 0.1
    assert found["ratio"] > 0.6
