"""What is read of a job; the jobs themselves are tests/engine's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runner.facts.boxes import load_box
from runner.launch.nodes import refuse_elsewhere
from runner.launch.slurm import EVENTS, Job, attached, events, exit_code, run_seconds
from runner.recipe.load import Refused
from tests.conftest import Bench
from tests.launch.test_supervise import recipe_of

LINES = """\
{"job": 7, "restart": 0, "time": 100, "event": "start", "nodes": "n[1-2]"}
{"job": 7, "restart": 0, "time": 160, "event": "requeue", "why": "the time limit is near"}
{"job": 7, "restart": 1, "time": 300, "event": "start", "nodes": "n[1-2]"}
{"job": 7, "restart": 2, "time": 400, "event": "start", "nodes": "n[1-2]"}
{"job": 7, "restart": 2, "time": 425, "event": "end", "code": "0"}
{"job": 8, "restart": 0, "time": 900, "event": "start", "nodes": "n1"}
{"job": 9, "resta"""


def test_what_a_job_wrote_of_itself(tmp_path: Path) -> None:
    assert (events(tmp_path, "7"), exit_code(tmp_path, "7"), run_seconds([])) == ([], None, 0)
    (tmp_path / EVENTS).write_text(LINES)
    assert len(events(tmp_path, "7")) == 5
    assert (exit_code(tmp_path, "7"), exit_code(tmp_path, "8"), exit_code(tmp_path, "9")) == (0, None, None)
    assert run_seconds(events(tmp_path, "7")) == 60 + 25  # how long the second start lasted nobody wrote


@pytest.mark.parametrize(
    ("job", "alive", "words"),
    [
        (
            Job("PENDING", "Resources", "", "2026-11-29T15:41"),
            True,
            "waits (Resources), to start 2026-11-29 15:41",
        ),
        (Job("PENDING", "(Priority)", "", "N/A"), True, "waits (Priority)"),
        (Job("PENDING"), True, "waits (PENDING)"),
        (Job("RUNNING", "", "n[1-2]", "2026-11-29T15:41:53"), True, "on n[1-2]"),
        (Job("REQUEUED"), True, "waits (REQUEUED)"),
        (Job("COMPLETED"), False, "waits (COMPLETED)"),
        (Job(""), False, "waits ()"),
    ],
)
def test_what_the_controller_says(job: Job, alive: bool, words: str) -> None:
    assert (job.alive, job.words()) == (alive, words)


@pytest.mark.parametrize(
    ("record", "job"),
    [
        ({}, None),
        ({"job": {"scheduler": "slurm", "id": "12"}}, "12"),
        ({"job": {"scheduler": "slurm", "id": "12", "state": "COMPLETED"}}, None),
        ({"job": "12"}, None),
    ],
)
def test_a_job_is_found_again_until_its_end_was_seen(record: dict[str, object], job: str | None) -> None:
    assert attached(record) == job


@pytest.mark.parametrize(
    ("box", "code"), [("slurm-4x8xh100", "R343"), ("sky-8xh100", "R346"), ("4x8xh100", "R314"), ("8xh100", None)]
)
def test_where_a_run_can_not_start(bench: Bench, monkeypatch: pytest.MonkeyPatch, box: str, code: str | None) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("SKYPILOT_NODE_RANK", raising=False)
    recipe = replace(recipe_of(bench), box=load_box(box))
    if code is None:
        refuse_elsewhere(recipe)
        return
    with pytest.raises(Refused) as caught:
        refuse_elsewhere(recipe)
    assert [d.code for d in caught.value.diagnostics] == [code]
    assert caught.value.diagnostics[0].help
    if code == "R346":  # on a machine that SkyPilot found it is an ordinary run
        monkeypatch.setenv("SKYPILOT_NODE_RANK", "0")
        refuse_elsewhere(recipe)
