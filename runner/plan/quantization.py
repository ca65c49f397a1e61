"""A `quantize` recipe -> its plan: what is held while it is calibrated layer by layer, and then by the gate.

llm-compressor keeps the model in RAM and brings one layer at a time to one GPU, with the activations of all calibration
texts waiting in RAM between layers (pipelines/sequential/pipeline.py of 0.14). The gate loads the model as it was and
the quantized one, one after the other, over all GPUs of the box.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runner.engines import locks
from runner.engines.environment import lock_file
from runner.engines.llmcompressor import ENVIRONMENT, config
from runner.facts.architecture import Architecture, Weight
from runner.facts.boxes import Box
from runner.facts.families import architecture_of
from runner.facts.gpus import GpuFacts
from runner.facts.schemes import bits_per_weight
from runner.plan.efficiency import Efficiency
from runner.plan.fits import CONTEXT_GIB, verdict
from runner.plan.host import CUDA, FILE_BYTES, HUB_FILE_BYTES
from runner.plan.memory.states import is_quantized
from runner.plan.reading import planned_config
from runner.plan.types import Cost, Estimate, Length, Memory, Plan, Store
from runner.recipe.resolve import Recipe

KIND = "quantize"
GIB = 2**30
TERA = 1e12
# Python, torch, transformers, llm-compressor and lm-eval before their model: 0.58 to 0.64 in this kind's smoke runs
PROCESS_GIB = 0.6
# Seconds of each step beside what grows with the model, measured in the same runs: tracing, lm-eval's own start
STEP_S = {"quantize": 4.0, "gate": 5.0}
# a checkpoint is read from and written to a disk at this rate, in bytes per second: one NVMe drive, half used
DISK_RATE = 1.5e9
# GPTQ rounds column by column in Python, each in some thirty small kernels; assumed, from published runs of 8B models
# that take ten to twenty minutes
COLUMN_S = 5e-4
# hooks, eager attention and batches of one sequence: time of a calibration's matrix products / of a training's
EAGER = 2.0
# tokens of a choice that a task asks about, and choices of a question
TASK_TOKENS, CHOICES = 100, 4
# where the recipe does not say how much of the held-out text is read: WikiText-2's test split
HELD_OUT_TOKENS = 350_000
# None of it was measured on a GPU. Nine of ten, as factors
_MEMORY, _TIME, _HOST = (0.85, 1.3), (0.4, 2.5), (0.8, 1.4)
_CPU_TIME = (0.3, 4.0)  # of shared cores
_TOKENIZER_BYTES = 4e6


@dataclass(frozen=True, slots=True)
class _Work:
    """The recipe in numbers. Bytes of a weight before (`wide`) and after (`narrow`); `samples` texts of `length` tokens
    for calibration (0: none)."""

    values: dict[str, Any]
    architecture: Architecture
    box: Box
    wide: float
    narrow: float
    samples: int
    length: int

    @property
    def tokens(self) -> int:
        return self.samples * self.length

    @property
    def before(self) -> float:
        return self.architecture.parameters * self.wide

    @property
    def after(self) -> float:
        rounded = sum(w.parameters * n for w, n in self.architecture.weights() if is_quantized(w))
        return rounded * self.narrow + (self.architecture.parameters - rounded) * self.wide

    @property
    def matrices(self) -> list[Weight]:
        """Of one decoder layer."""
        return [w for w in self.architecture.decoder.weights if is_quantized(w)]

    @property
    def layer(self) -> int:
        return self.architecture.decoder.layer_parameters


def plan_quantization(recipe: Recipe, box: Box | None, price: float | None, fitted: Efficiency) -> Plan:
    """As make_plan. Raises Unplannable."""
    w = _read(recipe, box or recipe.box)
    quantizing, judging = _gpu_quantizing(w), _gpu_judging(w)
    memory, host, stored = _memory(w, quantizing, judging), _host(w), _disk(recipe, w)
    seconds = _seconds(w, fitted)
    each = w.architecture
    return Plan(
        recipe=recipe.name,
        kind=recipe.kind,
        profile=recipe.profile,
        box=w.box.name,
        gpus=w.box.total_gpus,
        model=recipe.model.name if recipe.model else each.model_type,
        parameters=each.parameters,
        active_parameters=each.active_parameters,
        trained_parameters=0,
        components=each.components(),
        global_batch=max(1, w.samples),
        step_tokens=max(1, w.tokens),
        memory=memory,
        host=host,
        disk=stored,
        fits=verdict(memory, host, stored, w.box.assumed),
        speed=None,
        length=Length(None, w.tokens or None, w.samples or None, _length(w)),
        cost=_cost(w, sum(seconds.values()), price),
        notes=_notes(w, seconds),
    )


def _read(recipe: Recipe, box: Box) -> _Work:
    values, given = config(recipe), planned_config(recipe)
    kept = str(given.get("torch_dtype") or given.get("dtype") or "")
    dtype = str(values["dtype"]) if values["dtype"] != "auto" else kept
    # what smoke trains is kept in 32 bits
    wide = 4.0 if dtype == "float32" or (recipe.profile == "smoke" and not kept) else 2.0
    samples = int(values["num_calibration_samples"]) if values["calibrated"] else 0
    return _Work(
        values=values,
        architecture=architecture_of(given),
        box=box,
        wide=wide,
        narrow=bits_per_weight(values) / 8,
        samples=samples,
        length=int(values["max_seq_length"]),
    )


def _gpu_quantizing(w: _Work) -> dict[str, float]:
    """Bytes on the one GPU that works: a layer, what GPTQ sums up for each of its matrices (columns x columns in 32
    bits) with two more of the largest while it inverts that, and one sequence on its way."""
    stack = w.architecture.decoder
    if w.values["method"] == "bitsandbytes":
        return {"weights": w.after, "layer": w.layer * w.wide}
    largest = max((m.rows * m.cols for m in w.matrices), default=0)
    # one matrix at a time is scaled and rounded in 32 bits
    parts = {"layer": w.layer * w.wide, "scratch": 3 * 4.0 * largest}
    if w.samples:
        wide = 4 * stack.hidden + (3 if stack.gated else 2) * stack.inner + 3 * stack.heads * stack.head_dim
        parts["activations"] = w.length * wide * w.wide + stack.heads * w.length**2 * w.wide
    if w.values["method"] == "gptq":
        columns = [m.cols for m in w.matrices]
        parts["hessians"] = 4.0 * (sum(c * c for c in columns) + 2 * max(columns, default=0) ** 2)
    if w.values["method"] == "awq":
        # inputs of attention and of the MLP, kept for the trials of every scale
        parts["trials"] = 2.0 * w.tokens * stack.hidden * w.wide
    return parts


def _gpu_judging(w: _Work) -> dict[str, float]:
    """Bytes on each GPU: its share of the model as it was, logits of a window or of a batch of questions."""
    stack, ways = w.architecture.decoder, max(1, w.box.gpus)
    window = int(w.values["held_out_length"])
    logits = max(window * w.wide, int(w.values["batch_size"]) * TASK_TOKENS * (w.wide + 4.0)) * w.architecture.vocab
    return {
        "weights": w.before / ways,
        "logits": logits,
        "activations": window * (4 * stack.hidden + 3 * stack.inner) * w.wide,
    }


def _memory(w: _Work, quantizing: dict[str, float], judging: dict[str, float]) -> Memory:
    none = Estimate(0.0, 0.0, 0.0)
    if not w.box.gpus:
        return Memory(none, none, 0.0, "", {}, {})
    sums = {"quantize": sum(quantizing.values()) / GIB, "gate": sum(judging.values()) / GIB}
    phase = max(sums, key=lambda name: sums[name])
    parts = quantizing if phase == "quantize" else judging
    peak = _estimate(sums[phase], _MEMORY)
    return Memory(
        peak=peak,
        reserved=_estimate(sums[phase] * 1.05 + CONTEXT_GIB, _MEMORY),
        capacity_gib=w.box.gpu_memory_gib,
        phase=phase,
        breakdown={name: size / GIB for name, size in parts.items()},
        moments=sums,
    )


def _host(w: _Work) -> Store:
    """The larger of the two steps: the model and the activations that wait, or a file of it on its way to the GPUs."""
    cuda = CUDA if w.box.gpus else 0.0
    hub = not str(w.values["model"]).startswith("/")
    file = min(w.before, HUB_FILE_BYTES if hub else FILE_BYTES) / GIB
    quantizing = {"processes": PROCESS_GIB + cuda, "weights": w.before / GIB}
    if w.values["method"] == "bitsandbytes" and w.box.gpus:
        quantizing = {"processes": PROCESS_GIB + cuda, "checkpoint": file}
    if w.samples:
        # what enters the next layer, once more while it is replaced
        quantizing["activations"] = w.tokens * w.architecture.decoder.hidden * w.wide / GIB
    judging = {"processes": PROCESS_GIB + cuda, "checkpoint": file}
    if not w.box.gpus:
        judging["weights"] = w.before / GIB
    parts = max(quantizing, judging, key=lambda each: sum(each.values()))
    return Store(_estimate(sum(parts.values()), _HOST), parts, w.box.ram_gib)


def _disk(recipe: Recipe, w: _Work) -> Store:
    parts = {"model": w.after + _TOKENIZER_BYTES}
    if recipe.tiny is None and not str(w.values["model"]).startswith("/"):
        parts["download"] = w.before
    size = locks.read(lock_file(ENVIRONMENT)).size_gb("cuda" if w.box.gpus else "cpu")
    parts["environment"] = size * 1e9
    found = {name: each / GIB for name, each in parts.items()}
    return Store(_estimate(sum(found.values()), (0.9, 1.2)), found, w.box.disk_gib)


def _seconds(w: _Work, fitted: Efficiency) -> dict[str, float]:
    """Of each step, once its process runs."""
    gpu = w.box.facts
    if gpu is None:
        return {}
    quantizing = STEP_S["quantize"] + (w.before + w.after) / DISK_RATE + sum(_calibrating(w, gpu, fitted).values())
    judged = w.values["held_out_windows"]
    tokens = judged * int(w.values["held_out_length"]) if judged else HELD_OUT_TOKENS
    tokens += len(w.values["tasks"]) * int(w.values["limit"] or 2000) * CHOICES * TASK_TOKENS
    if w.box.gpus == 0:
        tokens = 2000  # smoke's rows are short and few
    once = tokens * _forward(w, gpu, fitted)
    return {"quantize": quantizing, "gate": STEP_S["gate"] + (w.before + w.after) / DISK_RATE + 2 * once}


def _forward(w: _Work, gpu: GpuFacts, fitted: Efficiency) -> float:
    """Seconds of one token among many, on one GPU: of several that share a model one works at a time."""
    rate = (gpu.bf16_tflops or gpu.fp16_tflops or gpu.fp32_tflops) if w.box.gpus else gpu.fp32_tflops
    return 2.0 * w.architecture.active_parameters / (rate * TERA) * fitted.of("matmul", gpu.generation) * EAGER


def _calibrating(w: _Work, gpu: GpuFacts, fitted: Efficiency) -> dict[str, float]:
    """Seconds by what takes them; nothing without calibration, but rounding, which reading hides."""
    if not w.samples:
        return {}
    layers = w.architecture.decoder.layers
    found = {"forward": 2 * w.tokens * _forward(w, gpu, fitted)}  # to look, and again with what was rounded
    squares = sum(m.cols**2 for m in w.matrices)
    if w.values["method"] == "gptq":
        found["hessians"] = 2.0 * w.tokens * squares * layers / (gpu.fp32_tflops * TERA) * 1.5
        found["columns"] = COLUMN_S * sum(m.cols for m in w.matrices) * layers if w.box.gpus else 0.0
    if w.values["method"] == "awq":
        # each trial runs attention (for two scales) or the MLP (for two) again
        found["trials"] = 2 * int(w.values["n_grid"]) * w.tokens * _forward(w, gpu, fitted)
    return found


def _cost(w: _Work, seconds: float, price: float | None) -> Cost:
    hourly = w.box.price_usd_per_hour if price is None else price
    if not seconds:
        return Cost(None, None, None, hourly)
    hours = _estimate(seconds / 3600, _TIME if w.box.gpus else _CPU_TIME)
    watts = w.box.facts.watts if w.box.facts is not None else 0.0
    # one GPU works, the others idle at a fifth
    kilowatts = watts * (0.7 + 0.2 * max(0, w.box.total_gpus - 1)) / 1000
    return Cost(hours, hours.times(hourly) if hourly else None, hours.times(kilowatts), hourly)


def _length(w: _Work) -> str:
    layers = w.architecture.decoder.layers
    if not w.samples:
        return f"{layers} layers, without calibration"
    return f"{layers} layers, each calibrated on {w.samples:,} texts of up to {w.length:,} tokens"


def _notes(w: _Work, seconds: dict[str, float]) -> tuple[str, ...]:
    bits, size = w.after * 8 / w.architecture.parameters, w.after / GIB
    found = [f"leaves {size:,.2f} GiB of {w.before / GIB:,.2f}: {bits:.2f} bits a weight with what is not quantized"]
    if w.box.gpus:
        found.append("quantizing works on one GPU; the gate loads the whole model over all of them")
    if seconds:
        told = ", ".join(f"{name} {each / 60:,.0f} min" for name, each in seconds.items())
        found.append(f"{told}: formulas with assumed rates, right within a factor of {_TIME[1]:g}")
    return tuple(found)


def _estimate(value: float, around: tuple[float, float]) -> Estimate:
    return Estimate(value, value * around[0], value * around[1])
