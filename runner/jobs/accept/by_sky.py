"""task.sky.yaml -> what SkyPilot's own parser says of it.

Names of GPUs are looked up in a catalogue that SkyPilot downloads; without a network those stand in for it that it
calls common in its own source (sky/catalog/__init__.py).
"""

import os
import re
import tempfile
from pathlib import Path
from typing import Any

HOME = tempfile.mkdtemp(prefix="sky-home-")
os.environ |= {"HOME": HOME, "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}

import sky  # noqa: E402 - it reads HOME as it is imported
import yaml  # noqa: E402
from accept.answers import answer_all, problems_of  # noqa: E402
from sky import catalog  # noqa: E402
from sky.catalog import common  # noqa: E402

SECRET = "given-at-launch"  # noqa: S105 - a word in the place of one


def check(case: dict[str, Any], folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    task = yaml.safe_load((folder / "task.sky.yaml").read_text())
    _catalogue()
    secrets = [(name, SECRET) for name in task.get("secrets") or {}]
    try:
        sky.Task.from_yaml_config(task, secrets_overrides=secrets).validate()
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
