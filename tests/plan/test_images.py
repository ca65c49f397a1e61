"""Models that see: which of their weights learn, and what the tower costs."""

from __future__ import annotations

from typing import Any

import pytest

from runner.facts.boxes import make_box
from runner.facts.families import architecture_of
from runner.facts.models import catalogue
from runner.facts.modules import named_modules, unfrozen
from runner.plan.memory.peak import peak
from runner.plan.memory.states import states, trained_parameters
from runner.plan.reading import workload_of
from runner.plan.work import work
from runner.plan.workload import Workload

LLAVA = architecture_of(catalogue()["llava-1.5-7b"].config)
PROJECTOR = ["^model.multi_modal_projector."]
LANGUAGE = [*PROJECTOR, "^model.language_model.", "^lm_head."]
TARGETS = r"model.language_model.layers.[\d]+.(mlp|self_attn).(up|down|gate|q|k|v|o)_proj"


def planned(**keys: Any) -> Workload:
    base: dict[str, Any] = {"bf16": True, "sequence_len": 1024, "micro_batch_size": 8, "gradient_checkpointing": True}
    return workload_of("multimodal", base | keys, LLAVA, make_box("box", {"gpu": "H100", "gpus": 1}), 1)


def test_names_are_those_of_transformers() -> None:
    names = {each.name: each.part for each in named_modules(LLAVA)}
    for name, part in {
        "model.vision_tower.encoder.layers.0.self_attn.out_proj": "tower",
        "model.vision_tower.embeddings.patch_embedding": "tower",
        "model.vision_tower.pre_layrnorm": "tower",
        "model.multi_modal_projector.linear_1": "projector",
        "model.language_model.layers.0.mlp.gate_proj": "language",
        "model.language_model.embed_tokens": "language",
        "model.language_model.norm": "language",
        "lm_head": "language",
    }.items():
        assert names[name] == part


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("^model.multi_modal_projector.", True),
        ("model.multi", True),
        (r"^model\.multi_modal_projector\.", False),  # a backslash before a dot is doubled
        ("^multi_modal_projector", False),
        ("multi_modal_projector", False),  # from the start of the name
    ],
)
def test_patterns_are_read_as_axolotl_reads_them(pattern: str, found: bool) -> None:
    assert unfrozen("model.multi_modal_projector.linear_1.weight", [pattern]) is found


def test_the_first_stage_trains_two_layers() -> None:
    """1,024 features of the tower to 4,096 of the language model, and 4,096 to 4,096, with biases."""
    w = planned(unfrozen_parameters=PROJECTOR)
    assert trained_parameters(w).count == 1024 * 4096 + 4096 + 4096 * 4096 + 4096
    assert states(w).gradients == 2 * trained_parameters(w).count


def test_the_second_stage_trains_all_but_the_tower() -> None:
    tower = (
        sum(x.parameters * n for x, n in LLAVA.weights())
        - trained_parameters(planned(unfrozen_parameters=LANGUAGE)).count
    )
    assert tower == 303_507_456  # CLIPVisionModel of clip-vit-large-patch14-336


def test_a_frozen_tower_keeps_nothing_for_backward() -> None:
    frozen, trained = (planned(unfrozen_parameters=p) for p in (LANGUAGE, [*LANGUAGE, "^model.vision_tower."]))
    kept = [peak(w).moments["backward-last"]["activations"] for w in (frozen, trained)]
    # with checkpoints, the input of each of 24 layers, for 577 places of 8 pictures in 16 bits
    assert kept[1] - kept[0] == 24 * 8 * 577 * 1024 * 2
    assert work(frozen).matmul < work(trained).matmul


def test_a_pattern_of_targets_leaves_the_tower_alone() -> None:
    lora: dict[str, Any] = {"adapter": "lora", "lora_r": 16}
    whole = trained_parameters(planned(**lora, lora_target_modules=TARGETS)).count
    listed = trained_parameters(planned(**lora, lora_target_modules=["q_proj", "k_proj", "v_proj"])).count
    # rank x (inputs + outputs) of seven matrices in 32 layers; of three in 32 and in the tower's 24
    assert whole == 16 * 32 * (4 * (4096 + 4096) + 3 * (4096 + 11008))
    assert listed == 16 * 3 * (32 * 2 * 4096 + 24 * 2 * 1024)
