"""The makefile that chains the recipes, as make reads it; a script stands in for runs and only leaves their mark."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.cli.conftest import Invoke
from tests.conftest import BODY, HEADER, ROOT, Bench

# called as `RUNNER run NAME --profile PROFILE`
STAND_IN = """#!/bin/bash
echo "$2 $4" >> built
mkdir -p "artifacts/$2/$4" && touch "artifacts/$2/$4/done"
"""


@pytest.fixture
def chained(bench: Bench, invoke: Invoke) -> Bench:
    bench.write("sft", HEADER + BODY + "merge: true\n")
    based = (HEADER + BODY).replace("meta-llama/Llama-2-13b-hf", "${needs.s.model}")
    bench.write("reward", based + "needs: {s: sft}\nmerge: true\n")
    bench.write("rlhf", based + "needs: {s: sft, r: reward}\n")
    bench.write("longer", HEADER + "extends: rlhf\nnum_epochs: 3\n")
    tool = bench.project.root / "tool"
    tool.write_text(STAND_IN)
    tool.chmod(0o755)
    graphed(bench, invoke)
    return bench


def graphed(bench: Bench, invoke: Invoke) -> str:
    text = invoke("graph").out
    (bench.project.root / "graph.mk").write_text(text)
    return text


def make(bench: Bench, *arguments: str) -> list[str]:
    """What was built, in order."""
    built = bench.project.root / "built"
    built.unlink(missing_ok=True)
    done = subprocess.run(
        ["make", "-f", "graph.mk", "RUNNER=./tool", *arguments],
        cwd=bench.project.root,
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return built.read_text().splitlines() if built.exists() else []


@pytest.mark.parametrize("jobs", ["-j1", "-j4"])
def test_needs_come_first_and_once(chained: Bench, jobs: str) -> None:
    assert make(chained, jobs, "artifacts/rlhf/smoke/done") == ["sft smoke", "reward smoke", "rlhf smoke"]
    assert make(chained, jobs, "artifacts/rlhf/smoke/done") == []
    assert make(chained, jobs, "artifacts/reward/smoke/done") == []
    assert make(chained, jobs, "artifacts/longer/smoke/done") == ["longer smoke"]
    assert make(chained, jobs, "artifacts/sft/full/done") == ["sft full"]


def test_dry_runs_run_nothing(chained: Bench) -> None:
    assert make(chained, "-n", "artifacts/rlhf/full/done") == []
    assert not chained.project.artifacts.exists()


def test_what_changes_is_built_again_with_what_stands_on_it(chained: Bench) -> None:
    goal = "artifacts/longer/smoke/done"
    make(chained, goal)
    assert make(chained, "-W", "recipes/reward.yaml", "artifacts/sft/smoke/done") == []
    assert make(chained, "-W", "recipes/reward.yaml", goal) == ["reward smoke", "longer smoke"]
    assert make(chained, "-W", "recipes/rlhf.yaml", goal) == ["longer smoke"], "a parent"
    assert make(chained, goal) == []


@pytest.mark.parametrize(
    "source",
    [
        "templates/axolotl/launch.sh.j2",
        "runner/jobs/axolotl_plugin.py",
        "runner/engines/locks/axolotl.txt",
        "data/models/llama.yaml",
        "data/smoke/profile.yaml",
        "data/smoke/engines/axolotl.yaml",
    ],
)
def test_what_we_ship_is_part_of_a_run(chained: Bench, source: str) -> None:
    make(chained, "artifacts/sft/smoke/done")
    shown = os.path.relpath(ROOT / source, chained.project.root)
    assert make(chained, "-W", shown, "artifacts/sft/smoke/done") == ["sft smoke"]


def test_local_data_is_part_of_a_run(bench: Bench, invoke: Invoke) -> None:
    (bench.project.root / "my data.jsonl").write_text("{}\n")
    (bench.project.root / "odd:name").write_text("{}\n")
    text = (HEADER + BODY).replace("path: yahma/alpaca-cleaned", "path: my data.jsonl")
    bench.write(
        "r", text + "test_datasets: [{path: 'odd:name', type: alpaca}, {path: '${project}/my data.jsonl'}, {path: 3}]\n"
    )
    (bench.project.root / "tool").write_text(STAND_IN)
    (bench.project.root / "tool").chmod(0o755)
    assert "odd:name" not in graphed(bench, invoke)
    assert make(bench, "artifacts/r/full/done") == ["r full"]
    assert make(bench, "artifacts/r/full/done") == []
    assert make(bench, "-W", "my data.jsonl", "artifacts/r/full/done") == ["r full"]


def test_a_parent_that_gives_only_something_deep_inside_counts(bench: Bench, invoke: Invoke) -> None:
    bench.write("parent", "trl: {beta: 0.1}\n")
    bench.write("child", HEADER + BODY + "extends: parent\ntrl: {temperature: 1.0}\n")
    line = next(line for line in graphed(bench, invoke).splitlines() if line.startswith("artifacts/child/full/done:"))
    assert " recipes/parent.yaml" in line


def test_a_recipe_that_cannot_be_read_does_not_spoil_the_others(chained: Bench, invoke: Invoke) -> None:
    chained.write("broken", "a: [\n")
    chained.write("kindless", "title: x\n")
    graphed(chained, invoke)
    assert make(chained, "artifacts/sft/full/done") == ["sft full"]
    assert make(chained, "artifacts/broken/full/done") == ["broken full"], "where the run says what is wrong"


def test_out_writes_the_same(chained: Bench, invoke: Invoke) -> None:
    printed = invoke("graph").out
    assert invoke("graph", "--out", "deep/er/graph.mk") == (0, "", "")
    assert (chained.project.root / "deep/er/graph.mk").read_text() == printed
    assert "RECIPES := longer reward rlhf sft\n" in printed


def test_documents_in_a_folder_are_looked_at_each_time(chained: Bench, invoke: Invoke) -> None:
    """Files come and go in it, of which make would know nothing: `runner run` compares."""
    (chained.project.root / "docs").mkdir()
    (chained.project.root / "one.md").write_text("# One")
    text = "recipe: 1\nkind: rag\ntitle: t\nbox: cpu\nsources: [{{path: {}}}]\n"
    chained.write("folder", text.format("docs"))
    chained.write("file", text.format("one.md"))
    graphed(chained, invoke)
    for name, again in (("folder", ["folder full"]), ("file", [])):
        assert make(chained, f"artifacts/{name}/full/done") == [f"{name} full"]
        assert make(chained, f"artifacts/{name}/full/done") == again


def test_a_profile_may_need_other_recipes(bench: Bench, invoke: Invoke) -> None:
    for name in ("large", "small"):
        bench.write(name, HEADER + BODY)
    bench.write("after", HEADER + BODY + "needs: {first: large}\nprofiles: {smoke: {needs: {first: small}}}\n")
    lines = {line.partition(":")[0]: line.split() for line in invoke("graph").out.splitlines()}
    needed = {p: [w for w in lines[f"artifacts/after/{p}/done"] if w.endswith("/done")] for p in ("full", "smoke")}
    assert needed == {"full": ["artifacts/large/full/done"], "smoke": ["artifacts/small/smoke/done"]}
