"""Rules about models that see: room for their pictures, and which of their weights learn."""

from __future__ import annotations

import re
from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.facts.architecture import Architecture
from runner.facts.modules import adapted, named_modules, unfrozen
from runner.recipe.load import printable
from runner.recipe.rules import Facts, rule

_SOURCE = "https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl"
_COLLATOR = f"{_SOURCE}/utils/collators/mm_chat.py"
# tokens of the shortest question and answer around a picture
_TEXT = 16


@rule(
    "R133",
    "pictures longer than the sequence",
    source="https://github.com/huggingface/transformers/blob/main/src/transformers/models/llava/modeling_llava.py",
)
def pictures_fit(facts: Facts) -> Iterator[Diagnostic]:
    """A picture is one token for each of its patches: 576 in LLaVA 1.5, from 336 x 336 pixels in patches of 14. Of a
    row that is cut to `sequence_len` the model gets a picture's features and too few tokens to put them on, and stops
    with "Image features and image tokens do not match". Whether each row fits is counted before training, from the
    data; a length that holds no picture at all is refused here.
    """
    architecture = _architecture(facts)
    if facts.kind != "multimodal" or architecture is None or not architecture.image_tokens:
        return
    length, image = facts.get("sequence_len"), architecture.image_tokens
    if isinstance(length, int) and length < image + _TEXT:
        yield facts.report(
            "R133",
            "sequence_len",
            f"`sequence_len` {length} has no room for a picture",
            label=f"one is {image} tokens of `{printable(facts.model.name or facts.model.hub) if facts.model else ''}`",
            note="rows that are cut lose a part of their picture, and training stops",
            help=f"set `sequence_len` to at least {_rounded(image + _TEXT)}",
        )
    if facts.get("excess_length_strategy") == "truncate":
        yield facts.report(
            "R133",
            "excess_length_strategy",
            "rows with pictures can't be truncated",
            label="a part of a picture's tokens would be cut off",
            help="set `excess_length_strategy: drop`, and a `sequence_len` that holds most rows",
        )


@rule(
    "R134",
    "a template that ends no turn",
    source=f"{_SOURCE}/utils/chat_templates/templates/llava.jinja",
    severity="warning",
)
def turns_end(facts: Facts) -> Iterator[Diagnostic]:
    """Axolotl's template `llava`, which is that of llava-hf's processors, puts a space after an answer and no token
    that ends it. A model that learns from it is never shown where to stop, and goes on until the longest answer it may
    give. And without `role_boundaries` the loss of this family counts questions as well: Axolotl knows no marks of its
    turns.
    """
    if facts.kind != "multimodal":
        return
    if facts.get("chat_template") == "llava":
        yield facts.report(
            "R134",
            "chat_template",
            "the template `llava` does not end its turns",
            label="the model is not taught when to stop",
            help="set `chat_template: jinja`, and `chat_template_jinja` as in phase5/llava-7b-projector",
            severity="warning",
        )
    of_llava = facts.model is not None and facts.model.model_type == "llava"
    if of_llava and facts.lacks("role_boundaries") and not facts.has("train_on_inputs"):
        yield facts.report(
            "R134",
            "chat_template",
            "`role_boundaries` is missing: questions are learned like answers",
            note="Axolotl knows where turns begin and end of some families, and LLaVA is not among them",
            help='add `role_boundaries: [{role: assistant, start: "ASSISTANT:", end: eos_token}]`',
            severity="warning",
        )


@rule("R143", "a model that does not see", source="https://docs.axolotl.ai/docs/multimodal.html")
def model_sees(facts: Facts) -> Iterator[Diagnostic]:
    """Kind `multimodal` trains a model that has a vision tower: its processor turns pictures into the tower's input. A
    language model has no such processor, and the run would stop when it is loaded.
    """
    architecture = _architecture(facts)
    if facts.kind == "multimodal" and architecture is not None and architecture.known and not architecture.image_tokens:
        yield facts.report(
            "R143",
            "base_model",
            f"`{printable(facts.get('base_model'))}` has no vision tower",
            label="it takes text alone",
            help="name a model that sees, such as `llava-hf/llava-1.5-7b-hf`, or use kind `finetune`",
        )


@rule("R144", "packing rows with pictures", source=_COLLATOR)
def pictures_are_not_packed(facts: Facts) -> Iterator[Diagnostic]:
    """Axolotl's collator for rows with pictures refuses `sample_packing`: "Packing is currently not supported", after
    the model was loaded.
    """
    if facts.kind == "multimodal" and facts.has("sample_packing"):
        yield facts.report(
            "R144",
            "sample_packing",
            "`sample_packing` does not work with pictures",
            label="Axolotl's collator refuses it once the model is loaded",
            help="set `sample_packing: false`",
        )


@rule("R147", "pictures that are lost on the way", source=_COLLATOR)
def pictures_reach_the_model(facts: Facts) -> Iterator[Diagnostic]:
    """Axolotl's collator for pictures takes rows as they are, with their messages in them, and loads the pictures of a
    batch when it is due. Without `skip_prepare_dataset: true` rows are tokenized beforehand, and the collator stops at
    the first one, which has no messages any more; with `remove_unused_columns: true` the trainer takes all of a row's
    columns off before.
    """
    if facts.kind != "multimodal":
        return
    if facts.lacks("skip_prepare_dataset"):
        yield facts.report(
            "R147",
            "skip_prepare_dataset" if facts.node("skip_prepare_dataset") else "processor_type",
            "rows with pictures need `skip_prepare_dataset: true`",
            note="else they are tokenized beforehand, and the collator finds no messages in them",
            help="set `skip_prepare_dataset: true`",
        )
    if facts.get("remove_unused_columns") is True:
        yield facts.report(
            "R147",
            "remove_unused_columns",
            "`remove_unused_columns: true` takes the pictures away",
            label="the model's forward pass names none of a row's columns",
            help="set `remove_unused_columns: false`",
        )


@rule("R148", "patterns that name no weight", source=f"{_SOURCE}/utils/freeze.py")
def patterns_name_weights(facts: Facts) -> Iterator[Diagnostic]:
    """`unfrozen_parameters` are patterns that a parameter's name must match from its start, with every dot taken as a
    dot; a backslash before one is taken as itself. transformers 5 calls LLaVA's parts `model.vision_tower`,
    `model.multi_modal_projector`, `model.language_model` and `lm_head`; patterns of older guides, which leave `model.`
    out, match nothing, and Axolotl trains without them and says so in its log alone. The same holds for a pattern of
    `lora_target_modules`, which must match a module's whole name.
    """
    architecture = _architecture(facts)
    names = [each.name for each in named_modules(architecture)] if architecture is not None else []
    if not names:
        return
    for path, node in facts.all("unfrozen_parameters.*"):
        pattern = str(node.value)
        yield from _unmatched(facts, path, pattern, _matches(names, pattern))
    targets = facts.get("lora_target_modules")
    if isinstance(targets, str) and targets != "all-linear":
        found = _valid(targets) and any(adapted(name, targets) for name in names)
        yield from _unmatched(facts, "lora_target_modules", targets, found)


def _matches(names: list[str], pattern: str) -> bool:
    return _valid(pattern) and any(
        unfrozen(f"{name}{end}", [pattern]) for name in names for end in (".weight", ".bias")
    )


def _valid(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _unmatched(facts: Facts, path: str, pattern: str, found: bool) -> Iterator[Diagnostic]:
    if not found:
        yield facts.report(
            "R148",
            path,
            f"`{printable(pattern)}` is the name of no weight",
            label="nothing of it would be trained",
            note="the parts are `model.vision_tower`, `model.multi_modal_projector`, `model.language_model`, `lm_head`",
            help="begin the pattern with `^model.`, and write dots plainly"
            if path != "lora_target_modules"
            else "write a pattern for the whole name, such as "
            r"`model.language_model.layers.[\d]+.(mlp|self_attn).(up|down|gate|q|k|v|o)_proj`",
        )


@rule(
    "R149",
    "adapters in the vision tower",
    source="https://huggingface.co/docs/peft/package_reference/lora",
    severity="warning",
)
def adapters_in_the_tower(facts: Facts) -> Iterator[Diagnostic]:
    """PEFT puts an adapter on every module whose name ends in one of the targets. CLIP's layers have `q_proj`, `k_proj`
    and `v_proj` as Llama's have, so that a list of names adapts the vision tower too, and `lora_target_linear` the
    projector with it. That may be meant; it takes memory for the
    tower's activations.
    """
    architecture, targets = _architecture(facts), facts.get("lora_target_modules")
    if facts.kind != "multimodal" or architecture is None or not facts.adapter:
        return
    listed = targets if isinstance(targets, list) else []
    tower = [each for each in named_modules(architecture) if each.part == "tower" and each.weight.linear]
    if any(adapted(each.name, [str(t) for t in listed]) for each in tower) or facts.has("lora_target_linear"):
        at = "lora_target_linear" if facts.has("lora_target_linear") else "lora_target_modules"
        yield facts.report(
            "R149",
            at,
            f"`{at}` adapts the vision tower as well",
            label="its layers have names in common with the language model's",
            help="name the language model's alone: `lora_target_modules: "
            r"model.language_model.layers.[\d]+.(mlp|self_attn).(up|down|gate|q|k|v|o)_proj`",
            severity="warning",
        )


def _architecture(facts: Facts) -> Architecture | None:
    try:
        return facts.model.architecture if facts.model is not None else None
    except (ValueError, KeyError, TypeError):
        return None  # R1xx of the model's sizes tells


def _rounded(count: int) -> int:
    """To the next multiple of 64."""
    return -(-count // 64) * 64
