"""Rules about the model that is to be quantized."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from runner.diagnostics import Diagnostic
from runner.recipe.load import printable
from runner.recipe.rules import Facts, rule

_ONESHOT = "https://github.com/vllm-project/llm-compressor/blob/main/src/llmcompressor/entrypoints/oneshot.py"
_PEFT = "https://huggingface.co/docs/peft/developer_guides/lora#merge-lora-weights-into-the-base-model"
# how repositories of quantized models are called
_QUANTIZED = re.compile(
    r"(?:^|[-_./])(?:awq|gptq|gguf|exl2|fp8|nvfp4|w[48]a(?:8|16)|bnb-[48]bit|[48]bit|int[48])(?:$|[-_./])",
    re.IGNORECASE,
)


@rule("R926", "a model that is quantized already", source=_ONESHOT)
def quantized(facts: Facts) -> Iterator[Diagnostic]:
    """What rounding took away is gone: rounding again, to another grid, loses more than either. llm-compressor refuses
    a model that another tool quantized, and fails in the middle with one of its own.
    """
    name = facts.get("model")
    if not isinstance(name, str):
        return
    found = facts.model.config.get("quantization_config") if facts.model is not None else None
    why = ""
    if isinstance(found, dict):
        why = f"its config says `quant_method: {printable(str(found.get('quant_method', 'unknown')), 40)}`"
    elif facts.model is None and not name.startswith("${") and _QUANTIZED.search(name):
        why = "its name says so"
    if why:
        yield facts.report(
            "R926",
            "model",
            f"`{printable(name)}` is quantized already",
            label=why,
            help="name the model that it was made from",
        )


@rule("R927", "an adapter that was not merged", source=_PEFT)
def adapter(facts: Facts) -> Iterator[Diagnostic]:
    """An adapter's folder holds what was learned beside its base, not a model. Quantizing the base and adding the
    adapter afterwards is another thing (it was not learned on rounded weights); merge first.
    """
    name = facts.get("model")
    if not isinstance(name, str) or name.startswith("${") or "\x00" in name or len(name) > 1024:
        return
    folder = (facts.root or Path.cwd()) / name
    if os.path.isfile(folder / "adapter_config.json") and not os.path.isfile(folder / "config.json"):  # noqa: PTH113
        yield facts.report(
            "R927",
            "model",
            f"`{printable(name)}` is an adapter",
            label="it has an adapter_config.json and no model's",
            help="set `merge: true` in the recipe that trains it, and quantize its output `model`",
        )
