"""A roofline of one engine step: requests that each get their next token, and pieces of prompts beside them."""

from __future__ import annotations

from dataclasses import dataclass

from runner.facts.architecture import Architecture, Stack, Weight
from runner.facts.gpus import GpuFacts
from runner.plan.serving.cache import token_bytes
from runner.plan.serving.constants import Constants
from runner.plan.serving.settings import Resolved, decoder_layers
from runner.plan.serving.weights import weight_bytes

# How sharply time turns from reading weights to computing with them. At 1 the two would add up, at infinity only the
# larger would count; kernels overlap them well but not wholly.
SHARPNESS = 1.5
MASKED = 0.5  # share of the scores that a causal mask keeps
MICRO = 1e-6


@dataclass(frozen=True, slots=True)
class Engine:
    """Who works: a model on GPUs with settings, and how well. What every function here takes."""

    architecture: Architecture
    gpu: GpuFacts
    settings: Resolved
    constants: Constants


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's work: `decoding` requests of `context` tokens on average, and `prompt` tokens, each of which attends
    to `before` others on average, of as many requests."""

    decoding: int = 0
    context: float = 0.0
    prompt: int = 0
    before: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """Seconds of one step, by what takes them."""

    weights: float  # reading them or multiplying by them, whichever takes longer
    cache: float  # reading keys and values of decoding requests
    attention: float  # computing scores of prompts
    network: float  # all-reduces between the GPUs of a replica
    overhead: float

    @property
    def total(self) -> float:
        return self.weights + self.cache + self.attention + self.network + self.overhead


def distinct_experts(experts: int, per_token: int, tokens: int) -> float:
    """How many of a layer's experts a batch is expected to touch, each token choosing `per_token` of them at random:
    E (1 - (1 - k/E)^n). All that a batch leaves out need not be read."""
    return experts * (1.0 - (1.0 - per_token / experts) ** tokens)


def step(e: Engine, batch: Batch) -> Step:
    """Weights are read once for all tokens, keys and values once per request (Pope et al. 2022, arXiv:2211.05102,
    section 2; the roofline is Williams et al. 2009). Each token takes 2 operations per weight (Kaplan et al. 2020,
    arXiv:2001.08361, section 2.1) and 4 x context x width of attention. Logits are made for requests, not for prompts'
    tokens. Pipeline stages take turns, so all layers count, each with its own GPUs."""
    r, c, tokens = e.settings, e.constants, batch.decoding + batch.prompt
    read = flops = cached = scores = 0.0
    for stack, weight, layers in _matrices(e.architecture):
        read += weight_bytes(weight, stack, r) * layers * _touched(stack, weight, tokens)
        counted = tokens if stack is not None else batch.decoding + min(1, batch.prompt)
        flops += 2.0 * counted * weight.matrix * weight.active * layers
    for stack in e.architecture.stacks:
        if stack.name == "decoder":
            window = stack.window or float("inf")
            cached += batch.decoding * min(batch.context, window) * token_bytes(stack, r) * stack.layers
            width = stack.heads * stack.head_dim
            scores += 4.0 * batch.prompt * min(batch.before, window) * width * stack.layers
    return Step(
        weights=_linear(e, read / r.tensor, flops / r.tensor),
        cache=cached / (e.gpu.memory_gb_s * 1e9 * c.cache_share),
        attention=scores / r.tensor / (_peak16(e) * c.compute16_share),
        network=_network(e, tokens),
        overhead=_overhead(e, batch),
    )


def prompt_seconds(e: Engine, tokens: int, before: int = 0, count: int = 1) -> float:
    """Until `count` equal prompts are read that arrive together, each `tokens` long after `before` that are in the
    cache: in pieces of `max_num_batched_tokens`, of which the last of several stages begins when the first is through
    (chunked prefill: Agrawal et al. 2023, arXiv:2308.16369)."""
    piece, whole = e.settings.max_num_batched_tokens, tokens * count
    full, rest = divmod(whole, piece)
    seen = before + MASKED * tokens
    seconds = full * step(e, Batch(prompt=piece, before=seen)).total if full else 0.0
    if rest:
        seconds += step(e, Batch(prompt=rest, before=seen)).total
    pieces, stages = full + (1 if rest else 0), e.settings.pipeline
    return seconds * (pieces + stages - 1) / (pieces * stages) if pieces else 0.0


def _matrices(architecture: Architecture) -> list[tuple[Stack | None, Weight, int]]:
    """What a token of text is multiplied by; a tied head is its embedding once more."""
    found: list[tuple[Stack | None, Weight, int]] = []
    for stack in architecture.stacks:
        if stack.name == "decoder":
            found += [(stack, w, stack.layers) for w in stack.weights if w.part != "norm"]
    outer = [w for w in architecture.outer if w.part == "head" and w.cols > 1 and not w.tied]
    if not outer:
        outer = [w for w in architecture.outer if w.part == "embedding" and w.rows == architecture.vocab][:1]
    return found + [(None, w, 1) for w in outer]


def _touched(stack: Stack | None, weight: Weight, tokens: int) -> float:
    if stack is None or weight.part != "experts" or not stack.experts:
        return 1.0
    return distinct_experts(stack.experts, stack.experts_per_token, tokens) / stack.experts


def _linear(e: Engine, read: float, flops: float) -> float:
    """Seconds to read weights and to multiply by them, the longer of both."""
    r, c, gpu = e.settings, e.constants, e.gpu
    eight = {"fp8": gpu.fp8_tflops, "w8a8": gpu.int8_tops}.get(r.method, 0.0)
    rate = eight * 1e12 * c.compute8_share if eight else _peak16(e) * c.compute16_share
    reading, computing = read / (gpu.memory_gb_s * 1e9 * c.bandwidth_share), flops / rate
    both = (reading**SHARPNESS + computing**SHARPNESS) ** (1 / SHARPNESS)
    return float(c.kernels[r.method] * both)


def _peak16(e: Engine) -> float:
    """Operations per second in the model's dtype. GPUs before Ampere have no bfloat16 units and serve float16."""
    if e.settings.weight_bytes == 4:
        return (e.gpu.tf32_tflops or e.gpu.fp32_tflops) * 1e12
    return (e.gpu.bf16_tflops or e.gpu.fp16_tflops) * 1e12


def _network(e: Engine, tokens: int) -> float:
    """Two all-reduces of the hidden states per layer (Shoeybi et al. 2019, arXiv:1909.08053), each sending
    2 (n-1)/n of them, with a fixed latency; without NVLink over PCIe."""
    ways, stack = e.settings.tensor, e.architecture.decoder
    if ways == 1:
        return 0.0
    sent = 2.0 * (ways - 1) / ways * tokens * stack.hidden * e.settings.weight_bytes
    link = (e.gpu.nvlink_gb_s or e.gpu.pcie_gb_s) * 1e9 * e.constants.link_share
    return 2.0 * decoder_layers(e.architecture) * (e.constants.all_reduce_us * MICRO + sent / link)


def _overhead(e: Engine, batch: Batch) -> float:
    """Scheduling, sampling and answering; gaps between a layer's kernels: short in a CUDA graph, longer where parts of
    one alternate with attention (prompts), very long where Python launches each of them."""
    c, layers = e.constants, decoder_layers(e.architecture)
    layer = c.eager_layer_us if e.settings.eager else c.prompt_layer_us if batch.prompt else c.layer_us
    return (c.step_us + layers * layer + batch.decoding * c.sequence_us) * MICRO
