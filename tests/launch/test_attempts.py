"""What is tried again, from where, and what each attempt leaves in the record. The scripts here are real processes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from runner.launch import attempts
from runner.launch.attempts import supervision
from runner.launch.outcome import Outcome
from runner.launch.supervise import execute, prepare
from runner.record import profile_dir, read_run
from tests.conftest import BODY, HEADER, Bench
from tests.launch.test_checkpoints import cut, trainer
from tests.launch.test_supervise import recipe_of

WELL = """\
mkdir -p output
echo '{}' > output/adapter_config.json
"""
NCCL = (
    "[rank1]:[E ProcessGroupNCCL.cpp:632] [Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=4, "
    "OpType=ALLREDUCE, NumelIn=1, NumelOut=1, Timeout(ms)=600000) ran for 600029 milliseconds before timing out."
)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(attempts, "PAUSE_S", 0.1)
    monkeypatch.setenv("RUNNER_CACHE", str(tmp_path / "cache"))


class Ran:
    """A recipe whose launch.sh is given, run to its end."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch, script: str, header: str = "") -> None:
        monkeypatch.setattr("runner.launch.supervise.render", lambda recipe: {"launch.sh": script})
        self.bench, self.recipe = bench, recipe_of(bench, text=HEADER + header + BODY)
        self.told: list[str] = []
        self.outcome: Outcome | None = None

    def go(self, **given: Any) -> Outcome:
        prepared = prepare(self.bench.project, self.recipe)
        self.outcome = execute(
            self.bench.project, self.recipe, prepared, lambda progress: None, tell=self.told.append, **given
        )
        return self.outcome

    @property
    def record(self) -> dict[str, Any]:
        assert self.outcome is not None
        run = read_run(self.outcome.run)
        assert run is not None
        return run.record


@pytest.mark.fault("a collective of NCCL runs into its timeout", "with `max_restarts`, the run goes on by itself")
def test_what_may_do_better_is_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    script = f"if [ -e once ]; then {WELL} exit 0; fi\ntouch once\necho '{NCCL}'\nexit 1\n"
    ran = Ran(bench, monkeypatch, script, "max_restarts: 2\n")
    assert ran.go().status == "finished"
    assert [(a["status"], a["exit_code"], a["failure"]) for a in ran.record["attempts"]] == [
        ("failed", 1, "nccl-timeout"),
        ("finished", 0, None),
    ]
    assert "(1 of 2 restarts)" in ran.told[0]


def test_without_the_key_there_is_one_attempt(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = Ran(bench, monkeypatch, f"echo '{NCCL}'\nexit 1\n")
    assert ran.go().status == "failed"
    assert len(ran.record["attempts"]) == 1


def test_not_more_often_than_the_recipe_says(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = Ran(bench, monkeypatch, f"echo again >> count\necho '{NCCL}'\nexit 1\n", "max_restarts: 2\n")
    outcome = ran.go()
    assert outcome.status == "failed"
    assert (outcome.run / "count").read_text().split() == ["again"] * 3
    assert [a["status"] for a in ran.record["attempts"]] == ["failed"] * 3


@pytest.mark.fault(
    "out of memory, or a mistake in the config", "told at once, and not tried again: it would fail again"
)
@pytest.mark.parametrize("said", ["ValueError: no such column", "torch.OutOfMemoryError: CUDA out of memory."])
def test_what_would_fail_again_is_not(bench: Bench, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    ran = Ran(bench, monkeypatch, f"echo again >> count\necho '{said}'\nexit 1\n", "max_restarts: 5\n")
    outcome = ran.go()
    assert (outcome.status, outcome.error) == ("failed", said)
    assert (outcome.run / "count").read_text() == "again\n"


@pytest.mark.fault("a hang, with `max_restarts`", "ended, and gone on from the newest whole checkpoint")
def test_a_hang_is_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    script = f"if [ -e once ]; then {WELL} exit 0; fi\ntouch once\nsleep 100\n"
    ran = Ran(bench, monkeypatch, script, "max_restarts: 1\nhang_timeout_s: 0.1\n")
    assert ran.go().status == "finished"
    first, second = ran.record["attempts"]
    assert (first["failure"], second["status"]) == ("hung", "finished")
    assert first["error"].startswith("it hung: no step and no word for 1 s, stacks are in stacks.txt")


def test_a_loss_that_is_no_number_at_the_end_is_a_failure(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = '{"step": 1, "loss": 2.5}\n{"step": 2, "loss": NaN}\n'
    ran = Ran(bench, monkeypatch, f"{WELL}\ncat > metrics.jsonl <<'END'\n{rows}END\n", "max_restarts: 3\n")
    outcome = ran.go()
    assert (outcome.status, outcome.code, outcome.error) == ("failed", 0, "its loss is nan at step 2")
    assert len(ran.record["attempts"]) == 1, "it would be none again"
    assert not (profile_dir(bench.project, "r", "full") / "latest").exists()


def test_a_childs_loss_that_is_no_number_is_a_result(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = Ran(bench, monkeypatch, WELL + 'echo \'{"step": 1, "loss": Infinity}\' > metrics.jsonl\n')
    prepared = prepare(bench.project, ran.recipe, child=True)
    assert execute(bench.project, ran.recipe, prepared, lambda progress: None).status == "finished"


def test_a_start_says_what_it_goes_on_from(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = Ran(bench, monkeypatch, f"if [ -e once ]; then {WELL} exit 0; fi\ntouch once\nexit 1\n")
    run = ran.go().run
    trainer(run, 5)
    cut("optimizer.pt")(trainer(run, 10))
    assert ran.go().status == "finished"
    log = (run / "log.txt").read_text()
    assert "output/checkpoint-10 is torn (optimizer.pt: " in log
    assert log.rstrip().endswith("goes on from output/checkpoint-5")
    assert ran.told[-1] == "goes on from output/checkpoint-5"
    assert ran.record["attempts"][1]["from_step"] == 5
    assert not list((run / "output").glob("torn-*")), "the finished model has replaced it"


@pytest.mark.fault("a start while a killed runner's engine writes a checkpoint", "that checkpoint, once it is whole")
def test_a_checkpoint_that_is_being_written_is_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran = Ran(bench, monkeypatch, f"if [ -e once ]; then {WELL} exit 0; fi\ntouch once\nexit 1\n")
    run = ran.go().run
    late = trainer(run, 10) / "optimizer.pt"
    late.rename(tmp_path / "late")
    writes = f"sleep 1.5; mv {tmp_path / 'late'} {late}"
    with subprocess.Popen(["bash", "-c", writes], env={**os.environ, "RUNNER_GUARD": str(run)}):
        assert ran.go().status == "finished"
    assert ran.told == ["what a killed runner left still saves, and is waited for", "goes on from output/checkpoint-10"]


def test_what_the_header_says(bench: Bench) -> None:
    assert supervision(recipe_of(bench)).max_restarts == 0
    found = supervision(recipe_of(bench, text=f"{HEADER}max_restarts: 3\nhang_timeout_s: 90\n{BODY}"))
    assert (found.max_restarts, found.hang_timeout_s) == (3, 90)
    assert supervision(recipe_of(bench, text=f"{HEADER}max_restarts: null\n{BODY}")).max_restarts == 0


def test_waiting_for_a_run_of_the_same_recipe_that_finishes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waited has nothing left to do."""
    from filelock import FileLock

    ran = Ran(bench, monkeypatch, f"echo again >> ../count\n{WELL}")
    prepared = prepare(bench.project, ran.recipe)
    folder = profile_dir(bench.project, "r", "full")
    folder.mkdir(parents=True)
    lock = FileLock(folder / ".lock")
    lock.acquire()

    def waiting(who: str, seconds: float) -> None:
        lock.release()
        ran.go()

    outcome = execute(bench.project, ran.recipe, prepared, lambda progress: None, waiting=waiting)
    assert outcome.status == "finished"
    assert (folder / "count").read_text() == "again\n"
