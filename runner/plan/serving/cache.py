"""The KV cache: bytes per token, blocks, and how much of which length they hold."""

from __future__ import annotations

from dataclasses import dataclass

from runner.facts.architecture import Architecture, Stack
from runner.plan.serving.settings import BLOCK, Resolved
from runner.plan.serving.weights import stages

IN_FLIGHT = 2  # batches that asynchronous scheduling has under way (config/vllm.py, max_concurrent_batches)


@dataclass(frozen=True, slots=True)
class Cache:
    """Of one replica. `bytes_per_token` and `blocks` are of the GPU that holds least; `tokens` and `concurrency` are
    the figures of vLLM's line "GPU KV cache size: ... Maximum concurrency for ... tokens per request"."""

    bytes_per_token: float
    blocks: int
    tokens: int
    concurrency: float


def token_bytes(stack: Stack, r: Resolved) -> int:
    """Keys and values of one token in one layer on one GPU. With fewer heads of them than GPUs each GPU has one
    (GQA: Ainslie et al. 2023, arXiv:2305.13245; config/model.py, get_num_kv_heads)."""
    return 2 * max(1, stack.kv_heads // r.tensor) * stack.head_dim * r.cache_bytes


def stage_token_bytes(architecture: Architecture, r: Resolved, layers: int) -> float:
    """Of `layers` of the decoder together. Dense and sparse layers of one model attend alike."""
    return float(layers * token_bytes(architecture.decoder, r))


def blocks_for(tokens: int, architecture: Architecture, r: Resolved) -> int:
    """Blocks that one request of this length may hold (v1/kv_cache_interface.py, max_memory_usage_bytes): all its
    tokens, or, where every layer slides, its window, the batches under way, and one for an unaligned start."""
    window = architecture.decoder.window
    if window is None:
        return max(1, -(-tokens // BLOCK))
    kept = min(window - 1 + IN_FLIGHT * r.max_num_batched_tokens, tokens)
    return -(-kept // BLOCK) + 1


def make_cache(architecture: Architecture, r: Resolved, available: list[float]) -> Cache:
    """`available` bytes on one GPU of each stage; the stage with the fewest blocks decides
    (v1/core/kv_cache_utils.py, get_kv_cache_configs)."""
    split = stages(architecture, r)
    each = [stage_token_bytes(architecture, r, layers) for layers in split]
    counts = [max(0, int(free // (BLOCK * size))) for free, size in zip(available, each, strict=True)]
    blocks = min(counts)
    concurrency = blocks / blocks_for(r.max_model_len, architecture, r)
    return Cache(each[counts.index(blocks)], blocks, int(concurrency * r.max_model_len), concurrency)


def sequences(blocks: int, tokens: int, architecture: Architecture, r: Resolved, prefix: int = 0) -> int:
    """Requests of `tokens` that are held at once, `prefix` of them in blocks that all share. One block is never given
    out (v1/core/block_pool.py, null_block)."""
    shared = prefix // BLOCK if r.prefix_caching and architecture.decoder.window is None else 0
    own = blocks_for(tokens, architecture, r) - shared
    return max(0, (blocks - 1 - shared) // max(1, own))


def longest(blocks: int, architecture: Architecture, r: Resolved) -> int:
    """The longest `max_model_len` with which one request fits, at most what the model was made for; 0 for none."""
    most = architecture.max_positions or r.max_model_len
    if architecture.decoder.window is not None and blocks_for(most, architecture, r) <= blocks:
        return most
    if architecture.decoder.window is not None:
        blocks -= 1
    return min(most, blocks * BLOCK)
