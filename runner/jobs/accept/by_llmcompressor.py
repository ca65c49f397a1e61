"""quantize.yaml -> what llm-compressor's own modifiers say of it, and its recipe parser of what they are written as."""

from pathlib import Path
from typing import Any

import yaml
from accept.answers import answer_all, problems_of
from llmcompressor.recipe import Recipe
from quantize.bits import quantization
from quantize.compress import modifiers


def check(case: dict[str, Any], folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    config = yaml.safe_load((folder / "quantize.yaml").read_text())
    bits = config["method"] == "bitsandbytes"
    try:
        if bits:
            quantization(config)
        else:
            made = Recipe.from_modifiers(modifiers(config))
            Recipe.create_instance(made.yaml())  # as it will lie beside the model, and be read again
    except Exception as error:
        return problems_of("bitsandbytes" if bits else "llm-compressor", error, list(config)), []
    return [], []


if __name__ == "__main__":
    answer_all(check)
