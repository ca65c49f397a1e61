"""`runner fit` and `runner optimal` as a person meets them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from runner.facts.families import architecture_of
from tests.cli.conftest import Invoke
from tests.conftest import ROOT, Bench
from tests.scaling.synthetic import CONSTANTS, losses, points, runs, write_csv

SCHEMA: dict[str, Any] = json.loads((ROOT / "schemas" / "fit.schema.json").read_text())
PLOTS = {f"{name}.{kind}" for name in ("isoflop", "contours", "predicted", "extrapolation") for kind in ("png", "svg")}


@pytest.fixture
def table(tmp_path: Path) -> str:
    return str(write_csv(tmp_path / "runs.csv", runs("chinchilla", 0)))


def data(text: str) -> Any:
    """JSON as the schema says."""
    found = json.loads(text)
    assert [e.message for e in Draft202012Validator(SCHEMA).iter_errors(found)] == []
    return found


def test_a_table_is_fitted(table: str, invoke: Invoke) -> None:
    code, out, err = invoke("fit", table, "--bootstraps", "100")
    assert (code, err) == (0, "")
    assert out.isascii()
    assert out.splitlines()[0] == "chinchilla: L(N, D) = E + A / N^alpha + B / D^beta"
    assert "63 runs, fast, 100 bootstrap samples" in out
    assert all(f"\n  {name} " in out for name in ("E", "A", "B", "alpha", "beta"))
    assert "runs beyond" in out


@pytest.mark.parametrize("law", ["chinchilla", "kaplan", "isoflop", "envelope"])
def test_in_json_it_is_what_the_schema_says(law: str, tmp_path: Path, invoke: Invoke) -> None:
    given = runs("chinchilla", 0)
    if law == "envelope":  # sizes with several runs each
        params, tokens = np.repeat(np.geomspace(3e7, 3e10, 12), 15), np.tile(np.geomspace(1e8, 3e12, 15), 12)
        given = points(params, tokens, losses("chinchilla", params, tokens))
    file = str(write_csv(tmp_path / "runs.csv", given))
    code, out, _ = invoke("fit", file, "--law", law, "--json", "--bootstraps", "50")
    found = data(out)
    assert (code, found["law"], found["points"]) == (0, law, len(given))
    assert all(one["low"] <= one["value"] <= one["high"] for one in found["parameters"].values())


def test_chinchilla_has_its_five_parameters(table: str, invoke: Invoke) -> None:
    found = data(invoke("fit", table, "--law", "chinchilla", "--json").out)
    names = ("E", "A", "B", "alpha", "beta")
    assert tuple(found["parameters"]) == names
    for name, truth in zip(names, CONSTANTS["chinchilla"], strict=True):
        assert found["parameters"][name]["low"] <= truth <= found["parameters"][name]["high"]
    assert found["heldout"]["rmse_log_loss"] < 0.02
    assert found["optimal"]["a"]["value"] + found["optimal"]["b"]["value"] == pytest.approx(1)


def test_every_law_is_compared_on_the_same_runs(table: str, invoke: Invoke) -> None:
    code, out, _ = invoke("fit", table, "--compare", "--bootstraps", "20")
    lines = [line.split()[0] for line in out.splitlines()[1:6]]
    assert code == 0
    assert set(lines) == {"chinchilla", "kaplan", "isoflop", "envelope", "data-constrained"}
    assert lines.index("chinchilla") < lines.index("kaplan")
    found = json.loads(invoke("fit", table, "--law", "all", "--json", "--bootstraps", "20").out)
    assert found["best"] == lines[0]
    assert [e.message for e in Draft202012Validator(SCHEMA).iter_errors(found["laws"]["kaplan"])] == []


def test_plots_and_the_fit_are_written(table: str, tmp_path: Path, invoke: Invoke) -> None:
    out = tmp_path / "out"
    code, _, err = invoke("fit", table, "--out", str(out), "--bootstraps", "50")
    assert code == 0
    assert {file.name for file in out.iterdir()} == PLOTS | {"fit.json"}
    assert "fit.json" in err
    data((out / "fit.json").read_text())
    assert all((out / name).read_bytes()[:4] == b"\x89PNG" for name in PLOTS if name.endswith("png"))


def test_a_bad_cell_is_told_at_its_place(tmp_path: Path, invoke: Invoke) -> None:
    (tmp_path / "bad.csv").write_text("params,tokens,loss\n1e6,1e9,3.5\n1e6,1B,3.4\n")
    code, out, err = invoke("fit", "bad.csv")
    assert (code, out) == (1, "")
    assert err.startswith("bad.csv:3:5: error[R803]: `1B` is not a number\n")
    assert "3 | 1e6,1B,3.4\n  |     ^^" in err


@pytest.mark.parametrize(
    "text", ["", "a,b\n1,2\n", "params,tokens,loss\n1,1,1\n", "params,tokens,loss\n" + "1,1,1\n" * 9]
)
def test_no_table_ends_in_a_traceback(text: str, tmp_path: Path, invoke: Invoke) -> None:
    (tmp_path / "t.csv").write_text(text)
    for law in ("chinchilla", "kaplan", "isoflop", "envelope", "data-constrained", "all"):
        code, _, err = invoke("fit", "t.csv", "--law", law, "--bootstraps", "10")
        assert code in (0, 1)
        assert "bug" not in err


def test_what_is_not_there_is_told(invoke: Invoke) -> None:
    code, _, err = invoke("fit", "phase9/nothing")
    assert code == 1
    assert "error[R800]" in err


def test_many_starts_are_for_chinchillas_law(table: str, invoke: Invoke) -> None:
    assert invoke("fit", table, "--law", "kaplan", "--method", "many-start").code == 2


def test_other_commands_load_no_numpy(bench: Bench) -> None:
    code = "import sys; import runner.cli.main, runner.cli.plan, runner.cli.fit; print('numpy' in sys.modules)"
    run = [sys.executable, "-c", code]
    assert subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "False\n"


# --- optimal ---


@pytest.fixture
def fit_file(table: str, bench: Bench, invoke: Invoke) -> str:
    shutil.copytree(ROOT / "recipes", bench.project.recipes, dirs_exist_ok=True)
    (bench.project.root / "fit.json").write_text(
        invoke("fit", table, "--json", "--bootstraps", "60", "--holdout", "0").out
    )
    return "fit.json"


def test_a_budget_in_flops(fit_file: str, invoke: Invoke) -> None:
    code, out, err = invoke("optimal", "--fit", fit_file, "--flops", "1e21", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["params"]["low"] < found["params"]["value"] < found["params"]["high"]
    assert 6 * found["params"]["value"] * found["tokens"]["value"] == pytest.approx(1e21)
    assert architecture_of(found["architecture"]).parameters == found["parameters"]
    assert found["parameters"] == pytest.approx(found["params"]["value"], rel=0.05)
    assert 6 * found["parameters"] * found["train_tokens"] == pytest.approx(1e21, rel=1e-3)
    assert found["max_steps"] * found["step_tokens"] == found["train_tokens"]


def test_a_budget_in_hours_is_that_of_the_plan(fit_file: str, bench: Bench, invoke: Invoke) -> None:
    found = json.loads(invoke("optimal", "--fit", fit_file, "--hours", "72", "--box", "2xh100", "--json").out)
    assert found["hours"] == pytest.approx(72, rel=0.02)
    sets = [f"architecture.{key}={json.dumps(value)}" for key, value in found["architecture"].items()]
    options = [word for text in [*sets, f"max_steps={found['max_steps']}"] for word in ("--set", text)]
    plan = json.loads(invoke("plan", "phase1/gpt-1b", "--box", "2xh100", "--json", *options).out)
    assert plan["model"]["parameters"] == found["parameters"]
    assert plan["time"]["hours"] == pytest.approx(found["hours"], rel=0.01)
    more = json.loads(invoke("optimal", "--fit", fit_file, "--hours", "144", "--json").out)
    assert more["params"]["value"] > found["params"]["value"] * 1.2


def test_the_page_has_a_block_to_paste(fit_file: str, bench: Bench, invoke: Invoke) -> None:
    out = invoke("optimal", "--fit", fit_file, "--flops", "3e20").out
    block = out[out.index("architecture:") :].split("\n\n")[0]
    recipe = (ROOT / "recipes" / "phase1" / "gpt-1b.yaml").read_text()
    start, end = recipe.index("architecture:"), recipe.index("prepared:")
    text = recipe[:start] + block + "\n" + recipe[end:].replace("max_steps: 19000", "")
    bench.write("phase1/mine", text)
    assert invoke("validate", "phase1/mine").code == 0


def test_far_beyond_the_runs_it_warns(fit_file: str, invoke: Invoke) -> None:
    found = json.loads(invoke("optimal", "--fit", fit_file, "--flops", "1e25", "--json").out)
    assert any(w["kind"] == "extrapolated" and "a guess" in w["message"] for w in found["warnings"])
    near = json.loads(invoke("optimal", "--fit", fit_file, "--flops", "1e21", "--json").out)
    assert not any(w["kind"] == "extrapolated" for w in near["warnings"])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "law": "chinchilla"}', '{"format": 1, "law": "odd"}'])
def test_what_is_no_fit_is_told(text: str, bench: Bench, invoke: Invoke) -> None:
    (bench.project.root / "x.json").write_text(text)
    code, _, err = invoke("optimal", "--fit", "x.json", "--flops", "1e21")
    assert code == 1
    assert "error[R805]" in err


def test_budgets_that_make_no_model(fit_file: str, invoke: Invoke) -> None:
    code, _, err = invoke("optimal", "--fit", fit_file, "--flops", "1e9")
    assert (code, "error[R807]" in err) == (1, True)
    assert invoke("optimal", "--fit", fit_file).code == 2
    assert invoke("optimal", "--fit", fit_file, "--flops", "1e21", "--hours", "3").code == 2
    assert invoke("optimal", "--fit", fit_file, "--flops", "1e21", "--recipe", "phase4/dpo-13b").code == 1
