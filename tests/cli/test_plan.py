"""`runner plan` as a person meets it: any config, what is told beside the plan, exit codes, and `--fit --write`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runner.cli.plan import planned
from runner.facts.models import find_model
from runner.plan.as_json import to_json
from runner.plan.lenient import open_any
from runner.recipe.graph import Library
from runner.recipe.load import Refused
from runner.report.ink import Ink
from runner.report.plan_text import page
from tests.cli.conftest import Invoke
from tests.conftest import BODY, HEADER, ROOT, Bench
from tests.plan.schema import faults

CONFIG = find_model("llama-2-7b")
assert CONFIG is not None
# A finetune of all weights of 7B on one GPU of 80 GB: too much with samples this many and long.
LARGE = """\
base_model: meta-llama/Llama-2-7b-hf
datasets:
  - {path: yahma/alpaca-cleaned, type: alpaca}
sequence_len: 4096
micro_batch_size: 16   # too many
gradient_accumulation_steps: 2
gradient_checkpointing: true
num_epochs: 1
max_steps: 100
learning_rate: 1e-5
bf16: true
optimizer: adamw_8bit
attn_implementation: flash_attention_2
"""


def told(err: str) -> list[str]:
    return re.findall(r"(?:error|warning)\[(R\d+)\]", err)


def plan_of(out: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(out)
    assert faults(data) == []
    return data


def ship(bench: Bench) -> None:
    shutil.copytree(ROOT / "recipes", bench.project.recipes, dirs_exist_ok=True)


def a_model(folder: Path) -> Path:
    assert CONFIG is not None
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG.config))
    return folder


def test_a_recipe_is_planned_on_its_own_box(bench: Bench, invoke: Invoke) -> None:
    bench.write("r")
    code, out, err = invoke("plan", "r")
    assert (code, err) == (0, "")
    assert re.match(r"fits: yes, [\d.]+ of 79.1 GiB at peak \([\w-]+\)", out)
    assert out.isascii()
    assert "r (finetune, full): " in out.splitlines()[1]
    assert " on 2xh100 (2 GPUs)" in out.splitlines()[1]


def test_in_json_it_is_what_the_schema_says(bench: Bench, invoke: Invoke) -> None:
    bench.write("r", HEADER + BODY + "max_steps: 50\n")
    data = plan_of(invoke("plan", "r", "--json", "--price", "10").out)
    assert (data["recipe"], data["kind"], data["box"], data["fits"]) == ("r", "finetune", "2xh100", "yes")
    assert data["time"]["steps"] == 50
    assert data["cost"]["usd"] == pytest.approx(10 * data["time"]["hours"], rel=1e-4)
    more = plan_of(invoke("plan", "r", "--json", "--set", "micro_batch_size=8", "--set", "sequence_len=2048").out)
    assert more["memory"]["peak_gib"] > data["memory"]["peak_gib"] + 1
    assert more["batch"]["step_tokens"] == 32 * data["batch"]["step_tokens"]


def test_another_box_by_name_or_by_path(bench: Bench, invoke: Invoke, tmp_path: Path) -> None:
    bench.write("r")
    (tmp_path / "mine.yaml").write_text("gpu: A100-40GB\ngpus: 1\nprice_usd_per_hour: 1.5\n")
    named = plan_of(invoke("plan", "r", "--json", "--box", "8xh100").out)
    assert (named["box"], named["gpus"]) == ("8xh100", 8)
    own = plan_of(invoke("plan", "r", "--json", "--box", "mine.yaml").out)
    assert (own["box"], own["gpus"], own["cost"]["price_usd_per_hour"]) == ("mine", 1, 1.5)
    assert own["memory"]["capacity_gib"] < 40


def test_without_gpus_host_memory_is_the_headline(bench: Bench, invoke: Invoke) -> None:
    bench.write("r")
    code, out, _ = invoke("plan", "r", "--profile", "smoke")
    assert code == 0
    assert re.match(r"fits: (yes|tight), [\d.]+ of 4 GiB of host RAM", out)
    assert "GPU memory" not in out


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


def test_one_that_does_not_fit_names_the_knob_and_the_number_that_does(bench: Bench, invoke: Invoke) -> None:
    bench.write("r", HEADER + LARGE)
    code, out, err = invoke("plan", "r", "--box", "1xh100", "--json")
    data = plan_of(out)
    assert (code, data["fits"]) == (1, "no")
    assert told(err) == ["R201"] == [d["code"] for d in data["diagnostics"]]
    assert "recipes/r.yaml:8:1: error[R201]: the recipe needs" in err
    assert "8 | micro_batch_size: 16   # too many" in err
    found = re.search(r"set `micro_batch_size: (\d+)` and `gradient_accumulation_steps: (\d+)`", err)
    assert found is not None
    micro, accumulation = int(found[1]), int(found[2])
    assert micro * accumulation == 32
    sets = ["--set", f"micro_batch_size={micro}", "--set", f"gradient_accumulation_steps={accumulation}"]
    mended = plan_of(invoke("plan", "r", "--box", "1xh100", "--json", *sets).out)
    assert mended["fits"] in ("yes", "tight")
    assert mended["batch"] == data["batch"]
    more = plan_of(invoke("plan", "r", "--box", "1xh100", "--json", "--set", f"micro_batch_size={micro * 2}").out)
    assert more["fits"] == "no", "the largest that fits is named"


def test_where_no_knob_helps_the_model_is_what_does_not_fit(bench: Bench, invoke: Invoke) -> None:
    text = LARGE.replace("meta-llama/Llama-2-7b-hf", "mixtral-8x7b")
    bench.write("r", HEADER + text)
    code, out, err = invoke("plan", "r", "--box", "1x4090")
    assert code == 1
    assert out.startswith("fits: no, ")
    assert "recipes/r.yaml:4:1: error[R201]" in err
    assert "no single key makes it fit: `runner plan r --fit`" in err


def test_usage(bench: Bench, invoke: Invoke) -> None:
    bench.write("r")
    for arguments in (
        [],
        ["r", "--all"],
        ["--all", "--fit"],
        ["r", "--write"],
        ["r", "--fit", "--write", "--set", "lora_r=4"],
        ["r", "--fit", "--write", "--profile", "smoke"],
        ["r", "--price", "-1"],
        ["r", "--price", "cheap"],
    ):
        code, out, err = invoke("plan", *arguments)
        assert (code, out) == (2, ""), arguments
        assert "Error" in err


def test_all_is_a_line_for_each_recipe(bench: Bench, invoke: Invoke) -> None:
    ship(bench)
    code, out, err = invoke("plan", "--all")
    head, *lines = out.splitlines()
    assert head.split()[:2] == ["recipe", "fits"]
    names = [line.split()[0] for line in lines]
    assert names == [bench.project.recipe_name(file) for file in bench.project.all_recipes()]
    assert max(map(len, out.splitlines())) <= 80
    fits = {line.split()[1] for line in lines}
    assert fits <= {"yes", "tight", "no"}
    assert (code == 1) == ("no" in fits)
    assert err == ""


def test_all_goes_on_past_what_cannot_be_planned(bench: Bench, invoke: Invoke) -> None:
    bench.write("a")
    bench.write("b", HEADER + BODY.replace("meta-llama/Llama-2-13b-hf", "nobody/knows"))
    code, out, err = invoke("plan", "--all", "--json")
    data = json.loads(out)
    assert faults(data, "catalogue") == []
    assert [plan["recipe"] for plan in data["plans"]] == ["a"]
    assert code == 1
    assert told(err) == ["R202"]


def test_fit_shows_the_frontier_and_leaves_the_file_alone(bench: Bench, invoke: Invoke) -> None:
    file = bench.write("r", HEADER + LARGE)
    code, out, _ = invoke("plan", "r", "--box", "1xh100", "--fit")
    assert code == 0
    assert len(re.findall(r"(?m)^\* (?:yes|tight)", out)) == 1
    assert re.search(r"\d+ plans compared", out)
    data = json.loads(invoke("plan", "r", "--box", "1xh100", "--fit", "--json").out)
    assert faults(data, "search") == []
    assert data["best"]["plan"]["fits"] != "no"
    assert file.read_text() == HEADER + LARGE


def test_fit_and_write_changes_the_recipe_so_that_it_fits(bench: Bench, invoke: Invoke) -> None:
    file = bench.write("r", HEADER + LARGE)
    best = json.loads(invoke("plan", "r", "--box", "1xh100", "--fit", "--json").out)["best"]
    code, out, _ = invoke("plan", "r", "--box", "1xh100", "--fit", "--write")
    assert code == 0
    assert "-micro_batch_size: 16   # too many" in out
    after = file.read_text()
    assert re.search(r"(?m)^micro_batch_size: \d+   # too many$", after)
    changed = [line for line in after.splitlines() if line not in (HEADER + LARGE).splitlines()]
    assert {line.split(":")[0] for line in changed} == {key.split(".")[0] for key in best["settings"]}
    again = plan_of(invoke("plan", "r", "--box", "1xh100", "--json").out)
    assert again["memory"] == best["plan"]["memory"]
    assert again["batch"] == best["plan"]["batch"]


def test_fit_where_nothing_fits(bench: Bench, invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text("gpu: RTX-4090\ngpus: 1\ngpu_memory_gib: 2\n")
    file = bench.write("r", HEADER + LARGE)
    code, _, err = invoke("plan", "r", "--box", "tiny.yaml", "--fit", "--write")
    assert code == 1
    assert told(err) == ["R201"]
    assert file.read_text() == HEADER + LARGE


def test_no_broken_recipe_is_a_bug_of_ours(bench: Bench) -> None:
    """Every broken recipe of the rules' own tests, with a model that is known: planned, or refused with a reason."""
    for name in ("base", "experts"):
        a_model(bench.project.root / "example" / name)
    planned_ones, codes = 0, set()
    for file in sorted((ROOT / "tests" / "bad").glob("*.yaml")):
        try:
            recipe, found = open_any(Library(bench.project), file, lambda name, profile: None)
            plan = planned(recipe, found, None)
        except Refused as refused:
            codes.add(refused.diagnostics[-1].code)
            continue
        assert found, file
        assert faults(to_json(plan, found)) == [], file
        assert page(plan, Ink())
        planned_ones += 1
    assert planned_ones > 100
    assert codes <= {"R001", "R002", "R003", "R005", "R012", "R202", "R204"}


@pytest.mark.parametrize("arguments", [["phase4/dpo-13b"], ["--all"], ["phase4/dpo-13b", "--json"]])
def test_it_starts_light(arguments: list[str]) -> None:
    script = (
        "import sys; from runner.cli.main import cli; cli.main(sys.argv[1:], standalone_mode=False);"
        "print([m for m in ('rich', 'torch', 'transformers', 'numpy', 'jinja2') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "plan", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stderr.splitlines()[-1] == "[]"
