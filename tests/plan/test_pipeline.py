"""What a pipeline's stages hold and wait for, against figures worked out by hand."""

from __future__ import annotations

import pytest

from runner.facts.boxes import load_box
from runner.facts.partition import balanced, bounds, uniform
from runner.plan.make import make_plan
from runner.plan.memory.peak import kept, peak
from runner.plan.memory.states import base_parameters, states
from runner.plan.pipeline import bubble, fullest_stage, stages_of
from runner.plan.reading import read_workload
from runner.plan.types import Plan
from runner.plan.workload import Workload
from tests.plan.test_host import shipped_recipe

NAME = "phase2/parallel-pipeline"
# of the recipe's architecture: attention with 4 of 32 heads for keys, three MLP matrices, two norms
LAYER = 2048 * 2048 * 2 + 2 * 2048 * 256 + 3 * 2048 * 5632 + 2 * 2048
TABLE = 50304 * 2048


def workload(*sets: str, box: str | None = None) -> Workload:
    return read_workload(shipped_recipe(NAME, *sets), load_box(box) if box else None)


def plan(*sets: str, box: str | None = None) -> Plan:
    return make_plan(shipped_recipe(NAME, *sets), load_box(box) if box else None)


def test_the_stages_hold_all_weights_once() -> None:
    first, last = stages_of(workload())
    assert (first.first, first.last, last.first, last.last) == (0, 11, 11, 22)
    assert base_parameters(first.workload) == TABLE + 11 * LAYER
    assert base_parameters(last.workload) == TABLE + 11 * LAYER + 2048


def test_a_tied_head_is_a_copy_on_the_last_stage() -> None:
    first, last = stages_of(workload("architecture.tie_word_embeddings=true"))
    assert base_parameters(first.workload) == TABLE + 11 * LAYER
    assert base_parameters(last.workload) == TABLE + 11 * LAYER + 2048


def test_20_bytes_a_weight_in_16_bits() -> None:
    """2 of the weight, 2 of its gradient, and in 32 bits the sum of gradients, the weight and AdamW's two moments."""
    stage = stages_of(workload())[0].workload
    held = states(stage)
    total = held.weights + held.gradients + held.master + held.optimizer
    assert total == pytest.approx(20 * base_parameters(stage), rel=1e-6)
    assert held.buckets == 0, "one copy of the pipeline has nobody to average with"


def test_the_first_stage_holds_as_many_micro_batches_as_there_are_stages() -> None:
    four = workload("pipeline_parallel_size=4", box="8xh100")
    assert [stage.workload.in_flight for stage in stages_of(four)] == [4, 3, 2, 1]
    first = stages_of(four)[0]
    one = workload("pipeline_parallel_size=1", box="1xh100")
    each = kept(one) / 22  # of a layer and one micro batch
    assert kept(first.workload) == pytest.approx(4 * (first.last - first.first) * each)
    few = workload("pipeline_parallel_size=4", "gradient_accumulation_steps=2", box="8xh100")
    assert [stage.workload.in_flight for stage in stages_of(few)] == [2, 2, 2, 1]


def test_only_the_last_stage_makes_logits() -> None:
    first, last = (peak(stage.workload).moments["loss"]["logits"] for stage in stages_of(workload()))
    assert first == 0
    assert last > 12 * 50304 * 8 * 2048


def test_the_bubble() -> None:
    """(p-1)/(m+p-1): 1/17 of two stages and 16 micro batches, 3/7 of four and four."""
    assert bubble(workload()) == pytest.approx(1 / 17)
    assert bubble(workload("pipeline_parallel_size=4", "gradient_accumulation_steps=4", box="8xh100")) == 3 / 7
    found = plan()
    assert found.speed is not None
    waited = found.speed.breakdown["bubble"]
    rest = found.speed.step_s.value - waited
    assert waited / found.speed.step_s.value == pytest.approx(1 / 17, abs=0.001)
    halved = plan("gradient_accumulation_steps=8")
    assert halved.speed is not None
    assert halved.speed.step_s.value - halved.speed.breakdown["bubble"] == pytest.approx(rest / 2, rel=0.01)


def test_the_fullest_stage_is_named() -> None:
    found = plan()
    assert fullest_stage(workload()).number == 0
    assert any("stage 1 of 2, with the embedding and 11 layers" in note for note in found.notes)
    assert found.memory.peak.value == pytest.approx(peak(fullest_stage(workload()).workload).bytes / 2**30)


def test_gpus_beyond_the_stages_are_further_pipelines() -> None:
    eight = workload(box="8xh100")
    assert (eight.data_parallel, eight.sharding.ways) == (4, 4)
    assert eight.global_batch == 4 * 8 * 16
    assert plan(box="8xh100").length.tokens == 100 * 4 * 8 * 16 * 2048


def test_a_whole_model_on_one_gpu_costs_more() -> None:
    two, one = plan(), plan("pipeline_parallel_size=1", box="1xh100")
    assert one.memory.breakdown["optimizer"] == pytest.approx(2 * two.memory.breakdown["optimizer"], rel=0.01)
    assert "bubble" not in (one.speed.breakdown if one.speed else {})
    # two micro batches of half of the layers are as much as one of all
    assert one.memory.breakdown["activations"] == pytest.approx(two.memory.breakdown["activations"], rel=0.01)


def test_recomputing_keeps_layer_inputs_alone() -> None:
    whole, each, pairs = (workload(f"activation_checkpoint_interval={n}") for n in (0, 1, 2))
    one, two = stages_of(each)[0].workload, stages_of(pairs)[0].workload
    assert kept(one) == 2 * 11 * 2048 * 2 * 8 * 2048  # in flight, layers, width, bytes, blocks of tokens
    assert kept(two) == kept(one) / 2
    assert kept(stages_of(whole)[0].workload) > 10 * kept(one)


def test_layers_are_divided_by_weight_or_count() -> None:
    architecture = workload().architecture
    assert bounds(architecture, 2, "parameters") == [0, 12, 25]
    assert bounds(architecture, 2, "uniform") == [0, 13, 25]
    assert bounds(architecture, 4, "type:decoder") == [0, 7, 13, 18, 25], "6, 6, 5 and 5 layers"
    assert uniform(25, 4) == [0, 7, 13, 19, 25]
    assert balanced([1, 1, 1, 1], 2) == [0, 2, 4]
    assert balanced([9, 1, 1, 1], 2) == [0, 1, 4]


def test_fit_finds_what_a_pipeline_has_keys_for() -> None:
    from runner.plan.fit import best_single_knob, search

    recipe = shipped_recipe(NAME, "micro_batch_size=32", "gradient_accumulation_steps=4")
    assert make_plan(recipe).fits == "no"
    knob = best_single_knob(recipe)
    assert knob is not None
    best = search(recipe).best
    assert best is not None
    assert best.plan.fits == "yes"
    assert set(best.settings) <= {
        "micro_batch_size", "gradient_accumulation_steps", "activation_checkpoint_interval", "deepspeed",
    }  # fmt: skip
