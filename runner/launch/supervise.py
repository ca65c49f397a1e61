"""From a resolved recipe to a recorded run: what is there already, what runs, and what came of it."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from runner import __version__
from runner.diagnostics import Diagnostic, Span
from runner.engines import load_engine
from runner.engines.environment import environment
from runner.launch.fitness import check_machine
from runner.launch.local import Ended, Progress, launch
from runner.machine import probe
from runner.project import Project
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe
from runner.record import (
    FORMAT,
    LOG,
    RECORD,
    Run,
    describe_outputs,
    file_hash,
    final_metrics,
    fingerprint,
    mark_done,
    new_run_dir,
    now,
    point_latest,
    profile_dir,
    runs,
    write_files,
    write_json,
)
from runner.render import render

LOG_TAIL = 64 * 1024


@dataclass(frozen=True, slots=True)
class Plan:
    """What `execute` will do. `finished` is an equal run that makes it needless, `resume` an unfinished equal one.

    Only a run `as_written`, without `--set`, becomes `latest` and `done`: others must not find a trial of five steps
    in the place of the model that they need.
    """

    files: dict[str, str]
    fingerprint: str
    finished: Run | None
    resume: Run | None
    as_written: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """`status` is finished, failed or interrupted; `part` the step of launch.sh that it came to."""

    run: Path
    status: str
    code: int
    part: str
    seconds: float
    outputs: list[dict[str, Any]]
    headline: str
    error: str


def refuse_machine(project: Project, recipe: Recipe) -> None:
    """Raises Refused (R31x) where this machine does not meet the recipe's box; a CPU run fits anywhere."""
    if recipe.box.gpus == 0:
        return
    found = [d for d in check_machine(probe(project.root), recipe.doc) if d.is_error]
    if found:
        raise Refused(*found)


def prepare(project: Project, recipe: Recipe, *, force: bool = False, as_written: bool = True) -> Plan:
    files = render(recipe)
    digest = fingerprint(recipe, files)
    earlier = runs(project, recipe.name, recipe.profile)
    finished = next((r for r in earlier if r.status == "finished" and r.fingerprint == digest), None)
    newest = earlier[0] if earlier else None
    resume = newest if newest and newest.status != "finished" and newest.fingerprint == digest else None
    if finished is not None and not force:
        if as_written:
            _publish(project, recipe, finished.path)
        return Plan(files, digest, finished, None, as_written)
    return Plan(files, digest, None, None if force else resume, as_written)


def _publish(project: Project, recipe: Recipe, run: Path) -> None:
    point_latest(run)
    mark_done(project, recipe.name, recipe.profile)


def execute(project: Project, recipe: Recipe, plan: Plan, watch: Callable[[Progress], None]) -> Outcome:
    """Write the files, run them, record the result. Raises Refused (R411) when another run of this recipe is on."""
    folder = profile_dir(project, recipe.name, recipe.profile)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        with lock.acquire(blocking=False):
            return _execute(project, recipe, plan, watch)
    except Timeout:
        raise Refused(
            Diagnostic(
                "R411",
                f"another run of `{recipe.name}` ({recipe.profile}) is going on",
                Span(str(folder)),
                help="wait for it, or end it",
            )
        ) from None
    except OSError as error:
        raise Refused(
            Diagnostic(
                "R412",
                f"can't write to the artifacts folder: {error.strerror or error}",
                Span(str(error.filename or folder)),
                help="check its permissions and the free space on its disk",
            )
        ) from None


def _execute(project: Project, recipe: Recipe, plan: Plan, watch: Callable[[Progress], None]) -> Outcome:
    run = plan.resume.path if plan.resume else new_run_dir(project, recipe.name, recipe.profile)
    write_files(run, plan.files)
    record = _start_record(recipe, plan, run)
    write_json(run / RECORD, record)
    parts: list[str] = []

    def follow(progress: Progress) -> None:
        if not parts or parts[-1] != progress.part:
            parts.append(progress.part)
        watch(progress)

    ended = launch(
        run, follow, environment={"RUNNER_ENV": str(environment(load_engine(recipe.engine).ENVIRONMENT).path)}
    )
    metrics = final_metrics(run)
    outcome = _judge(recipe, run, ended, parts[-1] if parts else "start", metrics)
    record.update(
        status=outcome.status,
        finished=now(),
        seconds=round(record["seconds"] + ended.seconds, 3),
        exit_code=ended.code,
        parts={k: round(record["parts"].get(k, 0) + v, 3) for k, v in {**record["parts"], **ended.parts}.items()},
        measured={"peak_process_rss_gib": round(ended.peak_rss_gib, 3)},
        metrics=metrics,
        outputs=outcome.outputs,
        error=outcome.error or None,
    )
    write_json(run / RECORD, record)
    if outcome.status == "finished" and plan.as_written:
        _publish(project, recipe, run)
    return outcome


def _start_record(recipe: Recipe, plan: Plan, run: Path) -> dict[str, Any]:
    env = environment(load_engine(recipe.engine).ENVIRONMENT)
    earlier = plan.resume.record if plan.resume else {}
    return {
        "format": FORMAT,
        "run": run.name,
        "recipe": recipe.name,
        "recipe_sha256": file_hash(Path(recipe.doc.file)),
        "kind": recipe.kind,
        "profile": recipe.profile,
        "title": recipe.title,
        "box": recipe.box.name,
        "fingerprint": plan.fingerprint,
        "status": "running",
        "started": earlier.get("started", now()),
        "resumed": [*earlier.get("resumed", []), now()] if earlier else [],
        "seconds": earlier.get("seconds", 0.0),
        "parts": earlier.get("parts", {}),
        "runner": __version__,
        "engine": {"name": recipe.engine, "environment": env.path.name, "versions": env.versions()},
        "machine": {"system": platform.platform(), "python": platform.python_version()},
        "values": recipe.values,
        "upstream": [
            {"alias": u.alias, "recipe": u.recipe, "run": u.run.name if u.run else None} for u in recipe.upstreams
        ],
    }


def _judge(recipe: Recipe, run: Path, ended: Ended, part: str, metrics: dict[str, Any]) -> Outcome:
    status, error = "finished", ""
    outputs: list[dict[str, Any]] = []
    if ended.interrupted and ended.code != 0:
        status = "interrupted"
    elif ended.code != 0:
        status, error = "failed", last_error(recipe, run)
    else:
        outputs, missing = describe_outputs(recipe, run)
        if missing:
            status, error = "failed", f"it ended well but left nothing in {', '.join(missing)}"
    return Outcome(run, status, ended.code, part, ended.seconds, outputs, headline(metrics), error)


def last_error(recipe: Recipe, run: Path) -> str:
    """The engine's own last error, or the last line it wrote."""
    with (run / LOG).open("rb") as log:
        log.seek(0, 2)
        log.seek(max(0, log.tell() - LOG_TAIL))
        tail = log.read().decode("utf-8", "replace")
    said = load_engine(recipe.engine).failure(tail)
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    return (said or (lines[-1] if lines else "it wrote nothing"))[:400]


def headline(metrics: dict[str, Any]) -> str:
    """`loss 7.123 -> 0.512`, from a run's final metrics; numbers that are none may be text there."""

    def shown(key: str) -> str:
        return f"{float(metrics[key]):.3f}"

    words = []
    if "loss" in metrics:
        words.append(f"loss {shown('first_loss')} -> {shown('loss')}")
    if "rewards/margins" in metrics:
        words.append(f"reward margin {shown('first_rewards/margins')} -> {shown('rewards/margins')}")
    if "reward" in metrics:
        words.append(f"reward {shown('first_reward')} -> {shown('reward')}")
    return ", ".join(words) or "no metrics"
