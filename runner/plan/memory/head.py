"""The end of the model: final norm, logits and loss, often the largest moment for large vocabularies."""

from __future__ import annotations

from runner.plan.memory.activations import WIDE, norm_bytes
from runner.plan.workload import Workload

# Bytes per element of the logits at the widest moment. transformers' ForCausalLMLoss widens them to 32 bits;
# log_softmax keeps its result, and backward makes the gradients of the loss and of log_softmax beside it: three times
# 4. A fused loss writes the gradient over its input, which leaves that, its 16-bit form, and the logits.
# torch.compile fuses the two gradients into one; in chunks, the 16-bit logits and one chunk in 32 bits remain.
_STOCK, _FUSED, _COMPILED, _CHUNKED = 12, 8, 10, 3


def head_bytes(w: Workload) -> float:
    """Bytes at the widest moment of loss and its backward, all tokens together."""
    if w.stages > 1 and not w.head_outputs:
        return 0.0  # a stage before the last
    h, c = w.architecture.decoder.hidden, w.compute_bytes
    norm = norm_bytes(w, w.architecture.decoder.norm) + (c if w.adapter is None else 0)
    return norm * h * w.tokens + logits_bytes(w) * w.logit_tokens + _gradient(w)


def logits_bytes(w: Workload) -> float:
    """Bytes per token."""
    if w.loss == "linear":
        # as many tokens at a time as make their logits no larger than all hidden states (Hsu et al. 2024,
        # arXiv:2410.10989, section 3.2): the gradient of the hidden states, and one chunk in 16 and 32 bits
        return (w.compute_bytes + WIDE + 2) * w.architecture.decoder.hidden / 2
    vocab = w.head_outputs / w.tensor_parallel
    stock = _COMPILED if w.kernels.compile else _STOCK
    return {"fused": _FUSED, "chunked": _CHUNKED}.get(w.loss, stock) * vocab


def _gradient(w: Workload) -> float:
    """The fused linear loss makes the head's gradient on the way: itself, one chunk's part of it, and that in 32 bits
    (liger_kernel/ops/fused_linear_cross_entropy.py)."""
    if w.loss != "linear" or w.adapter is not None:
        return 0.0
    return (2 * w.compute_bytes + WIDE) * w.head_outputs * w.architecture.decoder.hidden / w.tensor_parallel
