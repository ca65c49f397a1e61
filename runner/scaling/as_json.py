"""Fit -> plain data with stable names (schemas/fit.schema.json), and back, for `runner optimal`."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from runner.diagnostics import Diagnostic, Span
from runner.recipe.load import Refused
from runner.scaling import envelope, isoflop
from runner.scaling.advice import Advice
from runner.scaling.fit import separate_intervals
from runner.scaling.laws import Array
from runner.scaling.outliers import spread
from runner.scaling.parametric import law_of
from runner.scaling.types import PARAMETRIC, Estimate, Fit, HeldOut, Interval

FORMAT = 1
MOST_DRAWS = 400  # that are kept for later intervals
LARGEST_BYTES = 16 * 2**20
_SHORT_LIST = re.compile(r"\[\s+([^\[\]{}]+?)\s+\]")


def to_json(fit: Fit) -> dict[str, Any]:
    """Every figure as a number, or null where there is none."""
    e, used = fit.estimate, fit.used.astype(bool)
    kept = fit.points.take(used)
    return {
        "format": FORMAT,
        "law": e.law,
        "method": e.method,
        "points": len(fit.points),
        "fitted_points": int(used.sum()),
        "sources": list(fit.sources),
        "level": fit.level,
        "parameters": {name: interval(one) for name, one in fit.intervals.items()},
        "objective": _number(e.objective),
        "converged": e.converged,
        "bootstraps": len(e.draws),
        "optimal": None if fit.optimum is None else _optimal(fit),
        "residuals": _residuals(fit),
        "outliers": [
            {
                "place": o.place,
                "params": float(fit.points.params[o.index]),
                "tokens": float(fit.points.tokens[o.index]),
                "loss": float(fit.points.loss[o.index]),
                "predicted": _number(o.predicted),
                "sigmas": _number(o.sigmas),
                "used": o.used,
            }
            for o in fit.outliers
        ],
        "heldout": heldout(fit.heldout),
        "separate": {
            one.law: {name: interval(i) for name, i in separate_intervals(one, fit.level).items()} for one in e.separate
        },
        "minima": [
            {"flops": m.flops, "params": m.params, "tokens": m.tokens, "loss": m.loss, "edge": m.edge} for m in e.minima
        ],
        "range": {
            name: [float(values.min()), float(values.max())]
            for name, values in (
                ("params", kept.params),
                ("tokens", kept.tokens),
                ("flops", kept.flops),
                ("loss", kept.loss),
            )
        },
        "warnings": [{"kind": w.kind, "message": w.message} for w in fit.warnings],
        "seconds": round(fit.seconds, 4),
        "draws": {
            name: [_short(v) for v in column] for name, column in zip(e.names, e.draws[:MOST_DRAWS].T, strict=True)
        },
    }


def interval(one: Interval) -> dict[str, float | None]:
    return {"value": _number(one.value), "low": _number(one.low), "high": _number(one.high)}


def heldout(found: HeldOut | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "points": found.runs,
        "fitted_points": found.fitted_runs,
        "fitted_up_to_flops": found.up_to_flops,
        "rmse_log_loss": _number(found.rmse_log),
        "mean_abs_error": _number(found.mean_abs),
        "max_abs_error": _number(found.worst_abs),
        "bias": _number(found.bias),
        "best_rmse_log_loss": _number(found.best_rmse_log),
        "best_points": found.best_runs,
        "note": found.why,
    }


def dump(data: dict[str, Any]) -> str:
    """Indented, lists of numbers on one line."""
    text = json.dumps(data, indent=1, allow_nan=False, ensure_ascii=False)
    return _SHORT_LIST.sub(lambda m: "[" + re.sub(r"\s*\n\s*", " ", m[1]) + "]", text)


def _optimal(fit: Fit) -> dict[str, Any]:
    assert fit.optimum is not None
    o = fit.optimum
    return {
        "a": interval(o.a),
        "b": interval(o.b),
        "k_n": _number(o.k_n),
        "k_d": _number(o.k_d),
        "formula": "N_opt = k_n C^a, D_opt = k_d C^b",
    }


def _residuals(fit: Fit) -> dict[str, Any]:
    """Of log loss, of the runs that were counted."""
    error = fit.residuals[fit.used.astype(bool)]
    if not np.isfinite(error).all():
        return {"rmse_log_loss": None, "median_abs_log_loss": None, "max_abs_log_loss": None, "robust_sigma": None}
    return {
        "rmse_log_loss": float(np.sqrt(np.mean(error**2))),
        "median_abs_log_loss": float(np.median(np.abs(error))),
        "max_abs_log_loss": float(np.max(np.abs(error))),
        "robust_sigma": spread(error),
        "r2_log_loss": _r2(fit, error),
    }


def _r2(fit: Fit, error: Array) -> float | None:
    log_loss = np.log(fit.points.loss[fit.used.astype(bool)])
    total = float(np.var(log_loss))
    return _number(1 - float(np.mean(error**2)) / total) if total > 0 else None


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _short(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def advice_to_json(advice: Advice, law: str) -> dict[str, Any]:
    """What `runner optimal --json` prints."""
    plan = advice.plan
    speed = plan.speed if plan is not None else None
    return {
        "law": law,
        "flops": advice.flops,
        "params": interval(advice.params),
        "tokens": interval(advice.tokens),
        "loss": interval(advice.loss),
        "architecture": advice.shape.config,
        "parameters": advice.shape.parameters,
        "train_tokens": advice.train_tokens,
        "step_tokens": advice.step_tokens,
        "max_steps": advice.steps,
        "box": plan.box if plan is not None else None,
        "hours": _number(advice.hours),
        "mfu": _number(speed.mfu) if speed is not None else None,
        "tokens_per_s_per_gpu": _number(speed.tokens_per_s_per_gpu.value) if speed is not None else None,
        "fits": plan.fits if plan is not None else None,
        "warnings": [{"kind": w.kind, "message": w.message} for w in advice.warnings],
    }


# --- the way back ---


def read_fit(file: Path) -> tuple[Estimate, dict[str, Any]]:
    """A law as `runner fit --json` or `--out` wrote it, and the whole of the data. Raises Refused (R805)."""
    data = _load(file)
    law, parameters, drawn = data.get("law"), data.get("parameters"), data.get("draws")
    names = _names(law)
    if names is None:
        raise Refused(_no_fit(file, f"its law is `{law}`, which gives no optimum" if law else "it has no `law`"))
    try:
        values = np.array([float(parameters[name]["value"]) for name in names])  # type: ignore[index]
        rows = np.array([[float(v) for v in drawn[name]] for name in names]).T  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        raise Refused(_no_fit(file, "its `parameters` or `draws` are not all there")) from None
    if not np.isfinite(values).all() or (values <= 0).any():
        raise Refused(_no_fit(file, "a parameter is not above zero, so that the law has no optimum"))
    rows = rows if rows.size else np.empty((0, len(names)))
    rows = rows[np.isfinite(rows).all(axis=1) & (rows > 0).all(axis=1)] if law in PARAMETRIC else rows
    return Estimate(str(law), str(data.get("method", "")), names, values, rows, None, True, _predict(str(law))), data


def _predict(law: str) -> Any:
    if law == "isoflop":
        return isoflop.predict
    if law == "envelope":
        return envelope.predict
    model = law_of(law)

    def predict(natural: Array, params: Array, tokens: Array, unique: Array) -> Array:
        from runner.scaling.laws import Inputs

        n, d = np.log(params), np.log(tokens)
        n0, d0 = float(n.mean()), float(d.mean())
        where = Inputs(n - n0, d - d0, np.minimum(np.log(unique), d) - d0, np.zeros_like(n), n0, d0)
        found: Array = np.exp(model.predict(model.theta(natural, where), where))
        return found

    return predict


def _names(law: object) -> tuple[str, ...] | None:
    if law in PARAMETRIC:
        return law_of(str(law)).names
    return {"isoflop": isoflop.NAMES, "envelope": envelope.NAMES}.get(str(law))


def _load(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > LARGEST_BYTES:
            raise Refused(_no_fit(file, "it is larger than 16 MiB"))
        data = json.loads(file.read_bytes())
    except OSError as error:
        raise Refused(_no_fit(file, (error.strerror or "it can't be opened").lower())) from None
    except (ValueError, RecursionError):
        raise Refused(_no_fit(file, "it is not JSON")) from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise Refused(_no_fit(file, f"it has no `format: {FORMAT}`"))
    return data


def _no_fit(file: Path, why: str) -> Diagnostic:
    return Diagnostic(
        "R805",
        "not a fit that can be read",
        Span(str(file)),
        notes=(why,),
        help="`runner fit RUNS --json > fit.json` writes one, and so does `--out DIR`",
    )
