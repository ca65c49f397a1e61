"""launch.sh as a job of a Slurm cluster: submitted, followed, left to itself, found again, and ended."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from runner.diagnostics import Diagnostic, Span
from runner.launch.follow import Follower, Watch
from runner.launch.local import Ended, asked_to_stop
from runner.project import Project, valid_name
from runner.recipe.load import Refused, printable
from runner.record import LOG, RECORD, Run, now, runs, write_json
from runner.redact import mask_logs, redact

COMMANDS = ("sbatch", "squeue", "scancel", "scontrol")
SCRIPT = "job.sbatch"
EVENTS = "job.jsonl"
HERE = Span("<this machine>")
LOOK_S = 0.5
# how often the controller is asked, which all users of a cluster share: at first soon, later seldom
ASK_S = (1.0, 10.0)
ANSWER_S = 60.0
# how long a file of a node may take to be seen here (NFS keeps attributes for up to a minute)
SETTLE_S = 5.0
OVER = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE")


@dataclass(frozen=True, slots=True)
class Job:
    """What the controller says of a job: `state` in its own words ("" where it does not know the job any more), why it
    waits, the nodes it has, when it is thought to start."""

    state: str
    reason: str = ""
    nodes: str = ""
    start: str = ""

    @property
    def alive(self) -> bool:
        return self.state not in ("", *OVER)

    def words(self) -> str:
        if self.nodes and self.state in ("RUNNING", "COMPLETING"):
            return f"on {self.nodes}"
        waits = f"waits ({self.reason.strip('()') or self.state})"
        return waits if self.start in ("", "N/A") else f"{waits}, to start {self.start.replace('T', ' ')}"


def refuse_slurm() -> None:
    """Raises Refused (R343) where Slurm's commands are not here."""
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing:
        named = ", ".join(f"`{name}`" for name in missing)
        help = "run this on a login node of the cluster; `runner render --out DIR` makes the files, to be taken there"
        raise Refused(Diagnostic("R343", f"there is no {named} here to submit a job with", HERE, help=help))


def launch(run: Path, watch: Watch, record: dict[str, Any], environment: Mapping[str, str], *, follow: bool) -> Ended:
    """Submit `job.sbatch` of a run directory, or find the job that it has already, and follow it to its end.

    `record` gets the job under `job`, and is written. Ctrl-C, SIGTERM and a closed terminal end the following only, as
    does `follow=False` after the job is submitted: `Ended.detached`. Raises Refused (R343, R344).
    """
    refuse_slurm()
    given = {**os.environ, **environment}
    job = attached(record)
    with asked_to_stop() as asked:
        if job is None:
            job = submit(run, given)
            record["job"] = {"scheduler": "slurm", "id": job, "submitted": now()}
            write_json(run / RECORD, record)
        (run / LOG).touch()
        follower = Follower(run, watch, given, from_start=True)
        over = _follow(job, follower, asked) if follow else None
        follower.close()
    if over is None:
        return Ended(0, bool(asked), 0.0, {}, 0.0, {}, detached=True)
    mask_logs(run, given)
    record["job"] |= {"events": events(run, job), "state": over.state}
    return _ended(run, job, over, follower)


def _follow(job: str, follower: Follower, asked: list[float]) -> Job | None:
    """How it ended; None where we are asked to stop following first."""
    due, waits = 0.0, ASK_S[0]
    while not asked:
        if time.monotonic() >= due:
            found = ask(job)
            follower.progress.note = f"Slurm job {job} {found.words()}" if found and found.alive else ""
            if found is not None and not found.alive:
                time.sleep(LOOK_S)
                follower.look()
                return found
            due = time.monotonic() + waits
            waits = min(waits * 1.3, ASK_S[1])
        follower.look()
        time.sleep(LOOK_S)
    return None


def _ended(run: Path, job: str, over: Job, follower: Follower) -> Ended:
    """The code that its script left; where it left none, what Slurm says."""
    deadline = time.monotonic() + SETTLE_S
    while (code := exit_code(run, job)) is None and not over.state.startswith("CANCELLED"):
        if time.monotonic() > deadline:
            break
        time.sleep(LOOK_S)
    cancelled = code is None and over.state.startswith("CANCELLED")
    if code is None:
        code = 130 if cancelled else 1
        with (run / LOG).open("a") as log:
            log.write(f"slurm: job {job} ended as {over.state or 'unknown'}{f' ({over.reason})' * bool(over.reason)}\n")
    seconds = run_seconds(events(run, job))
    return Ended(code, cancelled, seconds, follower.durations(seconds), 0.0, {})


def submit(run: Path, environment: Mapping[str, str]) -> str:
    """The id of the new job. Raises Refused (R344) with Slurm's words where it takes none."""
    done = _slurm("sbatch", "--parsable", SCRIPT, cwd=run, env=environment)
    if done.returncode:
        said = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in done.stderr.splitlines()]
        words = redact(printable("; ".join(line for line in said if line) or "it said nothing", 300))
        raise Refused(
            Diagnostic(
                "R344",
                "Slurm does not take the job",
                Span(str(run / SCRIPT)),
                notes=(words,),
                help="say in the box's `scheduler` what your cluster asks for; `sinfo -s` lists its partitions",
            )
        )
    return done.stdout.strip().partition(";")[0]


def attached(record: Mapping[str, Any]) -> str | None:
    """The job of a run that nobody has seen the end of yet; None where the run has none, or it is lost."""
    job = record.get("job")
    if not isinstance(job, dict) or job.get("scheduler") != "slurm" or "state" in job:
        return None
    return str(job["id"])


def jobs(project: Project, recipe: str) -> Iterator[tuple[Run, str]]:
    """Runs of a recipe whose jobs nobody has seen the end of, newest first."""
    folder = project.artifacts / recipe
    profiles = sorted(p.name for p in folder.iterdir() if p.is_dir()) if valid_name(recipe) and folder.is_dir() else []
    for run in sorted((r for p in profiles for r in runs(project, recipe, p)), key=lambda r: r.id, reverse=True):
        if (job := attached(run.record)) is not None:
            yield run, job


def cancel(job: str) -> None:
    _slurm("scancel", job)


def ask(job: str) -> Job | None:
    """None where the controller does not answer; a job that it has forgotten is over."""
    done = _slurm("squeue", "--noheader", "--states=all", "--format=%T|%r|%N|%S", f"--jobs={job}")
    if done.returncode == 0 and done.stdout.strip():
        state, reason, nodes, start = (done.stdout.splitlines()[0].split("|") + [""] * 4)[:4]
        return Job(state.strip(), "" if reason.strip() == "None" else reason.strip(), nodes.strip(), start.strip())
    if done.returncode == 0 or "Invalid job id" in done.stderr:
        return Job("")
    return None


def events(run: Path, job: str) -> list[dict[str, Any]]:
    """What the job's script wrote of itself, first to last."""
    return [event for event in _lines(run / EVENTS) if str(event.get("job")) == job]


def exit_code(run: Path, job: str) -> int | None:
    codes = [event["code"] for event in events(run, job) if event.get("event") == "end"]
    return int(codes[-1]) if codes and re.fullmatch(r"\d+", str(codes[-1])) else None


def run_seconds(found: list[dict[str, Any]]) -> float:
    """Time in which it ran: from each start to what came next. Of a start that was cut short nothing is known."""
    spans = pairwise(found)
    return float(sum(b["time"] - a["time"] for a, b in spans if a["event"] == "start" and b["event"] != "start"))


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    try:
        text = file.read_text(errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def _slurm(
    *command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, cwd=cwd, env=env, capture_output=True, text=True, timeout=ANSWER_S, check=False,
            start_new_session=True,  # Ctrl-C is ours alone
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"{command[0]} did not answer within {ANSWER_S:g} s")
