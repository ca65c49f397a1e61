"""task.sky.yaml -> what SkyPilot's own parser says of it.

Names of GPUs are looked up in a catalogue that SkyPilot downloads; without a network those stand in for it that it
calls common in its own source (sky/catalog/__init__.py).
"""

import os
import re
from pathlib import Path
from typing import Any

# the folder that we are started in is gone afterwards
os.environ |= {"HOME": str(Path.cwd() / "home"), "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}

import requests
import sky
import yaml
from accept.answers import answer_all, problems_of
from sky import catalog
from sky.catalog import common

SECRET = "given-at-launch"  # noqa: S105 - a word in the place of one


def check(case: dict[str, Any], folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    task = yaml.safe_load((folder / "task.sky.yaml").read_text())
    _catalogue()
    secrets = [(name, SECRET) for name in task.get("secrets") or {}]
    try:
        sky.Task.from_yaml_config(task, secrets_overrides=secrets).validate()
    except requests.exceptions.ConnectionError:  # of a cloud's regions, which only its own list of machines has
        return [], ["SkyPilot's list of that cloud's regions"]
    except Exception as error:
        said = ValueError(re.sub(r"\x1b\[[0-9;]*m", "", str(error)))
        return problems_of("SkyPilot", said, []), []
    return [], []


def _catalogue() -> None:
    """Files that are there are not fetched."""
    file = Path(common.get_catalog_path("common/accelerators.csv"))
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        rows = [f"{name},\"['AWS', 'GCP', 'Lambda', 'Kubernetes']\"" for name in catalog.get_common_gpus()]
        file.write_text("\n".join(["AcceleratorName,Clouds", *rows, ""]))


if __name__ == "__main__":
    answer_all(check)
