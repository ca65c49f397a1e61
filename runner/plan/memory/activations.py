"""Activations of one layer, per token: what autograd keeps for backward, and what its backward pass needs on top.

The tensors are those that transformers 5.16, PEFT 0.20 and bitsandbytes 0.50 make, seen by running them under torch's
fake tensors (tests/engine/memory_trace.py; data/measured/traced.csv). Korthikanti et al. 2022 (arXiv:2205.05198) count
the same for Megatron's layers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from runner.facts.architecture import Stack, Weight
from runner.plan.memory.states import adapted
from runner.plan.workload import Adapter, Workload

WIDE = 4  # bytes of a 32-bit float
MASK = 1  # bytes of a boolean
_NONE = Adapter(rank=0, targets=())
# activations that transformers writes out in Python, so that each step of the formula is a tensor
_SPELT_OUT = ("gelu_new", "gelu_fast", "gelu_python", "quick_gelu", "gelu_accurate")


@dataclass(frozen=True, slots=True)
class Layer:
    """Bytes per token of one layer. `saved` by what made it; `boundary` is the layer's input, all that full
    checkpointing keeps; `pinned` is kept even then, `attended`, attention's result, where checkpointing is selective;
    `scratch` is the most that backward holds beside what was saved."""

    boundary: float
    saved: dict[str, float]
    scratch: float
    pinned: float
    attended: float

    @property
    def total(self) -> float:
        return sum(self.saved.values())


def layer(w: Workload, stack: Stack) -> Layer:
    """One layer of `stack`. Tensor parallelism divides what lies between two reductions, so all but the norms."""
    c = w.compute_bytes
    if w.frozen and w.is_frozen(stack):
        w = replace(w, adapter=_NONE)  # as under an adapter that is somewhere else: inputs of weights are not kept
    mlp = _experts(w, stack) if stack.experts else _mlp(w, stack)
    saved = {
        "norms": _norms(w, stack),
        "attention": _attention(w, stack) / w.tensor_parallel,
        "mlp": mlp / w.tensor_parallel,
        "adapters": _adapters(w, stack) / w.tensor_parallel,
    }
    pinned = 0.0
    if w.quantization is not None and w.quantization.name == "int8":
        # bitsandbytes' 8-bit product keeps its input where checkpointing does not see it; q, k and v share one
        inputs = 2 * stack.hidden + stack.heads * stack.head_dim + stack.inner
        pinned = c * inputs / w.tensor_parallel
    return Layer(
        boundary=c * stack.hidden,
        saved=saved,
        scratch=_scratch(w, stack),
        pinned=pinned,
        attended=(c * stack.head_dim + WIDE) * stack.heads / w.tensor_parallel,
    )


def keeps_inputs(w: Workload, weights: list[Weight]) -> bool:
    """Whether a linear layer among `weights` needs its input as it is for a gradient: its weight is trained, or its
    adapter reads it. An adapter in 32 bits, or behind dropout, keeps a copy of its own instead."""
    if not weights:
        return False
    return w.adapter is None or (bool(set(weights) & _adapted(w)) and not _copies(w))


def _adapted(w: Workload) -> set[Weight]:
    return {x for stack in w.architecture.stacks for x in adapted(w, stack)}


def _copies(w: Workload) -> bool:
    """PEFT casts the input to its adapter's 32 bits, of which autocast keeps a 16-bit copy; its layers over quantized
    weights leave that to autocast, which finds nothing to cast."""
    adapter = w.adapter
    if adapter is None or adapter.dropout:
        return adapter is not None
    return adapter.weight_bytes == WIDE and w.compute_bytes < WIDE and w.quantization is None


def _norms(w: Workload, s: Stack) -> float:
    wide = [x for x in s.weights if x.part == "norm" and x.rows == s.hidden]
    narrow = [x for x in s.weights if x.part == "norm" and 1 < x.rows < s.hidden]  # of each head's query and key
    fed = [x for x in s.weights if x.linear and x.cols == s.hidden and x.name not in _last(s)]
    each = norm_bytes(w, s.norm)
    found = sum(x.copies for x in wide) * each * s.hidden
    found += len(narrow) * (s.heads + s.kv_heads) / 2 * s.head_dim * each
    if s.norm == "layer" and w.autocast and not w.kernels.norm:
        # autocast's layer_norm gives 32 bits, of which every linear layer after it keeps its own 16-bit copy
        return found + (w.compute_bytes * s.hidden * len(fed) if keeps_inputs(w, fed) else 0.0)
    if s.parallel and len(wide) == 1:
        return found + (w.compute_bytes * s.hidden if keeps_inputs(w, fed) else 0.0)
    groups = ([x for x in fed if x.part == "attention"], [x for x in fed if x.part != "attention"])
    read = sum(keeps_inputs(w, group) or (s.experts > 0 and w.adapter is None and not group) for group in groups)
    return found + read * w.compute_bytes * s.hidden


def norm_bytes(w: Workload, kind: str) -> float:
    """Bytes per feature that a norm keeps of its own: the input, in 32 bits where it is widened, and what was
    normalised where its scale is trained."""
    c = w.compute_bytes
    if w.kernels.norm:
        return c
    if kind == "rms":
        return WIDE + (c if w.adapter is None else 0)
    return WIDE if w.autocast else c


def _last(s: Stack) -> tuple[str, ...]:
    """Layers that write to the residual stream, whose input is not a norm's output."""
    return tuple(x.name for x in s.weights if x.linear and x.rows == s.hidden and x.name in _WRITERS)


_WRITERS = (
    "o_proj", "out_proj", "dense", "c_proj", "down_proj", "fc2", "dense_4h_to_h", "fc_out", "o", "wo", "w2",
)  # fmt: skip


def _attention(w: Workload, s: Stack) -> float:
    """q, k, v, the result and its log-sum-exp (Dao 2023, arXiv:2307.08691, algorithm 2). Eager attention keeps the
    whole matrix of probabilities, in 32 bits and as it is multiplied."""
    c = w.compute_bytes
    q, kv = s.heads * s.head_dim, s.kv_heads * s.head_dim
    fused = any(x.rows == q + 2 * kv and x.part == "attention" for x in s.weights)
    if w.attention == "sdpa" and s.rotary:
        kv = q  # transformers repeats the heads of grouped queries for it
    kept = 2 * c * q + 2 * c * kv + WIDE * s.heads
    if fused and s.rotary:
        kept += c * (q + s.kv_heads * s.head_dim)  # v is a view of the one projection, which keeps all of it
    if w.attention == "eager" or _unfused(w, s):
        kept += (WIDE + c if w.attention == "eager" else 2 * c) * s.heads * w.seq_len
    return kept


def _unfused(w: Workload, s: Stack) -> bool:
    """Falcon hands torch one head of keys for many of queries, which only its unfused attention takes."""
    return w.attention == "sdpa" and s.parallel and s.kv_heads < s.heads


def _mlp(w: Workload, s: Stack) -> float:
    c, f = w.compute_bytes, s.inner
    last = [x for x in s.weights if x.part in ("mlp", "experts") and x.rows == s.hidden and x.name in (*_WRITERS, "")]
    product = c * f if keeps_inputs(w, last or [x for x in s.weights if x.part == "experts"]) else 0.0
    if s.gated:
        # both projections, and the activation's result unless the fused kernel makes it again
        return (2 if w.kernels.mlp else 3) * c * f + product
    if s.activation in _SPELT_OUT:
        # the input, tanh and one plus tanh; half of the input in `c` bytes
        return (3 * (WIDE if w.autocast else c) + c) * f + product
    return c * f + product


def _experts(w: Workload, s: Stack) -> float:
    """Each token goes through `experts_per_token` of them; its copies are gathered, computed and weighed."""
    c, h, k = w.compute_bytes, s.hidden, s.experts_per_token
    return k * (_mlp(w, s) + 2 * c * h) + 2 * WIDE * s.experts


def _adapters(w: Workload, s: Stack) -> float:
    """Low-rank results, and where an adapter can't share its layer's input, a copy of it and dropout's mask."""
    if w.adapter is None:
        return 0.0
    c, found = w.compute_bytes, 0.0
    for x in adapted(w, s):
        found += c * w.adapter.rank * x.copies
        found += c * x.cols * x.copies if _copies(w) else 0.0
        found += MASK * x.cols * x.copies if w.adapter.dropout else 0.0
    return found


def _scratch(w: Workload, s: Stack) -> float:
    """The widest moment of backward is in the MLP: gradients of the product and of both factors (the product itself is
    gone by then), beside that of the residual stream."""
    c, h, f = w.compute_bytes, s.hidden, s.inner
    k = max(1, s.experts_per_token)
    product = _mlp(w, s) - (2 if w.kernels.mlp else 3) * c * f if s.gated else 0.0
    wide = ((3 if s.gated else 1) * c * f - product) * k
    if w.attention == "eager" or _unfused(w, s):
        # the gradient of the probabilities and of the scores, in 32 bits, while most of the layer is still kept
        wide = max(wide, (WIDE + c) * s.heads * w.seq_len)
    return wide / w.tensor_parallel + c * h
