"""Two runs of the same files -> what differs: outputs by hash, final metrics, and the reports of each step."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from runner.record import Run, read_metrics

# how long something took and what it held, which no two runs have alike
_MEASURED = re.compile(
    r"time|runtime|seconds|per_sec|tokens_per_s|_per_s\b|_s$|_ms$|latency|gib|rss|mem(ory)?\b|throughput|^headline$|mfu"
)
# what trainers write beside their result: where, when and how fast it ran
BOOKKEEPING = ("training_args.bin", "trainer_state.json", "all_results.json", "train_results.json", "eval_results.json")


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was compared. `decides`: a difference here makes it another result."""

    part: str
    name: str
    before: str
    after: str
    same: bool
    decides: bool = True


def compare_runs(before: Run, after: Run, tolerance: float = 0.0) -> list[Row]:
    """`tolerance` is relative, of metrics; above 0 bytes of outputs are shown, and do not decide: floating point sums
    in another order are other bytes."""
    return [*_outputs(before, after, tolerance), *_metrics(before, after, tolerance), *_curve(before, after, tolerance)]


def same(rows: list[Row]) -> bool:
    return all(row.same for row in rows if row.decides)


def _outputs(before: Run, after: Run, tolerance: float) -> list[Row]:
    rows = []
    there = {o["name"]: o for o in after.record.get("outputs", [])}
    for output in before.record.get("outputs", []):
        was, now = (_hashes(each) for each in (output, there.get(output["name"], {})))
        for name in sorted(was.keys() | now.keys()):
            old, new = was.get(name), now.get(name)
            known = old is not None and new is not None
            decides = name not in BOOKKEEPING and not (tolerance and known)
            cells = [each[:12] if each else "-" for each in (old, new)]
            rows.append(Row("output", f"{output['name']}/{name}", cells[0], cells[1], old == new, decides))
    return rows


def _hashes(output: dict[str, Any]) -> dict[str, str]:
    return output.get("files") or ({"all files": output["sha256"]} if output else {})


def _metrics(before: Run, after: Run, tolerance: float) -> list[Row]:
    old, new = before.record.get("metrics", {}), after.record.get("metrics", {})
    names = sorted(name for name in old.keys() | new.keys() if not _MEASURED.search(name))
    return [
        Row("metric", name, shown(old.get(name)), shown(new.get(name)), close(old.get(name), new.get(name), tolerance))
        for name in names
    ]


def _curve(before: Run, after: Run, tolerance: float) -> list[Row]:
    """A row for each metric: the first step at which it differs, and by how much at most."""
    old, new = _by_step(before), _by_step(after)
    rows = []
    for name in sorted({key for key, _ in old.keys() | new.keys()}):
        steps = sorted(step for key, step in old.keys() | new.keys() if key == name)
        off = [s for s in steps if not close(old.get((name, s)), new.get((name, s)), tolerance)]
        at = off[0] if off else steps[-1]
        cells = [f"{shown(each.get((name, at)))} at step {at}" for each in (old, new)]
        rows.append(Row("curve", f"{name} ({len(off)} of {len(steps)} steps differ)", cells[0], cells[1], not off))
    return rows


def _by_step(run: Run) -> dict[tuple[str, int], Any]:
    rows, _ = read_metrics(run.path)
    return {
        (key, int(row["step"])): value
        for row in rows
        if "step" in row
        for key, value in row.items()
        if key not in ("step", "max_steps", "event") and not _MEASURED.search(key)
    }


def close(a: Any, b: Any, tolerance: float) -> bool:
    """Equal; of numbers within `tolerance`, relative to the larger. A NaN equals a NaN: both have diverged."""
    if not (_is_number(a) and _is_number(b)):
        return bool(a == b)
    return a == b or (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=tolerance, abs_tol=0.0)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def shown(value: Any) -> str:
    return "-" if value is None else f"{value:.9g}" if isinstance(value, float) else str(value)
