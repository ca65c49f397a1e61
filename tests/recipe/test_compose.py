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
    assert doc.keys["trl"].key.file.endswith("child.yaml")
    inherited = doc.find("trl.num_generations")
    assert inherited is not None
    assert inherited.key.file.endswith("base.yaml")


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


def test_a_chain_of_parents(bench: Bench) -> None:
    bench.write("a", HEADER + BODY + "trl: {beta: 0.1, num_generations: 4}\n")
    bench.write("b", HEADER + "extends: a\nlora_r: 16\ntrl: {beta: 0.2}\n")
    bench.write("c", HEADER.replace("A test", "C") + "extends: b\ntrl: {temperature: 1.0}\n")
    plain = compose(bench.project, bench.project.recipe_file("c")).plain()
    assert (plain["title"], plain["lora_r"]) == ("C", 16)
    assert plain["trl"] == {"beta": 0.2, "num_generations": 4, "temperature": 1.0}


def test_a_child_can_unset(bench: Bench) -> None:
    bench.write("a", HEADER + BODY)
    doc = compose(bench.project, bench.write("b", "extends: a\nadapter:\ntitle: B\n"))
    assert doc.plain()["adapter"] is None


def test_a_parent_that_cannot_be_read_is_told_at_the_parent(bench: Bench) -> None:
    bench.write("a", "x: [\n")
    bench.write("b", HEADER + "extends: a\n")
    with pytest.raises(Refused) as caught:
        compose(bench.project, bench.project.recipe_file("b"))
    (told,) = caught.value.diagnostics
    assert (told.code, told.span.file.endswith("a.yaml")) == ("R002", True)


def test_parents_outside_the_project_are_refused(bench: Bench) -> None:
    for name in ("../../etc/passwd", "/etc/passwd", "$(touch x)"):
        bench.write("r", HEADER + f"extends: {name!r}\n")
        assert refused(bench, "r") == "R013"


def test_where_extends_is_wrong_the_place_is_shown(bench: Bench) -> None:
    bench.write("base")
    bench.write("r", HEADER + "extends: bsae\n")
    with pytest.raises(Refused) as caught:
        compose(bench.project, bench.project.recipe_file("r"))
    (told,) = caught.value.diagnostics
    assert (told.span.line, told.span.column, told.span.width) == (4, 10, 4)
    assert told.help == "did you mean `base`?"


def test_profiles_of_a_parent_and_a_child_merge(bench: Bench) -> None:
    bench.write("a", HEADER + BODY + "profiles: {smoke: {max_steps: 7, lora_r: 2}}\n")
    file = bench.write("b", HEADER + "extends: a\nprofiles: {smoke: {max_steps: 9}, full: {max_steps: 900}}\n")
    smoked = compose(bench.project, file, profile="smoke").plain()
    assert (smoked["max_steps"], smoked["lora_r"]) == (9, 2)
    assert compose(bench.project, file).plain()["max_steps"] == 900
    assert "profiles" not in smoked


@pytest.mark.parametrize("given", ["3", "[smoke]", "{smoke: 3}", "{smoke: [a]}", "{smoke: }"])
def test_profiles_that_are_no_mapping_are_left_for_the_schema(bench: Bench, given: str) -> None:
    file = bench.write("r", HEADER + BODY + f"profiles: {given}\n")
    assert "profiles" in compose(bench.project, file, profile="smoke").plain()


def test_set_wins_over_everything_and_the_last_over_the_first(bench: Bench) -> None:
    file = bench.write("r", HEADER + BODY + "profiles: {smoke: {lora_r: 2}}\n")
    sets = ("lora_r=3", "trl.beta=0.5", "trl.temperature=2", "lora_r=4", "num_epochs=", "bf16=null")
    doc = compose(bench.project, file, profile="smoke", sets=sets)
    plain = doc.plain()
    assert plain["lora_r"] == 4
    assert plain["trl"] == {"beta": 0.5, "temperature": 2}
    assert plain["num_epochs"] is None
    assert plain["bf16"] is None
    assert doc.wishes is not None
    assert doc.wishes.plain()["lora_r"] == 4


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("16", "16"),
        ("1e-5", "1e-5"),
        ("true", "true"),
        ("a: b", "a: b"),
        ("{{ messages }}", "{{ messages }}"),
        ("[INST] x", "[INST] x"),
        ("'quoted'", "quoted"),
        ("x=y", "x=y"),
        ("  padded  ", "padded"),
    ],
)
def test_text_is_taken_as_it_stands_where_the_key_takes_text(bench: Bench, given: str, value: str) -> None:
    doc = compose(bench.project, bench.write("r"), sets=(f"chat_template_jinja={given}",))
    assert doc.plain()["chat_template_jinja"] == value


def test_text_inside_of_a_mapping_too(bench: Bench) -> None:
    file = bench.write("r")
    doc = compose(bench.project, file, sets=("needs.sft=3", "special_tokens.pad_token=1", "trl.beta=1", "a.²=3"))
    assert doc.plain()["needs"] == {"sft": "3"}
    assert doc.plain()["special_tokens"] == {"pad_token": "1"}
    assert doc.plain()["trl"] == {"beta": 1}
    assert doc.plain()["a"] == {"²": 3}


@pytest.mark.parametrize(
    "text",
    [
        "extends=other",
        "profiles.smoke.max_steps=3",
        "max_steps=3\nlora_r: 9",
        "lora_r=3\nlora_r: 9",
        "",
        "=",
        ".",
    ],
)
def test_set_says_when_it_would_change_nothing(bench: Bench, text: str) -> None:
    bench.write("r")
    assert refused(bench, "r", text) == "R014"


def test_a_file_that_lies_elsewhere(bench: Bench) -> None:
    file = bench.project.root / "mine.yaml"
    file.write_text(HEADER + "extends: base\n")
    bench.write("base")
    doc = compose(bench.project, file)
    assert doc.name == "mine"
    assert doc.plain()["lora_r"] == 8
