"""`runner plan` as a person meets it: what it prints, exit codes, what does not fit, and `--fit --write`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Invoke
from tests.cli.planning import plan_of, ship, told
from tests.conftest import BODY, HEADER, ROOT, Bench, recipes_of
from tests.plan.schema import faults

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
        assert err.startswith("error: ")


@pytest.mark.slow
def test_all_is_a_line_for_each_recipe(bench: Bench, invoke: Invoke) -> None:
    ship(bench)
    code, out, err = invoke("plan", "--all")
    lines = []
    for table in out.split("\n\n"):
        head, *rows = table.splitlines()
        assert head.split()[:2] == ["recipe", "fits"]
        lines += rows
    names = [line.split()[0] for line in lines]
    shipped = {bench.project.recipe_name(file) for file in bench.project.all_recipes()}
    unplanned = {name for engine in ("tokenizers", "lm_eval", "comparison") for name in recipes_of(engine)}
    assert sorted(names) == sorted(shipped - unplanned)
    assert max(map(len, out.splitlines())) <= 80
    fits = {line.split()[1] for line in lines}
    assert fits <= {"yes", "tight", "no"}
    assert (code == 1) == ("no" in fits)
    assert err == ""


def test_what_trains_nothing_has_no_plan(bench: Bench, invoke: Invoke) -> None:
    ship(bench)
    code, out, err = invoke("plan", "phase1/tokenizers")
    assert (code, out) == (1, "")
    assert "error[R202]: kind `tokenizer` trains no model, so there is nothing to plan" in err


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
    free = invoke("plan", "r", "--box", "1xh100", "--fit", "--price", "0").out
    assert "$" in out
    assert "$" not in free
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
    code, out, err = invoke("plan", "r", "--box", "tiny.yaml", "--fit", "--write")
    assert code == 1
    assert re.fullmatch(r"nothing fits; \d+ plans compared\n", out)
    assert re.search(r"help: none of the \d+ plans that were tried fits: name a larger box", err)
    assert told(err) == ["R201"]
    assert file.read_text() == HEADER + LARGE


@pytest.mark.slow
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
