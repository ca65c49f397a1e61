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


def test_a_recipe_that_needs_itself(bench: Bench) -> None:
    bench.write("a", HEADER + BODY + "needs: {me: a}\n")
    (told,) = found(bench, "a")
    assert (told.code, told.notes) == ("R402", ("a -> a",))
    assert (told.span.line, told.span.column, told.span.width) == (16, 13, 1)


def test_a_circle_among_others_is_their_own_fault(bench: Bench) -> None:
    bench.write("a", HEADER + BODY + "needs: {x: b}\n")
    bench.write("b", HEADER + BODY + "needs: {x: c}\n")
    bench.write("c", HEADER + BODY + "needs: {x: b}\n")
    assert found(bench, "a") == []


def test_many_ways_to_the_same_need_are_walked_once(bench: Bench) -> None:
    bench.write("r0")
    for i in range(1, 40):
        bench.write(f"r{i}", HEADER + BODY + f"needs: {{x: r{i - 1}, y: r{i - 1}, z: r{i - 1}}}\n")
    assert found(bench, "r39") == []


@pytest.mark.parametrize("header", ["recipe: 1\ntitle: x\n", "recipe: 1\ntitle: x\nkind: bananas\n"])
def test_a_need_without_a_kind(bench: Bench, header: str) -> None:
    bench.write("sft", header)
    bench.write("dpo", DPO.format(base="${needs.sft.model}", need="sft"))
    (told,) = found(bench, "dpo")
    assert (told.code, told.span.line) == ("R401", 4)
    assert told.help == "`runner validate sft` shows what is wrong with it"


def test_a_need_is_a_name_and_no_path(bench: Bench) -> None:
    (told,) = dpo(bench, "${needs.sft.model}", need='"../x;touch y"')
    assert told.code == "R401"


def test_an_alias_without_any_needs(bench: Bench) -> None:
    bench.write("r", (HEADER + BODY).replace("meta-llama/Llama-2-13b-hf", "${needs.sft.model}"))
    (told,) = found(bench, "r")
    assert (told.code, told.help) == ("R403", "add `needs: {sft: RECIPE}`")


@pytest.mark.parametrize(
    "value",
    [
        "${needs.sft.model}/x",
        "${needs.sft.model}${needs.sft.model}",
        "${data}${needs.sft.model}",
        "a ${needs.sft.model}",
    ],
)
def test_a_reference_stands_alone(bench: Bench, value: str) -> None:
    (told,) = dpo(bench, value)
    assert told.code == "R406"


def test_text_that_is_no_reference_is_left_alone(bench: Bench) -> None:
    bench.write("sft", HEADER + BODY + "merge: true\n")
    text = DPO.format(base="${needs.sft.model}", need="sft")
    bench.write("dpo", text + "wandb_name: costs 5$ {x}\ndataset_prepared_path: ${data}/a/${project}\n")
    assert found(bench, "dpo") == []


@pytest.mark.parametrize(
    ("key", "output", "code"),
    [
        ("lora_model_dir: ${needs.sft.adapter}", None, None),
        ("lora_model_dir: ${needs.sft.model}", "use `${needs.sft.adapter}`", "R405"),
        ("tokenizer_config: ${needs.sft.adapter}", None, None),
        ("test_datasets: [{path: '${needs.sft.model}', type: alpaca}]", "need a recipe that leaves one", "R405"),
        ("trl: {reward_funcs: ['${needs.sft.model}']}", "need a recipe that leaves one", "R405"),
    ],
)
def test_each_key_takes_its_own_type_of_artifact(bench: Bench, key: str, output: str | None, code: str | None) -> None:
    bench.write("sft", HEADER + BODY + "merge: true\n")
    bench.write("r", HEADER + BODY + f"needs: {{sft: sft}}\n{key}\n")
    told = found(bench, "r")
    assert [(t.code, t.help) for t in told] == ([(code, output)] if code else [])


QUANTIZE = (
    "recipe: 1\nkind: quantize\ntitle: A test\nscheme: {}\nheld_out: {{path: x/y}}\nneeds: {{base: {}}}\nmodel: {}\n"
)


@pytest.mark.parametrize(
    ("need", "merge", "output", "help"),
    [
        ("sft", True, "model", None),
        ("sft", True, "adapter", "use `${needs.base.model}`"),
        ("sft", False, "adapter", "set `merge: true` in `sft` and use `${needs.base.model}`"),
        ("fp8", True, "model", "need what `fp8` quantizes, which is whole"),
    ],
)
def test_only_a_whole_model_is_quantized(bench: Bench, need: str, merge: bool, output: str, help: str | None) -> None:
    bench.write("sft", HEADER + BODY + ("merge: true\n" if merge else ""))
    bench.write("fp8", QUANTIZE.format("FP8_DYNAMIC", "sft", "${needs.base.model}"))
    bench.write("r", QUANTIZE.format("int8", need, f"${{needs.base.{output}}}"))
    told = found(bench, "r")
    assert [(t.code, t.help) for t in told] == ([("R405", help)] if help else [])
