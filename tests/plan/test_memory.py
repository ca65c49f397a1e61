"""Formulas against figures that their sources state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.facts.boxes import make_box
from runner.facts.families import architecture_of
from runner.facts.models import catalogue
from runner.plan.memory.peak import peak
from runner.plan.memory.states import adapter_parameters, states
from runner.plan.optimizers import find_optimizer
from runner.plan.reading import GPTQ, NF4, NF4_DOUBLE, workload_of
from runner.plan.work import work
from runner.plan.workload import Workload

GIB = 2**30
BASE = {
    "bf16": True,
    "sequence_len": 2048,
    "attn_implementation": "flash_attention_2",
    "optimizer": "adamw_torch_fused",
}


def planned(model: str, gpus: int = 1, **keys: Any) -> Workload:
    box = make_box("box", {"gpu": "H100", "gpus": gpus})
    return workload_of("finetune", BASE | keys, architecture_of(catalogue()[model].config), box, gpus)


def test_pure_16_bit_adam_peaks_at_ten_bytes_per_parameter() -> None:
    """What fms-acceleration measured of Mistral 7B: 67.46 GiB whatever the batch."""
    keys: dict[str, Any] = {"sequence_len": 4096, "gradient_checkpointing": True, "optimizer": "adamw_torch"}
    for batch in (4, 8):
        found = peak(planned("mistral-7b", micro_batch_size=batch, **keys))
        assert found.bytes / GIB == pytest.approx(67.46, rel=0.001)
        assert found.phase == "step"


def test_the_fused_step_needs_no_copy() -> None:
    keys: dict[str, Any] = {"gradient_checkpointing": True, "sequence_len": 512}
    fused = peak(planned("mistral-7b", **keys))
    assert fused.moments["step"]["scratch"] == 0
    assert fused.bytes < peak(planned("mistral-7b", optimizer="adamw_torch", **keys)).bytes


@pytest.mark.parametrize(("stage", "gigabytes"), [(1, 31.4), (2, 16.6), (3, 1.9)])
def test_zero_divides_as_its_paper_says(stage: int, gigabytes: float) -> None:
    """Rajbhandari et al. 2020, figure 1: 7.5 billion parameters on 64 GPUs."""
    w = planned("mistral-7b", 8, deepspeed=f"zero{stage}")
    w = replace(w, sharding=replace(w.sharding, ways=64, persistent=0))
    s = states(w)
    held = s.weights + s.gradients + s.master + s.optimizer
    assert held * 7.5e9 / w.architecture.parameters / 1e9 == pytest.approx(gigabytes, abs=0.05)


@pytest.mark.parametrize(
    ("model", "targets", "trainable"),
    [
        ("llama-2-7b", ["q_proj", "v_proj"], 4_194_304),
        ("llama-2-13b", ["q_proj", "v_proj"], 6_553_600),
        ("falcon-40b", ["query_key_value"], 12_042_240 // 1),
    ],
)
def test_adapters_have_as_many_parameters_as_litgpt_counted(model: str, targets: list[str], trainable: int) -> None:
    w = planned(model, adapter="lora", lora_r=8, lora_target_modules=targets)
    if model == "falcon-40b":
        # litgpt adapts queries and values of the one projection: two adapters, of its queries and of its values
        stack = w.architecture.decoder
        wide = 8 * 2 * stack.hidden + 8 * (stack.heads + stack.kv_heads) * stack.head_dim
        assert wide * stack.layers == pytest.approx(trainable, rel=0.1)
        return
    assert adapter_parameters(w) == trainable


def test_double_quantization_saves_what_its_paper_says() -> None:
    """Dettmers et al. 2023 (arXiv:2305.14314), section 3: from 0.5 to 0.127 bits per parameter."""
    assert (NF4.bytes_per_weight - 0.5) * 8 == pytest.approx(0.5)
    assert (NF4_DOUBLE.bytes_per_weight - 0.5) * 8 == pytest.approx(0.127, abs=0.001)
    assert GPTQ.bytes_per_weight == pytest.approx(0.5195, abs=0.001)


def test_embeddings_and_head_are_not_quantized() -> None:
    w = planned("llama-2-7b", adapter="qlora", load_in_4bit=True)
    outside = 2 * 32000 * 4096 + 65 * 4096
    assert states(w).weights == outside * 2
    assert states(w).quantized == pytest.approx((w.architecture.parameters - outside) * NF4_DOUBLE.bytes_per_weight)


def test_sums_of_earlier_micro_batches_lie_beside_the_activations() -> None:
    keys: dict[str, Any] = {"micro_batch_size": 2, "gradient_checkpointing": True}
    once, twice = (peak(planned("llama-2-7b", gradient_accumulation_steps=n, **keys)) for n in (1, 2))
    grown = sum(twice.moments["loss"].values()) - sum(once.moments["loss"].values())
    assert grown == pytest.approx(2 * once_parameters(), rel=1e-6)


def once_parameters() -> int:
    return architecture_of(catalogue()["llama-2-7b"].config).parameters


def test_paged_and_offloaded_states_are_not_on_the_gpu() -> None:
    paged = states(planned("llama-2-7b", optimizer="paged_adamw_8bit"))
    assert paged.optimizer == 0
    assert paged.host_optimizer / GIB == pytest.approx(13.2, rel=0.05)  # two bytes each, embeddings eight
    offloaded = states(planned("llama-2-13b", 2, deepspeed="zero3_offload_all"))
    assert offloaded.weights == offloaded.optimizer == offloaded.master == 0
    assert offloaded.host_optimizer * 2 / GIB == pytest.approx(13.016e9 * 12 / GIB, rel=0.01)


def test_a_pair_is_two_sequences_and_its_reference_another_model() -> None:
    plain = planned("llama-2-7b", micro_batch_size=2)
    pairs = planned("llama-2-7b", micro_batch_size=2, rl="dpo")
    assert pairs.tokens == 2 * plain.tokens
    assert states(pairs).reference == once_parameters() * 2
    assert states(planned("llama-2-7b", rl="dpo", adapter="lora")).reference == 0, "the adapter switched off"
    assert states(planned("llama-2-7b", rl="orpo")).reference == 0


def test_answers_made_by_the_model_itself_fill_a_cache() -> None:
    keys: dict[str, Any] = {"rl": "grpo", "adapter": "lora", "micro_batch_size": 8, "gradient_accumulation_steps": 8}
    own = peak(planned("llama-2-13b", **keys, trl={"num_generations": 8, "max_completion_length": 512}))
    per_token = 2 * 5120 * 40 * 2
    assert own.moments["generation"]["cache"] == per_token * 64 * 2048
    vllm = {"num_generations": 8, "use_vllm": True, "vllm_mode": "colocate", "vllm_gpu_memory_utilization": 0.3}
    served = peak(planned("llama-2-13b", **keys, trl=vllm))
    assert served.parts["server"] / GIB == pytest.approx(0.3 * 79.1, rel=0.01)


def test_a_reward_model_has_no_logits() -> None:
    w = planned("llama-2-7b", reward_model=True)
    assert peak(w).moments["loss"]["logits"] < peak(planned("llama-2-7b")).moments["loss"]["logits"] / 6


def test_fused_linear_cross_entropy_makes_the_largest_term_of_a_large_vocabulary_vanish() -> None:
    keys: dict[str, Any] = {"micro_batch_size": 8, "adapter": "lora", "gradient_checkpointing": True}
    stock = peak(planned("llama-3-8b", **keys)).moments["loss"]["logits"]
    linear = peak(planned("llama-3-8b", **keys, liger_fused_linear_cross_entropy=True)).moments["loss"]["logits"]
    assert stock / GIB > 20
    assert linear / GIB < 1


def test_tensor_and_context_parallelism_divide() -> None:
    whole = planned("llama-2-7b", 2, micro_batch_size=2)
    split = planned("llama-2-7b", 2, micro_batch_size=2, context_parallel_size=2)
    assert split.tokens * 2 == whole.tokens
    assert split.global_batch * 2 == whole.global_batch
    assert states(planned("llama-2-7b", 2, tensor_parallel_size=2)).weights * 2 == states(whole).weights


@pytest.mark.parametrize(
    ("name", "wide", "narrow"),
    [
        ("adamw_torch", 8, 4),
        ("adamw_8bit", 2.03, 2.03),
        ("paged_adamw_32bit", 8, 8),
        ("lion_8bit", 1.02, 1.02),
        ("adafactor", 0.01, 0.01),
        ("sgd", 0, 0),
        ("muon", 4, 2),
        ("something_new", 8, 4),
    ],
)
def test_bytes_of_optimizer_states(name: str, wide: float, narrow: float) -> None:
    assert find_optimizer(name).state_bytes == (pytest.approx(wide, rel=0.01), pytest.approx(narrow, rel=0.01))


MODELS = st.sampled_from(["llama-2-7b", "gpt2", "pythia-1.4b", "falcon-7b", "mixtral-8x7b", "t5-small", "santacoder"])
KEYS = st.fixed_dictionaries(
    {
        "micro_batch_size": st.integers(1, 16),
        "sequence_len": st.integers(16, 8192),
        "gradient_checkpointing": st.booleans(),
        "adapter": st.sampled_from([None, "lora", "qlora"]),
        "optimizer": st.sampled_from(["adamw_torch", "adamw_8bit", "adafactor", "muon"]),
        "attn_implementation": st.sampled_from(["eager", "sdpa", "flash_attention_2"]),
        "deepspeed": st.sampled_from([None, "zero1", "zero2", "zero3", "zero3_offload_all"]),
        "liger_fused_linear_cross_entropy": st.booleans(),
        "bf16": st.sampled_from([True, False, "full"]),
    }
)


@settings(max_examples=150, deadline=None)
@given(model=MODELS, keys=KEYS)
def test_more_tokens_never_need_less_and_nothing_is_negative(model: str, keys: dict[str, Any]) -> None:
    keys = {**keys, "load_in_4bit": keys["adapter"] == "qlora"}
    less = peak(planned(model, 2, **keys))
    more = peak(planned(model, 2, **(keys | {"micro_batch_size": keys["micro_batch_size"] * 2})))
    assert more.bytes >= less.bytes > 0
    assert all(size >= 0 for parts in more.moments.values() for size in parts.values())
    assert less.bytes == max(sum(parts.values()) for parts in less.moments.values())


def test_ranks_that_share_a_sequence_average_gradients_too() -> None:
    """They hold the same weights and see other tokens; those that share a matrix have nothing in common to average."""
    ring = planned("llama-2-7b", 2, context_parallel_size=2)
    assert ring.sharding.engine == "ddp"
    assert states(ring).buckets == states(planned("llama-2-7b", 2)).buckets > 0
    assert planned("llama-2-7b", 2, tensor_parallel_size=2).sharding.engine == "none"
    # keys and values of half of 2,048 tokens, forward and back in 16 bits, their gradients in 32, and the gradients
    sent = (1 * 2 * 4096 * 32) * (2 * 2 + 4) * 1024 + 2 * 0.5 * ring.architecture.parameters * ring.grad_bytes
    assert work(ring).local == pytest.approx(sent)
