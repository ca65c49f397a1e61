"""The smoke profile stands in for every recipe, and for what it can't it says so."""

from __future__ import annotations

import pytest

from runner.project import Project
from runner.recipe.compose import compose
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe, resolve
from runner.recipe.smoke import _profile, shrink
from tests.conftest import BODY, HEADER, ROOT, Bench

NAMES = [Project(ROOT).recipe_name(f) for f in Project(ROOT).all_recipes()]


def smoked(project: Project, name: str, *sets: str) -> Recipe:
    doc = compose(project, project.recipe_file(name), profile="smoke", sets=sets)
    return resolve(project, doc, "smoke", lambda recipe, profile: None)


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_has_a_small_form(name: str) -> None:
    recipe = smoked(Project(ROOT), name)
    full = compose(Project(ROOT), Project(ROOT).recipe_file(name))
    assert recipe.box.name == "cpu"
    assert recipe.values["max_steps"] <= 100
    for key in ("adapter", "rl", "deepspeed", "load_in_4bit", "gradient_checkpointing", "lr_scheduler"):
        node = full.keys.get(key)
        assert recipe.values.get(key) == (node.plain() if node else None), (
            f"{key} is what makes this recipe this recipe"
        )
    # nothing may come from a hub
    for item in recipe.values["datasets"]:
        assert item["path"].startswith("/")
    for key in ("base_model", "tokenizer_config"):
        assert str(recipe.values.get(key, "/")).startswith("/")


def test_shrinking_keeps_what_chooses_another_code_path() -> None:
    limits = _profile()["tiny"]
    grouped = shrink(
        {"model_type": "llama", "hidden_size": 8192, "num_attention_heads": 64, "num_key_value_heads": 8}, limits
    )
    assert grouped["num_key_value_heads"] < grouped["num_attention_heads"]
    whole = shrink(
        {"model_type": "llama", "hidden_size": 5120, "num_attention_heads": 40, "num_key_value_heads": 40}, limits
    )
    assert whole["num_key_value_heads"] == whole["num_attention_heads"]
    mixture = shrink({"model_type": "mixtral", "num_local_experts": 16, "num_experts_per_tok": 1}, limits)
    assert (mixture["num_local_experts"], mixture["num_experts_per_tok"]) == (4, 1)


def test_a_recipes_own_wishes_win(bench: Bench) -> None:
    bench.write("r", HEADER + BODY + "profiles: {smoke: {max_steps: 7, learning_rate: 0.5}}\n")
    assert smoked(bench.project, "r").values["max_steps"] == 7
    assert smoked(bench.project, "r").values["learning_rate"] == 0.5
    assert smoked(bench.project, "r", "max_steps=9").values["max_steps"] == 9


def test_an_unknown_architecture_is_told(bench: Bench) -> None:
    bench.write("r", (HEADER + BODY).replace("meta-llama/Llama-2-13b-hf", "somebody/unknown-9b"))
    with pytest.raises(Refused) as caught:
        smoked(bench.project, "r")
    told = caught.value.diagnostics[0]
    assert (told.code, told.span.line) == ("R407", 4)


def test_a_model_in_a_local_folder_is_known_by_its_config(bench: Bench) -> None:
    folder = bench.project.root / "mine"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama", "hidden_size": 4096, "num_attention_heads": 32}')
    bench.write("r", (HEADER + BODY).replace("meta-llama/Llama-2-13b-hf", str(folder)))
    recipe = smoked(bench.project, "r")
    assert recipe.tiny is not None
    assert recipe.tiny.config["model_type"] == "llama"


def test_a_bare_tokenizer_and_a_model_of_one_shape_do_not_share_a_folder(bench: Bench) -> None:
    shape = "{model_type: llama, hidden_size: 5120, intermediate_size: 13824, num_hidden_layers: 40, "
    shape += "num_attention_heads: 40, num_key_value_heads: 40, vocab_size: 32000, max_position_embeddings: 4096, "
    shape += "rms_norm_eps: 1e-5, tie_word_embeddings: false}"
    scratch = f"recipe: 1\nkind: pretrain\ntitle: t\narchitecture: {shape}\nlearning_rate: 1e-4\n"
    bench.write("scratch", scratch + "datasets: [{path: x, type: completion}]\n")
    bench.write("tuned")
    one, two = smoked(bench.project, "scratch").tiny, smoked(bench.project, "tuned").tiny
    assert one is not None
    assert two is not None
    assert one.config == two.config
    assert one.path != two.path
