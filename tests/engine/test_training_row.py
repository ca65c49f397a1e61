"""`runner show R --sample`: what is shown is what was trained, by what the run left; pairs by TRL's own tokenizing."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from runner.engines import jobs_dir
from runner.engines.environment import Environment
from runner.project import shipped
from tests.engine.conftest import Smoke

# the rows that Axolotl made ready for the trainer, by their tokens
PREPARED = """
import json, sys
from pathlib import Path
from datasets import load_from_disk
for file in Path(sys.argv[1]).rglob("dataset_info.json"):
    rows = load_from_disk(str(file.parent))
    print(json.dumps([[row["input_ids"], row["labels"]] for row in rows]))
"""


def shown(smoked: Smoke, recipe: str, row: int) -> dict[str, Any]:
    done = smoked.call("show", recipe, "--profile", "smoke", "--sample", str(row), "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_labels_shown_are_those_that_were_trained(smoked: Smoke, axolotl: Environment) -> None:
    row = shown(smoked, "phase4/sft-13b", 7)
    (part,) = row["parts"]
    labels = [token if learned else -100 for token, learned in zip(part["ids"], part["learned"], strict=True)]
    prepared = smoked.run("phase4/sft-13b").path / "prepared"
    done = subprocess.run(
        [str(axolotl.python), "-c", PREPARED, str(prepared)], capture_output=True, text=True, check=True
    )
    trained = [pair for line in done.stdout.splitlines() for pair in json.loads(line)]
    assert [part["ids"], labels] in trained
    assert part["ends"] == [{"by": "<|im_end|>", "learned": True}]
    assert "".join(run["text"] for run in part["runs"]).startswith("<|im_start|>user\n")


def test_pairs_are_shown_as_trl_compares_them(smoked: Smoke) -> None:
    done = smoked.call("show", "phase4/dpo-13b", "--profile", "smoke", "--sample", "1")
    assert done.returncode == 0, done.stderr
    chosen, rejected = done.stdout.split("--- ")[1:]
    assert chosen.startswith("chosen: ")
    assert "<|im_start|>assistant\n[[" in chosen
    assert "<|im_end|>]]" in chosen
    assert rejected.startswith("rejected: ")


def test_a_row_that_is_not_there(smoked: Smoke) -> None:
    done = smoked.call("show", "phase4/sft-13b", "--profile", "smoke", "--sample", "100000")
    assert (done.returncode, done.stdout) == (1, "")
    assert "error[R865]: there is no row 100,000: the data have 400" in done.stderr


def test_what_is_known_of_axolotls_templates_is_what_they_write(axolotl: Environment) -> None:
    done = subprocess.run(
        [str(axolotl.python), str(jobs_dir() / "chat_templates.py")], capture_output=True, text=True, check=True
    )
    assert done.stdout == (shipped("data") / "chat_templates.yaml").read_text()


@pytest.mark.parametrize("recipe", ["phase4/kto-13b"])
def test_other_preferences(smoked: Smoke, recipe: str) -> None:
    row = shown(smoked, recipe, 0)
    assert row["learns"].startswith("completion, ")
    assert all(any(part["learned"]) and not all(part["learned"]) for part in row["parts"])
