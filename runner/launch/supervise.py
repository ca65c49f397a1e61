"""From a resolved recipe to a recorded run: what is there already, what runs, and what came of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runner.diagnostics import Diagnostic, Span
from runner.launch.attempts import Attendance, Tell, run_attempts
from runner.launch.checkpoints import remove_replaced
from runner.launch.describe import start_record
from runner.launch.fitness import check_machine, check_tracker
from runner.launch.follow import Progress
from runner.launch.locks import Waiting, gpu_locks, recipe_lock
from runner.launch.measured import measured, one_line, scaling
from runner.launch.nodes import refuse_elsewhere
from runner.launch.outcome import Outcome, of_finished
from runner.launch.table import planned
from runner.machine import probe
from runner.project import Project
from runner.provenance.seal import seal
from runner.provenance.snapshot import snapshot
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe
from runner.record import (
    RECORD,
    Run,
    final_metrics,
    fingerprint,
    mark_done,
    new_run_dir,
    newest_run,
    now,
    point_latest,
    profile_dir,
    runs,
    write_files,
    write_fingerprint,
    write_json,
)
from runner.render import render

# trials are kept apart from runs, below this folder of artifacts/
PROBES = ".probes"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `execute` will do. `finished` is an equal run that makes it needless, `resume` an unfinished equal one.

    Only a run `as_written`, without `--set`, becomes `latest` and `done`: others must not find a trial of five steps
    in the place of the model that they need. `place` is its folder below artifacts/, the recipe's name where empty.
    `forced` where an earlier equal run does not count, `child` for one of a sweep's.
    """

    files: dict[str, str]
    fingerprint: str
    finished: Run | None
    resume: Run | None
    as_written: bool = True
    place: str = ""
    forced: bool = False
    child: bool = False


def refuse_machine(project: Project, recipe: Recipe) -> None:
    """Raises Refused (R31x) where this machine does not meet the recipe's box, of which a CPU run's fits anywhere; R477
    where its tracker wants a key that is not there."""
    if untold := check_tracker(recipe.doc, os.environ):
        raise Refused(*untold)
    refuse_elsewhere(recipe)
    if recipe.box.gpus == 0 or recipe.box.submits:
        return
    found = [d for d in check_machine(probe(project.root), recipe.doc, recipe.box) if d.is_error]
    if found:
        raise Refused(*found)


def prepare(
    project: Project, recipe: Recipe, *, force: bool = False, as_written: bool = True, child: bool = False
) -> Prepared:
    files = render(recipe)
    digest = fingerprint(recipe, files)
    earlier = runs(project, recipe.name, recipe.profile)
    finished = next((r for r in earlier if r.status == "finished" and r.fingerprint == digest), None)
    if finished is not None and not force:
        if as_written:
            _publish(project, recipe, finished.path)
        return Prepared(files, digest, finished, None, as_written, child=child)
    newest = newest_run(project, recipe.name, recipe.profile)
    goes_on = newest is not None and newest.status != "finished" and newest.fingerprint == digest and not force
    return Prepared(files, digest, None, newest if goes_on else None, as_written, forced=force, child=child)


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
    *,
    tell: Tell = lambda text: None,
    waiting: Waiting | None = None,
    follow: bool = True,
) -> Outcome:
    """Write the files, run them, record the result and beside it what was `predicted`, by the plan's dotted names.

    `tell` is given sentences for whoever watches. With `waiting`, which is told whom for, it waits for another run of
    this recipe or its GPUs; without, raises Refused: R411, R414. R412 when artifacts/ can't be written.
    """
    folder = profile_dir(project, prepared.place or recipe.name, recipe.profile)
    waited: list[str] = []

    def wait(who: str, seconds: float) -> None:
        waited.append(who)
        if waiting is not None:
            waiting(who, seconds)

    patience = wait if waiting is not None else None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with recipe_lock(folder, recipe, patience), gpu_locks(recipe, patience) as locks:
            if waited and not prepared.place:  # the other one may have been of this very recipe
                prepared = prepare(
                    project, recipe, force=prepared.forced, as_written=prepared.as_written, child=prepared.child
                )
                if prepared.finished is not None:
                    return of_finished(prepared.finished)
            by = Attendance(watch, tell, locks, child=prepared.child, follow=follow)
            return _execute(project, recipe, prepared, predicted or {}, by)
    except OSError as error:
        raise Refused(_not_written(error, project, folder)) from None


def _not_written(error: OSError, project: Project, folder: Path) -> Diagnostic:
    """Nearly always the artifacts folder, so its disk or permissions; what is elsewhere is named as what it is."""
    place, said = str(error.filename or folder), error.strerror or str(error)
    if Path(place).is_relative_to(project.artifacts):
        message, mend = "can't write to the artifacts folder", "check its permissions and the free space on its disk"
    else:
        message, mend = "the run could not go on", "the same command goes on from the newest checkpoint"
    return Diagnostic("R412", f"{message}: {said}", Span(place), help=mend)


def _execute(
    project: Project,
    recipe: Recipe,
    prepared: Prepared,
    predicted: dict[str, Any],
    by: Attendance,
) -> Outcome:
    place = prepared.place or recipe.name
    run = prepared.resume.path if prepared.resume else new_run_dir(project, place, recipe.profile)
    write_files(run, prepared.files)
    write_fingerprint(run, prepared.fingerprint)
    earlier = prepared.resume.record if prepared.resume else None
    record = start_record(recipe, prepared.fingerprint, run, earlier, as_written=prepared.as_written)
    record |= {"planned": planned(recipe), "predicted": predicted, **snapshot(project, recipe, prepared.files, run)}
    write_json(run / RECORD, record)
    outcome, ended = run_attempts(recipe, run, record, by)
    if outcome.status == "detached":
        return outcome
    metrics = final_metrics(run)
    found = measured(recipe, run, ended, metrics)
    outcome = replace(outcome, measured=found, comparison=one_line(predicted, found))
    record.update(
        status=outcome.status,
        finished=now(),
        exit_code=ended.code,
        measured=found,
        scaling=scaling(recipe, found, metrics),
        metrics=metrics,
        outputs=outcome.outputs,
        part=outcome.part,
        error=outcome.error or None,
        failure=outcome.failure,
    )
    seal(project, recipe, run, record)
    if outcome.status == "finished":
        remove_replaced(run, [], finished=True)
        if prepared.as_written:
            _publish(project, recipe, run)
    return outcome
