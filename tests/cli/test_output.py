"""What the commands print, and where: for people, for programs, for pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.cli.output import verdict, wants_colour
from runner.diagnostics import Diagnostic, SourceLines, Span, ansi, render_text
from tests.cli.conftest import Invoke
from tests.conftest import BODY, HEADER, ROOT, Bench


def test_a_parents_fault_is_told_once_for_all_its_children(bench: Bench, invoke: Invoke) -> None:
    bench.write("parent", HEADER + BODY + "bananas: 1\n")
    bench.write("one", HEADER.replace("A test", "One") + "extends: parent\n")
    bench.write("two", HEADER.replace("A test", "Two") + "extends: parent\n")
    told = json.loads(invoke("validate", "--format", "json").out)["diagnostics"]
    assert [(d["code"], d["file"]) for d in told] == [("R004", "recipes/parent.yaml")]
    assert invoke("validate", "one").code == 1


def test_several_recipes_good_bad_and_missing(bench: Bench, invoke: Invoke) -> None:
    bench.write("good")
    bench.write("bad", HEADER + BODY + "bananas: 1\n")
    said = invoke("validate", "good", "bad", "lost")
    assert (said.code, said.out) == (1, "")
    assert said.err.rstrip().endswith("3 recipes: 2 errors")
    assert "error[R001]: there is no recipe `lost`" in said.err
    assert invoke("validate", "good", "good").out == "2 recipes: ok\n"


def test_what_a_recipe_stands_on_is_checked_before_any_of_it_runs(bench: Bench, invoke: Invoke) -> None:
    based = (HEADER + BODY).replace("meta-llama/Llama-2-13b-hf", "${needs.x.model}")
    bench.write("a", HEADER + BODY + "merge: true\nbananas: 1\n")
    bench.write("b", based + "needs: {x: a}\nmerge: true\n")
    bench.write("c", based + "needs: {x: b, y: a}\n")
    assert invoke("validate", "c").code == 0
    said = invoke("validate", "--needs", "c", "--set", "lora_r=4")
    assert said.code == 1
    assert said.err.count("error[") == 1
    assert "recipes/a.yaml:17:1: error[R004]" in said.err
    assert json.loads(invoke("validate", "--needs", "--format", "json").out)["diagnostics"][1:] == []
    bench.write("a", HEADER + BODY + "merge: true\nneeds: {z: c}\n")
    assert invoke("validate", "--needs", "c").err.count("error[R402]") == 4, "each at its own `needs`"


def test_quiet_is_quiet_only_when_all_is_well(bench: Bench, invoke: Invoke) -> None:
    bench.write("r")
    assert invoke("validate", "-q", "r") == (0, "", "")
    bench.write("r", HEADER + BODY + "output_dir: x\n")
    said = invoke("validate", "-q", "r")
    assert (said.code, said.out) == (0, "")
    assert "warning[R016]" in said.err
    bench.write("r", HEADER + BODY + "bananas: x\n")
    assert "error[R004]" in invoke("validate", "-q", "r").err


def test_programs_get_json_and_nothing_else(bench: Bench, invoke: Invoke) -> None:
    bench.write("r")
    assert json.loads(invoke("validate", "--format", "json").out) == {"diagnostics": []}
    bench.write("r", HEADER + BODY + "bananas: x\noutput_dir: y\n")
    said = invoke("validate", "--format", "json")
    assert (said.code, said.err) == (1, "")
    told = json.loads(said.out)["diagnostics"]
    assert [d["severity"] for d in told] == ["error", "warning"]
    keys = ["code", "severity", "message", "file", "line", "column", "width", "label", "notes", "help"]
    assert all(list(d) == keys for d in told)
    github = invoke("validate", "--format", "github")
    assert (github.code, github.err) == (1, "")
    assert [line.split()[0] for line in github.out.splitlines()] == ["::error", "::warning"]


def test_sets_are_checked_too_in_either_profile(bench: Bench, invoke: Invoke) -> None:
    bench.write("r")
    for profile in ("full", "smoke"):
        assert invoke("validate", "r", "--profile", profile, "--set", "max_steps=3").code == 0
        said = invoke("validate", "r", "--profile", profile, "--set", "max_stps=3")
        assert said.code == 1
        assert "<--set max_stps=3>: error[R004]" in said.err
        assert "did you mean `max_steps`?" in said.err
        assert invoke("validate", "r", "--profile", profile, "--set", "lora_r=many").code == 1


def test_a_profiles_own_section_is_checked_in_its_profile(bench: Bench, invoke: Invoke) -> None:
    bench.write("r", HEADER + BODY + "profiles:\n  smoke:\n    max_stps: 3\n")
    said = invoke("validate", "r", "--profile", "smoke")
    assert said.code == 1
    assert "recipes/r.yaml:18:5: error[R004]" in said.err


def test_the_block_that_a_person_reads(bench: Bench, invoke: Invoke) -> None:
    bench.write("r", HEADER + BODY + "lora_dropuot: 0.1\n")
    assert invoke("validate", "r").err == (
        "recipes/r.yaml:16:1: error[R004]: unknown key `lora_dropuot`\n"
        "   |\n"
        "16 | lora_dropuot: 0.1\n"
        "   | ^^^^^^^^^^^^ did you mean `lora_dropout`?\n"
        "   = help: rename `lora_dropuot` to `lora_dropout`\n"
        "\n"
        "1 recipe: 1 error\n"
    )


def test_the_verdict_counts() -> None:
    one = Diagnostic("R004", "x", Span("f"))
    warning = Diagnostic("R016", "x", Span("f"), severity="warning")
    assert verdict([], 1) == "1 recipe: ok"
    assert verdict([one], 2) == "2 recipes: 1 error"
    assert verdict([one, one, warning], 0) == "0 recipes: 2 errors, 1 warning"


def test_colour_is_for_terminals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert wants_colour(Terminal())
    assert not wants_colour(object())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_colour(Terminal())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not wants_colour(Terminal())


def test_colours_change_no_words() -> None:
    import re

    d = Diagnostic("R004", "unknown", Span("f", 3, 2), "label", ("note",), "help")
    plain, coloured = render_text(d, SourceLines()), render_text(d, SourceLines(), ansi)
    assert plain != coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("title: Old\nkind: dpo\n", 'title: "New: \\"x\\" \\\\ $(y)"\nkind: dpo\n'),
        ("title: >\n  Old and\n  long\nkind: dpo\n", 'title: "New: \\"x\\" \\\\ $(y)"\nkind: dpo\n'),
        ("kind: dpo # title: no\n", 'kind: dpo # title: no\ntitle: "New: \\"x\\" \\\\ $(y)"\n'),
        (
            "profiles:\n  smoke:\n    title: x\ntitle: Old # c\n",
            'profiles:\n  smoke:\n    title: x\ntitle: "New: \\"x\\" \\\\ $(y)"\n',
        ),
    ],
)
def test_a_new_recipe_has_its_title(bench: Bench, invoke: Invoke, source: str, expected: str) -> None:
    from runner.recipe.load import load

    bench.write("old", source)
    title = 'New: "x" \\ $(y)'
    assert invoke("new", "new", "--from", "old", "--title", title).code == 0
    file = bench.project.recipe_file("new")
    assert file.read_text() == expected
    assert load(file, "new").plain()["title"] == title


@pytest.mark.parametrize("title", ["two\nlines", "\u2028", "{{ x }}", "# no comment", "é😀", "'"])
def test_any_title_is_text(bench: Bench, invoke: Invoke, title: str) -> None:
    bench.write("old")
    assert invoke("new", "new", "--from", "old", "--title", title).code == 0
    rows = json.loads(invoke("list", "--json").out)
    assert {row["recipe"]: row["title"] for row in rows}["new"] == title
    assert invoke("list").code == 0


@pytest.mark.parametrize(("name", "up"), [("mine", "../"), ("phase4/mine", "../../"), ("a/b/mine", "../../../")])
def test_an_editor_finds_the_schema_of_a_new_recipe(bench: Bench, invoke: Invoke, name: str, up: str) -> None:
    line = "# yaml-language-server: $schema={}schemas/finetune.schema.json\n"
    bench.write("phase4/old", line.format("../../") + HEADER + BODY)
    assert invoke("new", name, "--from", "phase4/old").code == 0
    assert bench.project.recipe_file(name).read_text() == line.format(up) + HEADER + BODY


def test_new_takes_a_name_as_it_is_typed_elsewhere(bench: Bench, invoke: Invoke) -> None:
    bench.write("old", "# a comment\n" + HEADER + BODY)
    assert invoke("new", "recipes/sub/mine.yaml", "--from", "recipes/old.yaml").code == 0
    assert bench.project.recipe_file("sub/mine").read_text() == "# a comment\n" + HEADER + BODY
    said = invoke("new", "sub/mine", "--from", "old")
    assert (said.code, "R017" in said.err) == (1, True)
    lost = invoke("new", "other", "--from", "olt")
    assert (lost.code, "did you mean `old`?" in lost.err) == (1, True)


def test_the_list_holds_what_can_be_read_however_odd(bench: Bench, invoke: Invoke) -> None:
    bench.write("odd", "kind: [a]\nweek: {b: 1}\ntitle: [x, 1]\nneeds: [1]\nbase_model: 3\nbox: [2]\n")
    bench.write("broken", "a: [\n")
    bench.write("fine", HEADER + BODY + "needs: {x: odd}\n")
    said = invoke("list")
    assert (said.code, said.err) == (0, "")
    assert [line.split()[0] for line in said.out.splitlines()] == ["fine", "odd"]
    assert said.out.splitlines()[0].endswith("A test  (needs odd)")
    assert invoke("list", "--names").out == "fine\nodd\n"


def test_an_empty_project(bench: Bench, invoke: Invoke) -> None:
    assert invoke("list") == (0, "", "")
    assert invoke("validate").out == "0 recipes: ok\n"
    assert "RECIPES := \n" in invoke("graph").out


def test_render_writes_what_it_prints(bench: Bench, invoke: Invoke) -> None:
    bench.write("r", HEADER + BODY + "merge: true\n")
    said = invoke("render", "r", "--out", "sub/out")
    out = bench.project.root / "sub/out"
    written = {str(p.relative_to(out)): p for p in out.rglob("*") if p.is_file()}
    jobs = {"jobs/axolotl_plugin.py", "jobs/cpu_ranks.py", "jobs/experts.py", "jobs/meter.py", "jobs/shards.py"}
    assert set(written) == {"launch.sh", "axolotl.yaml", "merge.yaml", *jobs}
    assert said.out == "8 files in sub/out\n"
    assert os.access(written["launch.sh"], os.X_OK)
    assert not os.access(written["axolotl.yaml"], os.X_OK)
    for name, file in written.items():
        assert invoke("render", "r", "--file", name).out == file.read_text()
    printed = invoke("render", "r").out
    assert [line for line in printed.splitlines() if line.startswith("--- ")] == [
        "--- axolotl.yaml", "--- launch.sh", "--- merge.yaml"
    ]  # fmt: skip


def test_show_in_json_says_where_each_value_came_from(bench: Bench, invoke: Invoke) -> None:
    bench.write("sft", HEADER + BODY + "merge: true\n")
    bench.write(
        "r", (HEADER + BODY).replace("meta-llama/Llama-2-13b-hf", "${needs.s.model}") + "needs: {s: sft}\nmerge: true\n"
    )
    shown = json.loads(invoke("show", "r", "--json", "--set", "lora_r=4").out)
    assert shown["needs"] == [{"alias": "s", "recipe": "sft", "run": None}]
    assert shown["origins"]["lora_r"] == "--set lora_r=4"
    assert shown["origins"]["lora_alpha"] == "recipes/r.yaml:7"
    assert [o["name"] for o in shown["outputs"]] == ["adapter", "model"]
    said = invoke("show", "r")
    assert "# needs sft as `s`: has not run yet" in said.out
    assert "base_model: ${needs.s.model}" in said.out
    resolved = invoke("show", "r", "--resolved").out
    assert f"base_model: {bench.project.artifacts}/sft/full/latest/output/merged" in resolved


def test_nothing_has_run_yet(bench: Bench, invoke: Invoke) -> None:
    bench.write("r")
    said = invoke("last", "r", "--profile", "smoke")
    assert said.code == 1
    assert "error[R410]: `r` has not run in profile `smoke` yet" in said.err
    assert "make recipe R=r PROFILE=smoke" in said.err


def test_the_last_run(bench: Bench, invoke: Invoke) -> None:
    from runner.record import new_run_dir, point_latest, write_json

    bench.write("r")
    run = new_run_dir(bench.project, "r", "full")
    output = {"name": "adapter", "type": "adapter", "path": "output", "bytes": 1, "sha256": "0"}
    metrics = {"first_loss": 2.0, "loss": float("nan")}
    write_json(run / "run.json", {"status": "finished", "metrics": metrics, "outputs": [output]})
    point_latest(run)
    said = invoke("last", "r")
    assert said.out.splitlines() == [
        f"r (full): run {run.name}, loss 2.000 -> nan",
        f"  adapter (adapter): artifacts/r/full/{run.name}/output",
    ]
    assert json.loads(invoke("last", "r", "--json").out)["metrics"]["loss"] == "nan"


def test_a_reader_that_goes_away_is_no_error(bench: Bench) -> None:
    for i in range(300):
        bench.write(f"a-long-name-of-a-recipe-{i}", HEADER)
    script = f"{sys.executable} -m runner list | head -n1"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "RUNNER_PROJECT": str(bench.project.root)}
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_text_that_the_locale_lacks_is_no_error(bench: Bench, tmp_path: Path) -> None:
    bench.write("r", HEADER.replace("A test", "Überprüfung 😀") + BODY)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "PYTHON"))}
    env |= {
        "PYTHONPATH": str(ROOT),
        "RUNNER_PROJECT": str(bench.project.root),
        "LC_ALL": "C",
        "PYTHONCOERCECLOCALE": "0",
    }
    for command in (["list"], ["show", "r"], ["render", "r", "--out", str(tmp_path / "out")]):
        done = subprocess.run(
            [sys.executable, "-X", "utf8=0", "-m", "runner", *command],
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, ""), command
    assert "😀" in (tmp_path / "out/launch.sh").read_text(encoding="utf-8")


def test_our_own_bug_has_its_traceback_where_it_is_asked_for(
    bench: Bench, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(project: object) -> None:
        raise RecursionError("deep")

    monkeypatch.setattr("runner.cli.list.catalogue", broken)
    monkeypatch.setenv("TMPDIR", str(bench.project.root))
    monkeypatch.setattr("tempfile.tempdir", None)
    said = invoke("list")
    assert said.code == 3
    assert "Traceback" not in said.err
    assert "error: this is a bug in the runner: RecursionError: deep" in said.err
    (report,) = bench.project.root.glob("runner-bug-*.txt")
    assert "Traceback" in report.read_text()
    assert str(report) in said.err
    monkeypatch.setenv("RUNNER_DEBUG", "1")
    again = invoke("list")
    assert (again.code, "Traceback" in again.err) == (3, True)


def test_interrupted_while_it_reads(bench: Bench, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(project: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("runner.cli.list.catalogue", interrupted)
    said = invoke("list")
    assert (said.code, said.out) == (130, "")


def test_help_names_every_command(invoke: Invoke) -> None:
    from runner.cli.main import COMMANDS

    said = invoke("--help")
    assert said.code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in said.out
        assert invoke(name, "--help").code == 0
    modules = {
        p.stem.removesuffix("_") for p in (ROOT / "runner/cli").glob("*.py") if "\ndef command(" in p.read_text()
    }
    assert modules == set(COMMANDS), "a command is a module of its name"


def test_version(invoke: Invoke) -> None:
    from runner import __version__

    assert invoke("--version").out == f"runner, version {__version__}\n"
