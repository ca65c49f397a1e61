"""What every recipe renders for two H100s is accepted by Axolotl's own validator and DeepSpeed's own config class."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from runner.engines import jobs_dir
from runner.engines.environment import Environment
from tests.engine.conftest import Smoke


def verdicts(env: Environment, folders: list[Path]) -> dict[str, str | None]:
    done = subprocess.run(
        [env.python, str(jobs_dir() / "accept.py"), *map(str, folders)],
        env={**os.environ, "PYTHONPATH": str(jobs_dir()), "HF_HUB_OFFLINE": "1", "AXOLOTL_DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    rows = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("ACCEPT ")]
    assert len(rows) == len(folders), done.stderr[-2000:]
    return {Path(row["folder"]).name: row["error"] for row in rows}


def test_every_rendering_is_accepted(scratch: Smoke, axolotl: Environment, tmp_path: Path) -> None:
    folders = []
    for name in scratch.call("list", "--names").stdout.split():
        folder = tmp_path / name.replace("/", "_")
        done = scratch.call("render", name, "--out", str(folder))
        assert done.returncode == 0, done.stderr
        folders.append(folder)
    assert len(folders) >= 23
    assert {k: v for k, v in verdicts(axolotl, folders).items() if v} == {}


def test_the_validators_really_refuse(scratch: Smoke, axolotl: Environment, tmp_path: Path) -> None:
    """The check above would be worth nothing if these passed too."""
    scratch.call("render", "phase2/zero3-13b", "--out", str(tmp_path / "batch"))
    sharded = tmp_path / "batch" / "deepspeed.json"
    config = json.loads(sharded.read_text())
    sharded.write_text(json.dumps({**config, "train_batch_size": 7}))
    scratch.call("render", "phase4/lora-13b", "--out", str(tmp_path / "key"))
    with (tmp_path / "key" / "axolotl.yaml").open("a") as out:
        out.write("lora_dropuot: 0.1\n")
    scratch.call("render", "phase4/lora-13b", "--out", str(tmp_path / "clash"))
    with (tmp_path / "clash" / "axolotl.yaml").open("a") as out:
        out.write("save_steps: 5\n")
    found = verdicts(axolotl, [tmp_path / "batch", tmp_path / "key", tmp_path / "clash"])
    assert "train_batch_size" in str(found["batch"])
    assert found["key"] == "axolotl drops lora_dropuot"
    assert "save_steps" in str(found["clash"])
