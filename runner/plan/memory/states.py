"""What stays on a GPU from step to step: weights, adapters, gradients, optimizer states. Bytes of one rank."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runner.facts.architecture import Stack, Weight
from runner.plan.workload import Workload

# parts that a tied or trained embedding belongs to, for optimizers that treat them apart
_TABLES = ("embedding", "position")


@dataclass(frozen=True, slots=True)
class Trained:
    """Parameters that get a gradient, of the whole model: in all, those of embedding tables, and the largest single
    weight; `in_16_bit` says how they are kept while they are trained."""

    count: int
    tables: int
    largest: int
    bytes_each: int


@dataclass(frozen=True, slots=True)
class States:
    """Bytes of one rank. `scratch` is what the optimizer's step makes and drops again; the `host_` ones lie in RAM."""

    weights: float
    quantized: float
    adapter: float
    reference: float
    master: float
    gradients: float
    optimizer: float
    scratch: float
    buckets: float
    host_weights: float
    host_optimizer: float
    host_gradients: float


def states(w: Workload) -> States:
    """ZeRO's division is that of Rajbhandari et al. 2020 (arXiv:1910.02054), section 5; what DeepSpeed and FSDP keep
    beside it is read from runtime/zero/stage_1_and_2.py, stage3.py (0.18) and torch.distributed.fsdp (2.13)."""
    shard = w.sharding
    weights, quantized = _weights(w)
    trained = trained_parameters(w)
    adapter = adapter_parameters(w) * (w.adapter.weight_bytes if w.adapter else 0)
    by_weights = shard.ways if shard.stage >= 3 else 1
    by_gradients = shard.ways if shard.stage >= 2 else 1
    by_states = shard.ways if shard.stage >= 1 else 1
    count = trained.count / w.tensor_parallel
    deepspeed = shard.engine == "deepspeed"
    state_each = w.optimizer.state_bytes[0 if deepspeed or trained.bytes_each == 4 else 1]
    optimizer = count * state_each / by_states
    if w.optimizer.embeddings_32bit:
        optimizer += trained.tables / w.tensor_parallel / by_states * (8.0 - state_each)
    # FSDP keeps what is trained in 32 bits and has no second copy; that is `weight_bytes`
    master = count * shard.master_bytes / by_states if deepspeed else 0.0
    gradients = count * trained.bytes_each / by_gradients
    reference = base_parameters(w) * w.compute_bytes / w.tensor_parallel / by_weights if w.reference == "copy" else 0.0
    offload = shard.offload_optimizer
    scratch = _scratch(w, trained, count / by_states, deepspeed)
    return States(
        weights=0.0 if shard.offload_weights else weights,
        quantized=0.0 if shard.offload_weights else quantized,
        adapter=adapter / by_weights / w.tensor_parallel,
        reference=reference,
        master=0.0 if offload else master,
        gradients=0.0 if offload and shard.engine == "fsdp" else gradients,
        optimizer=0.0 if offload or w.optimizer.paged else optimizer,
        scratch=0.0 if offload else scratch,
        buckets=_buckets(w, trained),
        host_weights=weights + quantized if shard.offload_weights else 0.0,
        host_optimizer=(optimizer + master) if offload or w.optimizer.paged else 0.0,
        host_gradients=count * 4 / by_states if offload else 0.0,
    )


def _scratch(w: Workload, trained: Trained, mine: float, deepspeed: bool) -> float:
    each = 4 if deepspeed else trained.bytes_each
    scratch = mine * each * w.optimizer.scratch + min(trained.largest, mine) * 4 * w.optimizer.largest
    if w.sharding.summed:
        return scratch  # they lie flat and in 32 bits already
    if deepspeed and w.sharding.stage in (1, 2):
        # the partition's gradients, flattened and widened to 32 bits for the step
        scratch += mine * 4
    elif deepspeed and w.sharding.stage == 3:
        scratch += min(mine, 1_000_000_000) * 4  # the same, one sub-group at a time
    return scratch


def _buckets(w: Workload, trained: Trained) -> float:
    """Gradients on their way between ranks."""
    shard = w.sharding
    if shard.engine == "ddp":
        return trained.count / w.tensor_parallel * trained.bytes_each
    if shard.summed and shard.ways == 1:
        return 0.0  # nobody to reduce them with
    if shard.engine == "deepspeed" and shard.stage:
        # two while communication overlaps with computation
        return 2 * min(shard.reduce_bucket, trained.count) * w.compute_bytes
    return 0.0


def _weights(w: Workload) -> tuple[float, float]:
    """Bytes of one rank's base weights: plain, and quantized."""
    plain = quantized = 0.0
    shard = w.sharding
    divided = shard.ways if shard.stage >= 3 else 1
    for weight, layers in base_weights(w):
        count = weight.parameters * layers / w.tensor_parallel
        ways = divided
        if shard.engine == "deepspeed" and shard.persistent and weight.rows * weight.cols < shard.persistent:
            ways = 1
        if w.quantization is not None and is_quantized(weight):
            quantized += count * w.quantization.bytes_per_weight / ways
        else:
            plain += count * w.weight_bytes / ways
    return plain, quantized


def base_weights(w: Workload) -> Iterator[tuple[Weight, int]]:
    """The model's weights as trained: a reward model has a head of one output in place of the vocabulary's."""
    for weight, layers in w.architecture.weights():
        if weight.part == "head" and w.head_outputs != w.architecture.vocab:
            continue
        yield weight, layers
    if w.head_outputs != w.architecture.vocab:
        yield Weight("score", "head", w.head_outputs, w.architecture.decoder.hidden), 1


def base_parameters(w: Workload) -> int:
    """Of the model as trained, adapters not counted."""
    return sum(x.parameters * n for x, n in base_weights(w))


def is_quantized(weight: Weight) -> bool:
    """bitsandbytes and GPTQ leave embeddings, norms and the head as they are. Experts are quantized by Axolotl's
    `quantize_moe_experts`, or where they are linear layers of their own."""
    return (weight.linear and weight.part != "head") or weight.part == "experts"


def adapted(w: Workload, stack: Stack) -> list[Weight]:
    """The linear layers of a stack that get an adapter."""
    if w.adapter is None:
        return []
    targets = w.adapter.targets
    if w.adapter.stacks is not None and stack.name not in w.adapter.stacks:
        return []
    linear = [x for x in stack.weights if x.linear and x.part != "router"]
    return [x for x in linear if targets is None or any(x.name == t or t.endswith("." + x.name) for t in targets)]


def adapter_products(w: Workload, stack: Stack) -> int:
    """Parameters of the adapters of one layer of a stack."""
    if w.adapter is None:
        return 0
    return sum(w.adapter.rank * (x.rows + x.cols) * x.copies for x in adapted(w, stack))


def adapter_parameters(w: Workload) -> int:
    """LoRA adds `rank` x (inputs + outputs) per matrix (Hu et al. 2021, arXiv:2106.09685, section 4.1)."""
    if w.adapter is None:
        return 0
    count = 0
    for stack in w.architecture.stacks:
        count += adapter_products(w, stack) * stack.layers
        if w.adapter.dora:
            count += sum(x.rows * x.copies for x in adapted(w, stack)) * stack.layers
    return count


def trained_parameters(w: Workload) -> Trained:
    if w.adapter is None:
        found = list(_learned(w)) if w.frozen else list(base_weights(w))
        count = sum(x.parameters * n for x, n in found)
        tables = sum(x.parameters * n for x, n in found if x.part in _TABLES)
        return Trained(count, tables, max((x.rows * x.cols for x, _ in found), default=0), w.grad_bytes)
    count = adapter_parameters(w)
    saved = [x for x, _ in base_weights(w) if x.name in w.adapter.saved or x.name == "score"]
    kept = sum(x.rows * x.cols + x.bias for x in saved)
    widest = max(
        (w.adapter.rank * max(x.rows, x.cols) for s in w.architecture.stacks for x in adapted(w, s)), default=0
    )
    largest = max([widest, *(x.rows * x.cols for x in saved)])
    return Trained(count + kept, 0, largest, w.adapter.weight_bytes)


def _learned(w: Workload) -> Iterator[tuple[Weight, int]]:
    """What `unfrozen_parameters` leaves to train."""
    for stack in w.architecture.stacks:
        yield from ((x, stack.layers) for x in stack.weights if (stack.name, x.name) not in w.frozen)
    yield from ((x, 1) for x in w.architecture.outer if (None, x.name) not in w.frozen)


def layer_bytes(w: Workload, stack: Stack) -> float:
    """One layer's weights as they are gathered for computing: whole, in the compute precision or still quantized."""
    found = 0.0
    for weight in stack.weights:
        each = w.quantization.bytes_per_weight if w.quantization and is_quantized(weight) else w.compute_bytes
        found += weight.parameters * each
    if w.adapter is not None:
        found += adapter_products(w, stack) * w.adapter.weight_bytes
    return found / w.tensor_parallel
