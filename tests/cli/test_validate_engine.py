"""`runner validate --engine` where there is nothing to ask; what the engines answer is in tests/engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Bench

pytestmark = pytest.mark.slow


def test_a_missing_environment_is_told_with_what_builds_it(shipped_bench: Bench, tmp_path: Path) -> None:
    done = shipped_bench.call("validate", "--engine", "phase4/lora-13b", RUNNER_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 1
    assert "error[R823]: the `axolotl` environment is not built, so its validator can't be asked" in done.stderr
    assert "= help: `runner env build axolotl` builds it" in done.stderr
    assert not (tmp_path / "cache").exists()


def test_each_environment_is_told_once_and_engines_without_validators_not_at_all(
    shipped_bench: Bench, tmp_path: Path
) -> None:
    cache = str(tmp_path / "cache")
    done = shipped_bench.call("validate", "--engine", "--format", "json", RUNNER_CACHE=cache)
    found = [d["file"] for d in json.loads(done.stdout)["diagnostics"] if d["code"] == "R823"]
    assert sorted(found) == ["<axolotl environment>", "<llmcompressor environment>", "<vllm environment>"]
    alone = shipped_bench.call("validate", "--engine", "phase1/tokenizers", RUNNER_CACHE=cache)
    assert (alone.returncode, alone.stderr) == (0, "")
    assert "asked the engines' own validators about 0 of 1 recipe" in alone.stdout


def test_recipes_with_errors_are_not_asked_about(bench: Bench, tmp_path: Path) -> None:
    bench.write("bad", "recipe: 1\nkind: finetune\n")
    done = bench.call("validate", "--engine", RUNNER_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 1
    assert "R823" not in done.stderr


def test_strict_makes_warnings_fail(shipped_bench: Bench) -> None:
    sets = ("--set", "evaluation_strategy=steps")
    assert shipped_bench.call("validate", "phase4/lora-13b", *sets).returncode == 0
    strict = shipped_bench.call("validate", "phase4/lora-13b", "--strict", *sets)
    assert strict.returncode == 1
    assert "rename it to `eval_strategy`" in strict.stderr
