"""References and paths filled in, header and engine keys apart, upstream runs found."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.project import shipped
from runner.recipe.compose import compose
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe, refuse_missing, resolve
from tests.conftest import BODY, HEADER, Bench

DPO = """\
recipe: 1
kind: dpo
title: A test
week: 3
needs: {sft: phase4/sft}
base_model: ${needs.sft.model}
tokenizer_config: ${needs.sft.adapter}
rl: dpo
learning_rate: 1e-5
datasets: [{path: x, type: chatml.ultra}]
"""


def resolved(bench: Bench, text: str, profile: str = "full", run: Path | None = None, *sets: str) -> Recipe:
    doc = compose(bench.project, bench.write("phase4/r", text), profile=profile, sets=sets)
    return resolve(bench.project, doc, profile, lambda recipe, profile: run)


@pytest.fixture
def chain(bench: Bench) -> Bench:
    bench.write("phase4/sft", HEADER + BODY + "merge: true\n")
    return bench


def test_the_engine_sees_its_own_keys_only(bench: Bench) -> None:
    recipe = resolved(bench, HEADER + BODY + "week: 3\nbox: cpu\nmerge: true\nallow: [pickle]\nwandb_name:\n")
    assert set(recipe.values) == {line.split(":")[0] for line in BODY.splitlines() if line[0] not in " -"}
    assert (recipe.kind, recipe.engine, recipe.profile, recipe.title) == ("finetune", "axolotl", "full", "A test")
    assert (recipe.box.name, recipe.merge, recipe.tiny, recipe.architecture) == ("cpu", True, None, None)
    assert recipe.model is not None
    assert recipe.model.hidden_size == 5120


def test_the_box_when_none_is_named(bench: Bench) -> None:
    assert resolved(bench, HEADER + BODY).box.name == "2xh100"
    assert resolved(bench, HEADER + BODY, "smoke").box.name == "cpu"


def test_a_reference_is_the_path_of_the_run_that_was_found(chain: Bench, tmp_path: Path) -> None:
    recipe = resolved(chain, DPO, "full", tmp_path / "run")
    assert recipe.values["base_model"] == str(tmp_path / "run/output/merged")
    assert recipe.values["tokenizer_config"] == str(tmp_path / "run/output")
    (up,) = recipe.upstreams
    assert (up.alias, up.recipe, up.run) == ("sft", "phase4/sft", tmp_path / "run")
    assert recipe.missing == []
    refuse_missing(recipe)


@pytest.mark.parametrize("profile", ["full", "smoke"])
def test_a_need_that_has_not_run_has_the_place_where_it_will_be(chain: Bench, profile: str) -> None:
    recipe = resolved(chain, DPO, profile)
    latest = chain.project.artifacts / "phase4/sft" / profile / "latest"
    assert recipe.values["base_model"] == str(latest / "output/merged")
    with pytest.raises(Refused) as caught:
        refuse_missing(recipe)
    (told,) = caught.value.diagnostics
    assert (told.code, told.span.line) == ("R410", 5)
    assert told.help.startswith(f"`make recipe R=phase4/r{' PROFILE=smoke' if profile == 'smoke' else ''}`")


def test_the_architecture_comes_from_where_the_chain_starts(chain: Bench) -> None:
    chain.write(
        "phase4/middle", DPO.replace("tokenizer_config: ${needs.sft.adapter}\n", "adapter: lora\nmerge: true\n")
    )
    text = DPO.replace("phase4/sft", "phase4/middle").replace("tokenizer_config: ${needs.sft.adapter}\n", "")
    recipe = resolved(chain, text)
    assert recipe.model is not None
    assert recipe.model.name == "llama-2-13b"


def test_paths_of_the_project_and_of_shipped_data(bench: Bench) -> None:
    (bench.project.root / "mine").mkdir()
    (bench.project.root / "mine/rows.jsonl").write_text("{}\n")
    text = (HEADER + BODY).replace("path: yahma/alpaca-cleaned", "path: mine/rows.jsonl")
    text += "test_datasets: [{path: '${data}/smoke/chat.jsonl', type: alpaca}, {path: '${project}/mine/rows.jsonl'}]\n"
    text += "wandb_project: mine\nhub_model_id: ${project}\n"
    values = resolved(bench, text).values
    assert values["datasets"][0]["path"] == str(bench.project.root / "mine/rows.jsonl")
    assert [d["path"] for d in values["test_datasets"]] == [
        str(shipped("data") / "smoke/chat.jsonl"),
        str(bench.project.root / "mine/rows.jsonl"),
    ]
    assert values["wandb_project"] == "mine", "a name that happens to be a folder's"


def test_a_local_model_is_known_from_any_working_folder(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = bench.project.root / "models/mine"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama", "hidden_size": 2048, "num_attention_heads": 16}')
    text = (HEADER + BODY).replace("meta-llama/Llama-2-13b-hf", "models/mine")
    for where in (bench.project.root, bench.project.recipes):
        monkeypatch.chdir(where)
        recipe = resolved(bench, text)
        assert recipe.values["base_model"] == str(folder)
        assert recipe.model is not None
        assert recipe.model.hidden_size == 2048


@pytest.mark.parametrize("name", ["a" * 300, "x/" * 400, "../../x", "~", ".", "a b", "é"])
def test_names_of_models_that_are_no_path(bench: Bench, name: str) -> None:
    text = (HEADER + BODY).replace("meta-llama/Llama-2-13b-hf", f'"{name}"')
    recipe = resolved(bench, text)
    assert recipe.values["base_model"]


def test_outputs_follow_adapter_and_merge(bench: Bench) -> None:
    def outputs(text: str) -> list[tuple[str, str, str]]:
        return [(o.name, o.type, o.path) for o in resolved(bench, text).outputs]

    full = BODY.replace("adapter: lora\n", "")
    assert outputs(HEADER + BODY) == [("adapter", "adapter", "output")]
    assert outputs(HEADER + BODY + "merge: true\n") == [
        ("adapter", "adapter", "output"), ("model", "model", "output/merged")
    ]  # fmt: skip
    assert outputs(HEADER + BODY + "merge: false\n") == [("adapter", "adapter", "output")]
    assert outputs(HEADER + full) == [("model", "model", "output")]
    reward = (HEADER + BODY).replace("kind: finetune", "kind: reward")
    assert [t for _, t, _ in outputs(reward + "merge: true\n")] == ["adapter", "reward-model"]


def test_values_that_are_null_deep_inside_are_not_there(bench: Bench) -> None:
    recipe = resolved(bench, HEADER + BODY + "trl: {beta: 0.1, temperature: }\n")
    assert recipe.values["trl"] == {"beta": 0.1}
