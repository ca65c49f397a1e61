"""How a run ended, told from its log, its metrics and the kernel's count."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.failures import by_name
from runner.launch.ended import Before, attempt, before, failure_of, oom_kills
from runner.launch.losses import went_wrong

FULL = by_name("disk-full")
assert FULL is not None
NOTHING = Before(0, 10**9)


def rows(*losses: float | None, **more: float) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for step, loss in enumerate(losses, 1):
        found.append({"step": step, "learning_rate": 1e-4 * step, **({"loss": loss} if loss is not None else {})})
    found[-1].update(more)
    return found


def test_a_loss_that_is_no_number() -> None:
    story = went_wrong(rows(2.5, 2.25, float("nan"), float("nan")))
    assert story is not None
    assert (story.how, story.step, story.good_step, story.good_loss) == ("not_finite", 3, 2, 2.25)
    assert story.learning_rate == pytest.approx(3e-4)


def test_a_gradient_that_is_no_number_counts_where_the_trainer_hides_the_loss() -> None:
    """transformers' `logging_nan_inf_filter` reports the mean of the losses before."""
    story = went_wrong(rows(2.5, 2.25, 2.25, grad_norm=float("inf")))
    assert story is not None
    assert (story.step, story.grad_norm) == (3, float("inf"))


def test_one_step_that_fp16_skips_is_none() -> None:
    told = rows(2.5, 2.4, 2.3)
    told[0]["grad_norm"] = float("inf")
    told[1]["loss"] = float("nan")
    assert went_wrong(told) is None


def test_a_record_has_it_as_text() -> None:
    story = went_wrong([{"step": 1, "loss": 2.0}, {"step": 2, "loss": "nan"}])
    assert story is not None
    assert story.step == 2


def test_a_jump_is_one_that_does_not_come_back() -> None:
    steady = (3.0, 2.9, 2.8, 2.7, 2.6, 2.5)
    story = went_wrong(rows(*steady, 7.5, 8.0, grad_norm=41.0))
    assert story is not None
    assert (story.how, story.step, story.loss, story.good_loss) == ("loss_spike", 7, 7.5, 2.5)
    assert went_wrong(rows(*steady, 7.5, 2.6)) is None
    stayed = went_wrong(rows(*steady, *[7.5] * 200))
    assert stayed is not None
    assert stayed.step == 7
    assert went_wrong(rows(*steady)) is None
    assert went_wrong(rows(10.9, 4.0, 9.0)) is None, "too few to tell"
    assert went_wrong([]) is None


@pytest.mark.parametrize(("name", "good"), [("not-finite", 3.039), ("loss-spike", 3.165)])
def test_the_reports_of_trainings_that_really_diverged(name: str, good: float) -> None:
    """transformers' own lines: a NaN is shown as a loss of 0, and its gradient norm tells."""
    failure = by_name(name)
    assert failure is not None
    told = [dict(ast.literal_eval(line)) for line in failure.excerpt.splitlines()]
    story = went_wrong([{**row, "step": step} for step, row in enumerate(told, 1)])
    assert story is not None
    assert (story.how,) == failure.evidence
    assert story.good_loss == good


def test_a_step_reported_again_after_a_checkpoint_counts_as_it_went_then() -> None:
    first = rows(3.0, 2.5, float("nan"))
    assert went_wrong([*first, {"step": 3, "loss": 2.4}, {"step": 4, "loss": 2.3}]) is None


def test_only_this_attempt_counts(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text(FULL.excerpt + "more\n")
    was = before(tmp_path)
    assert was.log_bytes == log.stat().st_size
    with log.open("a") as out:
        out.write("one\nValueError: of another kind\n")
    assert failure_of(tmp_path, 1, was) is None
    found = failure_of(tmp_path, 1, Before(0, 10**9))
    assert found is not None
    assert (found["name"], found["retry"]) == ("disk-full", False)
    assert FULL.patterns[0].search(log.read_text().splitlines()[found["line"] - 1]) or found["line"] > 1


def test_lines_are_counted_over_the_whole_log(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("a step\n" * 100_000 + FULL.excerpt)
    text, before_it = attempt(log)
    assert before_it + text.count("\n") == log.read_text().count("\n")
    found = failure_of(tmp_path, 1, NOTHING)
    assert found is not None
    line = log.read_text().splitlines()[found["line"] - 1]
    assert any(pattern.search(line) for pattern in FULL.patterns)


def test_a_run_without_a_log(tmp_path: Path) -> None:
    assert attempt(tmp_path / "log.txt") == ("", 0)
    assert failure_of(tmp_path, 1, before(tmp_path)) is None


def test_metrics_say_what_the_log_does_not(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("=== train\nRuntimeError: of a kind that nobody knows\n")
    with (tmp_path / "metrics.jsonl").open("w") as out:
        for row in rows(2.0, float("nan")):
            out.write(json.dumps(row) + "\n")
    found = failure_of(tmp_path, 1, NOTHING)
    assert found is not None
    assert (found["name"], found["line"]) == ("not-finite", None)


GROUPS = [Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")]


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group of 64 MiB, where this machine lets us make one."""
    for root in GROUPS:
        group = root / f"llm-recipes-test-{os.getpid()}"
        limit = group / ("memory.limit_in_bytes" if root.name == "memory" else "memory.max")
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            limit.write_text(str(64 << 20))
        except OSError:
            group.rmdir()
            continue
        yield group
        group.rmdir()
        return
    pytest.skip("no control group of memory can be made here")


def test_what_the_kernel_ended_for_memory_is_told_from_what_a_person_killed(small_group: Path, tmp_path: Path) -> None:
    """A real kill of the kernel's: a process that takes more than its group may have."""
    (tmp_path / "log.txt").write_text("=== train\n")
    was = before(tmp_path)
    swap = small_group / "memory.swap.max"
    if swap.exists():
        swap.write_text("0")
    join = f"open({str(small_group / 'cgroup.procs')!r}, 'w').write('0')"
    program = f"{join}; held = bytearray(1 << 30); print(len(held))"
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed
    assert oom_kills() > was.oom_kills
    found = failure_of(tmp_path, killed.returncode, was)
    assert found is not None
    assert found["name"] == "host-memory"
    by_hand = failure_of(tmp_path, killed.returncode, before(tmp_path))
    assert by_hand is not None
    assert by_hand["name"] == "killed"
    assert failure_of(tmp_path, 1, was) is None, "the kernel ended something, but nothing of ours"
