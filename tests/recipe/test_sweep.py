"""A sweep's design makes the children it should, each a recipe of its own; its mistakes are told at their lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner.cli.common import check_recipe
from runner.diagnostics import Diagnostic
from runner.facts.families import architecture_of
from runner.recipe.compose import compose
from runner.recipe.graph import Library
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe, resolve
from runner.recipe.sweep import Child, children_of
from runner.recipe.sweep.children import step_tokens
from runner.recipe.sweep.design import slug
from tests.conftest import BODY, HEADER, Bench

BASE = """\
recipe: 1
kind: pretrain
title: The base
box: 1xh100
architecture: {model_type: llama, hidden_size: 512, intermediate_size: 1408, num_hidden_layers: 8,
               num_attention_heads: 8, vocab_size: 32000, max_position_embeddings: 1024}
tokenizer_config: some/tokenizer
pretraining_dataset:
  - {path: some/text, split: train, text_column: text, type: pretrain}
sequence_len: 1024
micro_batch_size: 8
gradient_accumulation_steps: 4
max_steps: 1000
save_steps: 100
learning_rate: 1e-3
"""
SWEEP = "recipe: 1\nkind: sweep\ntitle: A sweep\nbase: base\n"
ISOFLOP = """\
isoflop:
  budgets: [1e18, 4e18]
  sizes:
    - architecture: {hidden_size: 256, num_attention_heads: 4}
    - architecture: {hidden_size: 768, num_attention_heads: 12}
      learning_rate: 5e-4
"""


def children(bench: Bench, text: str, profile: str = "full", base: str = BASE) -> list[Child]:
    bench.write("base", base)
    file = bench.write("s", SWEEP + text)
    library = Library(bench.project, profile)
    return children_of(library, compose(bench.project, file, profile=profile))


def refused(bench: Bench, text: str, base: str = BASE) -> Diagnostic:
    with pytest.raises(Refused) as caught:
        children(bench, text, base=base)
    (found,) = caught.value.diagnostics
    return found


def checked(bench: Bench, text: str) -> list[Diagnostic]:
    bench.write("base", BASE)
    return check_recipe(Library(bench.project), bench.write("s", SWEEP + text))[1]


def test_points_are_taken_one_by_one(bench: Bench) -> None:
    low, high = children(
        bench, "points:\n  - {name: low, learning_rate: 1e-4}\n  - {name: high, learning_rate: 1e-2, max_steps: 7}\n"
    )
    assert (low.name, low.doc.name) == ("low", "s/low")
    assert low.doc.plain()["learning_rate"] == 1e-4
    assert low.doc.plain()["max_steps"] == 1000
    assert high.doc.plain()["max_steps"] == 7
    assert "name" not in high.doc.plain()


def test_a_grid_is_every_combination_and_keys_may_be_dotted(bench: Bench) -> None:
    found = children(bench, "grid: {learning_rate: [1e-4, 1e-3], architecture.num_hidden_layers: [2, 4, 6]}\n")
    assert [c.name for c in found][:2] == ["lr0.0001-nhl2", "lr0.0001-nhl4"]
    made = {(c.doc.plain()["learning_rate"], c.doc.plain()["architecture"]["num_hidden_layers"]) for c in found}
    assert made == {(lr, n) for lr in (1e-4, 1e-3) for n in (2, 4, 6)}
    assert all(c.doc.plain()["architecture"]["hidden_size"] == 512 for c in found)


def test_parts_of_a_design_multiply(bench: Bench) -> None:
    found = children(bench, "points: [{name: a}, {name: b, seed: 9}]\ngrid: {max_steps: [20, 40]}\nseeds: [1, 2, 3]\n")
    assert len(found) == len({c.name for c in found}) == 2 * 2 * 3
    assert found[0].name == "a-ms20-seed1"
    assert {c.doc.plain()["seed"] for c in found} == {1, 2, 3}


def test_a_single_seed_is_no_part_of_the_name(bench: Bench) -> None:
    (only,) = children(bench, "points: [{name: a}]\nseeds: [5]\n")
    assert (only.name, only.doc.plain()["seed"]) == ("a", 5)


def test_a_budget_buys_steps(bench: Bench) -> None:
    """6 N D = C, in whole steps of the child's own batch, and the run's end is where it is evaluated and saved."""
    found = children(bench, ISOFLOP)
    assert len(found) == 4
    for child in found:
        plain = child.doc.plain()
        parameters = architecture_of(plain["architecture"]).parameters
        assert child.parameters == parameters
        per_step = 8 * 4 * 1024
        spent = 6 * parameters * plain["max_steps"] * per_step
        assert spent == pytest.approx(child.axes["budget"], abs=3 * parameters * per_step)
        assert plain["save_steps"] == plain["max_steps"]
        assert "eval_steps" not in plain  # the base does not evaluate
    assert found[1].doc.plain()["learning_rate"] == 5e-4
    assert found[0].name == "c1e18-n27.1m"


def test_tokens_per_parameter_leaves_out_what_says_nothing(bench: Bench) -> None:
    every = children(bench, ISOFLOP)
    ratio = sorted(c.axes["budget"] / 6 / (c.parameters or 1) ** 2 for c in every)
    some = children(bench, ISOFLOP + f"  tokens_per_parameter: [{ratio[0] * 1.1}, {ratio[2] * 1.1}]\n")
    assert len(some) == 2
    found = refused(bench, ISOFLOP + "  tokens_per_parameter: [1e6, 1e7]\n")
    assert (found.code, found.span.line) == ("R421", 11)


def test_in_smoke_the_design_wins_over_the_profile_and_set_does_not(bench: Bench) -> None:
    text = "set: {box: 2xh100, sequence_len: 4096}\n"
    text += "grid: {architecture.num_hidden_layers: [1, 2], learning_rate: [0.25]}\n"
    text += "profiles: {smoke: {set: {max_steps: 11}}}\n"
    one, two = children(bench, text, "smoke")
    assert one.staged.plain()["box"] == "cpu"
    assert one.staged.plain()["sequence_len"] == 128
    assert one.staged.plain()["max_steps"] == 11
    assert [c.staged.plain()["architecture"]["num_hidden_layers"] for c in (one, two)] == [1, 2]
    assert one.staged.plain()["learning_rate"] == 0.25
    assert one.staged.plain()["architecture"]["vocab_size"] == 2048
    full = children(bench, text)[0].staged.plain()
    assert (full["box"], full["sequence_len"], full["max_steps"]) == ("2xh100", 4096, 1000)


@pytest.mark.parametrize("profile", ["full", "smoke"])
def test_a_childs_own_file_is_the_child(bench: Bench, tmp_path: Path, profile: str) -> None:
    """Written out and read again it resolves to the same values: that is what runs."""
    from runner.render import to_yaml

    for child in children(
        bench, ISOFLOP.replace("1e18, 4e18", "1e18") + "profiles: {smoke: {isoflop: {budgets: [1e13]}}}\n", profile
    ):
        file = tmp_path / f"{child.name}.yaml"
        file.write_text(to_yaml(child.recipe(profile)))

        def resolved(doc: Any) -> Recipe:
            return resolve(bench.project, doc, profile, lambda r, p: None)

        again = resolved(compose(bench.project, file, profile=profile))
        meant = resolved(child.doc)
        assert again.values == meant.values
        assert again.architecture == meant.architecture
        assert again.box == meant.box


def test_a_sweep_needs_what_its_bases_need(bench: Bench) -> None:
    bench.write("data")
    bench.write("other", BASE + "needs: {more: data}\n")
    bench.write("base", BASE + "needs: {first: data}\n")
    file = bench.write("s", SWEEP + "points: [{name: a}, {name: b, base: other}]\n")
    needs = compose(bench.project, file).plain()["needs"]
    assert needs == {"first": "data", "more": "data"}


def test_what_a_child_does_wrong_is_told_at_the_sweeps_line(bench: Bench) -> None:
    (found,) = checked(bench, "grid: {learning_rate: [1e-3, 1e-4], micro_batch_siez: [4, 8]}\n")
    assert (found.code, found.span.file.endswith("s.yaml"), found.span.line) == ("R004", True, 5)
    assert "did you mean `micro_batch_size`?" in found.label


def test_what_only_the_base_does_wrong_names_the_child(bench: Bench) -> None:
    found = checked(bench, "points: [{name: short, max_steps: 10}]\nset: {warmup_steps: 50}\n")
    assert [d.code for d in found] == ["R181"]
    assert "in the child `short`" not in found[0].notes  # the line is the sweep's own


@pytest.mark.parametrize(
    ("text", "code", "line", "said"),
    [
        ("", "R421", 4, "the sweep has no design"),
        ("points: [{name: a}, {name: A}]\n", "R422", 5, "two children are called `a`"),
        ("points: [{name: a, base: nowhere}]\n", "R420", 5, "`base`: there is no recipe `nowhere`"),
        ("points: [{name: a, base: s}]\n", "R420", 5, "`base`: `s` is a sweep itself"),
        (ISOFLOP.replace("1e18", "1e12"), "R423", 6, "buys 27.1M parameters 0 steps"),
    ],
)
def test_designs_that_make_no_sweep(bench: Bench, text: str, code: str, line: int, said: str) -> None:
    found = refused(bench, text)
    assert (found.code, found.span.line) == (code, line)
    assert said in found.message


def test_a_budget_needs_a_model_to_count(bench: Bench) -> None:
    found = refused(bench, ISOFLOP, base=HEADER + BODY)
    assert found.code == "R423"


def test_a_sweep_checks_as_a_whole(bench: Bench) -> None:
    assert checked(bench, ISOFLOP) == []
    assert [d.code for d in checked(bench, ISOFLOP.replace("sizes", "seizes"))] == ["R006", "R004"]


def test_tokens_of_a_step() -> None:
    values = {"micro_batch_size": 4, "gradient_accumulation_steps": 2, "sequence_len": 100}
    assert step_tokens(values, 2) == 1600
    assert step_tokens({**values, "tensor_parallel_size": 2}, 2) == 800
    assert step_tokens({**values, "pipeline_parallel_size": 2}, 4) == 1600
    assert step_tokens({"per_device_train_batch_size": 12, "sequence_len": 64}, 1) == 768


@pytest.mark.parametrize(("text", "made"), [("1e+18", "1e18"), ("A b/c", "a-b-c"), ("", "x"), ("true", "true")])
def test_names_are_paths(text: str, made: str) -> None:
    assert slug(text) == made
