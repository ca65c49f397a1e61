"""Several ranks on processors go on from a checkpoint.

transformers loads the optimizer's state onto the rank's device, which Accelerate calls `cpu:0`, `cpu:1`: torch makes
tensors there, and knows no such place when it loads any ("don't know how to restore data location").
"""

from typing import Any

import torch


def load_on_numbered_cpus() -> None:
    torch.serialization.register_package(0, lambda storage: None, _restore)


def _restore(storage: Any, location: str) -> Any:
    return storage if location.startswith("cpu:") else None
