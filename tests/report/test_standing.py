"""What run records say of the plan: full and smoke told apart, served endpoints, runs cut short, deliverables."""

from __future__ import annotations

from typing import Any

import pytest

from runner.curriculum import curriculum
from runner.project import Project
from runner.record import point_latest, write_json
from runner.report.standing import deliverables, standing
from tests.conftest import Bench


def record(project: Project, recipe: str, profile: str, run: str, status: str, **more: Any) -> None:
    """As `runner run` leaves it; a finished run as written becomes `latest`, one with `sets` does not."""
    folder = project.artifacts / recipe / profile / run
    folder.mkdir(parents=True)
    write_json(folder / "run.json", {"recipe": recipe, "profile": profile, "run": run, "status": status, **more})
    if status == "finished" and not more.get("sets"):
        point_latest(folder)


def test_a_smoke_run_is_not_done(bench: Bench) -> None:
    record(bench.project, "phase4/dpo-13b", "smoke", "20260101-000000", "finished")
    found = standing(bench.project, "phase4/dpo-13b")
    assert (found.level, found.full) == ("smoked", None)
    assert standing(bench.project, "phase4/kto-13b").level == "new"


def test_a_finished_full_run_is_done_whatever_failed_since(bench: Bench) -> None:
    record(bench.project, "r", "full", "20260101-000000", "finished")
    record(bench.project, "r", "full", "20260102-000000", "failed")
    found = standing(bench.project, "r")
    assert found.level == "done"
    assert found.newest is None


@pytest.mark.parametrize(("status", "level"), [("running", "running"), ("failed", "failed"), ("interrupted", "failed")])
def test_what_has_not_finished_is_told(bench: Bench, status: str, level: str) -> None:
    record(bench.project, "r", "full", "20260101-000000", status)
    assert standing(bench.project, "r").level == level


def test_a_run_cut_short_proves_nothing(bench: Bench) -> None:
    record(bench.project, "r", "full", "20260101-000000", "finished", sets=["max_steps=5"])
    assert standing(bench.project, "r").level == "new"


def test_an_endpoint_counts_if_it_came_to_answer(bench: Bench) -> None:
    record(bench.project, "serve/x", "full", "20260101-000000", "stopped", kind="serve", measured={})
    assert standing(bench.project, "serve/x").level == "new"
    record(
        bench.project, "serve/x", "full", "20260102-000000", "stopped", kind="serve", measured={"ready_after_s": 61.5}
    )
    assert standing(bench.project, "serve/x").level == "done"


def test_deliverables_fill_themselves(bench: Bench) -> None:
    plan = curriculum()
    assert [state.done for state in deliverables(bench.project, plan)] == [0] * 7
    for recipe in plan.deliverables[1].proof:
        record(bench.project, recipe, "full", "20260101-000000", "finished")
    record(bench.project, plan.deliverables[5].proof[0], "smoke", "20260101-000000", "finished")
    found = deliverables(bench.project, plan)
    assert [state.deliverable.number for state in found if state.proven] == [2]
    assert (found[5].done, found[5].smoked) == (0, 1)
