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
from runner.record import read_metrics
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

SLEEPER = "import time; time.sleep(120)"


def script(run: Path, text: str) -> Path:
    run.mkdir(parents=True, exist_ok=True)
    (run / "launch.sh").write_text("#!/bin/bash\n" + text)
    return run


def with_mark(run: Path, mark: str = "RUNNER_RUN") -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"{mark}={run}".encode() in entry.read_bytes():
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


@pytest.mark.fault("launch.sh ends while ranks go on", "no process is left")
def test_what_a_run_leaves_running_is_ended(tmp_path: Path) -> None:
    """torchrun's ranks have sessions of their own."""
    run = script(tmp_path / "r", f"setsid {sys.executable} -c '{SLEEPER}' &\nsleep 0.3\nexit 0\n")
    launch(run, lambda p: None)
    time.sleep(0.2)
    assert with_mark(run) == []


def launching(run: Path, first: str = "", grace: str = "(1.0, 1.0)") -> subprocess.Popen[bytes]:
    """A process that launches `run`, once it has started and its guard watches. Exits 130 when interrupted, else 99."""
    code = (
        f"{first}import sys; from pathlib import Path; from runner.launch import local\n"
        f"local.GRACE_S = {grace}\n"
        f"ended = local.launch(Path({str(run)!r}), lambda p: None)\n"
        "sys.exit(130 if ended.interrupted else 99)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)})
    deadline = time.monotonic() + 20
    while not ((run / "started").exists() and with_mark(run, "RUNNER_GUARD")) and time.monotonic() < deadline:
        time.sleep(0.05)
    return process


def stopped(run: Path, number: int) -> tuple[int, float]:
    """Launch, signal once the script runs; the exit code and how long it took."""
    process = launching(run)
    begin = time.monotonic()
    process.send_signal(number)
    return process.wait(timeout=30), time.monotonic() - begin


@pytest.mark.fault("Ctrl-C", "passed on to every process; none is left")
def test_ctrl_c_reaches_the_engine_and_nothing_stays(tmp_path: Path) -> None:
    run = script(tmp_path / "r", f"setsid {sys.executable} -c '{SLEEPER}' &\ntouch started\nsleep 60\n")
    code, _ = stopped(run, signal.SIGINT)
    assert code == 130
    assert with_mark(run) == []


@pytest.mark.fault("SIGTERM of a scheduler, SIGHUP of a closed terminal", "passed on as Ctrl-C is; none is left")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_that_would_end_the_runner(tmp_path: Path, number: int) -> None:
    run = script(tmp_path / "r", "touch started\nsleep 60\n")
    assert stopped(run, number)[0] == 130
    assert with_mark(run) == []


@pytest.mark.fault("the terminal closes under nohup", "the run goes on")
def test_under_nohup_a_closed_terminal_ends_nothing(tmp_path: Path) -> None:
    run = script(tmp_path / "r", "touch started\nwhile [ ! -e go ]; do sleep 0.05; done\n")
    ignore = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); "
    process = launching(run, ignore)
    process.send_signal(signal.SIGHUP)
    (run / "go").touch()
    assert process.wait(timeout=30) == 99, "not interrupted"


# as an engine does: it saves at SIGINT, which takes a moment, and ends
SAVES = f"""\
trap 'sleep 0.3; touch saved; exit 130' INT
setsid {sys.executable} -c '{SLEEPER}' &
touch started
while true; do sleep 0.1; done
"""


def gone(run: Path, mark: str = "RUNNER_RUN") -> bool:
    until = time.monotonic() + 30
    while with_mark(run, mark) and time.monotonic() < until:
        time.sleep(0.05)
    return not with_mark(run, mark)


@pytest.mark.fault("kill -9 of the runner", "the engine saves and ends; no process is left")
def test_a_killed_runner_takes_its_run_along(tmp_path: Path) -> None:
    run = script(tmp_path / "r", SAVES)
    process = launching(run, grace="(20.0, 1.0)")
    process.kill()
    process.wait()
    assert gone(run)
    assert (run / "saved").exists(), "in peace"
    assert gone(run, "RUNNER_GUARD")


@pytest.mark.fault("kill -9 of make and of all in its process group", "as for the runner alone, for each run")
def test_a_killed_group_takes_its_runs_along(tmp_path: Path) -> None:
    folders = [script(tmp_path / name, SAVES) for name in ("a", "b")]
    code = "import sys; from pathlib import Path; from runner.launch import local; local.GRACE_S = (20.0, 1.0); "
    code += "local.launch(Path(sys.argv[1]), lambda p: None)"
    (tmp_path / "Makefile").write_text(f"all: a b\na b:\n\t@{sys.executable} -c '{code}' {tmp_path}/$@\n.PHONY: a b\n")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    make = subprocess.Popen(["make", "-j2"], cwd=tmp_path, env=env, start_new_session=True)
    until = time.monotonic() + 60
    while not all((f / "started").exists() for f in folders) and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(make.pid, signal.SIGKILL)
    make.wait()
    for folder in folders:
        assert gone(folder)
        assert (folder / "saved").exists()


@pytest.mark.fault("a second start while a killed runner's engine still saves", "it waits until that has ended")
def test_a_run_that_saves_is_waited_for(tmp_path: Path) -> None:
    first = SAVES.replace("sleep 0.3", "sleep 1.5")
    run = script(tmp_path / "r", f"if [ -e started ]; then [ -e saved ] && echo after; exit 0; fi\n{first}")
    process = launching(run, grace="(20.0, 1.0)")
    process.kill()
    process.wait()
    assert launch(run, lambda p: None).code == 0
    assert (run / "log.txt").read_text() == "after\n"


@pytest.mark.fault("the guard beside a run is killed", "the run goes on")
def test_without_its_guard_a_run_goes_on(tmp_path: Path) -> None:
    run = script(tmp_path / "r", "touch started\nwhile [ ! -e go ]; do sleep 0.05; done\n")
    process = launching(run)
    (beside,) = with_mark(run, "RUNNER_GUARD")
    os.kill(beside, signal.SIGKILL)
    (run / "go").touch()
    assert process.wait(timeout=30) == 99, "not interrupted"


@pytest.mark.fault("Ctrl-C twice", "the second does not wait for the engine to save")
def test_asked_twice_it_is_quick(tmp_path: Path) -> None:
    run = script(tmp_path / "r", "trap '' INT\ntouch started\nfor i in $(seq 600); do sleep 0.1; done\n")
    process = launching(run, grace="(20.0, 1.0)")
    begin = time.monotonic()
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    assert process.wait(timeout=30) == 130
    assert time.monotonic() - begin < 15
    assert with_mark(run) == []


@pytest.mark.fault("log.txt is removed while the run goes on", "it is put back whole")
def test_a_removed_log_comes_back(tmp_path: Path) -> None:
    run = script(tmp_path / "r", "echo '=== train'\nrm log.txt\necho '=== merge'\nsleep 0.5\necho '=== done'\n")
    ended = launch(run, lambda p: None)
    assert (ended.code, set(ended.parts)) == (0, {"train", "merge"})
    assert (run / "log.txt").read_text().splitlines() == ["=== train", "=== merge", "=== done"]


@pytest.mark.fault("metrics.jsonl ends in the middle of a line", "every whole report, and each one after it")
def test_a_report_cut_off_takes_no_other_along(tmp_path: Path) -> None:
    run = script(tmp_path / "r", """echo '{"step": 3, "max_steps": 3}' >> metrics.jsonl\n""")
    (run / "metrics.jsonl").write_text('{"step": 1, "max_steps": 3}\n{"step": 2, "max_st')
    seen: list[int] = []
    launch(run, lambda p: seen.append(p.step))
    assert seen[-1] == 3
    assert [row["step"] for row in read_metrics(run)[0]] == [1, 3]


@pytest.mark.fault("metrics.jsonl is replaced by a shorter one", "what it says from then on")
def test_metrics_that_were_replaced_are_read(tmp_path: Path) -> None:
    run = script(tmp_path / "r", """sleep 0.4; echo '{"step": 7}' > new; mv new metrics.jsonl; sleep 0.4\n""")
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": 1.5}\n' * 9)
    seen: list[int] = []
    launch(run, lambda p: seen.append(p.step))
    assert seen[-1] == 7


@pytest.mark.fault("kill -9 of the runner and of its guard", "what they left is ended before the next start")
def test_what_a_killed_runner_left_is_ended_before_the_next_start(tmp_path: Path) -> None:
    first = "echo $$ > pid; touch started; sleep 60\n"
    second = "sleep 0.3; if grep -q . /proc/$(cat pid)/cmdline; then echo two at once; fi\n"
    run = script(tmp_path / "r", f"if [ -e pid ]; then {second}else {first}fi\n")
    process = launching(run)
    (beside,) = with_mark(run, "RUNNER_GUARD")
    os.kill(beside, signal.SIGKILL)
    process.kill()
    process.wait()
    assert with_mark(run), "with the guard gone too, the run itself goes on"
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


@pytest.mark.fault("an engine that ignores every signal", "killed when its grace is over; none is left")
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
