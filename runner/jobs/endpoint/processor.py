"""Imported by each vLLM worker on a processor (`--worker-extension-cls endpoint.processor.Tiles`).

Linux lets a process use AMX tiles only after it has asked. vLLM 0.32's attention uses them wherever the processor has
some, and leaves asking to a matrix product of oneDNN's, which a short first request does without: the worker then dies
of an illegal instruction. Elsewhere this does nothing.
"""

import torch

if torch.cpu._is_amx_tile_supported():
    torch.cpu._init_amx()


class Tiles:
    """Adds nothing to the worker: being imported is enough."""
