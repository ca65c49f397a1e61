"""One training step on one GPU over time -> its peak, and what fills it then."""

from __future__ import annotations

from dataclasses import dataclass

from runner.plan.memory.activations import layer
from runner.plan.memory.head import head_bytes
from runner.plan.memory.states import States, layer_bytes, states
from runner.plan.workload import Workload

# cuBLAS keeps a workspace per handle (32 MiB from Hopper on, 8 MiB before: CUBLAS_WORKSPACE_CONFIG in NVIDIA's docs)
_WORKSPACE = 32 * 2**20


# torch.compile recomputes cheap elementwise results in backward instead of keeping them (its min-cut partitioner): per
# layer 0.84 of the eager model's bytes, over 2 to 20 layers of a 13B Llama (lightning-thunder issue 474), whose norms
# and activations are written out in small steps; a GPT-NeoX, whose are single kernels, keeps as much as before
COMPILED = 0.84


@dataclass(frozen=True, slots=True)
class Peak:
    """`bytes` as torch.cuda.max_memory_allocated would say, at the moment called `phase`; `moments` holds the bytes of
    every part at each: `loss`, `backward-last` (of the last layer, where it starts), `backward-first`, `step`, and of
    GRPO `generation`."""

    phase: str
    moments: dict[str, dict[str, float]]

    @property
    def parts(self) -> dict[str, float]:
        return {name: size for name, size in self.moments[self.phase].items() if size}

    @property
    def bytes(self) -> float:
        return sum(self.moments[self.phase].values())

    def at(self, moment: str, *names: str) -> float:
        """Bytes of the parts called `names` at a moment."""
        return sum(self.moments[moment].get(name, 0.0) for name in names)


def peak(w: Workload) -> Peak:
    """The larger of three moments: logits and loss (all activations kept), the backward pass of a layer (last layer:
    all activations kept; first: all gradients there), and the optimizer's step (states and scratch, no activations)."""
    s = states(w)
    always = {
        "weights": s.weights + s.quantized,
        "adapter": s.adapter,
        "reference": s.reference,
        "master": s.master,
        "optimizer": s.optimizer,
        "buckets": s.buckets,
        "pipe": _pipe_buffers(w),
        "workspace": float(_WORKSPACE),
    }
    moments = {
        "loss": {**always, **_loss(w, s)},
        "backward-last": {**always, **_backward(w, s, first=False)},
        "backward-first": {**always, **_backward(w, s, first=True)},
        "step": {**always, "gradients": s.gradients, "scratch": s.scratch},
    }
    if w.generation is not None:
        moments["generation"] = {**always, "cache": _cache(w), "server": _server(w)}
        for parts in moments.values():
            parts.setdefault("server", _server(w))
    sizes = {name: sum(parts.values()) for name, parts in moments.items()}
    phase = max(sizes, key=lambda name: sizes[name])
    return Peak(phase, moments)


def _loss(w: Workload, s: States) -> dict[str, float]:
    parts = {"activations": kept(w), "logits": head_bytes(w), "gathered": _root(w)}
    return parts | {"gradients": _standing(w, s)}


def _standing(w: Workload, s: States) -> float:
    """Gradients that lie there before backward starts: sums of earlier micro batches; DeepSpeed keeps its buffers."""
    held = w.sharding.engine == "deepspeed" and w.sharding.stage >= 1
    return s.gradients if w.accumulation > 1 or held else 0.0


def kept(w: Workload) -> float:
    """Bytes that forward leaves for backward, in all layers."""
    total = 0.0
    for stack in w.architecture.stacks:
        if stack.name == "vision" and w.is_frozen(stack):
            continue  # nothing before it learns, so that its forward pass keeps nothing
        one = layer(w, stack)
        per_token = {
            "none": one.total,
            "full": one.boundary / w.checkpoint_every + one.pinned,
            "selective": one.boundary + one.pinned + one.attended,
        }
        if w.offload_activations and w.checkpointing != "none":
            continue
        compiled = w.kernels.compile and w.checkpointing == "none" and stack.norm == "rms"
        total += per_token[w.checkpointing] * stack.layers * w.tokens_of(stack) * (COMPILED if compiled else 1.0)
    return total * w.in_flight


def _backward(w: Workload, s: States, *, first: bool) -> dict[str, float]:
    stack = w.architecture.decoder
    one = layer(w, stack)
    working = one.scratch + (one.total * w.checkpoint_every if w.checkpointing != "none" else 0.0)
    gathered = 0.0
    if w.sharding.stage >= 3:
        # the layer, the one that is gathered ahead of it, and the whole layer's gradients before they are scattered
        gathered = 2 * layer_bytes(w, stack) + _root(w)
        gathered += 0.0 if w.adapter else layer_bytes(w, stack)
    # in a pipeline, other micro batches' stay when the backward pass of one has come to its end
    activations = kept(w) * (w.in_flight - 1) / w.in_flight if first else kept(w)
    gradients = s.gradients if first else max(_standing(w, s), 0.0)
    return {
        "activations": activations,
        "boundaries": _held_boundaries(w) if first else 0.0,
        "layer": working * w.tokens,
        "gathered": gathered,
        "gradients": gradients,
    }


def _pipe_buffers(w: Workload) -> float:
    """Hidden states on their way: each micro batch in flight keeps what came in and what went out, at least two of
    each; and one buffer to receive into, one for the gradient (DeepSpeed runtime/pipe/engine.py, pipe_buffers)."""
    if w.stages == 1:
        return 0.0
    each = w.architecture.decoder.hidden * w.compute_bytes * w.tokens
    return float(each * (2 * max(2, w.in_flight) + 2))


def _cache(w: Workload) -> float:
    """Keys and values of all answers that are made at once where the model itself makes them, at their full length."""
    if w.generation is None or w.generation.vllm:
        return 0.0
    stack = w.architecture.decoder
    per_token = 2 * stack.kv_heads * stack.head_dim * stack.layers * w.compute_bytes
    return float(per_token * w.sequences * w.generation.micro_batches * w.seq_len)


def _server(w: Workload) -> float:
    """What a vLLM on the same GPUs sets aside."""
    if w.generation is None or not (w.generation.vllm and w.generation.colocated):
        return 0.0
    return w.generation.vllm_share * w.box.gpu_memory_gib * 2**30


def _held_boundaries(w: Workload) -> float:
    """Frozen layers under FSDP: inputs and their gradients are let go of only when backward ends. So it was in every
    published run of an adapter under FSDP that we know (fms-acceleration, torch 2.2 to 2.4, 1 to 4 GPUs), where memory
    grows by twice the boundaries; torch 2.13's fully_shard frees them, seen on a CPU. The plan stays on the safe side.
    """
    if w.sharding.engine != "fsdp" or w.sharding.stage < 2 or w.adapter is None or w.checkpointing != "full":
        return 0.0
    return sum(2 * layer(w, stack).boundary * stack.layers for stack in w.architecture.stacks) * w.tokens


def _root(w: Workload) -> float:
    """Embeddings, final norm and head stay gathered from forward to backward (torch FSDP's root unit)."""
    if w.sharding.stage < 3:
        return 0.0
    sizes = [x.parameters for x in w.architecture.outer]
    # DeepSpeed gathers each module when it is used; the head is, at the loss
    gathered = sum(sizes) if w.sharding.engine == "fsdp" else max(sizes, default=0)
    return gathered * w.compute_bytes / w.tensor_parallel
