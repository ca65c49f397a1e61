"""What one micro batch makes a GPU do: operations, bytes moved through its memory, bytes sent to other GPUs."""

from __future__ import annotations

from dataclasses import dataclass

from runner.facts.architecture import Stack, Weight
from runner.plan.memory.activations import layer
from runner.plan.memory.head import logits_bytes
from runner.plan.memory.states import adapted, adapter_products, base_weights, is_quantized, trained_parameters
from runner.plan.workload import Workload


@dataclass(frozen=True, slots=True)
class Work:
    """Of one micro batch on one GPU, optimizer and reduction shared out over the step's micro batches.

    `matmul` and `attention` are floating point operations (a multiply-add is two), `model` those that a run without
    recomputation, masked halves left out, would have needed: what MFU counts. `elementwise`, `logits`, `dequantize` and
    `optimizer` are bytes read and written. `local` and `remote` are bytes between GPUs of a node and between nodes,
    `host` those over PCIe. `kernels` counts launches.
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
    local, remote, host = _communication(w)
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


def _communication(w: Workload) -> tuple[float, float, float]:
    """Bytes one GPU sends per micro batch: within its node, between nodes, and to the host.

    Gathering weights that `n` ranks share moves (n-1)/n of them, reducing gradients as much again, all-reduce twice as
    much (Thakur et al. 2005, "Optimization of collective communication operations in MPICH"; ring algorithms).
    """
    shard, trained = w.sharding, trained_parameters(w)
    n = w.data_parallel * w.context_parallel if shard.engine == "ddp" else shard.ways
    moved = 0.0
    if n > 1:
        share = (n - 1) / n
        base = sum(_gathered(w, x) * count for x, count in w.architecture.weights()) / w.tensor_parallel
        grads = trained.count / w.tensor_parallel * (trained.bytes_each if shard.engine == "ddp" else w.compute_bytes)
        if shard.stage >= 3:
            gathers = 2 + (1 if w.checkpointing != "none" and shard.engine == "deepspeed" else 0)
            moved = share * (gathers * base + grads)
        elif shard.stage >= 1:
            moved = share * (grads + (base if w.adapter is None else grads) / w.accumulation)
        else:
            moved = 2 * share * grads / w.accumulation
    tensor = _tensor_parallel(w) + _context_parallel(w) + _between_stages(w)
    nodes = w.box.nodes
    # a ring over several nodes sends everything over each link, so the slowest, the network, sees all of it, shared by
    # the GPUs of a node
    remote = moved * w.box.gpus if nodes > 1 else 0.0
    host = 0.0
    if shard.offload_optimizer:
        host = trained.count / max(1, shard.ways) * 2 * w.compute_bytes / w.accumulation
    if shard.offload_weights:
        host += sum(_gathered(w, x) * c for x, c in w.architecture.weights()) / max(1, shard.ways) * 3
    return (0.0 if nodes > 1 else moved) + tensor, remote, host


def _gathered(w: Workload, weight: Weight) -> float:
    if w.quantization is not None and is_quantized(weight):
        return weight.parameters * w.quantization.bytes_per_weight
    return float(weight.parameters * w.compute_bytes)


def _context_parallel(w: Workload) -> float:
    """Keys and values go once around the ring forward, once more backward, and their gradients in 32 bits with them
    (Liu et al. 2023, arXiv:2310.01889, section 3; ring_flash_attn/ring_flash_attn.py)."""
    ways, stack = w.context_parallel, w.architecture.decoder
    width = 2 * stack.kv_heads * stack.head_dim * stack.layers
    times = 2 + (1 if w.checkpointing != "none" else 0)
    return (ways - 1) * width * (times * w.compute_bytes + 4.0) * w.tokens


def _between_stages(w: Workload) -> float:
    """A stage receives hidden states and sends their gradient back; the next one does the opposite meanwhile."""
    return 2.0 * w.architecture.decoder.hidden * w.compute_bytes * w.tokens if w.stages > 1 else 0.0


def _tensor_parallel(w: Workload) -> float:
    """Two all-reduces of the hidden states per layer forward, two backward (Shoeybi et al. 2019, arXiv:1909.08053)."""
    ways = w.tensor_parallel
    if ways <= 1:
        return 0.0
    stack = w.architecture.decoder
    times = 4 + (2 if w.checkpointing != "none" else 0)
    return 2 * (ways - 1) / ways * times * stack.layers * stack.hidden * w.compute_bytes * w.tokens
