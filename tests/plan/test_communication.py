"""What goes over NVLink and what over the network, in bytes that can be counted by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runner.facts.boxes import make_box
from runner.facts.families import architecture_of
from runner.facts.models import catalogue
from runner.plan.communication import communication
from runner.plan.efficiency import load_efficiency
from runner.plan.reading import workload_of
from runner.plan.speed import speed
from runner.plan.workload import Workload

PARAMETERS = 7_241_732_096  # Mistral 7B
LAYERS, HIDDEN, TOKENS = 32, 4096, 2048


def on(nodes: int, gpus: int = 8, ranks: int | None = None, **keys: Any) -> Workload:
    given = {"gpu": "H100", "gpus": gpus, "nodes": nodes} | ({"network_gb_s": 50 * gpus} if nodes > 1 else {})
    box = make_box("box", given)
    values = {"bf16": True, "sequence_len": TOKENS, "attn_implementation": "flash_attention_2", "micro_batch_size": 1}
    values |= {"optimizer": "adamw_torch_fused", **keys}
    architecture = architecture_of(catalogue()["mistral-7b"].config)
    return workload_of("finetune", values, architecture, box, ranks or nodes * gpus)


def test_a_node_alone_needs_no_network() -> None:
    for keys in ({}, {"deepspeed": "zero3"}, {"tensor_parallel_size": 8}, {"context_parallel_size": 4}):
        local, remote, _ = communication(on(1, **keys))
        assert local > 0
        assert remote == 0
    assert communication(on(1, gpus=1)) == (0, 0, 0)


def test_an_all_reduce_leaves_each_node_once() -> None:
    """Plain data parallel: twice (n-1)/n of the gradients pass each rank of the ring; the ports of a node share that,
    which is why nccl-tests' bus bandwidth of several nodes is that of all ports of one."""
    local, remote, _ = communication(on(4))
    grads = PARAMETERS * 2  # Axolotl trains weights that are loaded in bf16
    assert (local, remote) == (0, pytest.approx(2 * 31 / 32 * grads))
    assert communication(on(4, gradient_accumulation_steps=4))[1] == pytest.approx(remote / 4)


def test_zero_3_gathers_twice_and_reduces_once() -> None:
    _, remote, _ = communication(on(4, deepspeed="zero3"))
    assert remote == pytest.approx(31 / 32 * 3 * PARAMETERS * 2, rel=0.001)


def test_sharding_within_a_node_averages_between_nodes() -> None:
    """FSDP's hybrid: the weights are gathered over NVLink, and each GPU averages its eighth of the gradients with its
    likes, over a port of its own."""
    keys = {"fsdp_version": 2, "fsdp_config": {"reshard_after_forward": True}, "dp_shard_size": 8}
    local, remote, _ = communication(on(4, **keys))
    assert local == pytest.approx(7 / 8 * 3 * PARAMETERS * 2, rel=0.001)
    assert remote == pytest.approx(8 * 2 * 3 / 4 * PARAMETERS * 2 / 8, rel=0.001)
    whole = communication(on(4, **{**keys, "dp_shard_size": 32}))
    assert whole[0] == 0
    assert whole[1] > remote


@pytest.mark.parametrize(("ways", "inside"), [(8, True), (16, False)])
def test_tensor_parallel_stays_in_a_node_where_it_can(ways: int, inside: bool) -> None:
    sums = 4 * LAYERS  # two forward, two backward, of each layer (Shoeybi et al. 2019)
    each = 2 * (ways - 1) / ways * sums * HIDDEN * 2 * TOKENS
    local, remote, _ = communication(on(2, tensor_parallel_size=ways))
    gradients = 2 * (1 / 2) * PARAMETERS * 2 / ways * 8 if inside else 0  # eight rings of two, side by side
    assert (local, remote) == (
        pytest.approx(each if inside else 0, rel=0.001),
        pytest.approx(gradients if inside else each, rel=0.001),
    )


def test_a_slow_network_is_what_a_step_waits_for() -> None:
    fast = on(4, deepspeed="zero3")
    slow = replace(fast, box=replace(fast.box, network_gb_s=1.25))
    quick, waits = speed(fast, load_efficiency()), speed(slow, load_efficiency())
    assert quick is not None
    assert waits is not None
    _, remote, _ = communication(fast)
    assert waits.step_s.value == pytest.approx(1.2 * remote / 1.25e9, rel=0.01)
    assert quick.step_s.value < waits.step_s.value / 10
