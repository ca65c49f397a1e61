"""A run that goes on in silence: when that is a hang, and what is left to learn from it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from runner.launch.follow import Follower
from runner.launch.hang import FLOOR_S, STACKS, TIMES, silent_s
from runner.launch.local import launch
from tests.launch.test_local import script, with_mark

pytestmark = pytest.mark.slow

STUCK = """\
import threading
def waits_for_nobody():
    threading.Event().wait()
waits_for_nobody()
"""


def follower(run: Path, *, heard: float, stepped: float | None, longest: float) -> Follower:
    (run / "log.txt").touch()
    found, now = Follower(run, lambda progress: None, {}), time.monotonic()
    found.heard, found.stepped = now - heard, None if stepped is None else now - stepped
    found.longest = longest
    return found


@pytest.mark.parametrize(
    ("heard", "stepped", "longest", "limit", "hangs"),
    [
        (FLOOR_S + 1, FLOOR_S + 1, 1.0, None, True),
        (FLOOR_S - 1, FLOOR_S - 1, 1.0, None, False),
        (FLOOR_S + 1, FLOOR_S + 1, FLOOR_S, None, False),  # steps of half an hour
        (TIMES * FLOOR_S + 1, TIMES * FLOOR_S + 1, FLOOR_S, None, True),
        (1.0, FLOOR_S + 1, 1.0, None, False),  # an evaluation, with its bar in the log
        (1e6, None, 0.0, None, False),  # no step yet: it downloads, or compiles
        (1e6, 1e6, 0.0, None, False),  # one step says nothing of the next
        (11.0, 11.0, 0.0, 10.0, True),
        (9.0, 9.0, 0.0, 10.0, False),
        (11.0, None, 0.0, 10.0, False),  # it loads a large model
        (101.0, None, 0.0, 10.0, True),
        (1e6, 1e6, 1.0, 0.0, False),
    ],
)
def test_when_silence_is_a_hang(
    tmp_path: Path, heard: float, stepped: float | None, longest: float, limit: float | None, hangs: bool
) -> None:
    found = silent_s(follower(tmp_path, heard=heard, stepped=stepped, longest=longest), limit)
    assert (found is not None) is hangs


@pytest.mark.fault(
    "a run that hangs", "stacks of all its processes in stacks.txt, then it is ended and may start again"
)
def test_a_hung_run_leaves_stacks_and_no_process(tmp_path: Path) -> None:
    run = script(tmp_path / "r", f"echo '=== train'\nsetsid {sys.executable} stuck.py &\nwait\n")
    (run / "stuck.py").write_text(STUCK)
    ended = launch(run, lambda progress: None, hang_s=0.2)
    assert ended.silent_s is not None
    assert 2 < ended.silent_s < 30
    assert not ended.interrupted
    assert with_mark(run) == []
    stacks = (run / STACKS).read_text()
    assert "no step and no word in the log for 2 s; 2 processes" in stacks
    assert "stuck.py" in stacks
    assert "waits_for_nobody (stuck.py:3)" in stacks, stacks
    assert "State: S" in stacks


def test_one_that_goes_on_is_left_alone(tmp_path: Path) -> None:
    run = script(tmp_path / "r", "for i in 1 2 3 4 5 6; do sleep 0.5; echo $i; done\n")
    assert launch(run, lambda progress: None, hang_s=0.2).silent_s is None


def test_the_time_between_reports_is_learned(tmp_path: Path) -> None:
    (tmp_path / "log.txt").touch()
    metrics = tmp_path / "metrics.jsonl"
    found = Follower(tmp_path, lambda progress: None, {})
    for row in ('{"event": "begin", "step": 0}', '{"step": 1}', '{"step": 2}', '{"step": 2, "eval_loss": 1}'):
        with metrics.open("a") as out:
            out.write(row + "\n")
        found.look()
        time.sleep(0.05)
    assert 0.04 < found.longest < 1
    assert found.stepped is not None
    with metrics.open("a") as out:
        out.write('{"event": "end", "step": 2}\n')
    found.look()
    assert found.stepped is None, "what comes after training may take its time"
