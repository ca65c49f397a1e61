"""What a pipeline's recipe becomes: DeepSpeed's config, the job's, and the tokens to prepare."""

from __future__ import annotations

from typing import Any

import pytest

from runner.engines.deepspeed_pipeline import context, failure, jobs, ranks, steps
from runner.project import Project
from runner.recipe.compose import compose
from runner.recipe.resolve import Recipe, resolve
from tests.conftest import ROOT


def opened(*sets: str, profile: str = "full") -> Recipe:
    project = Project(ROOT)
    doc = compose(project, project.recipe_file("phase2/parallel-pipeline"), profile=profile, sets=sets)
    return resolve(project, doc, profile, lambda recipe, profile: None)


def rendered(*sets: str, profile: str = "full") -> dict[str, Any]:
    return context(opened(*sets, profile=profile))


def test_one_data_parallel_rank_per_pipeline() -> None:
    config = rendered()["deepspeed"]
    assert config["train_batch_size"] == 8 * 16
    assert (ranks(opened()), ranks(opened("box=8xh100"))) == (2, 8)
    assert rendered("box=8xh100")["deepspeed"]["train_batch_size"] == 4 * 8 * 16


def test_sums_of_gradients_are_in_32_bits() -> None:
    full, wide = rendered()["deepspeed"], rendered("bf16=false")["deepspeed"]
    assert full["bf16"] == {"enabled": True}
    assert full["data_types"] == {"grad_accum_dtype": "fp32"}
    assert full["zero_optimization"]["stage"] == 1
    assert "data_types" not in wide


TEXT = ("prepared=null", "datasets=[{path: HuggingFaceFW/fineweb-edu, name: sample-10BT, split: train, field: text}]")


def test_no_more_text_is_read_than_the_run_goes_through() -> None:
    assert rendered("max_steps=3", *TEXT)["shards"]["tokens"] == 3 * 16 * 8 * 2048 + 1
    given = rendered(*TEXT)["shards"]["sources"][0]
    assert given["field"] == "text"
    assert given["load"] == {"split": "train", "path": "HuggingFaceFW/fineweb-edu", "name": "sample-10BT"}


def test_prepared_shards_are_read_where_they_lie() -> None:
    recipe = opened("prepared=/somewhere/dataset")
    assert context(recipe)["pipeline"]["data"] == "/somewhere/dataset"
    assert context(recipe)["shards"] is None
    assert "text_shards.py" not in jobs(recipe)
    assert [step.name for step in steps(recipe)] == ["train"]


@pytest.mark.parametrize(
    ("name", "schedule"),
    [("linear", "linear"), ("constant", "constant_with_warmup"), ("cosine", "cosine_with_min_lr")],
)
def test_schedules_by_transformers_names(name: str, schedule: str) -> None:
    found = rendered(f"lr_scheduler={name}")["pipeline"]["schedule"]
    assert found["name"] == schedule
    assert found["settings"] == ({"min_lr_rate": 0.1} if name == "cosine" else {})


def test_what_our_jobs_say_comes_before_the_traceback() -> None:
    log = (
        "Traceback (most recent call last):\n  File ...\nshards.BadShards: data/train/0.ds: is missing; prepare again\n"
    )
    assert failure(log) == "BadShards: data/train/0.ds: is missing; prepare again"
    assert failure("[rank0]: RuntimeError: no\n") == "RuntimeError: no"
    assert failure("all is well\n") is None
