"""Processes: watched, asked to stop, and never left behind. The scripts here are real processes, not engines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.launch.follow import Progress
from runner.launch.local import launch
from tests.conftest import ROOT

SLEEPER = "import time; time.sleep(120)"


def script(run: Path, text: str) -> Path:
    run.mkdir(parents=True, exist_ok=True)
    (run / "launch.sh").write_text("#!/bin/bash\n" + text)
    return run


def with_mark(run: Path) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"RUNNER_RUN={run}".encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


def test_what_a_run_tells_on_the_way(tmp_path: Path) -> None:
    rows = '{"step": 1, "max_steps": 2, "loss": 3.5, "tokens/train_per_sec_per_gpu": 10}'
    run = script(
        tmp_path / "r",
        f"echo '=== train'\necho '{rows}' >> metrics.jsonl\nsleep 0.5\necho '=== merge'\necho '=== done'\n",
    )
    seen: list[tuple[str, int, float | None]] = []
    ended = launch(run, lambda p: seen.append((p.part, p.step, p.loss)))
    assert ended.code == 0
    assert not ended.interrupted
    assert ("train", 1, 3.5) in seen
    assert seen[-1][0] == "done"
    assert set(ended.parts) == {"train", "merge"}
    assert (run / "log.txt").read_text().splitlines() == ["=== train", "=== merge", "=== done"]


def test_the_exit_code_is_the_engines(tmp_path: Path) -> None:
    assert launch(script(tmp_path / "r", "exit 7\n"), lambda p: None).code == 7


def test_what_a_run_leaves_running_is_ended(tmp_path: Path) -> None:
    """torchrun's ranks have sessions of their own."""
    run = script(tmp_path / "r", f"setsid {sys.executable} -c '{SLEEPER}' &\nsleep 0.3\nexit 0\n")
    launch(run, lambda p: None)
    time.sleep(0.2)
    assert with_mark(run) == []


def launching(run: Path, first: str = "") -> subprocess.Popen[bytes]:
    """A process that launches `run`, once its script has started. It exits 130 when interrupted, else 99."""
    code = (
        f"{first}import sys; from pathlib import Path; from runner.launch import local\n"
        "local.GRACE_S = (1.0, 1.0)\n"
        f"ended = local.launch(Path({str(run)!r}), lambda p: None)\n"
        "sys.exit(130 if ended.interrupted else 99)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)})
    deadline = time.monotonic() + 20
    while not (run / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return process


def stopped(run: Path, number: int) -> tuple[int, float]:
    """Launch, signal once the script runs; the exit code and how long it took."""
    process = launching(run)
    begin = time.monotonic()
    process.send_signal(number)
    return process.wait(timeout=30), time.monotonic() - begin


def test_ctrl_c_reaches_the_engine_and_nothing_stays(tmp_path: Path) -> None:
    run = script(tmp_path / "r", f"setsid {sys.executable} -c '{SLEEPER}' &\ntouch started\nsleep 60\n")
    code, _ = stopped(run, signal.SIGINT)
    assert code == 130
    assert with_mark(run) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_that_would_end_the_runner(tmp_path: Path, number: int) -> None:
    run = script(tmp_path / "r", "touch started\nsleep 60\n")
    assert stopped(run, number)[0] == 130
    assert with_mark(run) == []


def test_under_nohup_a_closed_terminal_ends_nothing(tmp_path: Path) -> None:
    run = script(tmp_path / "r", "touch started\nwhile [ ! -e go ]; do sleep 0.05; done\n")
    ignore = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); "
    process = launching(run, ignore)
    process.send_signal(signal.SIGHUP)
    (run / "go").touch()
    assert process.wait(timeout=30) == 99, "not interrupted"


def test_what_a_killed_runner_left_is_ended_before_the_next_start(tmp_path: Path) -> None:
    first = "echo $$ > pid; touch started; sleep 60\n"
    second = "sleep 0.3; if grep -q . /proc/$(cat pid)/cmdline; then echo two at once; fi\n"
    run = script(tmp_path / "r", f"if [ -e pid ]; then {second}else {first}fi\n")
    process = launching(run)
    process.kill()
    process.wait()
    assert with_mark(run), "the run itself goes on"
    assert launch(run, lambda p: None).code == 0
    assert "two at once" not in (run / "log.txt").read_text()
    assert with_mark(run) == []


def test_no_other_run_is_touched(tmp_path: Path) -> None:
    other = script(tmp_path / "r-2", "touch started\nsleep 60\n")
    process = launching(other)
    launch(script(tmp_path / "r", "exit 0\n"), lambda p: None)
    assert with_mark(other)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130


def test_without_any_step_there_are_no_durations(tmp_path: Path) -> None:
    ended = launch(script(tmp_path / "r", "true\n"), lambda p: None)
    assert (ended.code, ended.parts) == (0, {})
    assert ended.peak_rss_gib > 0


def test_the_environment_is_the_runners_and_what_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "yes")
    run = script(tmp_path / "r", 'echo "$KEPT $ADDED $RUNNER_RUN"\ncat\n')
    launch(run, lambda p: None, environment={"ADDED": "too"})
    assert (run / "log.txt").read_text() == f"yes too {run}\n"


def test_one_that_will_not_stop_is_killed(tmp_path: Path) -> None:
    run = script(tmp_path / "r", "trap '' INT TERM\ntouch started\nfor i in $(seq 600); do sleep 0.1; done\n")
    code, took = stopped(run, signal.SIGINT)
    assert code == 130
    assert took < 20
    assert with_mark(run) == []


def test_resuming_shows_only_what_is_new(tmp_path: Path) -> None:
    run = script(tmp_path / "r", "echo '=== train'\n")
    (run / "metrics.jsonl").write_text('{"step": 9, "max_steps": 9}\n')
    (run / "log.txt").write_text("=== merge\n")
    seen: list[Progress] = []
    launch(run, seen.append)
    assert (seen[-1].part, seen[-1].step) == ("train", 0)
