"""`extends`, profiles and `--set`: one document, each value with its place."""

from __future__ import annotations

import pytest

from runner.recipe.compose import compose
from runner.recipe.load import Refused
from tests.conftest import BODY, HEADER, Bench


def refused(bench: Bench, name: str, *sets: str, profile: str = "full") -> str:
    with pytest.raises(Refused) as caught:
        compose(bench.project, bench.project.recipe_file(name), profile=profile, sets=sets)
    return caught.value.diagnostics[0].code


def test_a_child_wins_and_places_stay(bench: Bench) -> None:
    bench.write("base")
    bench.write("child", HEADER + "extends: base\nlora_r: 64\ndatasets: [{path: mine, type: alpaca}]\n")
    doc = compose(bench.project, bench.project.recipe_file("child"))
    plain = doc.plain()
    assert plain["lora_r"] == 64
    assert plain["lora_alpha"] == 16
    assert plain["datasets"] == [{"path": "mine", "type": "alpaca"}]
    assert "extends" not in plain
    assert doc.keys["lora_r"].key.file.endswith("child.yaml")
    assert doc.keys["lora_alpha"].key.file.endswith("base.yaml")


def test_mappings_merge(bench: Bench) -> None:
    bench.write("base", HEADER + BODY + "trl: {beta: 0.1, num_generations: 4}\n")
    bench.write("child", HEADER + "extends: base\ntrl: {beta: 0.2}\n")
    doc = compose(bench.project, bench.project.recipe_file("child"))
    assert doc.plain()["trl"] == {"beta": 0.2, "num_generations": 4}


def test_parents_that_are_wrong(bench: Bench) -> None:
    bench.write("lost", HEADER + "extends: nobody\n")
    bench.write("one", HEADER + "extends: two\n")
    bench.write("two", HEADER + "extends: one\n")
    bench.write("self", HEADER + "extends: self\n")
    assert [refused(bench, n) for n in ("lost", "one", "self")] == ["R013"] * 3


def test_set_is_typed_by_the_schema(bench: Bench) -> None:
    file = bench.write("r")
    sets = (
        "lora_r=32",
        "learning_rate=5e-5",
        "wandb_name=16",
        "bf16=true",
        "trl.beta=0.3",
        "lora_target_modules=[a, b]",
    )
    doc = compose(bench.project, file, sets=sets)
    plain = doc.plain()
    assert plain["lora_r"] == 32
    assert plain["learning_rate"] == 5e-5
    assert plain["wandb_name"] == "16"
    assert plain["bf16"] is True
    assert plain["trl"] == {"beta": 0.3}
    assert plain["lora_target_modules"] == ["a", "b"]
    assert doc.keys["lora_r"].key.file == "<--set lora_r=32>"


@pytest.mark.parametrize("text", ["lora_r", "=3", "a..b=1", "lora_r=[1", "datasets.0.path=x"])
def test_set_that_cannot_be_applied(bench: Bench, text: str) -> None:
    bench.write("r")
    assert refused(bench, "r", text) == "R014"


def test_profiles_apply_to_their_own(bench: Bench) -> None:
    file = bench.write("r", HEADER + BODY + "profiles: {smoke: {max_steps: 7}}\n")
    assert "max_steps" not in compose(bench.project, file).plain()
    smoked = compose(bench.project, file, profile="smoke")
    assert smoked.plain()["max_steps"] == 7
    bench.write("bad", HEADER + BODY + "profiles: {smok: {max_steps: 7}}\n")
    assert refused(bench, "bad") == "R008"
