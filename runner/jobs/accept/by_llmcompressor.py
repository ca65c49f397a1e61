"""quantize.yaml -> what llm-compressor's own modifiers say of it, and its recipe parser of what they are written as."""

import json
from pathlib import Path
from typing import Any

import yaml
from accept.answers import answer_all, problems_of
from llmcompressor.recipe import Recipe
from quantize.bits import quantization
from quantize.compress import modifiers

_PLAIN = (str, int, float, list, dict)


def check(case: dict[str, Any], folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    config = yaml.safe_load((folder / "quantize.yaml").read_text())
    bits = config["method"] == "bitsandbytes"
    try:
        if bits:
            quantization(config)
        else:
            made = Recipe.from_modifiers(modifiers(config))
            Recipe.create_instance(json.dumps(_plain(made.to_dict())))
    except Exception as error:
        return problems_of("bitsandbytes" if bits else "llm-compressor", error, list(config)), []
    return [], []


def _plain(value: Any) -> Any:
    """Without what has no form in text: where AWQ's default for a key is "not provided", its own YAML can't be read."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if v is None or isinstance(v, _PLAIN)}
    return [_plain(each) for each in value] if isinstance(value, list) else value


if __name__ == "__main__":
    answer_all(check)
