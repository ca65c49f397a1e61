"""The README is true: its generated parts are as the generator writes them, and its example diagnostic is real."""

from __future__ import annotations

from runner.project import Project
from runner.report.readme import blocks, fill
from tests.conftest import ROOT, Bench

README = (ROOT / "README.md").read_text()


def test_the_generated_parts_are_current() -> None:
    assert fill(README, blocks(Project(ROOT))) == README, "run `make readme`"


def test_the_example_of_a_mistake_is_what_one_gets(shipped_bench: Bench) -> None:
    source = shipped_bench.project.recipe_file("phase4/dpo-13b").read_text()
    shipped_bench.write("phase4/my-dpo", source.replace("lora_dropout", "lora_dropuot"))
    done = shipped_bench.call("validate", "phase4/my-dpo")
    assert done.returncode == 1
    told = done.stderr.split("\n\n")[0]
    assert told in README


def test_the_plan_shown_is_what_one_gets(shipped_bench: Bench) -> None:
    done = shipped_bench.call("plan", "phase4/dpo-13b")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"```text\n$ runner plan phase4/dpo-13b\n{done.stdout}```" in README


def test_the_plan_that_does_not_fit_is_too(shipped_bench: Bench) -> None:
    done = shipped_bench.call("plan", "phase1/gpt-1b", "--box", "1xa100-40")
    assert done.returncode == 1
    assert f"$ runner plan phase1/gpt-1b --box 1xa100-40 > /dev/null\n{done.stderr.rstrip()}\n```" in README


def test_the_two_commands_are_makes() -> None:
    assert "make recipe R=phase4/dpo-13b PROFILE=smoke" in README
    assert (ROOT / ".ci/run").read_text().rstrip().endswith("make test")
