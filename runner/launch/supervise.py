"""From a resolved recipe to a recorded run: what is there already, what runs, and what came of it."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from runner import __version__
from runner.diagnostics import Diagnostic, Span
from runner.engines import environments_of, load_engine
from runner.engines.environment import environment
from runner.launch.fitness import check_machine
from runner.launch.local import Ended, Progress, launch
from runner.launch.measured import measured, one_line, scaling
from runner.launch.table import planned
from runner.machine import probe
from runner.project import Project
from runner.provenance.seal import seal
from runner.provenance.snapshot import lineage, snapshot
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
from runner.redact import redact
from runner.render import render

LOG_TAIL = 64 * 1024
# trials are kept apart from runs, below this folder of artifacts/
PROBES = ".probes"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `execute` will do. `finished` is an equal run that makes it needless, `resume` an unfinished equal one.

    Only a run `as_written`, without `--set`, becomes `latest` and `done`: others must not find a trial of five steps
    in the place of the model that they need. `place` is its folder below artifacts/, the recipe's name where empty.
    """

    files: dict[str, str]
    fingerprint: str
    finished: Run | None
    resume: Run | None
    as_written: bool = True
    place: str = ""


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
    measured: dict[str, Any] = field(default_factory=dict)
    comparison: str = ""


def refuse_machine(project: Project, recipe: Recipe) -> None:
    """Raises Refused (R31x) where this machine does not meet the recipe's box; a CPU run fits anywhere."""
    if recipe.box.gpus == 0:
        return
    found = [d for d in check_machine(probe(project.root), recipe.doc) if d.is_error]
    if found:
        raise Refused(*found)


def prepare(project: Project, recipe: Recipe, *, force: bool = False, as_written: bool = True) -> Prepared:
    files = render(recipe)
    digest = fingerprint(recipe, files)
    earlier = runs(project, recipe.name, recipe.profile)
    finished = next((r for r in earlier if r.status == "finished" and r.fingerprint == digest), None)
    newest = earlier[0] if earlier else None
    resume = newest if newest and newest.status != "finished" and newest.fingerprint == digest else None
    if finished is not None and not force:
        if as_written:
            _publish(project, recipe, finished.path)
        return Prepared(files, digest, finished, None, as_written)
    return Prepared(files, digest, None, None if force else resume, as_written)


def prepare_probe(recipe: Recipe) -> Prepared:
    """A trial: always a fresh run, in a place of its own."""
    files = render(recipe)
    return Prepared(files, fingerprint(recipe, files), None, None, False, f"{PROBES}/{recipe.name}")


def _publish(project: Project, recipe: Recipe, run: Path) -> None:
    point_latest(run)
    mark_done(project, recipe.name, recipe.profile)


def execute(
    project: Project,
    recipe: Recipe,
    prepared: Prepared,
    watch: Callable[[Progress], None],
    predicted: dict[str, Any] | None = None,
) -> Outcome:
    """Write the files, run them, record the result and beside it what was `predicted`, by the plan's dotted names.

    Raises Refused: R411 when another run of this recipe is on, R412 when artifacts/ can't be written.
    """
    folder = profile_dir(project, prepared.place or recipe.name, recipe.profile)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        with lock.acquire(blocking=False):
            return _execute(project, recipe, prepared, watch, predicted or {})
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


def _execute(
    project: Project,
    recipe: Recipe,
    prepared: Prepared,
    watch: Callable[[Progress], None],
    predicted: dict[str, Any],
) -> Outcome:
    place = prepared.place or recipe.name
    run = prepared.resume.path if prepared.resume else new_run_dir(project, place, recipe.profile)
    write_files(run, prepared.files)
    record = start_record(recipe, prepared, run)
    record |= {"planned": planned(recipe), "predicted": predicted, **snapshot(project, recipe, prepared.files, run)}
    write_json(run / RECORD, record)
    parts: list[str] = []

    def follow(progress: Progress) -> None:
        if not parts or parts[-1] != progress.part:
            parts.append(progress.part)
        watch(progress)

    ended = launch(
        run,
        follow,
        environment={
            **environment_paths(recipe),
            "RUNNER_PYTHON": sys.executable,  # for steps that only draw what the engine found
        },
    )
    metrics = final_metrics(run)
    outcome = _judge(recipe, run, ended, parts[-1] if parts else "start", metrics)
    found = measured(recipe, run, ended, metrics)
    outcome = replace(outcome, measured=found, comparison=one_line(predicted, found))
    record.update(
        status=outcome.status,
        finished=now(),
        seconds=round(record["seconds"] + ended.seconds, 3),
        exit_code=ended.code,
        parts={k: round(record["parts"].get(k, 0) + v, 3) for k, v in {**record["parts"], **ended.parts}.items()},
        measured=found,
        scaling=scaling(recipe, found, metrics),
        metrics=metrics,
        outputs=outcome.outputs,
        error=outcome.error or None,
    )
    seal(project, recipe, run, record)
    if outcome.status == "finished" and prepared.as_written:
        _publish(project, recipe, run)
    return outcome


def environment_paths(recipe: Recipe) -> dict[str, str]:
    """RUNNER_ENV is the engine's; another that the run needs is RUNNER_ENV_<NAME>."""
    own, *others = map(environment, environments_of(recipe))
    return {"RUNNER_ENV": str(own.path), **{f"RUNNER_ENV_{e.engine.upper()}": str(e.path) for e in others}}


def start_record(recipe: Recipe, prepared: Prepared, run: Path) -> dict[str, Any]:
    env = environment(load_engine(recipe.engine).ENVIRONMENT)
    earlier = prepared.resume.record if prepared.resume else {}
    return {
        "format": FORMAT,
        "run": run.name,
        "recipe": recipe.name,
        "recipe_sha256": file_hash(Path(recipe.doc.file)),
        "kind": recipe.kind,
        "profile": recipe.profile,
        "title": recipe.title,
        "box": recipe.box.name,
        "fingerprint": prepared.fingerprint,
        "status": "running",
        "started": earlier.get("started", now()),
        "resumed": [*earlier.get("resumed", []), now()] if earlier else [],
        "seconds": earlier.get("seconds", 0.0),
        "parts": earlier.get("parts", {}),
        "runner": __version__,
        "engine": {
            "name": recipe.engine,
            "environment": env.path.name,
            "versions": env.versions(),
            **_other_versions(recipe),
        },
        "machine": {"system": platform.platform(), "python": platform.python_version()},
        "values": recipe.values,
        "upstream": lineage(recipe, run),
    }


def _other_versions(recipe: Recipe) -> dict[str, Any]:
    others = [environment(name) for name in environments_of(recipe)[1:]]
    return {"others": {e.path.name: e.versions() for e in others}} if others else {}


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
    return redact((said or (lines[-1] if lines else "it wrote nothing"))[:400])


def headline(metrics: dict[str, Any]) -> str:
    """`loss 7.123 -> 0.512`, from a run's final metrics; numbers that are none may be text there."""

    def shown(key: str) -> str:
        return f"{float(metrics[key]):.3f}"

    words = []
    if "children" in metrics:
        best = f", best loss {shown('best_loss')}" if "best_loss" in metrics else ""
        words.append(f"{metrics['children']} of {metrics['max_steps']} children{best}")
    if "loss" in metrics:
        words.append(f"loss {shown('first_loss')} -> {shown('loss')}")
    if "rewards/margins" in metrics:
        words.append(f"reward margin {shown('first_rewards/margins')} -> {shown('rewards/margins')}")
    if "reward" in metrics:
        words.append(f"reward {shown('first_reward')} -> {shown('reward')}")
    if "cells" in metrics:
        worse = [f"{metrics[key]} {word}" for key, word in (("failed_cells", "failed"), ("partial_cells", "partial"))]
        worse = [words for words in worse if not words.startswith("0 ")]
        words.append(f"{metrics['cells']} cells, at most {metrics['best_tokens_per_s']:,.0f} tokens/s")
        words += [", ".join(worse)] if worse else []
    if "documents" in metrics and "tokens" in metrics:
        words.append(f"{metrics['documents']:,} documents, {metrics['tokens']:,} tokens")
        words.append(f"{metrics['tokens_per_s_per_core']:,} tokens/s per core")
    if isinstance(metrics.get("headline"), str):  # of a run that says itself what it came to
        words.append(metrics["headline"])
    return ", ".join(words) or "no metrics"
