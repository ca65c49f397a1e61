"""The list of lm-eval's tasks is the pinned one's; tasks of one's own are read from their files."""

from __future__ import annotations

from pathlib import Path

from runner.engines.locks import FOLDER
from runner.project import shipped
from runner.recipe.lm_eval_tasks import known_tasks, spelt_out, task_sets
from runner.recipe.local_tasks import find_task, runs_code, tasks_in


def test_the_list_is_of_the_pinned_version() -> None:
    head = (shipped("data") / "lm_eval_tasks.txt").read_text().splitlines()[0]
    assert f"lm_eval=={head.split()[2].rstrip(';')}" in (FOLDER / "llmcompressor.txt").read_text().splitlines()


def test_sets_name_tasks_that_there_are() -> None:
    for name, tasks in task_sets().items():
        assert name not in known_tasks()
        assert set(tasks) <= set(known_tasks())


def test_what_tasks_ask() -> None:
    known = known_tasks()
    assert known["hellaswag"].asks == {"multiple_choice"}
    assert known["openllm"].asks == {"multiple_choice", "generate_until"}
    assert (known["humaneval"].unsafe, known["mbpp_plus_instruct"].unsafe, known["ifeval"].unsafe) == (
        True,
        True,
        False,
    )
    assert spelt_out(["code", "mbpp", "mmlu"]) == ["humaneval", "mbpp", "mmlu"]


def test_tasks_of_ones_own() -> None:
    folder = shipped("data") / "smoke" / "tasks"
    assert set(tasks_in(folder)) == {"smoke_answers", "smoke_choices", "smoke_code"}
    assert runs_code("smoke_code", folder)
    assert runs_code(str(folder / "smoke_code.yaml"), None)
    assert not runs_code("smoke_answers", folder)
    assert find_task("smoke_answers", None) is None


def test_a_file_has_what_it_includes(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("task: base\noutput_type: multiple_choice\nunsafe_code: true\n")
    (tmp_path / "own.yaml").write_text("include: base.yaml\ntask: own # mine\nfn: !function x.y\n")
    assert tasks_in(tmp_path)["own"].asks == {"multiple_choice"}
    assert runs_code("own", tmp_path)
