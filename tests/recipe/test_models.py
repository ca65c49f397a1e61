"""A model by its name in data/models, by its hub name, or by a folder."""

from __future__ import annotations

import pytest

from runner.facts.models import catalogue, find_model
from runner.recipe.compose import compose
from runner.recipe.resolve import resolve
from tests.conftest import BODY, HEADER, Bench


def base_model(bench: Bench, given: str) -> str:
    file = bench.write("r", (HEADER + BODY).replace("meta-llama/Llama-2-13b-hf", given))
    recipe = resolve(bench.project, compose(bench.project, file), "full", lambda name, profile: None)
    return str(recipe.values["base_model"])


@pytest.mark.parametrize("given", ["llama-2-13b", "meta-llama/Llama-2-13b-hf"])
def test_our_name_becomes_the_hubs(bench: Bench, given: str) -> None:
    assert base_model(bench, given) == "meta-llama/Llama-2-13b-hf"


def test_a_folder_of_the_project_becomes_absolute(bench: Bench) -> None:
    (bench.project.root / "models/mine").mkdir(parents=True)
    assert base_model(bench, "models/mine") == str(bench.project.root / "models/mine")
    assert base_model(bench, "models/yours") == "models/yours"


def test_facts_of_the_shipped_models() -> None:
    """Parameters counted from each config, against what the models' cards say."""
    billions = {
        "llama-2-7b": 6.74,
        "llama-2-13b": 13.02,
        "llama-30b": 32.53,
        "codellama-34b": 33.74,
        "mixtral-8x7b": 46.70,
    }
    for name, said in billions.items():
        c = catalogue()[name].config
        hidden, inner, layers = c["hidden_size"], c["intermediate_size"], c["num_hidden_layers"]
        head = hidden // c["num_attention_heads"]
        attention = 2 * hidden * hidden + 2 * hidden * c["num_key_value_heads"] * head
        experts = c.get("num_local_experts", 1)
        router = hidden * experts if experts > 1 else 0
        each = attention + 3 * hidden * inner * experts + router + 2 * hidden
        total = layers * each + 2 * c["vocab_size"] * hidden + hidden
        assert total / 1e9 == pytest.approx(said, abs=0.01), name


def test_unknown_models_are_none_and_local_ones_are_read(bench: Bench) -> None:
    assert find_model("nobody/nothing") is None
    folder = bench.project.root / "m"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "gpt2", "n_embd": 64, "n_positions": 32}')
    found = find_model(str(folder))
    assert found is not None
    assert (found.model_type, found.hidden_size, found.max_positions) == ("gpt2", 64, 32)
    (folder / "config.json").write_text("[1]")
    assert find_model(str(folder)) is None
