"""Every rule has a recipe that trips it and one that doesn't; every refusal is compared to the letter.

`UPDATE_EXPECTED=1 pytest tests/recipe/test_rules.py` writes the expected text anew: read each before keeping it.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from runner.diagnostics import Diagnostic, SourceLines, render_text
from runner.project import Project
from runner.recipe.check import check, make_facts
from runner.recipe.compose import compose
from runner.recipe.load import Refused
from runner.recipe.rules import Facts, Rule, all_rules, rules_for

ROOT = Path(__file__).resolve().parents[2]
BAD = sorted((ROOT / "tests" / "bad").glob("*.yaml"))
GOOD = sorted((ROOT / "tests" / "good").glob("*.yaml"))


def diagnose(file: Path) -> list[Diagnostic]:
    try:
        return check(compose(Project(ROOT), file))
    except Refused as refused:
        return refused.diagnostics


def told(diagnostics: list[Diagnostic]) -> str:
    sources = SourceLines()
    return "\n\n".join(render_text(d, sources) for d in diagnostics) + "\n"


@pytest.fixture(autouse=True)
def _from_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("RUNNER_PROJECT", raising=False)
    monkeypatch.delenv("RUNNER_API_KEY", raising=False)


@pytest.mark.parametrize("file", BAD, ids=lambda f: f.stem)
def test_bad_recipe_says_why(file: Path) -> None:
    found = diagnose(file)
    expected = file.with_suffix(".txt")
    if os.environ.get("UPDATE_EXPECTED"):
        expected.write_text(told(found))
    assert told(found) == expected.read_text()
    assert {d.code for d in found} == {file.stem.split("-")[0]}, "one cause, told once"


@pytest.mark.parametrize("file", GOOD, ids=lambda f: f.stem)
def test_good_recipe_is_silent(file: Path) -> None:
    assert told(diagnose(file)) == "\n"


@pytest.mark.parametrize("rule", all_rules(), ids=lambda r: r.code)
def test_rule_has_its_recipes_and_its_reason(rule: Rule) -> None:
    bad = [f for f in BAD if f.stem.startswith(f"{rule.code}-")]
    assert bad, f"tests/bad has no {rule.code}-*.yaml"
    assert any(f.stem.startswith(f"{rule.code}-") for f in GOOD), f"tests/good has no {rule.code}-*.yaml"
    assert len(rule.explanation) > 60
    assert rule.source.startswith("https://")
    assert rule.severity in {d.severity for f in bad for d in diagnose(f)}


def test_codes_are_unique() -> None:
    twice = [code for code, n in Counter(rule.code for rule in all_rules()).items() if n > 1]
    assert twice == []


def test_expected_texts_have_their_recipe() -> None:
    texts = {f.stem for f in (ROOT / "tests" / "bad").glob("*.txt")}
    assert texts == {f.stem for f in BAD}


def test_help_is_always_given() -> None:
    missing = [f"{f.stem}: {d.message}" for f in BAD for d in diagnose(f) if d.code >= "R015" and not d.help]
    assert missing == []


def test_a_refused_value_is_not_taken_for_a_missing_one() -> None:
    """A key of the wrong type is dropped before the rules run; they must not say that it isn't there."""
    doc = compose(Project(ROOT), ROOT / "tests" / "bad" / "R190-no-data.yaml")
    facts = make_facts(doc, "finetune")
    assert codes(facts) == ["R190"]
    assert codes(replace(facts, refused=frozenset({"datasets"}))) == []


def codes(facts: Facts) -> list[str]:
    return [d.code for rule in rules_for("axolotl") for d in rule.check(facts)]
