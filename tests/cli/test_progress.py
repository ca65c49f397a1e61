"""Progress where there is no terminal: plain lines, few enough to read in a log."""

from __future__ import annotations

import pytest

from runner.cli.progress import RunView, duration
from runner.engines import Step
from runner.launch.follow import Progress
from runner.recipe.compose import compose
from runner.recipe.resolve import resolve
from tests.conftest import Bench


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0s"), (59.9, "59s"), (60, "1m00s"), (190, "3m10s"), (3599, "59m59s"), (3600, "1h00m"), (18_125, "5h02m")],
)
def test_duration(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.fixture
def view(bench: Bench) -> RunView:
    doc = compose(bench.project, bench.write("r"))
    recipe = resolve(bench.project, doc, "full", lambda recipe, profile: None)
    return RunView(recipe, (Step("train", "finetune with lora"), Step("merge", "the adapter into its base")))


def test_parts_and_about_ten_lines_of_steps(view: RunView, capsys: pytest.CaptureFixture[str]) -> None:
    with view:
        view.watch(Progress())
        for step in range(1, 1001):
            view.watch(Progress("train", step, 1000, 7.0 - step / 200, 1234.5, step * 0.5))
            view.watch(Progress("train", step, 1000, 7.0 - step / 200, 1234.5, step * 0.5 + 0.2))
        view.watch(Progress("merge", 1000, 1000, 2.0, None, 501.0))
        view.watch(Progress("done", 1000, 1000, 2.0, None, 502.0))
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[0] == "r (full): train: finetune with lora"
    assert lines[-1] == "r (full): merge: the adapter into its base"
    steps = [line for line in lines if ": step " in line]
    assert 8 <= len(steps) <= 12
    assert steps[-1].startswith("r (full): step 1000/1000 loss 2.000  1,234 tok/s")
    assert len(set(steps)) == len(steps)
    assert "\x1b" not in err
    assert "\r" not in err


def test_the_last_step_is_told_even_of_a_short_run(view: RunView, capsys: pytest.CaptureFixture[str]) -> None:
    with view:
        for step in range(1, 4):
            view.watch(Progress("train", step, 3, None, None, step * 0.1))
    assert capsys.readouterr().err.splitlines()[-1] == "r (full): step 3/3"


def test_a_slow_run_is_heard_of_every_minute(view: RunView, capsys: pytest.CaptureFixture[str]) -> None:
    with view:
        for step in range(1, 31):
            view.watch(Progress("train", step, 10_000, 2.0, None, step * 20.0))
    assert capsys.readouterr().err.count(": step ") == 10


def test_the_time_left_of_a_run_that_goes_on(
    view: RunView, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten steps took 100 s since it was started again at 900; what came before took no time of this one."""
    clock = iter([0.0, 100.0])
    monkeypatch.setattr("runner.cli.progress.time.monotonic", lambda: next(clock))
    with view:
        view.watch(Progress("train", 900, 1000, None, None, 1.0))
        view.watch(Progress("train", 910, 1000, None, None, 101.0))
    assert capsys.readouterr().err.splitlines()[-1] == "r (full): step 910/1000 eta 15m00s"


def test_a_step_of_the_log_that_is_none_of_ours_is_not_told(view: RunView, capsys: pytest.CaptureFixture[str]) -> None:
    with view:
        view.watch(Progress("some heading of the engine"))
    assert capsys.readouterr().err == ""
