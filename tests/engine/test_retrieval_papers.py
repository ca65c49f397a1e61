"""The ideas of REALM, RAG and RETRO in small: what retrieval is worth to a model that was trained here."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import Smoke
from tests.engine.stand_ins import nightly

READING = "phase5/retrieval-papers"
COMPARE = "phase5/retrieval-compare"
CHANCE = 1 / 12
pytestmark = nightly


@pytest.fixture(scope="module")
def results(smoked: Smoke) -> Path:
    return smoked.run(READING).path / "results"


@pytest.fixture(scope="module")
def reading(results: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((results / "summary.json").read_text())["reading"]
    return found


def of(rows: list[dict[str, Any]], size: int, passages: int, control: bool = False) -> dict[str, Any]:
    (row,) = [r for r in rows if (r["chunk_size"], r["passages"], r["control"]) == (size, passages, control)]
    return row


def test_closed_book_knows_what_it_was_taught_and_no_more(reading: list[dict[str, Any]]) -> None:
    closed = of(reading, 28, 0)
    assert closed["recall"] == 0
    assert closed["groups"]["new"] < 3.5 * CHANCE
    assert closed["groups"]["seen"] > 0.25


def test_retrieval_answers_what_no_model_can_know(reading: list[dict[str, Any]]) -> None:
    closed, opened, others = of(reading, 28, 0), of(reading, 28, 1), of(reading, 28, 1, control=True)
    assert opened["recall"] > 0.8
    assert opened["groups"]["new"] > closed["groups"]["new"] + 0.2
    assert opened["difference"]["low"] > 0
    assert others["recall"] < 0.2
    assert opened["exact"] > others["exact"] + 0.15


def test_more_passages_show_more_and_distract(reading: list[dict[str, Any]]) -> None:
    recalls = [of(reading, 28, k)["recall"] for k in (0, 1, 2, 4, 8)]
    assert recalls == sorted(recalls)
    assert of(reading, 28, 8)["exact"] < of(reading, 28, 1)["exact"] - 0.1


def test_small_passages_lose_whom_they_are_about(reading: list[dict[str, Any]]) -> None:
    assert of(reading, 16, 1)["recall"] < of(reading, 28, 1)["recall"] - 0.2
    assert of(reading, 112, 1)["recall"] > of(reading, 16, 1)["recall"]
    assert of(reading, 112, 1)["exact"] < of(reading, 28, 1)["exact"] - 0.15, "a large one has others' facts too"


def test_figures_and_tables(smoked: Smoke, results: Path, reading: list[dict[str, Any]]) -> None:
    with (results / "table.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [float(row["exact match"]) for row in table] == pytest.approx([row["exact"] for row in reading], abs=1e-3)
    assert (results / "reading.png").read_bytes().startswith(b"\x89PNG")
    assert "short answers" in (results / "table.md").read_text()
    metrics = smoked.run(READING).record["metrics"]
    assert metrics["score/0 of 28/exact"] == of(reading, 28, 0)["exact"]
    samples = [json.loads(line) for line in (results / "reading.jsonl").read_text().splitlines()]
    assert len(samples) == len(reading) * reading[0]["n"]


def test_neighbours_tell_what_a_chunk_will_say(smoked: Smoke) -> None:
    output = smoked.run(COMPARE).path / "output"
    with (output / "table.csv").open(newline="") as stream:
        loss = {row["child"]: float(row["loss"]) for row in csv.DictReader(stream)}
    assert loss["neighbour"] < min(loss["random"], loss["none"]) - 0.06
    assert abs(loss["random"] - loss["none"]) < 0.04, "a passage that tells nothing changes nothing"
    assert (output / "losses.png").stat().st_size > 5000
