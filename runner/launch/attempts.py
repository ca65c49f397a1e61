"""A run's attempts: each starts from the newest whole checkpoint, is recorded, and may be followed by another."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runner.launch.checkpoints import newest_whole, put_aside
from runner.launch.describe import environment_paths
from runner.launch.ended import before, failure_of
from runner.launch.follow import Progress
from runner.launch.local import Ended, asked_to_stop, being_ended, end_stragglers, launch
from runner.launch.outcome import Outcome, judge
from runner.recipe.kinds import SUPERVISED
from runner.recipe.resolve import Recipe
from runner.record import LOG, RECORD, final_metrics, now, write_json

# before the second attempt; twice as long before each further one, so that a node or a network has time to come back
PAUSE_S = 10.0
LONGEST_PAUSE_S = 600.0
POLL_S = 0.2
WAITING = "waiting"

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Supervision:
    """What the header of a recipe says of it: attempts beyond the first; the silence in seconds after which a run
    counts as hung, None for what runner/launch/hang.py makes of its steps."""

    max_restarts: int = 0
    hang_timeout_s: float | None = None
    weights_only: bool = False


def supervision(recipe: Recipe) -> Supervision:
    said = {name: node.plain() for name, node in recipe.doc.keys.items() if name in SUPERVISED}
    restarts, silence = (said.get(name) for name in SUPERVISED)
    return Supervision(
        max_restarts=restarts or 0,
        hang_timeout_s=silence,
        weights_only=bool(recipe.values.get("save_only_model")),
    )


def run_attempts(
    recipe: Recipe,
    run: Path,
    record: dict[str, Any],
    watch: Callable[[Progress], None],
    tell: Tell,
    *,
    locks: Sequence[int],
    child: bool,
) -> tuple[Outcome, Ended]:
    """As many attempts as the recipe allows, while what failed may do better a second time. `record` is run.json's:
    each attempt is added to it, and written, as soon as it has ended."""
    rules = supervision(recipe)
    for again in range(rules.max_restarts + 1):
        outcome, ended = _attempt(recipe, run, record, rules, watch, tell, locks=locks, child=child)
        write_json(run / RECORD, record)
        if again == rules.max_restarts or not worth_retrying(outcome):
            return outcome, ended
        pause = min(PAUSE_S * 2**again, LONGEST_PAUSE_S)
        tell(f"{outcome.error}; again in {pause:.0f} s ({again + 1} of {rules.max_restarts} restarts)")
        if not _pause(pause, watch):
            return replace(outcome, status="interrupted"), ended
    raise AssertionError("a run has one attempt at least")


def worth_retrying(outcome: Outcome) -> bool:
    """A known failure says so itself; what is not known would fail again."""
    return outcome.status == "failed" and outcome.failure is not None and bool(outcome.failure["retry"])


def _attempt(
    recipe: Recipe,
    run: Path,
    record: dict[str, Any],
    rules: Supervision,
    watch: Callable[[Progress], None],
    tell: Tell,
    *,
    locks: Sequence[int],
    child: bool,
) -> tuple[Outcome, Ended]:
    if being_ended(run):
        tell("what a killed runner left still saves, and is waited for")
    end_stragglers(run)  # before any checkpoint is looked at: they may be writing one
    notes = put_aside(run, weights_only=rules.weights_only)
    start = newest_whole(run, weights_only=rules.weights_only)
    if start is not None:
        notes.append(f"goes on from {start}")
    for note in notes:
        tell(note)
    _note(run, notes)
    was, parts, began = before(run), [""], now()

    def follow(progress: Progress) -> None:
        if parts[-1] != progress.part:
            parts.append(progress.part)
        watch(progress)

    ended = launch(
        run,
        follow,
        # RUNNER_PYTHON is for steps that only draw what the engine found
        environment={**environment_paths(recipe), "RUNNER_PYTHON": sys.executable},
        keep_open=locks,
        hang_s=rules.hang_timeout_s,
    )
    metrics = final_metrics(run)
    outcome = judge(recipe, run, ended, parts[-1] or "start", metrics, child=child)
    if outcome.status == "failed":
        hung = ("hung",) if ended.silent_s is not None else ()
        outcome = replace(outcome, failure=failure_of(run, ended.code, was, hung))
    record["seconds"] = round(record["seconds"] + ended.seconds, 3)
    record["parts"] = {
        part: round(record["parts"].get(part, 0) + ended.parts.get(part, 0), 3)
        for part in {**record["parts"], **ended.parts}
    }
    record["attempts"] = [
        *record["attempts"],
        {
            "started": began,
            "seconds": round(ended.seconds, 3),
            "status": outcome.status,
            "exit_code": ended.code,
            "part": outcome.part,
            "from_step": start.step if start is not None else 0,
            "step": metrics.get("step"),
            "failure": outcome.failure["name"] if outcome.failure else None,
            "error": outcome.error or None,
            "notes": notes,
        },
    ]
    return outcome, ended


def _note(run: Path, notes: list[str]) -> None:
    """Into the log, where whoever reads it later looks for what happened."""
    if notes:
        with (run / LOG).open("a", encoding="utf-8") as log:
            log.writelines(f"runner: {now()} {note}\n" for note in notes)


def _pause(seconds: float, watch: Callable[[Progress], None]) -> bool:
    """Whether nobody has asked to stop meanwhile."""
    began = time.monotonic()
    with asked_to_stop() as asked:
        while not asked and (waited := time.monotonic() - began) < seconds:
            watch(Progress(part=WAITING, seconds=waited))
            time.sleep(POLL_S)
    return not asked
