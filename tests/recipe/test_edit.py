"""Settings go into a recipe's text at their keys, and nothing else in it moves."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import pytest

from runner import project as project_module
from runner.project import Project
from runner.recipe import edit
from runner.recipe.compose import compose
from runner.recipe.edit import edited, write, written
from runner.recipe.load import Refused, parse
from tests.conftest import ROOT, Bench

TEXT = """\
# what it teaches
recipe: 1
kind: rlhf
title: 'It''s "quoted"'   # and commented

base_model: "example/base"
micro_batch_size: 8            # as many as fit
learning_rate: 5e-6
gradient_checkpointing_kwargs:   # why
  # inside
  use_reentrant: false

trl:
  beta:   0.04
  num_generations: 8   # per prompt

  max_completion_length: 256
vllm: {gpu_memory_utilization: 0.3}
special_tokens:
datasets:
- path: a
  type: x

# the end
"""


def changed(text: str, settings: dict[str, Any]) -> list[str]:
    """Lines taken out and put in."""
    after = edited(text, "r.yaml", settings)
    return [line for line in difflib.ndiff(text.splitlines(), after.splitlines()) if line[0] in "+-"]


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        (
            {"micro_batch_size": 4},
            ["- micro_batch_size: 8            # as many as fit", "+ micro_batch_size: 4            # as many as fit"],
        ),
        ({"base_model": "example/other"}, ['- base_model: "example/base"', '+ base_model: "example/other"']),
        (
            {"title": "It's another"},
            ["- title: 'It''s \"quoted\"'   # and commented", "+ title: 'It''s another'   # and commented"],
        ),
        (
            {"trl.num_generations": 4},
            ["-   num_generations: 8   # per prompt", "+   num_generations: 4   # per prompt"],
        ),
        ({"trl.use_vllm": True}, ["+   use_vllm: true"]),
        (
            {"vllm.max_model_len": 2048},
            [
                "- vllm: {gpu_memory_utilization: 0.3}",
                "+ vllm: {gpu_memory_utilization: 0.3, max_model_len: 2048}",
            ],
        ),
        ({"special_tokens": {"pad_token": "<unk>"}}, ["- special_tokens:", '+ special_tokens: {pad_token: "<unk>"}']),
        ({"special_tokens.pad_token": "</s>"}, ["- special_tokens:", '+ special_tokens: {pad_token: "</s>"}']),
        ({"fsdp_config.reshard_after_forward": True}, ["+ fsdp_config:", "+   reshard_after_forward: true"]),
        (
            {"gradient_checkpointing_kwargs": None},
            [
                "- gradient_checkpointing_kwargs:   # why",
                "-   use_reentrant: false",
                "+ gradient_checkpointing_kwargs: null   # why",
            ],
        ),
        ({"micro_batch_size": 8, "trl.beta": 0.04}, []),
    ],
)
def test_only_the_keys_lines_change(settings: dict[str, Any], lines: list[str]) -> None:
    assert sorted(changed(TEXT, settings)) == sorted(lines)


def test_a_new_key_stands_below_the_one_it_goes_with() -> None:
    after = edited(TEXT, "r.yaml", {"micro_batch_size": 4, "gradient_accumulation_steps": 2, "lora_r": 16})
    lines = after.splitlines()
    at = lines.index("micro_batch_size: 4            # as many as fit")
    assert lines[at + 1 : at + 3] == ["gradient_accumulation_steps: 2", "lora_r: 16"]


def test_a_new_key_alone_stands_below_all_others_before_what_closes_the_file() -> None:
    lines = edited(TEXT, "r.yaml", {"optimizer": "adamw_8bit"}).splitlines()
    assert lines[-4:] == ["  type: x", "optimizer: adamw_8bit", "", "# the end"]
    assert edited("recipe: 1", "r.yaml", {"seed": 3}) == "recipe: 1\nseed: 3"


def test_line_ends_stay() -> None:
    after = edited(TEXT.replace("\n", "\r\n"), "r.yaml", {"micro_batch_size": 4, "seed": 1})
    assert after.count("\r\n") == after.count("\n") == TEXT.count("\n") + 1


@pytest.mark.slow
def test_every_shipped_recipe_can_be_edited_without_moving_a_line() -> None:
    for file in Project(ROOT).all_recipes():
        text = file.read_text()
        settings = {"micro_batch_size": 77, "gradient_accumulation_steps": 3, "optimizer": "lion_8bit"}
        lines = changed(text, settings)
        assert len([line for line in lines if line[0] == "+"]) == 3, file
        kept = {line.split(":")[0][2:] for line in lines if line[0] == "-"}
        assert kept <= set(settings), file


@pytest.mark.parametrize(
    "value",
    [
        "no",
        "1e-4",
        "null",
        "~",
        "a: b",
        "a #b",
        "",
        " x",
        "[x]",
        "{x}",
        "'",
        '"',
        "x\ny",
        "é",
        "*a",
        "&a",
        "zero3",
        "a,b",
    ],
)
@pytest.mark.parametrize("style", [None, "'", '"'])
def test_written_text_reads_back(value: str, style: str | None) -> None:
    for shape in (value, [value, 1], {"k": value}):
        assert parse(f"v: {written(shape, style)}\n", "f", "n").plain() == {"v": shape}


@pytest.mark.parametrize(
    "text",
    [
        "micro_batch_size: &n 4\neval_batch_size: *n\n",
        "eval_batch_size: &n 4\nmicro_batch_size: *n\n",
        "a: &d {x: 1}\nmicro_batch_size: *d\n",
    ],
)
def test_what_stands_behind_an_anchor_is_left_to_its_owner(text: str) -> None:
    with pytest.raises(Refused) as caught:
        edited(text, "r.yaml", {"micro_batch_size": 2})
    (told,) = caught.value.diagnostics
    assert told.code == "R205"
    assert told.help == "write `micro_batch_size: 2` by hand"


def test_write_changes_the_file_and_shows_what(bench: Bench) -> None:
    file = bench.write("r", TEXT)
    file.chmod(0o640)
    diff = write(bench.project, file, {"micro_batch_size": 4, "gradient_accumulation_steps": 2, "nothing": None})
    assert [line for line in diff.splitlines() if line[0] in "+-"][2:] == [
        "-micro_batch_size: 8            # as many as fit",
        "+micro_batch_size: 4            # as many as fit",
        "+gradient_accumulation_steps: 2",
    ]
    assert "gradient_accumulation_steps: 2\nlearning_rate: 5e-6\n" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o640
    assert write(bench.project, file, {"micro_batch_size": 4}) == ""
    assert [p.name for p in file.parent.iterdir()] == ["r.yaml"]


def test_inherited_keys_are_added_to_the_recipes_own_file(bench: Bench) -> None:
    parent = bench.write("parent", TEXT)
    child = bench.write("child", "extends: parent\nlora_r: 8   # small\n")
    write(
        bench.project, child, {"micro_batch_size": 4, "trl.num_generations": 4, "gradient_checkpointing_kwargs": None}
    )
    assert parent.read_text() == TEXT
    assert child.read_text() == (
        "extends: parent\nlora_r: 8   # small\nmicro_batch_size: 4\ntrl:\n  num_generations: 4\n"
        "gradient_checkpointing_kwargs: null\n"
    )
    keys = compose(bench.project, child).plain()
    assert keys["trl"] == {"beta": 0.04, "num_generations": 4, "max_completion_length": 256}
    assert keys["gradient_checkpointing_kwargs"] is None


def test_what_the_full_profile_sets_is_changed_there(bench: Bench) -> None:
    file = bench.write("r", "recipe: 1\nmicro_batch_size: 2\nprofiles:\n  full: {micro_batch_size: 8}\n")
    write(bench.project, file, {"micro_batch_size": 4})
    assert file.read_text() == "recipe: 1\nmicro_batch_size: 2\nprofiles:\n  full: {micro_batch_size: 4}\n"


def test_a_parents_profile_stands_in_the_way_and_nothing_is_written(bench: Bench) -> None:
    bench.write("parent", "recipe: 1\nprofiles:\n  full: {micro_batch_size: 8}\n")
    child = bench.write("child", "extends: parent\n")
    with pytest.raises(Refused) as caught:
        write(bench.project, child, {"micro_batch_size": 4})
    assert [d.code for d in caught.value.diagnostics] == ["R205"]
    assert child.read_text() == "extends: parent\n"
    assert sorted(p.name for p in child.parent.iterdir()) == ["child.yaml", "parent.yaml"]


def test_what_came_with_the_runner_is_never_changed(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edit, "PACKAGE", tmp_path)
    file = tmp_path / "_shipped" / "recipes" / "r.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(TEXT)
    with pytest.raises(Refused) as caught:
        write(bench.project, file, {"micro_batch_size": 4})
    assert caught.value.diagnostics[0].help == "`runner new NAME --from RECIPE` makes a copy that can be"
    assert file.read_text() == TEXT
    assert tmp_path != project_module.PACKAGE
