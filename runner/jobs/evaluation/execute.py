"""Programs that a model wrote, run against their tests in a sandbox; the score is pass@k, as Codex's paper has it."""

import json
import secrets
import subprocess
import sys
import tempfile
from math import comb
from pathlib import Path
from typing import Any

from . import Problem

# the namespaces that the programs get: users, network, mounts, processes, shared memory and host name of their own
SANDBOX = (
    "unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child",
    "--mount-proc",
)  # fmt: skip


def execute(generated: Path, results: Path) -> None:
    """Scores every samples file of `generated` and leaves it, with `pass@k` in each row, and code.json in `results`."""
    results.mkdir(exist_ok=True)
    run = next(iter(sorted(generated.glob("lm_eval_*.json"), reverse=True)), None)
    if run is None:
        raise Problem(f"there are no generated answers in {generated}")
    report = json.loads(run.read_text())
    scored: dict[str, Any] = {}
    for task, config in report["configs"].items():
        files = sorted(generated.glob(f"samples_{task}_*.jsonl"))
        rows = [json.loads(line) for file in files[-1:] for line in file.read_text().splitlines()]
        # the programs are what the task's filters made of the answers, the target is their test
        passed = run_programs([[p, row["target"]] for row in rows for p in _programs(row)])
        ks = pass_at(config)
        for row in rows:
            count = len(_programs(row))
            right = sum(passed[:count])
            del passed[:count]
            row.update({f"pass@{k}": estimate(count, right, k) for k in ks if k <= count})
        (results / f"samples_{task}_code.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        scored[task] = {"n": len(rows), "ks": ks}
    for key in ("results", "higher_is_better"):
        report[key] = {}
    (results / "code.json").write_text(json.dumps({**report, "scored": scored}, default=str))


def _programs(row: dict[str, Any]) -> list[str]:
    given = row["filtered_resps"]
    while given and isinstance(given[0], list):
        given = given[0]
    return [str(each) for each in given]


def pass_at(config: dict[str, Any]) -> list[int]:
    """The `k` of the task's own metric, 1 where it says nothing."""
    given = [k for metric in config.get("metric_list") or () if isinstance(metric, dict) for k in metric.get("k") or ()]
    return sorted({int(k) for k in given}) or [1]


def estimate(n: int, right: int, k: int) -> float:
    """The chance that one of `k` of `n` programs is right (Chen et al. 2021, equation 1)."""
    return 1.0 if n - right < k else 1.0 - comb(n - right, k) / comb(n, k)


def run_programs(programs: list[list[str]]) -> list[bool]:
    """Whether each program comes to the end of its test, in order. Raises Problem where there is no sandbox."""
    with tempfile.TemporaryDirectory(prefix="sandbox-") as folder:
        command = [*SANDBOX, sys.executable, "-I", str(Path(__file__).with_name("sandbox.py").resolve()), folder]
        word = secrets.token_hex(16)
        done = subprocess.run(
            command,
            input=json.dumps({"word": word, "programs": programs}),
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": "/usr/bin:/bin"},
        )
    verdicts = [line.split()[1] == "1" for line in done.stdout.splitlines() if line.startswith(word)]
    if done.returncode != 0 or len(verdicts) != len(programs):
        said = (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1]
        raise Problem(f"the sandbox does not work here: {said}")
    return verdicts
