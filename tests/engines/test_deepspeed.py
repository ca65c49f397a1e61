"""A DeepSpeed config: every value explicit, and equal to what the trainer will compute."""

from __future__ import annotations

from typing import Any

import pytest

from runner.engines.deepspeed import STAGES, deepspeed_config, stage_name

USUAL: dict[str, Any] = {
    "ranks": 2, "micro_batch": 4, "accumulation": 8, "clip": 1.0, "bf16": True, "fp16": False, "hidden": 5120,
    "cpu": False,
}  # fmt: skip


def config(given: str | dict[str, Any], **changed: Any) -> dict[str, Any]:
    return deepspeed_config(given, **{**USUAL, **changed})


@pytest.mark.parametrize(
    ("given", "name"),
    [
        *((stage, stage) for stage in STAGES),
        ("deepspeed_configs/zero1.json", "zero1"),
        ("deepspeed_configs/zero2.json", "zero2"),
        ("deepspeed_configs/zero3_bf16.json", "zero3"),
        ("zero3_bf16_cpuoffload_params.json", "zero3_offload"),
        ("deepspeed_configs/zero3_bf16_cpuoffload_all.json", "zero3_offload_all"),
    ],
)
def test_names_and_axolotls_own_files(given: str, name: str) -> None:
    assert stage_name(given) == name


@pytest.mark.parametrize(
    "given", ["zero4", "zero", "", "ZERO3", "zero1_offload", "my/own.json", "zero3.yaml", "zero3.json.bak"]
)
def test_what_names_no_stage(given: str) -> None:
    with pytest.raises(ValueError):
        stage_name(given)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("cpu", [False, True])
def test_nothing_is_left_to_be_guessed(stage: str, cpu: bool) -> None:
    def values(found: Any) -> list[Any]:
        return [v for below in found.values() for v in values(below)] if isinstance(found, dict) else [found]

    made = config(stage, cpu=cpu)
    assert "auto" not in values(made)
    assert None not in values(made)
    assert made["train_batch_size"] == 2 * 4 * 8
    assert made["train_micro_batch_size_per_gpu"] == 4
    assert made["gradient_accumulation_steps"] == 8
    assert made["gradient_clipping"] == 1.0
    assert made["zero_optimization"]["stage"] == int(stage[4])


def test_buckets_follow_the_width_of_the_model() -> None:
    zero = config("zero3", hidden=5120)["zero_optimization"]
    assert zero["reduce_bucket_size"] == 5120 * 5120
    assert zero["stage3_prefetch_bucket_size"] == int(0.9 * 5120 * 5120)
    assert zero["stage3_param_persistence_threshold"] == 51200
    assert config("zero3", hidden=0)["zero_optimization"]["reduce_bucket_size"] == 4096 * 4096
    assert config("zero2", hidden=64)["zero_optimization"]["reduce_bucket_size"] == 1_000_000


def test_weights_are_gathered_for_saving_only_where_they_are_sharded() -> None:
    assert config("zero3")["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] is True
    assert not any(key.startswith("stage3_") for key in config("zero2")["zero_optimization"])


def test_offload() -> None:
    states = {"device": "cpu", "pin_memory": True}
    assert config("zero3_offload")["zero_optimization"]["offload_optimizer"] == states
    assert "offload_param" not in config("zero3_offload")["zero_optimization"]
    everything = config("zero3_offload_all")["zero_optimization"]
    assert (everything["offload_optimizer"], everything["offload_param"]) == (states, states)
    # DeepSpeed brings its own CPU Adam for that, and refuses the flag beside it
    assert config("zero3_offload")["zero_allow_untested_optimizer"] is False
    assert config("zero3")["zero_allow_untested_optimizer"] is True


def test_on_a_cpu_there_is_nothing_to_offload_to_and_no_stream_to_overlap_on() -> None:
    made = config("zero3_offload_all", cpu=True, bf16=False)
    assert not {"offload_optimizer", "offload_param"} & set(made["zero_optimization"])
    assert made["zero_optimization"]["overlap_comm"] is False
    assert made["zero_allow_untested_optimizer"] is True
    assert config("zero2")["zero_optimization"]["overlap_comm"] is True


def test_a_mapping_keeps_its_own_keys_but_not_the_batch_sizes() -> None:
    given = {
        "zero_optimization": {"stage": 2, "round_robin_gradients": True, "offload_optimizer": {"device": "cpu"}},
        "train_batch_size": "auto",
        "bf16": {"enabled": "auto"},
        "communication_data_type": "fp32",
    }
    made = config(given)
    assert made["zero_optimization"] == given["zero_optimization"]
    assert made["communication_data_type"] == "fp32"
    assert made["train_batch_size"] == 64
    assert made["bf16"] == {"enabled": True}
    assert config(given, cpu=True)["zero_optimization"] == {
        "stage": 2, "round_robin_gradients": True, "overlap_comm": False
    }  # fmt: skip
    assert given["train_batch_size"] == "auto", "what was given is left as it was"


def test_precision_is_the_recipes() -> None:
    made = config("zero2", bf16=False, fp16=True)
    assert (made["bf16"], made["fp16"]) == ({"enabled": False}, {"enabled": True})
