"""What one micro batch makes a GPU do: operations, bytes moved through its memory, bytes sent to other GPUs."""

from __future__ import annotations

from dataclasses import dataclass

from runner.facts.architecture import Stack, Weight
from runner.plan.communication import communication
from runner.plan.memory.activations import layer
from runner.plan.memory.head import logits_bytes
from runner.plan.memory.states import adapted, adapter_products, base_weights, is_quantized, trained_parameters
from runner.plan.workload import Workload


@dataclass(frozen=True, slots=True)
class Work:
    """Of one micro batch on one GPU, optimizer and reduction shared out over the step's micro batches.

    `matmul` and `attention` are floating point operations (a multiply-add is two), `model` those that a run without
    recomputation, masked halves left out, would have needed: what MFU counts. `elementwise`, `logits`, `dequantize` and
    `optimizer` are bytes read and written. `local` and `remote` are bytes that a GPU sends to others of its node and a
    node to other nodes, `host` those over PCIe. `kernels` counts launches.
    """

    matmul: float
    attention: float
    adapters: float
    elementwise: float
    logits: float
    dequantize: float
    optimizer: float
    local: float
    remote: float
    host: float
    kernels: float
    model: float


def work(w: Workload) -> Work:
    """Matrix products take 2 operations per weight and token forward, as many for the gradient of the input, and as
    many for the gradient of the weight where it is trained (Kaplan et al. 2020, arXiv:2001.08361, section 2.1);
    attention 4 x length x width per token forward, halved by the causal mask, and 2.5 times that backward in
    FlashAttention (Dao 2023, arXiv:2307.08691). Full checkpointing repeats the forward pass of the layers."""
    parts = [_of_stack(w, stack) for stack in w.architecture.stacks]
    trained = w.adapter is None and (None, "lm_head") not in w.frozen
    head = sum(_products(x) for x, _ in base_weights(w) if x.part == "head") / w.tensor_parallel
    local, remote, host = communication(w)
    return Work(
        matmul=sum(p.matmul for p in parts) + 2 * head * (3 if trained else 2) * w.logit_tokens,
        attention=sum(p.attention for p in parts),
        adapters=sum(p.adapters for p in parts),
        elementwise=sum(p.elementwise for p in parts),
        logits=logits_bytes(w) * w.logit_tokens,
        dequantize=sum(p.dequantize for p in parts),
        optimizer=_optimizer(w) / w.accumulation,
        local=local,
        remote=remote,
        host=host,
        kernels=sum(p.kernels for p in parts) + _KERNELS_OUTSIDE,
        model=sum(p.model for p in parts) + 6 * head * w.logit_tokens,
    )


# embedding, final norm, loss, and their backward
_KERNELS_OUTSIDE = 50


@dataclass(frozen=True, slots=True)
class _Part:
    """As Work, of one stack's layers."""

    matmul: float
    attention: float
    adapters: float
    elementwise: float
    dequantize: float
    kernels: float
    model: float


def _of_stack(w: Workload, stack: Stack) -> _Part:
    again = 0.0 if w.checkpointing == "none" else 1.0
    extra = 1.0 if w.reference != "none" else 0.0  # a reference model's forward pass
    forward = 1.0 + again + extra
    products = sum(_products(x) for x in stack.weights) * stack.layers / w.tensor_parallel
    length = min(w.seq_len, stack.window or w.seq_len)
    causal = 0.5 if stack.name == "decoder" else 1.0
    tokens, backward, attended = w.tokens_of(stack), 2.0 if _learns(w, stack) else 1.0, 2.5
    if stack.name == "vision":
        length = w.architecture.image_tokens + 1
        if w.is_frozen(stack):  # and nothing before it learns: no backward pass, and nothing to recompute for one
            again, forward, backward, attended = 0.0, 1.0 + extra, 0.0, 0.0
    seen = 2.0 if backward else 0.0  # times that backward passes over what forward made
    scored = 4 * length * stack.heads * stack.head_dim * stack.layers * causal / w.tensor_parallel
    repeated = 0.0 if w.checkpointing == "selective" else again
    return _Part(
        matmul=2 * products * (forward + backward) * tokens,
        attention=scored * (1 + repeated + attended + extra) * tokens,
        adapters=2 * adapter_products(w, stack) * (3 + again) * stack.layers * tokens / w.tensor_parallel,
        elementwise=layer(w, stack).total * (forward + seen) * stack.layers * tokens,
        dequantize=_dequantized(w, stack) * (forward + 1),
        kernels=stack.layers * _kernels(w, stack) * (forward + seen) if tokens else 0.0,
        model=(1 + seen) * (2 * products + scored) * tokens,
    )


def _learns(w: Workload, stack: Stack) -> bool:
    return w.adapter is None and not w.is_frozen(stack)


def _products(weight: Weight) -> float:
    if weight.part in ("embedding", "position", "norm"):
        return 0.0
    return weight.matrix * weight.active


def _kernels(w: Workload, stack: Stack) -> float:
    """Launches of one layer's forward pass: fused norms, rotary and MLP save some, adapters and 4-bit add."""
    count = 24.0 - (6 if w.kernels.norm else 0) - (6 if w.kernels.rope else 0) - (2 if w.kernels.mlp else 0)
    if w.kernels.compile:
        count = 10.0
    count += 6 * len(adapted(w, stack)) + (2 * len(stack.weights) if w.quantization else 0)
    return count + 8 * stack.experts


def _dequantized(w: Workload, stack: Stack) -> float:
    if w.quantization is None:
        return 0.0
    count = sum(x.parameters for x in stack.weights if is_quantized(x)) * stack.layers / w.tensor_parallel
    return count * (w.quantization.bytes_per_weight + w.compute_bytes)


def _optimizer(w: Workload) -> float:
    """Gradient read, weight and states read and written."""
    trained = trained_parameters(w)
    by = w.sharding.ways if w.sharding.stage >= 1 else 1
    master = 2 * w.sharding.master_bytes if w.sharding.engine == "deepspeed" else 0
    each = 3 * trained.bytes_each + 2 * w.optimizer.state_bytes[0 if trained.bytes_each == 4 else 1] + master
    each += 2 * trained.bytes_each * w.optimizer.scratch
    return 0.0 if w.sharding.offload_optimizer else trained.count / w.tensor_parallel / by * each
