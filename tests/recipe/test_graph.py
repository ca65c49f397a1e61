"""`needs` and what is asked of them."""

from __future__ import annotations

import pytest

from runner.diagnostics import Diagnostic
from runner.recipe.compose import compose
from runner.recipe.graph import Library, check_needs
from tests.conftest import BODY, HEADER, Bench

DPO = """\
recipe: 1
kind: dpo
title: A test
needs: {{sft: {need}}}
base_model: {base}
rl: dpo
learning_rate: 1e-5
datasets: [{{path: x, type: chatml.ultra}}]
"""


def found(bench: Bench, name: str) -> list[Diagnostic]:
    doc = compose(bench.project, bench.project.recipe_file(name))
    return list(check_needs(Library(bench.project), doc))


def dpo(bench: Bench, base: str, need: str = "sft", *, merge: bool = True) -> list[Diagnostic]:
    bench.write("sft", HEADER + BODY + ("merge: true\n" if merge else ""))
    bench.write("dpo", DPO.format(base=base, need=need))
    return found(bench, "dpo")


def test_all_well(bench: Bench) -> None:
    assert dpo(bench, "${needs.sft.model}") == []


@pytest.mark.parametrize(
    ("base", "merge", "code", "help"),
    [
        ("${needs.stf.model}", True, "R403", "use `sft`"),
        ("${needs.sft.model}", False, "R404", "set `merge: true` in `sft`, so that it leaves a whole model"),
        ("${needs.sft.table}", True, "R404", "use one of these"),
        ("${needs.sft.adapter}", True, "R405", "use `${needs.sft.model}`"),
        ("${needs.sft.adapter}", False, "R405", "set `merge: true` in `sft` and use `${needs.sft.model}`"),
        ("${needs.sft}", True, "R406", "for instance `${needs.sft.model}`, alone in its value"),
        ("${HOME}/x", True, "R406", "for instance `${needs.sft.model}`, alone in its value"),
    ],
)
def test_what_is_asked_and_not_there(bench: Bench, base: str, merge: bool, code: str, help: str) -> None:
    (told,) = dpo(bench, base, merge=merge)
    assert (told.code, told.help) == (code, help)
    assert (told.span.line, told.span.column) == (5, 13)


def test_needs_that_lead_nowhere(bench: Bench) -> None:
    told = dpo(bench, "${needs.sft.model}", need="stf")
    assert [t.code for t in told] == ["R401"]
    assert told[0].help == "did you mean `sft`?"
    assert told[0].span.line == 4


def test_needs_in_a_circle(bench: Bench) -> None:
    bench.write("a", HEADER + BODY + "needs: {x: b}\n")
    bench.write("b", HEADER + BODY + "needs: {x: c}\n")
    bench.write("c", HEADER + BODY + "needs: {x: a}\n")
    (told,) = found(bench, "a")
    assert told.code == "R402"
    assert told.notes == ("a -> b -> c -> a",)


def test_a_need_that_is_broken_itself(bench: Bench) -> None:
    bench.write("bad", "a: [\n")
    bench.write("r", HEADER + BODY + "needs: {x: bad}\n")
    (told,) = found(bench, "r")
    assert told.code == "R401"
    assert "R002" in told.notes[0]
