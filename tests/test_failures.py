"""Known failures: each file's excerpt, which is of a real log, is read as that failure and as no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runner.failures import TAIL, Failure, by_name, diagnose, failures, find, read_failure
from tests.conftest import ROOT

ALL = failures()


@pytest.mark.parametrize("failure", ALL, ids=lambda failure: failure.name)
def test_its_excerpt_is_read_as_this_failure_alone(failure: Failure) -> None:
    """Others may find something in it too, of a rank that says less."""
    told = find(failure.excerpt, evidence=failure.evidence)
    assert told is not None
    assert told.failure.name == failure.name
    if failure.patterns:
        assert told.line is not None
        assert told.said in failure.excerpt
    for other in ALL:
        if other.name != failure.name and any(pattern.search(failure.excerpt) for pattern in other.patterns):
            assert other.rank > failure.rank, f"{other.name} takes it too"


@pytest.mark.parametrize("failure", ALL, ids=lambda failure: failure.name)
def test_every_pattern_has_its_line(failure: Failure) -> None:
    """A pattern that no excerpt shows is one that nobody has seen."""
    for pattern in failure.patterns:
        assert pattern.search(failure.excerpt), pattern.pattern


@pytest.mark.parametrize("failure", ALL, ids=lambda failure: failure.name)
def test_its_words(failure: Failure) -> None:
    assert not re.search(r"/root/|/home/|/tmp/|/work/", failure.excerpt), "a path of somebody's machine"
    assert not failure.title.endswith(".")
    assert not failure.knob.endswith(".")
    assert failure.rank in (1, 2, 3)
    assert failure.plan in ("", "gpu", "host", "disk")
    assert failure.produced or failure.source.startswith("https://")


def test_what_we_say_of_a_failure_is_not_read_as_one() -> None:
    """A sweep's log holds what the runner said of its children."""
    for failure in ALL:
        for words in (failure.title, failure.cause, failure.knob):
            assert diagnose(f"  = knob: {words}\n") is None, failure.name


def test_there_are_many() -> None:
    assert len(ALL) >= 25
    assert sum(failure.produced for failure in ALL) >= 25


def test_a_cause_goes_before_what_follows_from_it() -> None:
    dead = by_name("rank-died")
    full = by_name("disk-full")
    assert dead is not None
    assert full is not None
    assert dead.rank > full.rank
    for log in (full.excerpt + dead.excerpt, dead.excerpt + full.excerpt):
        assert diagnose(log, exit_code=1) == full
    # of two causes the later one: of a log with two attempts, or of the last exception in a chain
    port = by_name("port-in-use")
    assert port is not None
    assert diagnose(full.excerpt + port.excerpt) == port
    assert diagnose(port.excerpt + full.excerpt) == full


def test_an_exit_code_says_little_and_says_it_last() -> None:
    assert diagnose("step 1\n", exit_code=1) is None
    for code in (137, -9):
        killed = diagnose("step 1\n", exit_code=code)
        assert killed is not None
        assert killed.name == "killed"
    memory = diagnose("step 1\n", exit_code=137, evidence={"oom_kill"})
    assert memory is not None
    assert memory.name == "host-memory"
    full = by_name("disk-full")
    assert full is not None
    assert diagnose(full.excerpt, exit_code=137) == full


def test_the_line_is_the_logs_own() -> None:
    full = by_name("disk-full")
    assert full is not None
    log = "step\n" * TAIL + "one\n" + full.excerpt
    found = find(log)
    assert found is not None
    assert found.line is not None
    assert log.split("\n")[found.line].strip() == found.said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour: red\n", "unknown key `colour`"),
        ("evidence: [a_hunch]\n", "unknown evidence `a_hunch`"),
        ("produced: false\n", "no `source`"),
        ("name: other\n", "`name` is not the file's"),
    ],
)
def test_a_file_that_is_no_failure(tmp_path: Path, text: str, said: str) -> None:
    whole = "name: odd\ntitle: a\ncause: b\nknob: c\nretry: false\nexcerpt: d\n"
    file = tmp_path / "odd.yaml"
    file.write_text(whole)
    assert read_failure(file).retry is False
    file.write_text(whole.replace("name: odd\n", "") + text if text.startswith("name") else whole + text)
    with pytest.raises(ValueError, match=re.escape(said)):
        read_failure(file)


def test_retried_are_those_that_may_go_away() -> None:
    """What a second attempt can't mend costs the same again."""
    retried = {failure.name for failure in ALL if failure.retry}
    assert {"nccl-timeout", "gpu-hardware", "hung", "rank-died"} <= retried
    assert not {"gpu-memory", "host-memory", "disk-full", "gated-model", "no-cuda"} & retried


def test_the_shipped_folder_is_read_whole() -> None:
    assert {failure.name for failure in ALL} == {file.stem for file in (ROOT / "data" / "failures").iterdir()}
