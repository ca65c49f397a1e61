"""What vLLM finds taken when it profiles the memory of a GPU, and what it therefore gives to the KV cache."""

from __future__ import annotations

from dataclasses import dataclass

from runner.facts.architecture import Architecture, Stack
from runner.facts.gpus import GpuFacts
from runner.plan.serving.constants import Constants
from runner.plan.serving.settings import Resolved
from runner.plan.serving.weights import stage_bytes, stages

GIB = 2**30
ACTIVATION_BYTES = 2  # of a number in a 16-bit model; a float32 model has 4


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes on one GPU of a pipeline stage, in the order in which vLLM takes them off.

    `usable` is `gpu_memory_utilization` of the GPU (v1/worker/utils.py, request_memory). `runtime` is what torch does
    not know of: kernels, NCCL, buffers of the all-reduce. `activations` is the peak of the profile run, `graphs` what
    it expects CUDA graphs to take (v1/worker/gpu_worker.py, determine_available_memory). `cache` is what is left;
    below zero it does not start.
    """

    usable: float
    weights: float
    runtime: float
    activations: float
    graphs: float

    @property
    def cache(self) -> float:
        return self.usable - self.weights - self.runtime - self.activations - self.graphs


def footprint(architecture: Architecture, gpu: GpuFacts, r: Resolved, c: Constants, stage: int) -> Footprint:
    return Footprint(
        usable=gpu.memory_gib * GIB * r.utilization,
        weights=stage_bytes(architecture, r, stage),
        runtime=_runtime(gpu, r, c),
        activations=_activations(architecture, r, c, stage),
        graphs=_graphs(stages(architecture, r)[stage], gpu, r, c),
    )


def _runtime(gpu: GpuFacts, r: Resolved, c: Constants) -> float:
    """From the engine's logs. Tensor parallel adds buffers of the custom all-reduce, and from Hopper on those of
    FlashInfer's, which is fused with the norm after it (config/compilation.py, fuse_allreduce_rms)."""
    extra = c.parallel_gib["fused" if _capability(gpu) >= 90 else "plain"] if r.tensor > 1 else 0.0
    return (c.runtime_gib + extra) * GIB


def _activations(architecture: Architecture, r: Resolved, c: Constants, stage: int) -> float:
    """The larger of a block's working set at `max_num_batched_tokens` and of sampling for `max_num_seqs` requests;
    the workspace of the experts is never given back (v1/worker/gpu_model_runner.py, profile_run)."""
    tokens, stack = r.max_num_batched_tokens, architecture.decoder
    number = max(ACTIVATION_BYTES, r.weight_bytes)
    hidden = tokens * stack.hidden * number
    block = max(_block(s, r) for s in architecture.stacks if s.name != "vision") * tokens * number
    experts = max((_experts(s, r) for s in architecture.stacks if s.experts), default=0.0) * tokens * number
    sampling = 0.0
    if stage == r.pipeline - 1:
        sampling = hidden + c.logits_copies * r.max_num_seqs * architecture.vocab * 4
    between = 2 * hidden if r.pipeline > 1 else 0.0  # hidden states and residual, received from the stage before
    return experts + max(block, sampling) + between + c.profile_gib * GIB


def _block(stack: Stack, r: Resolved) -> float:
    """Numbers per token that live at once at the widest point of a block: residual, the normed input, what leaves the
    MLP's first matrices (two in a gated one) and what the activation makes of it. Sparse blocks have theirs in a
    workspace."""
    if stack.experts:
        return 3.0 * stack.hidden + (stack.heads + 2 * stack.kv_heads) * stack.head_dim / r.tensor
    return 3.0 * stack.hidden + (3.0 if stack.gated else 2.0) * stack.inner / r.tensor


def _experts(stack: Stack, r: Resolved) -> float:
    """Numbers per token of the fused kernel's two workspaces (fused_moe/experts/triton_moe.py, workspace_shapes)."""
    out, wide, inner = stack.hidden, 2 * stack.inner / r.tensor, stack.inner / r.tensor
    return float(stack.experts_per_token * (max(inner, out) + max(wide, out)))


def capture_sizes(gpu: GpuFacts, r: Resolved) -> tuple[int, int]:
    """How many graphs are captured for mixed batches, and how many for decoding alone (config/vllm.py,
    _set_cudagraph_sizes)."""
    most = min(2 * r.max_num_seqs, 1024 if _capability(gpu) // 10 == 10 else 512, r.max_num_batched_tokens)
    sizes = {n for n in (1, 2, 4, *range(8, 256, 8), *range(256, most + 1, 16)) if n <= most}
    return len(sizes), sum(n <= r.max_num_seqs for n in sizes)


def _graphs(layers: int, gpu: GpuFacts, r: Resolved, c: Constants) -> float:
    """The engine's estimate, which it sets aside; what the graphs then take is mostly less."""
    if r.eager:
        return 0.0
    return c.graphs_gib * GIB + layers * sum(capture_sizes(gpu, r)) * c.layer_graph_mib * 2**20


def _capability(gpu: GpuFacts) -> int:
    digits = gpu.compute_capability.removeprefix("sm_").rstrip("a")
    return int(digits) if digits.isdigit() else 0
