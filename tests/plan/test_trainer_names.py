"""A recipe in TrainingArguments' names is planned as the same recipe in Axolotl's."""

from __future__ import annotations

import pytest

from runner.plan.make import make_plan
from runner.plan.trainer_names import in_axolotls_names
from runner.project import Project
from runner.recipe.compose import compose
from runner.recipe.resolve import Recipe, resolve
from tests.conftest import ROOT, Bench

SHARED = """\
recipe: 1
title: A test
architecture: {model_type: gpt2, n_layer: 12, n_head: 12, n_embd: 768, n_positions: 1024, vocab_size: 50304}
tokenizer_config: openai-community/gpt2
sequence_len: 1024
gradient_accumulation_steps: 4
learning_rate: 6e-4
max_steps: 1000
bf16: true
"""
AXOLOTL = """\
kind: pretrain
micro_batch_size: 16
optimizer: adamw_torch_fused
pad_to_sequence_len: true
attn_implementation: sdpa
"""
TRAINER = "kind: causal-lm\nper_device_train_batch_size: 16\noptim: adamw_torch_fused\n"


def opened(bench: Bench, name: str, text: str) -> Recipe:
    return resolve(bench.project, compose(bench.project, bench.write(name, text)), "full", lambda r, p: None)


def test_the_same_run_has_the_same_plan(bench: Bench) -> None:
    data = "datasets: [{path: Salesforce/wikitext, type: completion}]\n"
    theirs = make_plan(opened(bench, "a", SHARED + AXOLOTL + data))
    ours = make_plan(opened(bench, "t", SHARED + TRAINER + data.replace(", type: completion", "")))
    for part in ("memory", "speed", "length", "step_tokens", "parameters", "trained_parameters"):
        assert getattr(ours, part) == getattr(theirs, part), part
    assert ours.length.tokens == 1000 * 2 * 16 * 4 * 1024


def test_defaults_are_transformers(bench: Bench) -> None:
    text = SHARED.replace("max_steps: 1000\n", "") + "kind: causal-lm\nprepared: /data/shards\n"
    values = in_axolotls_names(opened(bench, "t", text)).values
    assert (values["micro_batch_size"], values["num_epochs"]) == (8, 3.0)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("phase1/bert-mlm", 109_514_298),  # google-bert/bert-base-uncased with its head for masked words
        ("phase2/t5-small", 60_506_624),  # google-t5/t5-small
    ],
)
def test_the_shipped_recipes_are_the_models_they_name(name: str, parameters: int) -> None:
    project = Project(ROOT)
    recipe = resolve(project, compose(project, project.recipe_file(name)), "full", lambda r, p: None)
    plan = make_plan(recipe)
    assert plan.parameters == parameters
    assert plan.length.steps == recipe.values["max_steps"]
    assert any("`finetune`" in note for note in plan.notes)


def test_made_rows_are_counted(bench: Bench) -> None:
    text = """\
recipe: 1
kind: seq2seq
title: A test
architecture: {model_type: marian, d_model: 128, encoder_layers: 2, decoder_layers: 2, vocab_size: 512}
objective: text-to-text
datasets: [{generate: copy, rows: 500}, {generate: reverse}]
sequence_len: 32
per_device_train_batch_size: 50
num_train_epochs: 2
learning_rate: 1e-3
box: cpu
"""
    assert make_plan(opened(bench, "t", text)).length.steps == 2 * 1500 // 50
