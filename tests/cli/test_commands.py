"""The commands as a person meets them: what they say, where, and with which exit code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from runner.codes import codes
from runner.project import Project
from runner.recipe.rules import all_rules
from tests.conftest import BODY, HEADER, ROOT, Bench

HOSTILE = ["x;touch owned", "$(touch owned)", "`touch owned`", "../../etc/passwd", "$(shell touch owned)", "a b", "A"]

SHIPPED = len(Project(ROOT).all_recipes())


def test_validate_says_all_is_well(shipped_bench: Bench) -> None:
    done = shipped_bench.call("validate")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{SHIPPED} recipes: ok\n", "")
    assert shipped_bench.call("validate", "--quiet", "phase4/dpo-13b").stdout == ""
    assert shipped_bench.call("validate", "--profile", "smoke").returncode == 0


def test_validate_tells_every_mistake_in_one_pass(bench: Bench) -> None:
    bench.write("bad", HEADER + BODY.replace("lora_r: 8", "lora_r: eight\nlora_dropuot: 0.1") + "load_in_4bit: true\n")
    done = bench.call("validate", "bad")
    assert done.returncode == 1
    assert done.stdout == ""
    assert [c for c in ("R004", "R007", "R122") if f"error[{c}]" not in done.stderr] == []
    assert done.stderr.rstrip().endswith("1 recipe: 3 errors")


def test_validate_in_json_and_for_github(bench: Bench) -> None:
    bench.write("bad", HEADER + BODY + "lora_dropuot: 0.1\n")
    told = json.loads(bench.call("validate", "--format", "json").stdout)["diagnostics"]
    assert [(d["code"], d["file"], d["line"], d["column"]) for d in told] == [("R004", "recipes/bad.yaml", 16, 1)]
    line = bench.call("validate", "--format", "github").stdout.strip()
    assert line.startswith(
        "::error file=recipes/bad.yaml,line=16,endLine=16,col=1,endColumn=13,title=R004::unknown key `lora_dropuot`%0A"
    )


def test_warnings_fail_only_when_strict(bench: Bench) -> None:
    bench.write("warned", HEADER + BODY + "output_dir: ./out\n")
    assert bench.call("validate", "warned").returncode == 0
    assert bench.call("validate", "warned", "--strict").returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused_everywhere(bench: Bench, name: str) -> None:
    bench.write("r")
    for command in (["validate"], ["show"], ["run", "--profile", "smoke"], ["render"], ["last"]):
        done = bench.call(*command, "--", name)
        assert done.returncode == 1, done.stderr
        assert "error[R011]" in done.stderr
    assert bench.call("new", "--from", "r", "--", name).returncode == 1
    assert sorted(p.name for p in bench.project.root.rglob("*")) == ["r.yaml", "recipes"]


def test_show_says_where_each_value_came_from(shipped_bench: Bench) -> None:
    out = shipped_bench.call("show", "phase4/dpo-34b", "--set", "lora_r=64").stdout
    assert re.search(r"^deepspeed: zero3 +# recipes/phase4/dpo-34b.yaml:13$", out, re.M)
    assert re.search(r"^rl: dpo +# recipes/phase4/dpo-13b.yaml:13$", out, re.M)
    assert re.search(r"^lora_r: 64 +# --set lora_r=64$", out, re.M)
    smoked = shipped_bench.call("show", "phase4/sft-13b", "--profile", "smoke", "--resolved").stdout
    assert re.search(r"^max_steps: 40 +# smoke profile$", smoked, re.M)
    data = json.loads(shipped_bench.call("show", "phase4/sft-13b", "--json").stdout)
    assert data["outputs"][1] == {"name": "model", "type": "model", "path": "output/merged"}


def test_new_keeps_comments_and_never_overwrites(shipped_bench: Bench) -> None:
    done = shipped_bench.call("new", "phase4/mine", "--from", "phase4/dpo-13b", "--title", 'My "own"')
    assert done.returncode == 0, done.stderr
    source = shipped_bench.project.recipe_file("phase4/dpo-13b").read_text().splitlines()
    copy = shipped_bench.project.recipe_file("phase4/mine").read_text().splitlines()
    changed = [(a, b) for a, b in zip(source, copy, strict=True) if a != b]
    assert changed == [("title: DPO on UltraFeedback, from the 13B SFT model", 'title: "My \\"own\\""')]
    again = shipped_bench.call("new", "phase4/mine", "--from", "phase4/dpo-13b")
    assert (again.returncode, "error[R017]" in again.stderr) == (1, True)
    assert shipped_bench.call("validate", "phase4/mine").returncode == 0


def test_list(shipped_bench: Bench) -> None:
    rows = json.loads(shipped_bench.call("list", "--json").stdout)
    assert len(rows) == SHIPPED
    dpo = next(r for r in rows if r["recipe"] == "phase4/dpo-13b")
    assert (dpo["kind"], dpo["week"], dpo["needs"], dpo["model"]) == (
        "dpo",
        13,
        ["phase4/sft-13b"],
        "from phase4/sft-13b",
    )


@pytest.mark.parametrize("code", sorted({*codes(), *(r.code for r in all_rules())}))
def test_every_code_is_explained(code: str) -> None:
    from click.testing import CliRunner

    from runner.cli.explain import command

    done = CliRunner().invoke(command, [code.lower()])
    assert done.exit_code == 0
    assert done.output.startswith(f"{code}: ")
    assert len(done.output.split()) > 8


def test_every_code_in_the_source_is_in_the_catalogue() -> None:
    known = {*codes(), *(r.code for r in all_rules())}
    used = set()
    for file in (ROOT / "runner").rglob("*.py"):
        used |= set(re.findall(r'"(R\d{3})"', file.read_text()))
    assert used - known == set()


def test_run_needs_what_it_needs(shipped_bench: Bench) -> None:
    done = shipped_bench.call("run", "phase4/dpo-13b", "--profile", "smoke")
    assert done.returncode == 1
    assert "error[R410]: `phase4/sft-13b` has not run in profile `smoke` yet" in done.stderr
    assert "make recipe R=phase4/dpo-13b PROFILE=smoke" in done.stderr
    assert not shipped_bench.project.artifacts.exists()


@pytest.mark.slow
def test_make_builds_from_the_graph(shipped_bench: Bench) -> None:
    root = shipped_bench.project.root
    (root / "graph.mk").write_text(shipped_bench.call("graph").stdout)
    dry = subprocess.run(
        ["make", "-n", "-f", "graph.mk", "RUNNER=runner", "artifacts/phase4/rlhf-13b/smoke/done"],
        cwd=root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    order = [line.split()[2] for line in dry.stdout.splitlines() if line.startswith("runner run")]
    assert order[0] == "phase4/sft-13b"
    assert order[1:] == ["phase4/reward-13b", "phase4/rlhf-13b"]


def test_a_typo_in_a_command_is_suggested(bench: Bench) -> None:
    done = bench.call("vaildate")
    assert done.returncode == 2
    assert "Did you mean 'validate'?" in done.stderr


def test_a_bug_of_ours_is_no_traceback(bench: Bench) -> None:
    bench.write("r")
    code = (
        "import runner.cli.list as l, runner.cli.main as m, sys\n"
        "l.catalogue = lambda project: 1 / 0\nsys.argv = ['runner', 'list']\nm.main()\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(bench.project.root)}
    done = subprocess.run([sys.executable, "-c", code], cwd=bench.project.root, env=env, capture_output=True, text=True)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    report = re.search(r"report it with (\S+)", done.stderr)
    assert report is not None
    assert "ZeroDivisionError" in Path(report[1]).read_text()


@pytest.mark.slow
def test_the_core_imports_no_engine() -> None:
    code = (
        "import pkgutil, importlib, sys, runner\n"
        "for m in pkgutil.walk_packages(runner.__path__, 'runner.'):\n"
        "    if not m.name.startswith('runner.jobs') and not m.name.endswith('__main__'):\n"
        "        importlib.import_module(m.name)\n"
        "assert not {'torch', 'transformers', 'axolotl', 'datasets'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
