"""What the weights of one pipeline stage take on each of its GPUs, by how they are quantized."""

from __future__ import annotations

from dataclasses import dataclass

from runner.facts.architecture import Architecture, Stack, Weight
from runner.plan.serving.settings import Method, Resolved, decoder_layers

# Linear layers inside the blocks are quantized; embeddings, head, norms and routers stay as they are, and so does
# what sees (llm-compressor's recipes ignore `lm_head`, `re:.*mlp.gate$`, `re:vision_tower.*`; bitsandbytes' in vLLM
# likewise).
QUANTIZED_PARTS = ("attention", "mlp", "experts")
VOCAB_PADDING = 64  # layers/vocab_parallel_embedding.py, DEFAULT_VOCAB_PADDING_SIZE


@dataclass(frozen=True, slots=True)
class Layout:
    """How one quantized matrix lies in memory: `weight` bytes each, `group` bytes for every `size` weights of a row
    (scales and zero points), `row` bytes for each row."""

    weight: float
    group: float = 0.0
    size: int = 128
    row: float = 0.0

    def of(self, matrix: int, rows: int) -> float:
        return matrix * (self.weight + self.group / self.size) + rows * self.row


LAYOUTS: dict[Method, Layout] = {
    # one float32 scale per output channel (compressed-tensors' FP8_DYNAMIC and W8A8; per tensor when quantized on the
    # way in)
    "fp8": Layout(1, row=4),
    "w8a8": Layout(1, row=4),
    # groups of 128: a 16-bit scale and a packed 4-bit zero point (AWQ: Lin et al. 2023, arXiv:2306.00978; GPTQ:
    # Frantar et al. 2022, arXiv:2210.17323; both as AutoAWQ and AutoGPTQ store them)
    "awq": Layout(0.5, group=2.5),
    "gptq": Layout(0.5, group=2.5),
    # a float32 absmax per 64 weights (QLoRA: Dettmers et al. 2023, arXiv:2305.14314, without double quantization,
    # which vLLM does not apply to what it quantizes itself)
    "nf4": Layout(0.5, group=4, size=64),
    "int8": Layout(1, row=4),
}


def is_quantized(weight: Weight, stack: Stack | None) -> bool:
    inside = stack is not None and stack.name != "vision" and weight.part in QUANTIZED_PARTS
    return inside and weight.cols > 1 and (weight.linear or weight.part == "experts")


def weight_bytes(weight: Weight, stack: Stack | None, r: Resolved) -> float:
    """Of one module with all its copies, whole."""
    if r.method == "none" or not is_quantized(weight, stack):
        return float(weight.parameters * r.weight_bytes)
    lies = LAYOUTS[r.method].of(weight.matrix, weight.rows * weight.copies)
    return lies + weight.bias * weight.copies * r.weight_bytes


def stages(architecture: Architecture, r: Resolved) -> list[int]:
    """Layers of each pipeline stage: what is left over goes to those before the last (distributed/utils.py,
    get_pp_indices)."""
    layers = decoder_layers(architecture)
    split = [layers // r.pipeline] * r.pipeline
    for back in range(2, layers % r.pipeline + 2):
        split[-back] += 1
    return split


def stage_bytes(architecture: Architecture, r: Resolved, stage: int) -> float:
    """Weights on one GPU of a stage. Embeddings are on the first, head and last norm on the last; norms, routers and
    learned positions are whole on every GPU of a tensor parallel group, all else is divided (Shoeybi et al. 2019,
    arXiv:1909.08053, section 3)."""
    split = stages(architecture, r)
    share = split[stage] / decoder_layers(architecture)
    first, last = stage == 0, stage == r.pipeline - 1
    total = 0.0
    for stack in architecture.stacks:
        held = share if stack.name == "decoder" else float(first)
        total += held * stack.layers * (sum(_on_gpu(w, stack, r) for w in stack.weights) + _repeated_keys(stack, r))
    for weight in architecture.outer:
        held = first if weight.part in ("embedding", "position", "projector") else last
        total += held * _on_gpu(weight, None, r)
        if weight.part == "head" and weight.tied and last and not first:
            total += _padded(weight, r) * weight.cols * r.weight_bytes / r.tensor  # its own copy of the embedding
    return total + _rotary_cache(architecture, r)


def _on_gpu(weight: Weight, stack: Stack | None, r: Resolved) -> float:
    if weight.part in ("norm", "router", "position"):
        return weight_bytes(weight, stack, r)
    if weight.part in ("embedding", "head") and weight.cols > 1 and not weight.tied and weight.rows > VOCAB_PADDING:
        return _padded(weight, r) * weight.cols * r.weight_bytes / r.tensor
    return weight_bytes(weight, stack, r) / r.tensor


def _padded(weight: Weight, r: Resolved) -> int:
    to = VOCAB_PADDING
    return -(-weight.rows // to) * to


def _repeated_keys(stack: Stack, r: Resolved) -> float:
    """Bytes of keys' and values' projections that are kept more than once: a GPU has one head of them at least
    (config/model.py, get_num_kv_heads)."""
    if r.tensor <= stack.kv_heads:
        return 0.0
    matrix = 2 * stack.hidden * stack.head_dim
    each = float(r.weight_bytes) if r.method == "none" else LAYOUTS[r.method].of(matrix, 0) / matrix
    return matrix * each * (1 - stack.kv_heads / r.tensor)


def _rotary_cache(architecture: Architecture, r: Resolved) -> float:
    """Cosines and sines of every position, in the model's dtype (layers/rotary_embedding/base.py)."""
    stack = architecture.decoder
    return (architecture.max_positions or 0) * stack.head_dim * stack.rotary * r.weight_bytes
