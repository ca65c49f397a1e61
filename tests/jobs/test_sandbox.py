"""Programs that a model might write: what is right passes, and nothing gets out of the sandbox."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.jobs.evaluation import Problem, execute
from runner.jobs.evaluation.execute import estimate, pass_at, run_programs
from runner.launch.sandbox import no_sandbox

pytestmark = pytest.mark.slow

sandboxed = pytest.mark.skipif(no_sandbox() is not None, reason="this machine lets nobody have namespaces")

RIGHT = ("def double(x):\n    return 2 * x", "assert double(2) == 4")
WRONG = {
    "a wrong answer": ("def double(x):\n    return x", "assert double(2) == 4"),
    "no program": ("def double(x) return 2", "assert double(2) == 4"),
    "no end": ("while True:\n    pass", ""),
    "an early end": ("import sys\nsys.exit(0)", "assert False"),
    "a sudden end": ("import os\nos._exit(0)", "assert False"),
    "what looks like success": ("print('1' * 32)\nraise SystemExit", "assert False"),
    "a network": ("import socket", "socket.create_connection(('127.0.0.1', 22), 1)"),
    "another's memory": ("x = bytearray(8 << 30)", ""),
}


@sandboxed
def test_each_program_gets_its_own_verdict() -> None:
    programs = [RIGHT, *WRONG.values(), RIGHT]
    assert run_programs([list(p) for p in programs]) == [True, *[False] * len(WRONG), True]


@sandboxed
def test_files_are_read_only_and_secrets_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    target = tmp_path / "written"
    programs = [
        (f"open({str(target)!r}, 'w').write('x')", ""),
        ("import pathlib", f"pathlib.Path({str(Path.home())!r}, 'evil').touch()"),
        ("import os", "assert 'HF_TOKEN' not in os.environ"),
        ("open('mine', 'w').write('x')", "assert open('mine').read() == 'x'"),
        ("import os", "assert os.listdir('.') == []"),
    ]
    assert run_programs([list(p) for p in programs]) == [False, False, True, True, True]
    assert not target.exists()


@sandboxed
def test_processes_end_with_their_program(tmp_path: Path) -> None:
    """A child that outlives its program, and one that multiplies: both are gone, and the next program runs."""
    starts = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(98765)'])"
    multiplies = "import os\nwhile True:\n    os.fork()"
    assert run_programs([[starts, ""], [multiplies, ""], list(RIGHT)]) == [True, False, True]
    found = [p for p in Path("/proc").glob("[0-9]*/cmdline") if b"time.sleep(98765)" in _read(p)]
    assert found == []


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


@sandboxed
def test_samples_get_their_score(tmp_path: Path) -> None:
    generated, results = tmp_path / "generated", tmp_path / "results"
    generated.mkdir()
    rows = [{"doc_id": i, "filtered_resps": [[p, q]], "target": t} for i, (p, q, t) in enumerate(SAMPLED)]
    (generated / "samples_t_2026.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {"configs": {"t": {"metric_list": [{"metric": "pass_at_k", "k": [1, 2]}]}}, "lm_eval_version": "0"}
    (generated / "lm_eval_2026.json").write_text(json.dumps(config))
    execute.execute(generated, results)
    scored = [json.loads(line) for line in (results / "samples_t_code.jsonl").read_text().splitlines()]
    assert [(row["pass@1"], row["pass@2"]) for row in scored] == [(1.0, 1.0), (0.5, 1.0), (0.0, 0.0)]
    assert json.loads((results / "code.json").read_text())["scored"] == {"t": {"n": 3, "ks": [1, 2]}}


SAMPLED = [("x = 1", "x = 1", "assert x == 1"), ("x = 2", "x = 1", "assert x == 1"), ("x = 2", "!", "assert x == 1")]


def test_without_a_sandbox_nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(execute, "SANDBOX", ("false",))
    with pytest.raises(Problem, match="the sandbox does not work here"):
        run_programs([[f"open({str(tmp_path / 'ran')!r}, 'w')", ""]])
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("n", "right", "k", "chance"), [(1, 1, 1, 1), (1, 0, 1, 0), (4, 2, 1, 0.5), (4, 2, 2, 5 / 6)])
def test_pass_at_k_is_the_papers(n: int, right: int, k: int, chance: float) -> None:
    assert estimate(n, right, k) == pytest.approx(chance)


def test_k_is_the_tasks_own() -> None:
    assert pass_at({"metric_list": [{"metric": "pass_at_k", "k": [8, 2]}]}) == [2, 8]
    assert pass_at({"metric_list": [{"metric": "exact_match"}]}) == [1]
