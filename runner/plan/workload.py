"""What a training recipe asks of each GPU, in plain numbers: the inputs of every formula of the plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from runner.facts.architecture import Architecture, Stack
from runner.facts.boxes import Box

Objective = Literal["sft", "pretrain", "dpo", "ipo", "simpo", "orpo", "kto", "reward", "prm", "grpo"]
Checkpointing = Literal["none", "full", "selective"]
Attention = Literal["flash", "sdpa", "eager"]
Loss = Literal["stock", "fused", "chunked", "linear"]


@dataclass(frozen=True, slots=True)
class Sharding:
    """Who holds what. `stage` as in ZeRO: 0 everyone holds all, 1 optimizer states are divided, 2 gradients too, 3
    weights too. FSDP's FULL_SHARD is stage 3, SHARD_GRAD_OP stage 2.

    `ways` ranks divide what is divided. `master_bytes` per parameter are full-precision copies kept beside 16-bit
    weights (0 where there are none), `reduce_bucket` are gradients on their way.
    """

    engine: Literal["none", "ddp", "deepspeed", "fsdp"]
    stage: int
    ways: int
    master_bytes: int = 0
    offload_optimizer: bool = False
    offload_weights: bool = False
    reduce_bucket: int = 0  # elements
    persistent: int = 0  # elements of the largest weight that every rank keeps whole
    live: int = 0  # elements that may stay gathered
    summed: bool = False  # gradients are added up in 32 bits beside the 16-bit ones (DeepSpeed's BF16_Optimizer)


@dataclass(frozen=True, slots=True)
class Quantization:
    """How frozen weights lie in memory: `bits` each and one scale of `scale_bytes` per `group` of them."""

    name: str
    bits: float
    group: int
    scale_bytes: float

    @property
    def bytes_per_weight(self) -> float:
        return self.bits / 8 + self.scale_bytes / self.group


@dataclass(frozen=True, slots=True)
class Adapter:
    """LoRA: `rank`, and the names of the linear layers that get one (None: every linear layer but the head)."""

    rank: int
    targets: tuple[str, ...] | None
    saved: tuple[str, ...] = ()
    dropout: float = 0.0
    weight_bytes: int = 4
    dora: bool = False
    stacks: tuple[str, ...] | None = None  # those that get one, of a model that sees; None: all of them


@dataclass(frozen=True, slots=True)
class Optimizer:
    """Bytes of state per parameter as `(per 32-bit parameter, per 16-bit parameter)`; `scratch` copies of all trained
    parameters that the step makes at once, `largest` such copies of the largest matrix alone (in 32 bits)."""

    name: str
    state_bytes: tuple[float, float]
    scratch: float = 0.0
    largest: float = 0.0
    paged: bool = False
    # transformers keeps 32-bit states for embeddings under bitsandbytes' 8-bit optimizers
    embeddings_32bit: bool = False


@dataclass(frozen=True, slots=True)
class Kernels:
    """Fused kernels in place of the model's own layers: each saves what it names."""

    norm: bool = False
    mlp: bool = False
    rope: bool = False
    compile: bool = False
    fp8: bool = False


@dataclass(frozen=True, slots=True)
class Generation:
    """GRPO's other half: answers of up to `new_tokens`, made by vLLM or by the model itself, for `micro_batches` of
    training at a time (TRL's steps_per_generation); each prompt gets `completions` of them."""

    completions: int
    micro_batches: int
    new_tokens: int
    vllm: bool
    vllm_share: float
    colocated: bool


@dataclass(frozen=True, slots=True)
class Workload:
    """One training step on one GPU, and how many there are of each.

    `sequences` counts rows of `seq_len` tokens in a micro batch of one rank (a preference pair is two). Bytes are of
    one element: `weight_bytes` as weights are kept, `compute_bytes` as they are multiplied, `grad_bytes` as gradients
    are kept. `autocast` says that torch's automatic mixed precision runs on top, which computes norms in 32 bits.
    """

    architecture: Architecture
    box: Box
    objective: Objective
    reference: Literal["none", "adapter", "copy"]
    head_outputs: int  # width of the head: the vocabulary, or 1 of a reward model
    micro_batch: int
    accumulation: int
    sequences: int
    seq_len: int
    ranks: int
    tensor_parallel: int
    context_parallel: int
    sharding: Sharding
    weight_bytes: int
    compute_bytes: int
    grad_bytes: int
    autocast: bool
    quantization: Quantization | None
    adapter: Adapter | None
    optimizer: Optimizer
    checkpointing: Checkpointing
    offload_activations: bool
    attention: Attention
    packed: bool
    loss: Loss
    kernels: Kernels
    generation: Generation | None
    # pipeline parallelism: stages that share the layers, and how they are divided (runner/plan/pipeline.py)
    stages: int = 1
    partition: str = "parameters"
    in_flight: int = 1  # micro batches whose activations are held at once
    checkpoint_every: int = 1  # layers that full checkpointing recomputes together
    # of a model that sees: pictures of a row, and what `unfrozen_parameters` leaves as it is, as (stack, weight), the
    # weights outside the stacks with none
    images: int = 0
    frozen: frozenset[tuple[str | None, str]] = frozenset()

    @property
    def tokens(self) -> int:
        """Tokens of a micro batch on one GPU, after context parallelism has divided each sequence."""
        return max(1, self.sequences * self.seq_len // self.context_parallel)

    def tokens_of(self, stack: Stack) -> int:
        """Those that a stack computes of a micro batch: a vision tower's are patches of its pictures, and one for each
        picture as a whole."""
        if stack.name != "vision":
            return self.tokens
        return self.sequences * self.images * (self.architecture.image_tokens + 1)

    def is_frozen(self, stack: Stack) -> bool:
        """Whether no weight of it is trained, nor has an adapter."""
        if self.adapter is not None:
            return self.adapter.stacks is not None and stack.name not in self.adapter.stacks
        return all((stack.name, x.name) in self.frozen for x in stack.weights)

    @property
    def logit_tokens(self) -> int:
        """Tokens of a micro batch whose logits are made: TRL's GRPO makes those of the answers alone."""
        if self.generation is None:
            return self.tokens
        return min(self.tokens, self.sequences * self.generation.new_tokens)

    @property
    def data_parallel(self) -> int:
        return max(1, self.ranks // (self.tensor_parallel * self.context_parallel * self.stages))

    @property
    def global_batch(self) -> int:
        """Samples that one optimizer step learns from."""
        return self.micro_batch * self.accumulation * self.data_parallel

    @property
    def step_tokens(self) -> int:
        """Tokens of one optimizer step, all ranks together."""
        return self.sequences * self.seq_len * self.accumulation * self.data_parallel
