"""Plan -> plain data with stable names: what `runner plan --json` prints, as schemas/plan.schema.json describes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from runner.diagnostics import Diagnostic
from runner.diagnostics import to_json as diagnostic_to_json
from runner.plan.types import Estimate, Plan, Speed, Store

if TYPE_CHECKING:
    from runner.plan.fit import Choice, Search

# of every figure: more digits than any estimate deserves, few enough to read
_DIGITS = 7


def to_json(plan: Plan, diagnostics: Iterable[Diagnostic] = ()) -> dict[str, Any]:
    """Units stand in the names, and in the schema. What isn't known is null, and has no interval."""
    return {
        "recipe": plan.recipe,
        "kind": plan.kind,
        "profile": plan.profile,
        "box": plan.box,
        "gpus": plan.gpus,
        "fits": plan.fits,
        "memory": _memory(plan),
        "host": {**_store(plan.host, "ram_gib"), "capacity_gib": short(plan.host.capacity_gib)},
        "disk": {**_store(plan.disk, "gib"), "capacity_gib": short(plan.disk.capacity_gib)},
        "speed": _speed(plan.speed),
        "time": {
            "steps": plan.length.steps,
            "tokens": plan.length.tokens,
            "samples": plan.length.samples,
            "hours": value(plan.cost.hours),
            "why": plan.length.why,
        },
        "cost": {
            "usd": value(plan.cost.usd),
            "kwh": value(plan.cost.kwh),
            "price_usd_per_hour": short(plan.cost.price_usd_per_hour),
        },
        "model": {
            "name": plan.model,
            "parameters": plan.parameters,
            "active_parameters": plan.active_parameters,
            "trained_parameters": plan.trained_parameters,
            "components": dict(plan.components),
        },
        "batch": {"global": plan.global_batch, "step_tokens": plan.step_tokens},
        "interval": {name: [short(estimate.low), short(estimate.high)] for name, estimate in estimates(plan).items()},
        "notes": list(plan.notes),
        "diagnostics": [diagnostic_to_json(d) for d in diagnostics],
    }


def search_to_json(search: Search) -> dict[str, Any]:
    """What `runner plan --fit --json` prints."""
    return {
        "best": _choice(search.best) if search.best is not None else None,
        "frontier": [_choice(choice) for choice in search.frontier],
        "tried": search.tried,
    }


def _choice(choice: Choice) -> dict[str, Any]:
    return {
        "settings": dict(choice.settings),
        "changes_learning": list(choice.changes_learning),
        "plan": to_json(choice.plan),
    }


def estimates(plan: Plan) -> dict[str, Estimate]:
    """Every figure that has an interval, by its dotted name in the JSON."""
    found = {
        "memory.peak_gib": plan.memory.peak,
        "memory.reserved_gib": plan.memory.reserved,
        "host.ram_gib": plan.host.gib,
        "disk.gib": plan.disk.gib,
        "speed.tokens_per_s_per_gpu": plan.speed.tokens_per_s_per_gpu if plan.speed else None,
        "speed.step_s": plan.speed.step_s if plan.speed else None,
        "time.hours": plan.cost.hours,
        "cost.usd": plan.cost.usd,
        "cost.kwh": plan.cost.kwh,
    }
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def _memory(plan: Plan) -> dict[str, Any]:
    memory = plan.memory
    return {
        "peak_gib": short(memory.peak.value),
        "reserved_gib": short(memory.reserved.value),
        "capacity_gib": short(memory.capacity_gib),
        "phase": memory.phase,
        "breakdown": _all_short(memory.breakdown),
        "moments": _all_short(memory.moments),
    }


def _store(store: Store, name: str) -> dict[str, Any]:
    return {name: short(store.gib.value), "breakdown": _all_short(store.breakdown)}


def _speed(speed: Speed | None) -> dict[str, Any]:
    return {
        "tokens_per_s_per_gpu": value(speed.tokens_per_s_per_gpu) if speed else None,
        "step_s": value(speed.step_s) if speed else None,
        "mfu": short(speed.mfu) if speed else None,
        "hfu": short(speed.hfu) if speed else None,
        "breakdown": _all_short(speed.breakdown) if speed else {},
    }


def value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else short(estimate.value)


def _all_short(parts: Mapping[str, float]) -> dict[str, float]:
    return {name.replace(" ", "_"): short(size) for name, size in parts.items()}


def short(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")
