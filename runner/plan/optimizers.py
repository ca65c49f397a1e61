"""What optimizers keep and need: bytes of state per parameter, and scratch of the step."""

from __future__ import annotations

from runner.plan.workload import Optimizer

# Two moments per parameter, in the parameter's own precision (torch.optim.AdamW).
_ADAM = (8.0, 4.0)
# Two moments in 8 bits, one 32-bit scale each per block of 256 (bitsandbytes' optim/optimizer.py; torchao the same).
_ADAM_8BIT = (2.0 + 2 * 4 / 256,) * 2
_FUSED = Optimizer("adamw_torch_fused", _ADAM)

# `scratch`: torch's for-each implementation makes the square root of every second moment at once
# (torch/optim/adam.py, _multi_tensor_adam), so that a step needs one more copy of what is trained; the fused kernel
# doesn't. transformers' Adafactor makes its updates one weight at a time, in 32 bits (optimization.py).
_KNOWN = {
    "adamw_torch_fused": _FUSED,
    "adamw_torch": Optimizer("adamw_torch", _ADAM, scratch=1.0),
    "adamw_anyprecision": Optimizer("adamw_anyprecision", _ADAM, largest=2.0),
    "adamw_apex_fused": Optimizer("adamw_apex_fused", _ADAM),
    "adamw_torch_8bit": Optimizer("adamw_torch_8bit", _ADAM_8BIT, largest=3.0),
    "adamw_torch_4bit": Optimizer("adamw_torch_4bit", (1.0 + 2 * 4 / 128,) * 2, largest=3.0),
    "ao_adamw_8bit": Optimizer("ao_adamw_8bit", _ADAM_8BIT, largest=3.0),
    "ao_adamw_4bit": Optimizer("ao_adamw_4bit", (1.0 + 2 * 4 / 128,) * 2, largest=3.0),
    "ao_adamw_fp8": Optimizer("ao_adamw_fp8", _ADAM_8BIT, largest=3.0),
    "adafactor": Optimizer("adafactor", (0.01, 0.01), largest=3.0),
    "sgd": Optimizer("sgd", (0.0, 0.0)),
    "adagrad": Optimizer("adagrad", (4.0, 2.0), scratch=1.0),
    "rmsprop": Optimizer("rmsprop", (4.0, 2.0), scratch=1.0),
    "lion": Optimizer("lion", (4.0, 2.0), scratch=1.0),
    "lion_pytorch": Optimizer("lion_pytorch", (4.0, 2.0), scratch=1.0),
    # one momentum for matrices, Newton-Schulz on one matrix at a time; the rest is AdamW's (torch.optim.Muon's split)
    "muon": Optimizer("muon", (4.0, 2.0), largest=3.0),
}
# bitsandbytes keeps its states in 32 bits, or in 8 with transformers' exception for embeddings (trainer.py,
# create_optimizer); paged ones lie in managed memory, which moves to the host when the GPU is full.
_BITSANDBYTES = {"adamw": 2, "lion": 1, "rmsprop": 1, "ademamix": 3}


def find_optimizer(name: str) -> Optimizer:
    """By the name that Axolotl takes. One that isn't known counts as AdamW, which needs as much as any usual one."""
    if name in _KNOWN:
        return _KNOWN[name]
    bare = name.removeprefix("paged_").replace("_bnb", "").replace("_32bit", "")
    paged = name.startswith("paged_")
    eight = bare.endswith("_8bit")
    moments = _BITSANDBYTES.get(bare.removesuffix("_8bit"))
    if moments is None:
        return _FUSED
    each = (1.0 + 4 / 256) if eight else 4.0
    return Optimizer(name, (moments * each,) * 2, paged=paged, embeddings_32bit=eight)
