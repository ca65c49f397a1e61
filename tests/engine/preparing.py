"""Data preparation for tests: a recipe of its own in a scratch project, its run directory, and what came of it."""

from __future__ import annotations

import json
import os
import random
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.engines.datatrove import failure
from runner.engines.environment import Environment
from runner.project import Project
from runner.recipe.compose import compose
from runner.recipe.resolve import resolve
from runner.record import write_files
from runner.render import render

HEADER = "recipe: 1\nkind: prepare\ntitle: A test\nbox: cpu\n"
WORDS = ["the", "of", "and", "that", "have", "with", "heap", "tree", "node", "list", "value", "key", "order", "queue"]
WORDS += ["sort", "merge", "split", "read", "write"]


def sentences(seed: int, count: int) -> str:
    """Text that Gopher's filter lets pass: real words in another order each time."""
    rng = random.Random(seed)
    lines = [" ".join(rng.choice(WORDS) + rng.choice(["", "s", "ing", "ed"]) for _ in range(9)) for _ in range(count)]
    return ".\n".join(lines) + "."


def corpus(folder: Path, documents: list[str], files: int = 3) -> Path:
    """The documents dealt out to JSON lines files."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(files):
        rows = [json.dumps({"id": f"d{j}", "text": text}) for j, text in enumerate(documents) if j % files == i]
        (folder / f"part-{i}.jsonl").write_text("".join(row + "\n" for row in rows))
    return folder


@dataclass(frozen=True)
class Prepared:
    """A run directory. `said` is the one line that a person is told when it fails."""

    path: Path
    env: Environment

    def launch(self, *before: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """launch.sh to its end; `before` are lines of shell that come first."""
        return subprocess.run(
            ["bash", "-c", "\n".join([*before, "exec bash launch.sh"])],
            cwd=self.path,
            env=self.variables(**variables),
            capture_output=True,
            text=True,
            timeout=300,
        )

    def start(self) -> subprocess.Popen[bytes]:
        with (self.path / "log.txt").open("ab") as log:
            return subprocess.Popen(
                ["bash", "launch.sh"],
                cwd=self.path,
                env=self.variables(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def variables(self, **more: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        return {**kept, "RUNNER_ENV": str(self.env.path), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", **more}

    @property
    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.path / "output/dataset/manifest.json").read_text())
        return found

    def files(self) -> dict[str, bytes]:
        """Every byte of what it left."""
        output = self.path / "output"
        return {str(f.relative_to(output)): f.read_bytes() for f in sorted(output.rglob("*")) if f.is_file()}


def prepare(env: Environment, folder: Path, keys: str) -> Prepared:
    """A rendered run of a recipe with these keys, not started."""
    project = Project(folder / "project")
    file = project.recipes / "data.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(HEADER + keys)
    recipe = resolve(project, compose(project, file), "full", lambda name, profile: None)
    number = len(list(folder.glob("run-*")))
    run = folder / f"run-{number}"
    run.mkdir()
    write_files(run, render(recipe))
    return Prepared(run, env)


def said(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    found = failure(done.stdout + done.stderr)
    assert found is not None, done.stdout + done.stderr
    return found
