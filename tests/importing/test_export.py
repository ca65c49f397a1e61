"""`runner export`: a config that PyYAML reads as Axolotl's keys, and from which import makes the same recipe."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from runner.importing.axolotl import translate
from runner.importing.export import exported
from runner.importing.kind import axolotl_kinds
from runner.importing.read import read
from runner.project import Project
from runner.recipe.compose import compose
from runner.recipe.graph import Library
from runner.recipe.kinds import header_keys
from runner.recipe.load import Refused, parse
from runner.recipe.resolve import Recipe, resolve
from tests.cli.conftest import Invoke, invoke
from tests.conftest import ROOT, Bench, recipes_of

__all__ = ["invoke"]
SHIPPED = recipes_of("axolotl")


def opened(name: str, profile: str = "full", sets: tuple[str, ...] = ()) -> tuple[Recipe, str]:
    project = Project(ROOT)
    file = project.recipe_file(name)
    library = Library(project, profile)
    doc = compose(project, file, profile=profile, sets=sets)
    return resolve(project, doc, profile, lambda *_: None, library=library), file.read_text()


def again(text: str, folder: Path) -> str:
    file = folder / "config.yaml"
    file.write_text(text)
    return translate(read(file), ROOT).text


@pytest.mark.parametrize("name", SHIPPED)
def test_import_of_an_export_is_the_recipe(name: str, tmp_path: Path) -> None:
    recipe, source = opened(name)
    files, _ = exported(recipe, source)
    config = yaml.safe_load(files[""])
    assert not header_keys() & config.keys()
    assert "${" not in str({k: v for k, v in config.items() if not k.startswith("chat_template")})
    whole = again(files[""], tmp_path)
    assert parse(whole, "x", name).plain() == recipe.doc.plain()
    if "extends:" not in source and "profiles:" not in source:
        assert whole == source, "comments, quotes and layout too"


@pytest.mark.parametrize("name", SHIPPED)
def test_what_axolotl_reads_is_what_a_run_gives_it(name: str) -> None:
    """Less what only the runner's runs have; PyYAML reads the numbers as numbers."""
    from runner.engines.axolotl import context

    recipe, source = opened(name)
    config = yaml.safe_load(exported(recipe, source)[0][""])
    rendered = context(recipe)["config"]
    ours = {"plugins", "output_dir", "dataset_prepared_path", "auto_resume_from_checkpoints"}
    ours |= {"base_model", "deepspeed", "reinit_weights", "prepared"}
    given = {key: value for key, value in config.items() if value is not None}
    assert {k: v for k, v in given.items() if k not in ours} == {k: v for k, v in rendered.items() if k not in ours}
    if "deepspeed" in rendered:
        assert config["deepspeed"] == context(recipe)["deepspeed"]


def test_another_box_and_profile_survive_too(tmp_path: Path) -> None:
    recipe, source = opened("phase2/zero3-13b", sets=("box=8xh100", "lora_r=4"))
    text = exported(recipe, source)[0][""]
    batch = yaml.safe_load(text)["deepspeed"]["train_batch_size"]
    assert batch == 8 * recipe.values["micro_batch_size"] * recipe.values["gradient_accumulation_steps"]
    assert parse(again(text, tmp_path), "x", "x").plain() == recipe.doc.plain()
    smoked, source = opened("phase4/sft-13b", "smoke")
    files, found = exported(smoked, source)
    assert parse(again(files[""], tmp_path), "x", "x").plain() == smoked.doc.plain()
    assert any("tiny model" in d.message for d in found)


def test_an_architecture_lies_beside_the_config() -> None:
    recipe, source = opened("phase1/gpt-1b")
    files, found = exported(recipe, source)
    assert recipe.architecture is not None
    assert json.loads(files["model/config.json"]) == recipe.architecture
    config = yaml.safe_load(files[""])
    assert (config["base_model"], config["reinit_weights"]) == ("./model", True)
    assert {d.code for d in found} == {"R817"}


def test_every_axolotl_kind_is_among_the_shipped() -> None:
    project = Project(ROOT)
    kinds = {compose(project, project.recipe_file(name)).keys["kind"].value for name in SHIPPED}
    assert kinds == set(axolotl_kinds())


def test_what_somebody_changed_in_an_export_comes_back(tmp_path: Path) -> None:
    recipe, source = opened("phase4/lora-13b")
    text = exported(recipe, source)[0][""]
    rate = next(line for line in text.splitlines() if line.startswith("learning_rate: "))
    assert rate.endswith(" #:"), "PyYAML would read the recipe's spelling as text"
    text = text.replace(rate, "learning_rate: 3.0e-05 #:").replace("\nnum_epochs: ", "\nnum_epochs: 1")
    got = parse(again(text, tmp_path), "x", "x").plain()
    epochs = int(f"1{recipe.values['num_epochs']}")
    assert got == {**recipe.doc.plain(), "learning_rate": 3e-5, "num_epochs": epochs}


def test_other_engines_have_none() -> None:
    recipe, source = opened("phase1/bert-mlm")
    with pytest.raises(Refused) as refused:
        exported(recipe, source)
    assert [d.code for d in refused.value.diagnostics] == ["R816"]


def test_the_commands_there_and_back(bench: Bench, invoke: Invoke) -> None:
    recipes = bench.project.recipes / "phase4"
    recipes.mkdir(parents=True)
    shutil.copy(ROOT / "recipes" / "phase4" / "lora-13b.yaml", recipes)
    export = ("export", "phase4/lora-13b", "--to", "axolotl", "--out", "plain/config.yaml")
    assert (invoke(*export).code, invoke(*export).code) == (0, 1), "it never overwrites"
    back = invoke("import", "plain/config.yaml", "--as", "phase4/again")
    assert back.code == 0, back.err
    assert (recipes / "again.yaml").read_text() == (recipes / "lora-13b.yaml").read_text()
    printed = invoke("export", "phase4/lora-13b", "--to", "axolotl", "--box", "8xh100")
    assert yaml.safe_load(printed.out)["base_model"] == "meta-llama/Llama-2-13b-hf"
    assert invoke("export", "phase4/lora-13b", "--to", "trl").code == 2
