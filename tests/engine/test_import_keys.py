"""What the installed engines have is what import's tables, the schemas' plugins and the rules about them say."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from runner.engines.environment import Environment
from runner.importing import detect
from runner.recipe.kinds import kind_schema
from runner.recipe.rules.axolotl.plugins import LIBRARIES

_TRL = (
    *("trl/trainer/base_config.py", "trl/trainer/sft_config.py", "trl/trainer/dpo_config.py"),
    *("trl/trainer/kto_config.py", "trl/trainer/reward_config.py", "trl/trainer/grpo_config.py"),
    *("trl/trainer/model_config.py", "trl/experimental/orpo/orpo_config.py", "trl/experimental/cpo/cpo_config.py"),
    *("transformers/training_args.py", "trl/scripts/utils.py"),
)
# what a plugin imports, where that is not its family's own name
_IMPORTS = {"expert_parallel": "deep_ep", "hatchery": "tinker", "llm_compressor": "llmcompressor"}


@pytest.fixture(scope="module")
def packages(axolotl: Environment) -> Path:
    (found,) = axolotl.path.glob("lib/python3*/site-packages")
    return found


def _fields(source: str) -> set[str]:
    """The annotated fields of the dataclasses that a config's top level is read into."""
    return {
        line.target.id
        for made in ast.parse(source).body
        if isinstance(made, ast.ClassDef) and made.name.endswith(("Config", "Arguments")) and "Dataset" not in made.name
        for line in made.body
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and not line.target.id.startswith("_")
    }


@pytest.mark.parametrize("file", _TRL)
def test_every_argument_of_trl_has_its_line_in_the_table(file: str, packages: Path) -> None:
    fields = _fields((packages / file).read_text())
    assert len(fields) > 5
    assert fields - detect.TOOLS["trl"].known() == set()


def test_every_integration_of_axolotl_is_a_plugin_of_the_schema(packages: Path) -> None:
    folders = {f.parent.name for f in (packages / "axolotl" / "integrations").glob("*/__init__.py")}
    plugins = kind_schema("finetune")["properties"]["plugins"]
    named = {name.split(".")[2] for name in (*plugins["items"]["examples"], *plugins["x-unavailable"])}
    assert named == folders


def test_the_libraries_that_a_rule_calls_missing_are(axolotl: Environment) -> None:
    names = [_IMPORTS.get(family, family) for family in LIBRARIES if family != "mora"]
    ask = "import sys, importlib.util as u; print([n for n in sys.argv[1:] if u.find_spec(n)])"
    said = subprocess.run([axolotl.python, "-c", ask, *names], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_the_installed_peft_has_no_mora(packages: Path) -> None:
    assert "use_mora" not in (packages / "peft" / "tuners" / "lora" / "config.py").read_text()
