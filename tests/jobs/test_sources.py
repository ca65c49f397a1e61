"""Rows for training: what is generated is right and the same again, and nothing that is held out is trained on."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "runner" / "jobs"))  # as a run's own programs find them

from runner.jobs.trainer import generated
from runner.jobs.trainer.settings import BadSettings, Settings, read_settings
from runner.jobs.trainer.sources import labelled, pairs, texts
from runner.jobs.trainer.splits import split_rows

pytestmark = pytest.mark.slow


def settings(**own: Any) -> Settings:
    return Settings(own, {})


@pytest.mark.parametrize("name", generated.MADE)
def test_what_is_made_is_the_same_again_and_never_twice(name: str) -> None:
    rows = list(generated.rows(name, 60, 7))
    assert rows == list(generated.rows(name, 60, 7))
    assert rows != list(generated.rows(name, 60, 8))
    assert len(rows) == 60
    assert name in generated.REPEATED or len({row["text"] for row in rows}) == 60


def test_answers_are_right() -> None:
    for row in generated.rows("copy", 50, 0):
        assert row["text"] == f"copy : {row['target']}"
    for row in generated.rows("reverse", 50, 0):
        said = row["text"].removeprefix("reverse : ").split()
        assert row["target"].split() == said[::-1]


def test_the_toy_language_keeps_its_rules() -> None:
    for row in generated.rows("toy-translation", 200, 0):
        words, target = row["text"].removeprefix("translate : ").split(), row["target"].split()
        verb = next(word for word in words if word in generated.VERBS)
        assert ("never" in words) == (target[-1] == "ne")
        assert [word for word in target if word in generated.VERBS.values()] == [generated.VERBS[verb]]
        assert [generated.NOUNS[w] for w in words if w in generated.NOUNS] == [
            w for w in target if w in generated.NOUNS.values()
        ]


def test_code_and_prose_are_told_apart_by_the_parser() -> None:
    rows = list(generated.rows("code-or-prose", 400, 0))
    code = [row["text"] for row in rows if row["label"] == generated.CODE]
    prose = [row["text"] for row in rows if row["label"] == generated.PROSE]
    assert abs(len(code) - len(prose)) <= 5
    assert sum("(" in line or "=" in line or line.endswith(":") for line in code) > 0.7 * len(code)
    assert sum(line.count(" ") >= 2 for line in prose) > 0.8 * len(prose)


def test_files_are_read_by_column(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"sentence": f"s{i}", "label": i % 2}) + "\n" for i in range(4)))
    item = {"path": str(file), "field": "sentence", "target_field": "label", "labels": {0: "no", 1: "yes"}}
    assert list(texts([item])) == ["s0", "s1", "s2", "s3"]
    assert list(pairs({**item, "prefix": "is: "}))[:2] == [("is: s0", "no"), ("is: s1", "yes")]
    assert list(labelled(item))[1] == ("s1", 1)
    with pytest.raises(BadSettings, match="`rows` has no column `text`; it has sentence, label: set `field`"):
        list(texts([{"path": str(file)}]))
    file.write_text('{"sentence": "a"}\nnonsense\n')
    with pytest.raises(BadSettings, match=r"rows.jsonl:2: not a line of JSON"):
        list(texts([item]))
    with pytest.raises(BadSettings, match="no such file"):
        list(texts([{"path": str(tmp_path / "none.jsonl")}]))


def test_what_is_held_out_is_not_trained_on() -> None:
    same = [{"generate": "copy", "rows": 300, "seed": 5}]
    train, held = split_rows(settings(datasets=same, test_datasets=[{**same[0], "rows": 50}]), pairs, 0)
    assert (len(train), len(held)) == (250, 50)
    assert not {text for text, _ in train} & {text for text, _ in held}
    train, held = split_rows(settings(datasets=same, val_set_size=0.1), pairs, 0)
    assert (len(train), len(held)) == (270, 30)
    with pytest.raises(BadSettings, match="0 rows to train on and 300 to evaluate on"):
        split_rows(settings(datasets=same, test_datasets=same), pairs, 0)


def test_the_jobs_keys_are_told_from_transformers(tmp_path: Path) -> None:
    file = tmp_path / "trainer.yaml"
    file.write_text("objective: causal-lm\nsequence_len: 8\nlearning_rate: 0.1\ndatasets: [{path: /a/b.jsonl}]\n")
    found = read_settings(file)
    assert found.arguments == {"learning_rate": 0.1}
    assert found.objective == "causal-lm"
    assert not found.from_hub
    file.write_text("objective: causal-lm\ndatasets: [{generate: code}, {path: a/b}]\n")
    assert read_settings(file).from_hub
