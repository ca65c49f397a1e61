"""Recipe x Box -> Plan."""

from __future__ import annotations

from runner.facts.boxes import Box
from runner.plan.disk import disk
from runner.plan.efficiency import Efficiency, load_efficiency
from runner.plan.fits import memory, verdict
from runner.plan.host import host_ram
from runner.plan.memory.peak import peak
from runner.plan.memory.states import trained_parameters
from runner.plan.pipeline import fullest
from runner.plan.pipeline import notes as pipeline_notes
from runner.plan.quantization import KIND as QUANTIZE
from runner.plan.quantization import plan_quantization
from runner.plan.reading import read_workload
from runner.plan.speed import speed
from runner.plan.steps import length_of
from runner.plan.trainer_names import in_axolotls_names
from runner.plan.types import Cost, Length, Plan, Speed
from runner.plan.workload import Workload
from runner.project import find_project
from runner.recipe.resolve import Recipe

# A run draws most of a GPU's limit while it computes, and its share of the host besides: ML.ENERGY's measurements of
# training (You et al. 2023, "Zeus") lie between 0.7 and 0.95 of the limit.
POWER_SHARE = 0.85
HOST_WATTS_PER_GPU = 150.0


def make_plan(
    recipe: Recipe, box: Box | None = None, *, price: float | None = None, fitted: Efficiency | None = None
) -> Plan:
    """`box` instead of the recipe's own; `price` in USD per hour of the whole box instead of the box's;
    `fitted` instead of the project's efficiencies, or of those that ship.

    Raises Unplannable where the model is not known without the network, ValueError where its config makes no sense.
    """
    fitted = fitted or load_efficiency(find_project().root)
    if recipe.kind == QUANTIZE:
        return plan_quantization(recipe, box, price, fitted)
    recipe = in_axolotls_names(recipe)
    w = read_workload(recipe, box)
    length = length_of(recipe, w)
    worst = fullest(w)
    found = memory(worst, peak(worst), fitted)
    fast = speed(w, fitted)
    host, stored = host_ram(recipe, worst), disk(recipe, w, length)
    return Plan(
        recipe=recipe.name,
        kind=recipe.kind,
        profile=recipe.profile,
        box=w.box.name,
        gpus=w.box.total_gpus,
        model=recipe.model.name if recipe.model else w.architecture.model_type,
        parameters=w.architecture.parameters,
        active_parameters=w.architecture.active_parameters,
        trained_parameters=trained_parameters(w).count,
        components=w.architecture.components(),
        global_batch=w.global_batch,
        step_tokens=w.step_tokens,
        memory=found,
        host=host,
        disk=stored,
        fits=verdict(found, host, stored, w.box.assumed),
        speed=fast,
        length=length,
        cost=_cost(w, fast, length, w.box.price_usd_per_hour if price is None else price),
        notes=(*_notes(w), *_of_stages(recipe)),
    )


def _cost(w: Workload, fast: Speed | None, length: Length, price: float) -> Cost:
    if fast is None or length.steps is None:
        return Cost(None, None, None, price)
    seconds = fast.step_s.times(length.steps)
    full = length.steps * w.step_tokens
    if length.tokens and length.tokens < full:
        seconds = seconds.times(length.tokens / full)  # samples are shorter than the sequences planned for
    hours = seconds.times(1 / 3600)
    watts = w.box.facts.watts if w.box.facts is not None else 0.0
    kilowatts = w.box.total_gpus * (watts * POWER_SHARE + HOST_WATTS_PER_GPU) / 1000
    return Cost(hours, hours.times(price) if price else None, hours.times(kilowatts), price)


def _of_stages(recipe: Recipe) -> tuple[str, ...]:
    return ("the second stage, `finetune`, is not counted",) if "finetune" in recipe.doc.keys else ()


def _notes(w: Workload) -> tuple[str, ...]:
    """What the figures assume, where that can be otherwise."""
    found = [*w.architecture.notes, *pipeline_notes(w)]
    fsdp = w.sharding.engine == "fsdp"
    if fsdp and w.adapter is not None and w.checkpointing == "full":
        found.append("adapters under FSDP: counted as torch before 2.5 kept layer inputs, which 2.13 frees in backward")
    if fsdp and w.sharding.master_bytes:
        found.append("`bf16: true` under FSDP: weights and optimizer states counted in 32 bits; `full` keeps 16")
    if w.quantization is not None and any(s.experts for s in w.architecture.stacks):
        found.append("experts counted as quantized: `quantize_moe_experts` does that, and takes no lora_target_linear")
    if w.images:
        found.append(f"each row counted with one picture: {w.architecture.image_tokens} of its tokens")
    if w.packed or w.objective == "pretrain":
        return tuple(found)
    return (*found, f"memory is that of samples as long as `sequence_len` ({w.seq_len} tokens)")
