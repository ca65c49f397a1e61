"""Prepared shards are looked at before an engine starts: what is torn, too large a vocabulary, too little text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.launch.shards import refuse_shards
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe
from tests.conftest import Bench
from tests.launch.test_supervise import recipe_of

RECIPE = """\
recipe: 1
kind: pretrain
title: From shards
architecture: {model_type: llama, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 4, vocab_size: 300}
tokenizer_config: some/tokenizer
prepared: shards
sequence_len: 16
micro_batch_size: 2
max_steps: 4
eval_steps: 2
learning_rate: 1e-3
"""


def shards(root: Path, *, train: int = 64, validation: int = 32, **changed: Any) -> Path:
    folder = root / "shards"
    splits = {}
    for name, tokens in (("train", train), ("validation", validation)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "0.ds").write_bytes(bytes(2 * tokens))
        splits[name] = {"tokens": tokens, "files": [{"path": f"{name}/0.ds", "tokens": tokens}]}
    manifest = {"format": 1, "token_bytes": 2, "vocab_size": 300, "splits": splits, **changed}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def opened(bench: Bench) -> Recipe:
    return recipe_of(bench, text=RECIPE)


def told(recipe: Recipe) -> list[tuple[str, int, str]]:
    with pytest.raises(Refused) as caught:
        refuse_shards(recipe)
    assert {d.code for d in caught.value.diagnostics} == {"R413"}
    return [(d.message, d.span.line, d.help) for d in caught.value.diagnostics]


def test_whole_shards_pass(bench: Bench) -> None:
    shards(bench.project.root)
    refuse_shards(opened(bench))


def test_no_manifest(bench: Bench) -> None:
    (shards(bench.project.root) / "manifest.json").unlink()
    ((message, line, _),) = told(opened(bench))
    assert "has no manifest.json" in message
    assert line == 6


@pytest.mark.parametrize("text", ["{", "[]", '{"token_bytes": 2}'])
def test_a_manifest_that_is_none(bench: Bench, text: str) -> None:
    (shards(bench.project.root) / "manifest.json").write_text(text)
    assert "can't be read" in told(opened(bench))[0][0]


def test_a_torn_and_a_missing_file_are_both_named(bench: Bench) -> None:
    folder = shards(bench.project.root)
    (folder / "train/0.ds").write_bytes(bytes(100))
    (folder / "validation/0.ds").unlink()
    (torn, _, help_), (missing, _, _) = told(opened(bench))
    assert "train/0.ds` has 100 bytes of 128" in torn
    assert "validation/0.ds` is missing" in missing
    assert help_ == "prepare the data again"


def test_a_vocabulary_beyond_the_models(bench: Bench) -> None:
    shards(bench.project.root, vocab_size=301)
    ((message, line, help_),) = told(opened(bench))
    assert message == "the data have a vocabulary of 301, the model one of 300"
    assert (line, help_) == (4, "set `vocab_size: 384`")


def test_too_little_text(bench: Bench) -> None:
    shards(bench.project.root, train=15, validation=15)
    (train, at, _), (held, where, _) = told(opened(bench))
    assert train == "the data have 15 tokens to train on, less than one row of 16"
    assert held == "the data have 15 tokens to evaluate on, less than one row of 16"
    assert (at, where) == (6, 10)
