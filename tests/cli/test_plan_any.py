"""`runner plan` on any engineer's YAML: what is read as meant, what is told beside the plan, and what stops it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from runner.cli.plan import planned
from runner.plan.as_json import to_json
from runner.plan.lenient import open_any
from runner.plan.types import Plan
from runner.project import Project
from runner.recipe.graph import Library
from runner.recipe.load import Refused
from runner.report.any_plan import page as any_page
from runner.report.ink import Ink
from tests.cli.conftest import Invoke
from tests.cli.planning import a_model, plan_of, ship, told
from tests.conftest import BODY, HEADER, ROOT, Bench
from tests.plan.schema import faults


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ("", "finetune"),
        ("rl: dpo\n", "dpo"),
        ("rl: grpo\ntrl: {num_generations: 4}\n", "rlhf"),
        ("reward_model: true\n", "reward"),
        ("pretraining_dataset: [{path: allenai/c4, name: en, type: pretrain}]\nmax_steps: 10\n", "pretrain"),
    ],
)
def test_any_axolotl_config_is_planned_wherever_it_lies(
    bench: Bench, invoke: Invoke, tmp_path: Path, keys: str, kind: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    a_model(elsewhere / "model")
    (elsewhere / "axolotl.yml").write_text("base_model: ./model\nmicro_batch_size: 1\nlearning_rate: 1e-5\n" + keys)
    code, out, err = invoke("plan", str(elsewhere / "axolotl.yml"), "--json")
    assert code in (0, 1)
    data = plan_of(out)
    assert data["kind"] == kind
    assert data["model"]["parameters"] == 6_738_415_616
    assert "R203" in told(err)
    assert f"planned as kind `{kind}`" in err
    assert [d["code"] for d in data["diagnostics"]] == told(err)
    assert "R006" not in told(err), "a header that isn't there is told once"


def test_what_validate_refuses_is_told_and_planned_all_the_same(bench: Bench, invoke: Invoke) -> None:
    text = BODY.replace("datasets:\n  - path: yahma/alpaca-cleaned\n    type: alpaca\n", "").replace(
        "lora_r", "lora_rank"
    )
    bench.write("r", HEADER + text + "load_in_4bit: true\n")
    refused = set(told(invoke("validate", "r").err))
    code, out, err = invoke("plan", "r")
    assert code == 0
    assert {"R004", "R122"} <= set(told(err)) <= refused | {"R179"}
    assert re.search(r"planned all the same; `runner run` would refuse r for \d errors", err)
    assert out.startswith("fits: yes")


@pytest.mark.parametrize("key", ["lora_r", "datasets"])
def test_a_misspelt_key_is_not_missing_too(bench: Bench, invoke: Invoke, key: str) -> None:
    bench.write("r", HEADER + BODY.replace(f"{key}:", f"{key}x:"))
    assert told(invoke("validate", "r").err) == ["R004"]
    assert told(invoke("plan", "r").err) == ["R004"]


@pytest.mark.parametrize(
    ("text", "as_if"),
    [
        ('micro_batch_size: "2"', "micro_batch_size: 2"),
        ("gradient_checkpointing: yes", "gradient_checkpointing: true"),
        ("lora_r: [8]", "lora_alpha: 16"),
        ("lora_target_modules: 7", "lora_alpha: 16"),
    ],
)
def test_values_of_the_wrong_type_are_read_as_meant_or_not_at_all(
    bench: Bench, invoke: Invoke, text: str, as_if: str
) -> None:
    body = "".join(
        line for line in BODY.splitlines(keepends=True) if line.split(":")[0] not in (text.split(":")[0], "lora_alpha")
    )
    bench.write("wrong", f"{HEADER}{body}{text}\n")
    bench.write("right", f"{HEADER}{body}{as_if}\n")
    code, out, err = invoke("plan", "wrong", "--json")
    assert code == 0
    assert {"R007", "R008"} & set(told(err))
    right = plan_of(invoke("plan", "right", "--json").out)
    assert plan_of(out)["memory"] == right["memory"]


def test_a_need_is_planned_before_it_has_run_and_where_it_is_broken(bench: Bench, invoke: Invoke) -> None:
    ship(bench)
    data = plan_of(invoke("plan", "phase4/dpo-13b", "--json").out)
    assert data["model"]["name"] == "llama-2-13b"
    assert invoke("plan", "phase4/rlhf-13b").err == ""
    file = bench.project.recipe_file("phase4/rlhf-13b")
    file.write_text(re.sub(r"(?m)^(\s+)reward: .*$", r"\1reward: phase4/lost", file.read_text()))
    code, out, err = invoke("plan", "phase4/rlhf-13b", "--json")
    assert code == 0
    assert "R401" in told(err)
    assert plan_of(out)["model"]["parameters"] > 13e9


@pytest.mark.parametrize("given", ["ds.json", "my_zero3_config.json"])
def test_a_deepspeed_file_counts_by_what_is_in_it_or_else_by_its_name(
    bench: Bench, invoke: Invoke, tmp_path: Path, given: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    a_model(elsewhere / "model")
    (elsewhere / "ds.json").write_text(json.dumps({"zero_optimization": {"stage": 3}}))
    base = "base_model: model\nbf16: true\nmicro_batch_size: 1\nlearning_rate: 1e-5\n"
    peaks = []
    for deepspeed in (given, "zero3", "zero1"):
        (elsewhere / "r.yaml").write_text(f"{base}deepspeed: {deepspeed}\n")
        peaks.append(plan_of(invoke("plan", "elsewhere/r.yaml", "--json").out)["memory"]["peak_gib"])
    assert abs(peaks[0] - peaks[1]) < 3 < peaks[2] - peaks[1]


@pytest.mark.parametrize(
    ("text", "arguments", "code"),
    [
        (HEADER + BODY.replace("meta-llama/Llama-2-13b-hf", "nobody/knows"), [], "R202"),
        (HEADER + BODY.replace("base_model: meta-llama/Llama-2-13b-hf\n", ""), [], "R202"),
        (HEADER + "base_model: [\n", [], "R002"),
        ("- a list\n", [], "R003"),
        (HEADER + BODY, ["--box", "3xh100"], "R012"),
        (HEADER + BODY + "box: 3xh100\n", [], "R012"),
        (HEADER + BODY, ["--box", "bad.yaml"], "R018"),
        (HEADER + BODY, ["--set", "nonsense"], "R014"),
        (HEADER + BODY + "deepspeed: mine.json\n", [], "R204"),
    ],
)
def test_what_stops_a_plan(
    bench: Bench, invoke: Invoke, tmp_path: Path, text: str, arguments: list[str], code: str
) -> None:
    (tmp_path / "bad.yaml").write_text("gpus: many\n")
    bench.write("r", text)
    exit_code, out, err = invoke("plan", "r", *arguments)
    assert (exit_code, out) == (1, "")
    assert told(err)[-1] == code


def test_the_help_for_an_unknown_model_says_where_models_are_known_from(bench: Bench, invoke: Invoke) -> None:
    bench.write("r", HEADER + BODY.replace("meta-llama/Llama-2-13b-hf", "nobody/knows"))
    err = invoke("plan", "r").err
    assert "recipes/r.yaml:4:13: error[R202]: nothing is known about the model `nobody/knows`" in err
    assert "= help: name a local directory with its config.json, or one of the models in `data/models`" in err


def test_a_box_of_the_command_line_stands_in_for_an_unknown_one(bench: Bench, invoke: Invoke) -> None:
    bench.write("r", HEADER + BODY + "box: 3xh100\n")
    code, out, err = invoke("plan", "r", "--box", "2xh100")
    assert (code, err) == (0, "")
    assert out.startswith("fits: yes")


@pytest.mark.slow
def test_no_broken_recipe_is_a_bug_of_ours(bench: Bench) -> None:
    """Every broken recipe of the rules' own tests, with a model that is known: planned, or refused with a reason."""
    for name in ("base", "experts"):
        a_model(bench.project.root / "example" / name)
    planned_ones, codes = 0, set()
    for file in sorted((ROOT / "tests" / "bad").glob("*.yaml")):
        try:
            recipe, found = open_any(Library(bench.project), file, lambda name, profile: None)
            plan = planned(Project(ROOT), recipe, found, None)
        except Refused as refused:
            codes.add(refused.diagnostics[-1].code)
            continue
        assert found, file
        assert any_page(plan, Ink())
        if isinstance(plan, Plan):
            assert faults(to_json(plan, found)) == [], file
        planned_ones += 1
    assert planned_ones > 100
    assert codes <= {"R001", "R002", "R003", "R005", "R012", "R202", "R204", "R420"}
