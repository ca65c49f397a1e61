"""`runner path`, `log` and `note`: from run records to what a learner sees."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from runner.curriculum import curriculum
from runner.project import Project
from runner.record import point_latest, write_json
from tests.cli.conftest import Invoke
from tests.conftest import ROOT, Bench


@pytest.fixture(autouse=True)
def _shipped_recipes(bench: Bench) -> None:
    bench.project.recipes.rmdir()
    bench.project.recipes.symlink_to(ROOT / "recipes")


def record(project: Project, recipe: str, profile: str, started: str, **more: Any) -> Path:
    """As `runner run` leaves it, begun at noon UTC of a day."""
    folder = project.artifacts / recipe / profile / f"{started.replace('-', '')}-120000"
    folder.mkdir(parents=True)
    told = {"recipe": recipe, "profile": profile, "started": f"{started}T12:00:00+00:00", "status": "finished"}
    write_json(folder / "run.json", {**told, "box": "2xh100", "seconds": 3600.0, **more})
    if more.get("status", "finished") == "finished":
        point_latest(folder)
    return folder


def test_the_path_tells_full_from_smoke(bench: Bench, invoke: Invoke) -> None:
    record(bench.project, "phase1/bert-mlm", "full", "2026-01-13")
    record(bench.project, "phase1/data-openwebtext", "smoke", "2026-01-13", box="cpu")
    said = invoke("path")
    assert said.code == 0
    recipes = sum(len(week.recipes) for week in curriculum().weeks)
    assert f"1 of {recipes} recipes done in full, 1 in smoke" in said.out
    assert re.search(r"\[s\]  2  .* 1/2 ", said.out)
    # an hour of the pair
    assert "Spent on full runs so far: $8.38." in said.out
    assert max(map(len, said.out.splitlines())) <= 80


def test_a_week_shows_what_it_stands_on(invoke: Invoke) -> None:
    said = invoke("path", "--week", "8")
    assert "https://arxiv.org/abs/2210.17323" in said.out
    assert "Made first where it is needed: phase4/sft-13b (7.8 hours, $65.66)." in said.out
    assert "make recipe R=phase3/quantize-fp8-13b PROFILE=smoke" in said.out


def test_the_start_is_kept(bench: Bench, invoke: Invoke) -> None:
    assert "--start" in invoke("path").out
    invoke("path", "--start", "2026-01-05")
    assert json.loads(invoke("path", "--json", "--week", "5").out)["start"] == "2026-01-05"
    assert "(2026-02-02 to 2026-02-08)" in invoke("path", "--week", "5").out
    (bench.project.artifacts / "path.json").write_text("[]")
    assert json.loads(invoke("path", "--json").out)["start"] is None


def test_json_of_the_path(bench: Bench, invoke: Invoke) -> None:
    for recipe in curriculum().deliverables[1].proof:
        record(bench.project, recipe, "full", "2026-01-13")
    told = json.loads(invoke("path", "--json").out)
    assert [len(told["weeks"]), len(told["deliverables"])] == [20, 7]
    assert [d["number"] for d in told["deliverables"] if d["proven"]] == [2]
    assert told["next"] == "phase1/tokenizers"
    beyond = [r["recipe"] for week in told["weeks"] for r in week["recipes"] if r["beyond"]]
    assert beyond == ["phase2/compute-optimal-2b-7b"]


def test_a_changed_recipe_is_planned_anew(bench: Bench, invoke: Invoke) -> None:
    bench.project.recipes.unlink()
    file = bench.write("phase1/gpt-1b", (ROOT / "recipes/phase1/gpt-1b.yaml").read_text())
    bench.write("phase1/data-fineweb-edu", (ROOT / "recipes/phase1/data-fineweb-edu.yaml").read_text())

    def hours() -> float:
        recipes = json.loads(invoke("path", "--week", "3", "--json").out)["weeks"][0]["recipes"]
        return float(next(r["predicted"]["hours"] for r in recipes if r["recipe"] == "phase1/gpt-1b"))

    kept = json.loads((ROOT / "data/costs.json").read_text())["recipes"]["phase1/gpt-1b"]["hours"]
    assert hours() == kept
    steps = re.search(r"^max_steps: (\d+)", file.read_text(), re.M)
    assert steps
    file.write_text(file.read_text().replace(steps[0], f"max_steps: {int(steps[1]) // 2}"))
    assert hours() == pytest.approx(kept / 2, rel=0.02)


@pytest.mark.parametrize("command", ["path", "log"])
def test_a_week_that_there_is_not(invoke: Invoke, command: str) -> None:
    said = invoke(command, "--week", "21", *(["--since", "2026-01-05"] if command == "log" else []))
    assert (said.code, "R480" in said.err) == (1, True)


def drafted(bench: Bench, invoke: Invoke) -> Path:
    said = invoke("log", "--week", "2", "--since", "2026-01-12")
    assert said.code == 0, said.err
    return bench.project.artifacts / "log" / "week-02.md"


def test_a_log_says_what_ran_and_what_failed(bench: Bench, invoke: Invoke) -> None:
    said, found = {"memory.peak_gib": 22.9, "time.hours": 1.27}, {"memory.peak_gib": 20.0, "time.hours": 1.0}
    metrics = {"first_loss": 10.0, "loss": 2.5}
    record(bench.project, "phase1/bert-mlm", "full", "2026-01-13", metrics=metrics, predicted=said, measured=found)
    record(bench.project, "phase4/dpo-13b", "full", "2026-01-14", status="failed", error="CUDA | out <of> memory")
    record(bench.project, "phase1/gpt-nano", "smoke", "2026-01-20")  # the week after
    text = drafted(bench, invoke).read_text()
    assert "| phase1/bert-mlm | full | 2xh100 | finished | 1.0 hours | loss 10.000 -> 2.500 |" in text
    assert "| phase1/bert-mlm | full | peak GiB | 22.9 | 20 | -13% |" in text
    assert "`phase4/dpo-13b` (full), failed: CUDA \\| out &lt;of> memory" in text
    assert "$16.76 at the boxes' hourly prices, of which $8.38 on runs that did not finish" in text
    assert "phase1/gpt-nano" not in text
    assert "- `phase1/data-openwebtext`" in text
    assert "- `phase1/bert-mlm`" not in text


def test_a_log_has_its_curves_beside_it(bench: Bench, invoke: Invoke) -> None:
    run = record(bench.project, "phase1/bert-mlm", "smoke", "2026-01-13", box="cpu")
    rows = [{"step": step, "loss": 5.0 / step} for step in range(1, 5)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    log = drafted(bench, invoke)
    assert "![week-02-curves](week-02-curves.png)" in log.read_text()
    assert (log.parent / "week-02-curves.png").read_bytes().startswith(b"\x89PNG")
    assert (log.parent / "week-02-curves.svg").is_file()


def test_what_a_person_wrote_in_a_log_is_kept(bench: Bench, invoke: Invoke) -> None:
    log = drafted(bench, invoke)
    log.write_text("my own head\n\n" + log.read_text().replace("One sentence for each paper", "Masking 15%"))
    record(bench.project, "phase1/bert-mlm", "full", "2026-01-13")
    text = drafted(bench, invoke).read_text()
    assert text.startswith("my own head\n")
    assert "Masking 15%" in text
    assert "| phase1/bert-mlm | full |" in text


@pytest.mark.parametrize("change", ["Nothing ran in these days.", "<!-- end of what is generated -->"])
def test_a_log_changed_where_we_write_is_left_alone(bench: Bench, invoke: Invoke, change: str) -> None:
    log = drafted(bench, invoke)
    mine = log.read_text().replace(change, "I was ill.")
    log.write_text(mine)
    said = invoke("log", "--week", "2", "--since", "2026-01-12")
    assert (said.code, "R482" in said.err) == (1, True)
    assert log.read_text() == mine


def test_a_log_needs_dates(invoke: Invoke) -> None:
    for arguments in (["log"], ["log", "--week", "5"]):
        said = invoke(*arguments)
        assert (said.code, "R481" in said.err) == (1, True)
        assert "runner path --start" in said.err


def test_a_note_is_started_once(bench: Bench, invoke: Invoke) -> None:
    assert invoke("note", "chinchilla").code == 0
    text = (bench.project.artifacts / "notes/chinchilla.md").read_text()
    assert "https://arxiv.org/abs/2203.15556" in text
    assert "- `phase2/scaling-sweep`: not run yet" in text
    assert "R017" in invoke("note", "chinchilla").err
    assert "week  4 * chinchilla" in invoke("note").out


def test_a_paper_misspelt(invoke: Invoke) -> None:
    said = invoke("note", "chinchila")
    assert (said.code, "R483" in said.err, "did you mean `chinchilla`?" in said.err) == (1, True, True)
