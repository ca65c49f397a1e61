"""Plan x Recipe -> R201: what does not fit, at the key that would mend it, with the number that does."""

from __future__ import annotations

from typing import Any

from runner.diagnostics import Diagnostic, Span, shown_path
from runner.facts.boxes import Box
from runner.plan.types import Plan
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe

# where there is no knob the model itself is what does not fit
_MODEL_KEYS = ("base_model", "model", "architecture", "box")


def refuse_unfit(plan: Plan, recipe: Recipe, box: Box | None = None) -> None:
    """Raises Refused (R201) where the plan can't fit; `box` as it was given to make_plan."""
    if plan.fits == "no":
        raise Refused(unfit(plan, recipe, box))


def unfit(plan: Plan, recipe: Recipe, box: Box | None = None) -> Diagnostic:
    """What is short and by how much, at the best knob's key, or at the model's where no single knob helps."""
    from runner.plan.fit import best_single_knob

    if not plan.trained_parameters:  # nothing of what is searched for training
        help = "name a larger box with `--box`, or a smaller model"
        return Diagnostic("R201", _message(plan), _place(recipe, _MODEL_KEYS), notes=(_largest(plan),), help=help)
    knob = best_single_knob(recipe, box)
    notes = tuple(filter(None, (_largest(plan), _also(plan))))
    if knob is None:
        help = f"no single key makes it fit: `runner plan {called(recipe)} --fit` searches all of them together, or "
        help += "name a larger box with `--box`"
        return Diagnostic("R201", _message(plan), _place(recipe, _MODEL_KEYS), notes=notes, help=help)
    key, value = next(iter(knob.settings.items()))
    needs = need(knob.plan, short_of(plan))
    return Diagnostic(
        "R201",
        _message(plan),
        _place(recipe, (key, *_MODEL_KEYS)),
        label="" if recipe.doc.find(key) is None else f"`{_word(value)}` fits: {needs}",
        notes=notes,
        help=_help(knob.settings, needs),
    )


def called(recipe: Recipe) -> str:
    """What a person types for it: its name, or its path where it lies outside recipes/."""
    ours = recipe.doc.file.endswith(f"recipes/{recipe.name}.yaml")
    return recipe.name if ours else shown_path(recipe.doc.file)


def short_of(plan: Plan) -> str:
    """What the plan has too little of: `gpu`, `host` or `disk`; of one that fits `gpu`, or `host` without GPUs."""
    headline = "gpu" if plan.gpus else "host"
    if plan.fits == "yes":
        return headline
    host, disk = (
        _share(plan.host.gib.value, plan.host.capacity_gib),
        _share(plan.disk.gib.value, plan.disk.capacity_gib),
    )
    memory = plan.memory
    gpu = _share(memory.peak.value, memory.capacity_gib)
    if plan.fits == "tight":
        gpu = _share(max(memory.reserved.value, memory.peak.high), memory.capacity_gib)
        host = _share(plan.host.gib.high, plan.host.capacity_gib)
    shares = {"gpu": gpu, "host": host, "disk": disk if plan.fits == "tight" else 0.0}
    over = [name for name, share in shares.items() if share > 1]
    return max(shares, key=lambda name: shares[name]) if over else headline


def need(plan: Plan, what: str = "") -> str:
    """`61.2 of 79.1 GiB at peak (loss)`, of whatever is short, or of `what`: `gpu`, `host` or `disk`."""
    what = what or short_of(plan)
    if what != "gpu":
        store, name = (plan.host, "host RAM") if what == "host" else (plan.disk, "disk")
        return f"{amount(store.gib.value)}{of_capacity(store.capacity_gib)} GiB of {name}"
    memory = plan.memory
    text = f"{amount(memory.peak.value)}{of_capacity(memory.capacity_gib)} GiB at peak"
    return text + (f", {amount(memory.reserved.value)} reserved" if plan.fits == "tight" else f" ({memory.phase})")


def amount(gib: float) -> str:
    """GiB with a decimal, with more where there is less than one."""
    if gib >= 1000:
        return f"{gib:,.0f}"
    return f"{gib:.1f}" if gib >= 1 or gib == 0 else f"{gib:.2g}"


def of_capacity(gib: float) -> str:
    """` of 79.1`; nothing where the capacity is not known."""
    return f" of {_whole(gib)}" if gib else ""


def _whole(gib: float) -> str:
    return amount(gib).removesuffix(".0")


def _share(value: float, capacity: float) -> float:
    return value / capacity if capacity else 0.0


def _message(plan: Plan) -> str:
    what = short_of(plan)
    if what == "gpu":
        memory = plan.memory
        each = "each of its GPUs" if plan.gpus > 1 else "its GPU"
        return (
            f"the recipe needs {amount(memory.peak.value)} GiB of GPU memory and CUDA's own on top, "
            f"`{plan.box}` has {_whole(memory.capacity_gib)} GiB on {each}"
        )
    store, name = (plan.host, "host RAM") if what == "host" else (plan.disk, "disk")
    return (
        f"the recipe needs {amount(store.gib.value)} GiB of {name}, `{plan.box}` has {_whole(store.capacity_gib)} GiB"
    )


def _largest(plan: Plan) -> str:
    what = short_of(plan)
    parts = {"gpu": plan.memory.breakdown, "host": plan.host.breakdown, "disk": plan.disk.breakdown}[what]
    ranked = sorted(parts.items(), key=lambda part: -part[1])[:3]
    listed = ", ".join(f"{name} {amount(size)} GiB" for name, size in ranked)
    return f"most of it: {listed}" if listed else ""


def _also(plan: Plan) -> str:
    """Host RAM, where that is short too."""
    host = plan.host
    if short_of(plan) == "host" or not host.capacity_gib or host.gib.value <= host.capacity_gib:
        return ""
    return f"host RAM is short too: {amount(host.gib.value)}{of_capacity(host.capacity_gib)} GiB"


def _place(recipe: Recipe, keys: tuple[str, ...]) -> Span:
    for key in keys:
        node = recipe.doc.find(key)
        if node is not None:
            return node.key
    return Span(recipe.doc.file, 1, 1)


def _help(settings: dict[str, Any], needs: str) -> str:
    listed = " and ".join(f"`{key}: {_word(value)}`" for key, value in settings.items())
    means = _MEANS.get(next(iter(settings)))
    return f"set {listed}{f', {means}' if means else ''}: {needs}"


# what it does to the learning, or does not
_MEANS = {
    "micro_batch_size": "which keeps the global batch",
    "optimizer": "which rounds the optimizer's states",
    "adapter": "which changes what is trained",
    "sequence_len": "which cuts longer samples",
}


def _word(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    return str(value)
