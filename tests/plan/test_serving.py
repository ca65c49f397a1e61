"""Serving plans against hand computed figures, vLLM's own logs and published measurements."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from runner.cli.main import cli
from runner.facts.architecture import Architecture
from runner.facts.boxes import Box, load_box, make_box
from runner.facts.models import catalogue
from runner.plan.serving.cache import blocks_for, make_cache, stage_token_bytes
from runner.plan.serving.calibrate import FIRST, Refit, as_yaml, median, off, refit, solve
from runner.plan.serving.constants import load_constants
from runner.plan.serving.footprint import GIB, capture_sizes, footprint
from runner.plan.serving.layout import for_latency, for_throughput, layouts
from runner.plan.serving.load import steady
from runner.plan.serving.make import plan_serving
from runner.plan.serving.measured import Row, read_rows
from runner.plan.serving.settings import Resolved, Settings, facts_of, method_of, resolve, settings_from
from runner.plan.serving.speed import Batch, Engine, distinct_experts, prompt_seconds, step
from runner.plan.serving.types import ServingPlan, to_json
from runner.plan.serving.weights import stage_bytes, stages
from runner.project import shipped

MEASURED = shipped("data") / "measured"
TABLES = [MEASURED / "published_serving.csv", MEASURED / "vllm_serving.csv"]
# vLLM 0.19 sorted out top-k and top-p while it profiled: 3.5 float32 copies of the logits and some; it set no memory
# aside for CUDA graphs (v1/worker/gpu_worker.py before 0.21)
OLD_COPIES = 3.65


def architecture(name: str) -> Architecture:
    return catalogue()[name].architecture


def resolved(name: str, box: str = "2xh100", **given: Any) -> Resolved:
    return resolve(architecture(name), load_box(box), Settings(**given))


def planned(name: str, box: str | Box = "2xh100", **given: Any) -> ServingPlan:
    machine = load_box(box) if isinstance(box, str) else box
    return plan_serving(architecture(name), machine, Settings(**given), name)


def engine(name: str, box: str = "2xh100", **given: Any) -> Engine:
    return Engine(architecture(name), facts_of(load_box(box)), resolved(name, box, **given), load_constants())


# weights


@pytest.mark.parametrize(
    ("name", "given", "gib"),
    [
        # 13,015,864,320 parameters in 2 bytes, cosines and sines of 4,096 positions x 128
        ("llama-2-13b", {}, (13_015_864_320 * 2 + 4096 * 128 * 2) / GIB),
        # "Model loading took 14.99 GiB memory" (vLLM 0.19, llm-d-planner's logs, here and below)
        ("llama-3.1-8b", {}, 14.99),
        ("llama-3.1-8b", {"tensor_parallel_size": 2}, 7.51),
        ("llama-3.1-8b", {"quantization": "fp8"}, 8.49),
        ("llama-3.1-8b", {"quantization": "w8a8"}, 8.49),
        ("llama-3.1-8b", {"quantization": "gptq"}, 5.38),
        ("llama-3.1-8b", {"dtype": "float32"}, 29.98),
        ("llama-3.1-70b", {"quantization": "fp8", "tensor_parallel_size": 2}, 33.88),
        ("qwen3-14b", {}, 27.52),
        ("qwen2.5-7b", {"tensor_parallel_size": 2}, 7.12),
    ],
)
def test_weights_on_a_gpu(name: str, given: dict[str, Any], gib: float) -> None:
    found = stage_bytes(architecture(name), resolved(name, **given), 0) / GIB
    assert found == pytest.approx(gib, rel=0.004)


def test_the_13b_of_the_learning_plan() -> None:
    plan = planned("llama-2-13b", "1xh100")
    assert plan.memory.breakdown["weights"] == pytest.approx(24.24, abs=0.01)
    assert plan.cache.kib_per_token == 800  # 40 layers x 2 x 40 heads x 128 x 2 bytes: 0.78 MiB
    assert sum(plan.memory.breakdown.values()) == pytest.approx(plan.memory.usable_gib)
    assert plan.memory.usable_gib == pytest.approx(0.92 * 79.1)
    assert plan.fits == "yes"


def test_embeddings_head_norms_and_routers_stay_as_they_are() -> None:
    a = architecture("mixtral-8x7b")
    whole, eighth = (stage_bytes(a, resolved("mixtral-8x7b", quantization=q), 0) for q in ("none", "fp8"))
    experts = 32 * 8 * 3 * 4096 * 14336
    attention = 32 * (2 * 4096 * 4096 + 2 * 1024 * 4096)
    scales = 4 * 32 * (8 * (2 * 14336 + 4096) + 2 * 4096 + 2 * 1024)
    assert whole - eighth == experts + attention - scales


def test_four_bits_cost_their_scales() -> None:
    """AWQ and GPTQ: 4 bits, and 2.5 bytes per 128 weights; NF4: 4 bits, and 4 bytes per 64."""
    a = architecture("llama-2-13b")
    linear = 40 * (4 * 5120 * 5120 + 3 * 5120 * 13824)
    rest = stage_bytes(a, resolved("llama-2-13b"), 0) - 2 * linear
    for method, each in (("awq", 0.5 + 2.5 / 128), ("gptq", 0.5 + 2.5 / 128), ("nf4", 0.5 + 4 / 64)):
        assert stage_bytes(a, resolved("llama-2-13b", quantization=method), 0) == pytest.approx(rest + linear * each)


def test_pipeline_stages_as_vllm_divides_them() -> None:
    llama_30b = architecture("llama-30b")  # 60 layers
    assert stages(llama_30b, resolved("llama-30b", "8xh100", pipeline_parallel_size=8)) == [7, 7, 7, 8, 8, 8, 8, 7]
    four = resolved("llama-3.1-8b", "8xh100", pipeline_parallel_size=4)
    assert stage_bytes(architecture("llama-3.1-8b"), four, 0) / GIB == pytest.approx(4.26, abs=0.01)  # vLLM's log
    sizes = [stage_bytes(architecture("llama-3.1-8b"), four, n) for n in range(4)]
    assert sizes[1] < sizes[0]
    assert sizes[3] == pytest.approx(sizes[0], rel=0.001)  # head as large as embedding


def test_keys_and_values_are_repeated_where_gpus_outnumber_their_heads() -> None:
    a, one, two = architecture("starcoder"), resolved("starcoder"), resolved("starcoder", tensor_parallel_size=2)
    assert stage_token_bytes(a, one, 40) == stage_token_bytes(a, two, 40) == 40 * 2 * 128 * 2
    assert "2 times over" in "".join(planned("starcoder", tensor_parallel_size=2).notes)


# KV cache


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("llama-2-13b", {}, 40 * 2 * 40 * 128 * 2),
        ("codellama-34b", {"tensor_parallel_size": 2}, 48 * 2 * 4 * 128 * 2),
        ("mixtral-8x7b", {"tensor_parallel_size": 2}, 32 * 2 * 4 * 128 * 2),
        ("llama-2-70b", {"tensor_parallel_size": 2, "quantization": "fp8"}, 80 * 2 * 4 * 128 * 2),
        ("llama-2-70b", {"tensor_parallel_size": 2, "kv_cache_dtype": "fp8"}, 80 * 2 * 4 * 128),
        ("llama-3.1-8b", {}, 131_072),  # 56.21 GiB / 460,496 tokens, vLLM 0.31
    ],
)
def test_bytes_per_token(name: str, given: dict[str, Any], expected: int) -> None:
    assert planned(name, **given).cache.kib_per_token * 1024 == expected


def test_what_vllm_reports_for_bytes_it_has() -> None:
    """ "GPU KV cache size: 460,496 tokens, Maximum concurrency for 131,072 tokens per request: 3.51x" of 56.21 GiB; and
    23,040 tokens, 2.81x of 8,192, of 3.16 GiB (vLLM 0.31 and 0.30)."""
    llama = make_cache(architecture("llama-3.1-8b"), resolved("llama-3.1-8b"), [56.21 * GIB])
    assert llama.tokens == pytest.approx(460_496, abs=50)
    assert round(llama.concurrency, 2) == 3.51
    qwen = make_cache(architecture("qwen3-8b"), resolved("qwen3-8b", max_model_len=8192), [3.16 * GIB])
    assert qwen.tokens == pytest.approx(23_040, abs=50)
    assert round(qwen.concurrency, 2) == 2.81


def test_a_sliding_window_holds_its_window_and_what_is_under_way() -> None:
    a, r = architecture("mistral-7b"), resolved("mistral-7b", max_num_batched_tokens=2048)
    assert a.decoder.window == 4096
    assert blocks_for(32768, a, r) == math.ceil((4095 + 2 * 2048) / 16) + 1
    assert blocks_for(1000, a, r) == math.ceil(1000 / 16) + 1
    full = replace(a, stacks=tuple(replace(s, window=None) for s in a.stacks))
    assert blocks_for(32768, full, r) == 2048


def test_the_longest_that_fits_and_how_many() -> None:
    plan = planned("llama-3.1-8b", "1x4090")
    assert plan.fits == "no"
    assert plan.settings["max_model_len"] == 131072
    assert f"`max_model_len` to {plan.cache.longest:,} or less" in plan.help
    shorter = planned("llama-3.1-8b", "1x4090", max_model_len=plan.cache.longest)
    assert shorter.fits in ("yes", "tight")
    assert planned("llama-3.1-8b", "1x4090", max_model_len=plan.cache.longest + 16).fits == "no"
    assert shorter.cache.sequences in (0, 1)  # the null block
    assert planned("codellama-34b", tensor_parallel_size=2).cache.longest == 16384  # what the model was made for


# memory that vLLM profiles


def logs() -> Iterator[dict[str, str]]:
    with (MEASURED / "vllm_memory.csv").open(newline="") as stream:
        yield from csv.DictReader(stream)


GPU_OF = {"79.19": "H100", "79.25": "A100", "22.06": "A10G", "23.47": "L4"}


@pytest.mark.parametrize(
    "row", list(logs()), ids=lambda r: f"{r['model']}-{r['tensor_parallel_size']}-{r['quantization']}"
)
def test_memory_as_vllm_logged_it(row: dict[str, str]) -> None:
    a, old = architecture(row["model"]), row["version"] < "0.21"
    total = float(row["total_gib"])
    box = make_box("logged", {"gpu": GPU_OF[row["total_gib"]], "gpus": 4, "gpu_memory_gib": total})
    numbers = (
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "max_model_len",
        "max_num_batched_tokens",
        "max_num_seqs",
    )
    r = resolve(
        a,
        box,
        Settings(
            quantization=row["quantization"],
            dtype=row["dtype"],
            kv_cache_dtype=row["kv_cache_dtype"],
            gpu_memory_utilization=float(row["gpu_memory_utilization"]),
            enforce_eager=old or row["enforce_eager"] == "yes",
            **{name: int(row[name]) for name in numbers},
        ),
    )
    c = load_constants()
    found = footprint(a, facts_of(box), r, replace(c, logits_copies=OLD_COPIES) if old else c, 0)
    if row["weights_gib"]:
        assert found.weights / GIB == pytest.approx(float(row["weights_gib"]), rel=0.025)
    told = float(row["activation_gib"])
    tolerance = 0.4 if row["dtype"] == "float32" else 0.1  # in float32 it samples from a copy more
    assert (found.activations + found.graphs) / GIB == pytest.approx(told, abs=tolerance)
    if r.pipeline == 1:
        assert found.runtime / GIB == pytest.approx(float(row["runtime_gib"] or 0.25), abs=0.15)
    if row["kv_gib"]:
        assert found.cache / GIB == pytest.approx(float(row["kv_gib"]), rel=0.012)
    if row["kv_tokens"]:
        assert make_cache(a, r, [found.cache]).tokens == pytest.approx(int(row["kv_tokens"]), rel=0.012)


def test_graphs_are_captured_for_these_sizes() -> None:
    """ "PIECEWISE=51 (largest=512), FULL=35 (largest=256)" with 256 requests, 51 and 51 with 1,024, 35 and 19 with 128
    (logs of vLLM 0.19 to 0.27)."""
    h100 = facts_of(load_box("1xh100"))
    for requests, expected in ((256, (51, 35)), (1024, (51, 51)), (128, (35, 19))):
        assert capture_sizes(h100, resolved("llama-3.1-8b", max_num_seqs=requests)) == expected


def test_batch_defaults_follow_the_gpu() -> None:
    for box, expected in (("1xh100", (1024, 8192)), ("2xa100-80", (256, 2048)), ("1x4090", (256, 2048))):
        r = resolved("llama-2-7b", box)
        assert (r.max_num_seqs, r.max_num_batched_tokens) == expected


# speed


def test_a_batch_touches_so_many_experts() -> None:
    assert distinct_experts(8, 2, 1) == 2
    assert distinct_experts(8, 2, 2) == 3.5  # 8 (1 - 0.75^2)
    assert distinct_experts(8, 2, 64) == pytest.approx(8, abs=1e-6)
    assert distinct_experts(128, 8, 4) == pytest.approx(29.1, abs=0.1)


def test_a_step_is_never_faster_than_the_memory() -> None:
    e = engine("llama-2-13b")
    found = step(e, Batch(decoding=1, context=1024))
    read = 2 * (13_015_864_320 - 32000 * 5120)  # all but the embedding
    assert found.weights > read / 3.352e12
    assert found.weights < 1.7 * read / 3.352e12
    assert found.cache == pytest.approx(1024 * 819_200 / (3.352e12 * e.constants.cache_share))
    assert found.network == 0


def test_reading_a_prompt_is_never_faster_than_the_arithmetic() -> None:
    e = engine("llama-2-13b", max_num_batched_tokens=4096)
    seconds = prompt_seconds(e, 4096)
    flops = 2 * 4096 * (13_015_864_320 - 2 * 32000 * 5120) + 40 * 4 * 4096 * 2048 * 5120
    assert flops / 989.4e12 < seconds < 2.2 * flops / 989.4e12
    assert prompt_seconds(e, 1024, before=3072) < seconds / 2


def test_tensor_parallel_halves_the_reading_and_adds_the_network() -> None:
    one, two = (step(engine("llama-2-13b", tensor_parallel_size=n), Batch(1, 1024)) for n in (1, 2))
    assert two.weights == pytest.approx(one.weights / 2)
    assert two.cache == one.cache / 2
    assert two.network > 80 * 10e-6  # two all-reduces in each of 40 layers
    assert one.total / 2 < two.total < one.total


def test_more_requests_more_tokens_and_longer_each() -> None:
    for name, ways in (("llama-2-13b", 1), ("mixtral-8x7b", 2), ("codellama-34b", 2), ("llama-2-70b", 2)):
        loads = [steady(engine(name, tensor_parallel_size=ways, quantization="fp8"), 2**n) for n in range(10)]
        for slower, faster in pairwise(loads):
            assert faster.tokens_per_s > slower.tokens_per_s
            assert faster.per_token > slower.per_token
            assert faster.first_token > slower.first_token
            assert faster.tokens_per_s < 2.05 * slower.tokens_per_s


def test_nothing_is_told_where_the_engine_would_saturate() -> None:
    plan = planned("llama-2-13b", "1xh100")
    beyond = plan.points[-1]
    assert plan.peak is not None
    assert plan.peak.concurrency == plan.cache.typical_sequences == (plan.cache.blocks - 1) // 80
    assert beyond.concurrency > plan.cache.typical_sequences
    assert (beyond.tokens_per_s, beyond.per_token_ms, beyond.first_token_ms) == (None, None, None)
    assert "the cache of a replica holds" in beyond.why
    narrow = planned("llama-2-13b", "1xh100", max_num_seqs=8)
    assert narrow.points[-1].why.startswith("`max_num_seqs` is 8")


def test_a_published_saturation() -> None:
    """NIM 1.8, Llama-3.3-70B in FP8 with an FP8 cache on 2 H100, 5,000 in and 500 out: throughput stands still from 100
    requests on, at 917 to 921 tokens per second and 92.9 ms per token: 85 requests."""
    plan = planned(
        "llama-3.1-70b",
        quantization="fp8",
        kv_cache_dtype="fp8",
        tensor_parallel_size=2,
        input_len=5000,
        output_len=500,
    )
    assert plan.peak is not None
    assert plan.peak.concurrency == pytest.approx(85, rel=0.1)
    assert plan.peak.tokens_per_s is not None
    assert plan.peak.tokens_per_s.value == pytest.approx(920, rel=0.15)
    assert plan.peak.tokens_per_s.low < 920 < plan.peak.tokens_per_s.high


def test_at_a_rate_of_arrival() -> None:
    slow = planned("mixtral-8x7b", tensor_parallel_size=2, request_rate=2.0).rate
    assert slow is not None
    assert slow.point is not None
    assert slow.point.tokens_per_s is not None
    assert slow.point.tokens_per_s.value == 2 * 256
    life = (slow.point.first_token_ms.value + 255 * slow.point.per_token_ms.value) / 1000  # type: ignore[union-attr]
    assert slow.point.concurrency == pytest.approx(2 * life, abs=2)  # Little's law
    fast = planned("mixtral-8x7b", tensor_parallel_size=2, request_rate=1000.0).rate
    assert fast is not None
    assert fast.point is None
    assert f"{fast.capacity:.3g}" in fast.why


def test_a_shared_prefix_is_kept_once_and_read_once() -> None:
    plan = planned("llama-2-13b", "1xh100", shared_prefix_len=800)
    assert plan.prefix is not None
    assert plan.prefix.tokens == 800
    assert plan.prefix.sequences_without == (plan.cache.blocks - 1) // 80
    assert plan.prefix.sequences == (plan.cache.blocks - 1 - 50) // 30
    assert plan.prefix.first_token_ms < 0.6 * plan.prefix.first_token_without_ms
    assert planned("llama-2-13b", "1xh100", shared_prefix_len=1024).prefix.tokens == 1008  # type: ignore[union-attr]
    assert planned("llama-2-13b", "1xh100", shared_prefix_len=800, enable_prefix_caching=False).prefix is None


def test_layouts_of_the_pair() -> None:
    """13B: two replicas for throughput, tensor parallel for latency; 34B and Mixtral: tensor parallel."""
    for name, broad in (("llama-2-13b", 1), ("codellama-34b", 2), ("mixtral-8x7b", 2)):
        found = layouts(architecture(name), load_box("2xh100"), Settings())
        assert for_throughput(found).settings["tensor_parallel_size"] == broad
        assert for_latency(found).settings["tensor_parallel_size"] == 2


def test_what_does_not_fit_says_what_would() -> None:
    plan = planned("llama-2-70b", data_parallel_size=1)
    assert (plan.fits, plan.points, plan.peak) == ("no", (), None)
    assert "GiB are missing" in plan.verdict
    assert plan.help.startswith("with 4-bit weights (`awq` or `gptq`) it would hold at least")
    assert planned("llama-2-70b", quantization="fp8", tensor_parallel_size=2).fits == "yes"
    assert planned("llama-2-70b", "8xh100", data_parallel_size=1).help.startswith(
        "with `tensor_parallel_size: 4` it would"
    )


@pytest.mark.parametrize(
    ("name", "box", "given", "words"),
    [
        ("llama-2-13b", "cpu", {}, "has no GPU"),
        ("llama-2-13b", "8xh100", {"tensor_parallel_size": 3}, "40 attention heads can't be divided"),
        ("llama-2-13b", "2xh100", {"tensor_parallel_size": 4}, "more than the 2"),
        ("llama-2-13b", "2xh100", {"quantization": "int3"}, "`quantization` 'int3' is none of"),
        ("llama-2-13b", "2xh100", {"gpu_memory_utilization": 1.2}, "share of the GPU's memory"),
        ("llama-2-13b", "2xh100", {"data_parallel_size": 3}, "3 x 1 GPUs are more than the 2"),
        ("llama-2-13b", "4x8xh100", {"tensor_parallel_size": 10}, "over several nodes"),
        ("llama-2-13b", "2xh100", {"input_len": 4000, "output_len": 100}, "more than `max_model_len` 4,096"),
        ("bert-base", "2xh100", {}, "generates no text"),
        ("flan-t5-base", "2xh100", {}, "has an encoder"),
    ],
)
def test_refused_in_plain_words(name: str, box: str, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        planned(name, box, **given)


def test_arguments_as_a_recipe_has_them() -> None:
    found = settings_from({"model": "x", "tensor_parallel_size": 2, "quantization": None, "max_model_len": 4096})
    assert found == Settings(tensor_parallel_size=2, max_model_len=4096)


def test_a_checkpoint_says_how_it_is_quantized() -> None:
    assert method_of({}) == "none"
    assert method_of({"quantization_config": {"quant_method": "awq", "bits": 4}}) == "awq"
    assert method_of({"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}) == "int8"
    packed = {"quant_method": "compressed-tensors", "format": "float-quantized"}
    assert method_of({"quantization_config": packed}) == "fp8"


# calibration


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return read_rows(TABLES, load_constants())


@pytest.fixture(scope="module")
def refitted(rows: list[Row]) -> Refit:
    return refit(rows, load_constants())


def test_the_shipped_constants_explain_what_was_measured(rows: list[Row]) -> None:
    offs = [off(row, load_constants()) for row in rows]
    assert len(offs) > 100
    assert median(offs) < 0.08
    assert abs(sum(x.log for x in offs) / len(offs)) < 0.04  # neither too optimistic nor too careful


def test_left_out_sources_are_foreseen(refitted: Refit) -> None:
    speed = [x for x in refitted.left_out if x.row.kind != FIRST]
    assert median(speed) < 0.13
    within = sum(x.share <= load_constants().interval["speed"] for x in speed) / len(speed)
    assert within > 0.85
    sources = {x.row.source for x in speed}
    assert len(sources) >= 6
    for source in sources:
        assert median([x for x in speed if x.row.source == source]) < 0.15


def test_constants_stay_possible(refitted: Refit) -> None:
    c = refitted.constants
    for name in ("bandwidth_share", "cache_share", "compute16_share", "compute8_share", "link_share"):
        assert 0.3 < getattr(c, name) < 1.0, name
    assert "bandwidth_share: 0." in as_yaml(refitted)


def test_one_source_is_not_enough(rows: list[Row]) -> None:
    with pytest.raises(ValueError, match="two sources"):
        refit([row for row in rows if row.source == "NVIDIA NIM"], load_constants())


def test_linear_equations() -> None:
    assert solve([[0.0, 2.0], [4.0, 1.0]], [2.0, 9.0]) == [2.0, 1.0]


# the command


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli, ["capacity", *arguments])


def test_the_page() -> None:
    found = run("codellama-34b", "--box", "2xh100")
    assert found.exit_code == 0
    assert found.output.startswith("fits: yes")
    assert "tensor parallel 2, 1 replica" in found.output
    assert "best for latency and throughput" in found.output
    assert "per token and GPU                   96 KiB" in found.output


def test_as_json() -> None:
    found = run("llama-2-70b", "--quantization", "fp8", "--tensor-parallel-size", "2", "--request-rate", "3", "--json")
    plan = json.loads(found.output)
    assert plan == to_json(planned("llama-2-70b", quantization="fp8", tensor_parallel_size=2, request_rate=3.0))
    assert plan["settings"]["max_model_len"] == 4096
    assert plan["rate"]["point"]["concurrency"] > 3


def test_no_fit_is_told_by_the_exit_code() -> None:
    found = run("llama-2-70b", "--box", "1xh100")
    assert found.exit_code == 1
    assert found.output.startswith("fits: no")
    assert "missing" in found.output


def test_a_folder_with_a_config(tmp_path: Path) -> None:
    config = {**catalogue()["llama-2-13b"].config, "quantization_config": {"quant_method": "gptq", "bits": 4}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = run(str(tmp_path), "--box", "1xh100", "--json")
    assert json.loads(found.output)["settings"]["quantization"] == "gptq"


def test_an_unknown_model() -> None:
    found = run("lama-2-13b")
    assert found.exit_code == 2
    assert "Did you mean 'llama-2-13b'?" in found.output
