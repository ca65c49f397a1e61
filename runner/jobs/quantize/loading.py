"""A model and its tokenizer, as transformers loads them, and what they hold."""

import gc
import re
from pathlib import Path
from typing import Any

import torch

from .problem import Problem

GIB = 2**30


def tokenizer_of(name: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(name)


def load(name: str, *, dtype: str = "auto", place: Any = None, **more: Any) -> Any:
    """`place` as transformers' `device_map`; None keeps the model in RAM. Raises Problem."""
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(name, dtype=dtype, device_map=place, **more)
    except (OSError, ValueError) as error:
        raise Problem(f"can't load `{name}`: {str(error).strip().splitlines()[0]}") from error
    return model.eval()


def everywhere() -> Any:
    """All GPUs, or none."""
    return "auto" if torch.cuda.is_available() else None


def release() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def device_name() -> str:
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        return torch.cuda.get_device_name(0) + (f" x {count}" if count > 1 else "")
    return _processor()


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else "cpu"


def peak_gib() -> float | None:
    """The most that torch held on one GPU; None without one."""
    if not torch.cuda.is_available():
        return None
    return max(torch.cuda.max_memory_allocated(i) for i in range(torch.cuda.device_count())) / GIB


def reserved_gib() -> float | None:
    if not torch.cuda.is_available():
        return None
    return max(torch.cuda.max_memory_reserved(i) for i in range(torch.cuda.device_count())) / GIB


def parameters(model: Any) -> int:
    """Of an unquantized model; tied ones count once."""
    return sum(each.numel() for each in model.parameters())


def weight_bytes(folder: Path) -> int:
    """Of the files that hold weights."""
    return sum(file.stat().st_size for pattern in ("*.safetensors", "*.bin") for file in folder.glob(pattern))
