"""LLaVA: a CLIP vision tower, a projector of two layers, and a language model of any family known here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from runner.facts.architecture import Architecture, Stack, Weight
from runner.facts.families import architecture_of
from runner.facts.families.parts import attention, head, linear, norms, plain_mlp, stack_of, table
from runner.facts.families.sizes import Sizes, shape_of

LLAVA = {"multimodal_projector_bias": True, "tie_word_embeddings": False, "vision_feature_select_strategy": "default"}
# a tower that names its own sizes takes CLIP's defaults for the rest; without any, LLaVA's own
CLIP = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "quick_gelu",
    "model_type": "clip_vision_model",
}
CLIP_LARGE = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
}


def llava(config: dict[str, Any]) -> Architecture:
    sizes = Sizes(config, LLAVA)
    text = architecture_of({"model_type": "llama", **(sizes.inside("text_config") or {})})
    given = sizes.inside("vision_config")
    vision = Sizes(CLIP_LARGE if given is None else given, CLIP)
    tower = vision_stack(vision)
    patches = (vision.number("image_size") // vision.number("patch_size")) ** 2
    if not patches:
        raise ValueError("`patch_size` of the model's config is larger than `image_size`")
    known = vision.word("model_type") == CLIP["model_type"]
    notes = () if known else (f"the vision tower `{vision.word('model_type')}` is counted as if it were CLIP's",)
    tied = text.tied or sizes.flag("tie_word_embeddings")
    # LLaVA puts a head of its own, without bias, on the language model's layers
    language = (
        *(w for w in text.outer if w.name != "lm_head"),
        *head("lm_head", text.vocab, text.decoder.hidden, tied),
    )
    return replace(
        text,
        model_type="llava",
        stacks=(tower, *text.stacks),
        outer=(*around_tower(vision, patches, tower.hidden), *projector(sizes, tower, text.decoder.hidden), *language),
        tied=tied,
        known=text.known and known,
        image_tokens=patches + (sizes.word("vision_feature_select_strategy") == "full"),
        notes=(*text.notes, *notes),
    )


def vision_stack(sizes: Sizes) -> Stack:
    shape = shape_of(sizes)
    inner = sizes.number("intermediate_size")
    weights = (
        *attention(shape, "q_proj k_proj v_proj out_proj", bias=True, out_bias=True),
        *plain_mlp(shape.hidden, inner, "fc1 fc2"),
        *norms(shape.hidden, "layer_norm1", "layer_norm2", bias=True),
    )
    layers = sizes.number("num_hidden_layers")
    return stack_of(shape, layers, inner, weights, sizes.word("hidden_act"), name="vision")


def around_tower(sizes: Sizes, patches: int, hidden: int) -> tuple[Weight, ...]:
    """Patches become features by a convolution, with a place for each and for the token that stands for the image."""
    pixels = sizes.number("num_channels") * sizes.number("patch_size") ** 2
    return (
        table("class_embedding", 1, hidden),
        Weight("patch_embedding", "embedding", hidden, pixels),
        table("position_embedding", patches + 1, hidden, "position"),
        *norms(hidden, "pre_layrnorm", "post_layernorm", bias=True),  # its name there, misspelt
    )


def projector(sizes: Sizes, tower: Stack, hidden: int) -> tuple[Weight, ...]:
    """From the features of one layer of the tower, or of several side by side."""
    taken = sizes.values.get("vision_feature_layer")
    width = tower.hidden * (len(taken) if isinstance(taken, list) and taken else 1)
    bias = sizes.flag("multimodal_projector_bias")
    return (
        linear("linear_1", "projector", hidden, width, bias),
        linear("linear_2", "projector", hidden, hidden, bias),
    )


FAMILIES = {"llava": llava}
