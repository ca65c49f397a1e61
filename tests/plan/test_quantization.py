"""Quantizing is planned from sizes that anyone can follow; what real runs left is compared in tests/engine."""

from __future__ import annotations

import pytest

from runner.engines.llmcompressor import config
from runner.facts.boxes import make_box
from runner.facts.schemes import SCHEMES, bits_per_weight, method_of, needs_calibration
from runner.plan.as_json import to_json
from runner.plan.make import make_plan
from runner.plan.types import Plan
from runner.recipe.kinds import kind_schema
from tests.conftest import recipes_of
from tests.plan.schema import faults
from tests.plan.test_host import shipped_recipe

RECIPES = recipes_of("llmcompressor")
GIB = 2**30
# Llama-2 13B: matrices of the decoder's layers, and the rest (embedding, head, norms)
MATRICES, REST = 12_687_769_600, 328_094_720


def plan(name: str, *sets: str, profile: str = "full", **box: object) -> Plan:
    return make_plan(shipped_recipe(name, *sets, profile=profile), make_box("box", box) if box else None)


def test_every_scheme_is_known() -> None:
    assert list(SCHEMES) == kind_schema("quantize")["properties"]["scheme"]["enum"]


@pytest.mark.parametrize(
    ("values", "bits"),
    [
        ({"scheme": "FP8_DYNAMIC"}, 8),
        ({"scheme": "W8A8"}, 8),
        ({"scheme": "W4A16"}, 4 + 16 / 128),
        ({"scheme": "W4A16", "group_size": 32}, 4.5),
        ({"scheme": "W4A16_ASYM"}, 4 + 20 / 128),
        ({"scheme": "NVFP4A16"}, 4.5),
        # QLoRA's paper (Dettmers et al. 2023, section 3): 0.5 bits of scales a weight, doubly quantized 0.127
        ({"scheme": "nf4", "bnb_4bit_use_double_quant": False}, 4.5),
        ({"scheme": "nf4"}, 4.127),
        ({"scheme": "int8"}, 8),
    ],
)
def test_bits_of_a_weight(values: dict[str, object], bits: float) -> None:
    assert bits_per_weight(values) == pytest.approx(bits, abs=1e-3)


@pytest.mark.parametrize(
    ("values", "method", "calibrated"),
    [
        ({"scheme": "FP8_DYNAMIC"}, "rtn", False),
        ({"scheme": "FP8"}, "rtn", True),
        ({"scheme": "W8A8"}, "gptq", True),
        ({"scheme": "W8A8", "method": "rtn"}, "rtn", False),
        ({"scheme": "W8A8", "method": "rtn", "smoothing_strength": 0.0}, "rtn", True),
        ({"scheme": "W4A16", "method": "awq"}, "awq", True),
        ({"scheme": "nf4"}, "bitsandbytes", False),
    ],
)
def test_what_follows_from_a_scheme(values: dict[str, object], method: str, calibrated: bool) -> None:
    assert (method_of(values), needs_calibration(values)) == (method, calibrated)


def test_the_gate_wants_what_the_scheme_can_give() -> None:
    for name, least in (("fp8", 0.99), ("w8a8", 0.97), ("bnb-int8", 0.97), ("gptq", 0.95), ("bnb-nf4", 0.95)):
        recipe = shipped_recipe(f"phase3/quantize-{name}-13b")
        assert config(recipe)["gate"] == {"perplexity": least, "task": least}
        assert SCHEMES[recipe.values["scheme"]].recovery == least


def test_what_it_leaves() -> None:
    found = plan("phase3/quantize-gptq-13b").disk.breakdown["model"]
    assert found == pytest.approx((MATRICES * 4.125 / 8 + REST * 2 + 4e6) / GIB)


def test_the_gate_loads_the_whole_model_over_all_gpus() -> None:
    one, two = (plan("phase3/quantize-fp8-34b", gpu="H100", gpus=n) for n in (1, 2))
    assert one.memory.breakdown["weights"] == pytest.approx(2 * two.memory.breakdown["weights"])
    assert one.memory.breakdown["weights"] == pytest.approx(33_743_970_304 * 2 / GIB)
    assert (one.memory.phase, one.fits, two.fits) == ("gate", "yes", "yes")
    assert plan("phase3/quantize-fp8-34b", gpu="RTX 4090", gpus=1).fits == "no"


def test_a_layer_at_a_time_is_on_the_gpu() -> None:
    """GPTQ: of each of seven matrices columns x columns in 32 bits, of the widest two more."""
    found = plan("phase3/quantize-gptq-13b")
    assert found.memory.moments["quantize"] < 6 < found.memory.moments["gate"]
    bare = plan("phase3/quantize-gptq-13b", "method=rtn", "scheme=FP8")
    hessians = 4 * (6 * 5120**2 + 3 * 13824**2) / GIB
    assert found.memory.moments["quantize"] - bare.memory.moments["quantize"] == pytest.approx(hessians)


def test_activations_wait_in_ram() -> None:
    found = plan("phase3/quantize-gptq-13b").host
    assert found.breakdown["weights"] == pytest.approx(13_015_864_320 * 2 / GIB)
    assert found.breakdown["activations"] == pytest.approx(512 * 2048 * 5120 * 2 / GIB)
    assert plan("phase3/quantize-gptq-13b", gpu="H100", gpus=1, ram_gib=24).fits == "no"
    assert "activations" not in plan("phase3/quantize-fp8-13b").host.breakdown


def test_what_takes_longer() -> None:
    hours = {}
    for name in ("fp8", "gptq", "awq", "bnb-nf4"):
        estimate = plan(f"phase3/quantize-{name}-13b").cost.hours
        assert estimate is not None
        hours[name] = estimate.value
    assert hours["fp8"] < hours["awq"] < hours["gptq"]
    fewer = plan("phase3/quantize-awq-13b", "num_calibration_samples=32").cost.hours
    assert fewer is not None
    assert fewer.value < hours["awq"]


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("profile", ["full", "smoke"])
def test_every_recipe_fits_and_is_as_the_schema_says(name: str, profile: str) -> None:
    found = plan(name, profile=profile)
    assert found.fits == "yes"
    assert faults(to_json(found)) == []
    assert sum(found.memory.breakdown.values()) == pytest.approx(found.memory.peak.value)
    assert sum(found.host.breakdown.values()) == pytest.approx(found.host.gib.value)
