"""Rules about the model that is served, and how much of it one request may use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runner.diagnostics import Diagnostic
from runner.recipe.rules import Facts, rule

_VLLM = "https://github.com/vllm-project/vllm/blob/main/vllm/config/model.py"
# positions that these stretch are told by `max_position_embeddings` already
_COUNTED = ("default", "su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling")


@rule("R901", "a context longer than the model's", source=_VLLM)
def length(facts: Facts) -> Iterator[Diagnostic]:
    """A model has positions for so many tokens, prompt and answer together; beyond them rotary embeddings were never
    trained and learned ones end. vLLM refuses to start. `hf_overrides` can stretch them, which is not looked into.
    """
    wanted = facts.get("max_model_len")
    if facts.model is None or wanted is None or facts.has("hf_overrides"):
        return
    most = facts.model.max_positions
    if most is None or _stretched(facts.model.config) or wanted <= most:
        return
    yield facts.report(
        "R901",
        "max_model_len",
        f"`{facts.get('model')}` has positions for {most:,} tokens, `max_model_len` asks for {wanted:,}",
        help=f"set `max_model_len: {most}`, or remove it",
    )


def _stretched(config: dict[str, Any]) -> bool:
    scaling = config.get("rope_parameters") or config.get("rope_scaling")
    if not isinstance(scaling, dict):
        return False
    return scaling.get("rope_type", scaling.get("type", "default")) not in _COUNTED


@rule("R912", "a model that writes no text", source="https://docs.vllm.ai/en/latest/models/supported_models/")
def generates(facts: Facts) -> Iterator[Diagnostic]:
    """An endpoint answers prompts with text, which takes a decoder alone. BERT and its like embed and classify, which
    vLLM does with `runner: pooling`; models with an encoder beside a decoder, such as T5, it does not serve.
    """
    if facts.model is None:
        return
    try:
        stacks = {stack.name for stack in facts.model.architecture.stacks}
    except ValueError:
        return  # the plan says what is wrong with it
    if "encoder" not in stacks or (facts.get("runner") == "pooling" and "decoder" not in stacks):
        return
    if "decoder" in stacks:
        yield facts.report(
            "R912",
            "model",
            f"`{facts.get('model')}` has an encoder beside its decoder, which vLLM does not serve",
            help="name a model that is a decoder alone",
        )
        return
    yield facts.report(
        "R912",
        "model",
        f"`{facts.get('model')}` is an encoder and writes no text",
        help="name a model that generates, or set `runner: pooling` for embeddings",
    )
