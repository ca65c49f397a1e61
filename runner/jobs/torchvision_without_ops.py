"""Beside a CPU build of torch, in vLLM's environment: torchvision's operators are declared, so that it can be imported.

PyPI's torchvision is compiled for CUDA. Without its library, `import torchvision` fails where it registers shapes for
two operators that nobody has declared; its transforms, which are Python, are all that vLLM and transformers use. torch
calls `declare` at the end of its own import. Whoever calls an operator is told that it has no kernel.
"""

import torch

NMS = ("nms", "qnms")
_kept = []


def declare() -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in NMS:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept.append(library)  # what it declares goes with it
