"""`runner runs`: which runs it lists and what it says of each, and that its cache is never believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.project import Project
from runner.record import RECORD, write_json
from runner.report.history import INDEX, history
from tests.cli.conftest import Invoke
from tests.conftest import Bench


def ran(project: Project, recipe: str, run: str, profile: str = "full", **changes: Any) -> Path:
    """A run's folder with a record of training: an hour on two H100, 1.1 times as long as planned."""
    folder = project.artifacts / recipe / profile / run
    folder.mkdir(parents=True)
    record = {
        "run": run,
        "recipe": recipe,
        "kind": "finetune",
        "profile": profile,
        "status": "finished",
        "started": f"{run[:4]}-{run[4:6]}-{run[6:8]}T00:00:00+00:00",
        "seconds": 3600.0,
        "box": "2xh100",
        "predicted": {"time.hours": 1.0, "memory.peak_gib": 50.0, "disk.gib": 0},
        "measured": {"time.hours": 1.1, "memory.peak_gib": 40.0},
        "metrics": {"first_loss": 8.0, "loss": 1.5},
    }
    write_json(folder / RECORD, record | changes)
    return folder


@pytest.fixture
def filled(bench: Bench) -> Bench:
    ran(bench.project, "phase4/a", "20260101-000000")
    ran(bench.project, "phase4/a", "20260301-000000", status="failed", error="CUDA out of memory")
    ran(bench.project, "phase2/s/child-1", "20260201-000000", "smoke", box="cpu")
    ran(bench.project, "phase4/a-b", "20251201-000000")
    hidden = bench.project.artifacts / ".probes/phase4/a/full/20260401-000000"
    hidden.mkdir(parents=True)
    write_json(hidden / RECORD, {"status": "finished"})
    (bench.project.artifacts / "phase4/a/full/latest").symlink_to("20260101-000000")
    return bench


def listed(invoke: Invoke, *arguments: str) -> list[dict[str, Any]]:
    code, out, err = invoke("runs", "--json", *arguments)
    assert (code, err) == (0, "")
    found: list[dict[str, Any]] = json.loads(out)
    return found


def test_newest_first_with_cost_and_ratios(filled: Bench, invoke: Invoke) -> None:
    code, out, err = invoke("runs")
    assert (code, err) == (0, "")
    head, *lines = out.splitlines()
    assert head.split() == [
        "recipe",
        "profile",
        "run",
        "status",
        "when",
        "time",
        "cost",
        "measured/predicted",
        "result",
    ]
    assert [line.split()[0] for line in lines] == ["phase4/a", "phase2/s/child-1", "phase4/a", "phase4/a-b"]
    assert lines[0].endswith("CUDA out of memory")
    assert "1.0 h  $8.38  time x1.10, memory x0.80  loss 8.000 -> 1.500" in lines[2]
    assert " - " in lines[1], "a box of one's own has no price"


def test_what_is_asked_for(filled: Bench, invoke: Invoke) -> None:
    def places(*arguments: str) -> list[str]:
        return [f"{row['recipe']} {row['run'][:6]}" for row in listed(invoke, *arguments)]

    assert places("--recipe", "phase4/a") == ["phase4/a 202603", "phase4/a 202601"]
    assert places("--recipe", "phase2") == ["phase2/s/child-1 202602"]
    assert places("--profile", "smoke") == ["phase2/s/child-1 202602"]
    assert places("--status", "failed") == ["phase4/a 202603"]
    assert places("--since", "2026-02-01") == ["phase4/a 202603", "phase2/s/child-1 202602"]
    assert places("--limit", "1") == ["phase4/a 202603"]


def test_nothing_like_that(filled: Bench, invoke: Invoke) -> None:
    assert invoke("runs", "--recipe", "phase4/a", "--profile", "smoke").err == "nothing like that has run yet\n"
    filled.write("phase4/aa")
    said = invoke("runs", "--recipe", "phase4/aaa")
    assert said.code == 1
    assert "did you mean `phase4/aa`?" in said.err
    assert invoke("runs", "--since", "yesterday").code == 2


def test_the_cache_is_not_believed(filled: Bench, invoke: Invoke) -> None:
    index = filled.project.artifacts / INDEX
    first = listed(invoke)
    assert index.is_file()
    record = filled.project.artifacts / "phase4/a/full/20260301-000000" / RECORD
    write_json(record, json.loads(record.read_text()) | {"status": "interrupted"})
    assert listed(invoke)[0]["status"] == "interrupted"
    record.unlink()
    assert len(listed(invoke)) == len(first) - 1
    rest = listed(invoke)
    for damage in ("", "{", "[]", '{"format": 1}', index.read_text().replace('"place"', '"elsewhere"')):
        index.write_text(damage)
        assert listed(invoke) == rest, damage[:40]


def test_records_that_are_none_are_left_out(bench: Bench) -> None:
    for number, text in enumerate(("", "[1]", "{", "\0")):
        folder = bench.project.artifacts / f"a/full/2026010{number}-000000"
        folder.mkdir(parents=True)
        (folder / RECORD).write_text(text)
    strange = ran(bench.project, "b", "20260101-000000", metrics={"loss": "x"}, seconds=None, box=3, predicted=[1])
    [found] = history(bench.project)
    assert bench.project.artifacts / found.place == strange
    assert (found.headline, found.seconds, found.box, found.ratios) == ("", 0.0, "", {})


def test_a_title_can_not_write_to_the_terminal(bench: Bench, invoke: Invoke) -> None:
    ran(bench.project, "a", "20260101-000000", error="\x1b[2Jgone\nand more")
    assert "\x1b" not in invoke("runs").out
    assert len(invoke("runs").out.splitlines()) == 2
