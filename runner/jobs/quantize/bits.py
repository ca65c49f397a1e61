"""bitsandbytes: NF4 and LLM.int8(), without calibration, while the model is loaded."""

from typing import Any

import torch

from .loading import load


def load_quantized(config: dict[str, Any]) -> Any:
    """The model in 4 or 8 bits, on the first GPU where there is one."""
    place = {"": 0} if torch.cuda.is_available() else {"": "cpu"}
    return load(config["model"], dtype=config["dtype"], place=place, quantization_config=quantization(config))


def quantization(config: dict[str, Any]) -> Any:
    from transformers import BitsAndBytesConfig

    skipped = {"llm_int8_skip_modules": config["ignore"]} if config["ignore"] else {}
    if config["scheme"] == "nf4":
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=config["bnb_4bit_use_double_quant"],
            bnb_4bit_compute_dtype="bfloat16",
            **skipped,
        )
    return BitsAndBytesConfig(load_in_8bit=True, **skipped)
