"""One project for all engine tests: shipped recipes are smoked in it once, two at a time, through make.

`make test` smokes those that no other stands in for (stand_ins.py), `make test-all` every one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.engines.environment import Environment, ensure, environment
from runner.project import Project
from runner.record import Run, latest, read_run
from tests.engine.stand_ins import STANDS_IN

ROOT = Path(__file__).resolve().parents[2]
RUNNER = [sys.executable, "-m", "runner"]
# OpenMP's threads wait by spinning, and two cores are shared by three tests' and recipes' processes
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.path).is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.engine)


@dataclass(frozen=True)
class Smoke:
    """A scratch project and how to call the runner in it."""

    project: Project

    def call(self, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*RUNNER, *arguments], cwd=self.project.root, env=self.env, capture_output=True, text=True, timeout=timeout
        )

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "RUNNER_PROJECT": str(self.project.root), "PYTHONPATH": str(ROOT)}

    def run(self, recipe: str) -> Run:
        path = latest(self.project, recipe, "smoke")
        assert path is not None, f"{recipe} has no finished smoke run; of all that failed:\n{self.failures()}"
        run = read_run(path)
        assert run is not None
        return run

    def failures(self) -> str:
        """What make and the runner said of recipes that failed: the cause may be a need of the one that is missed."""
        lines = (self.project.root / "make.log").read_text(errors="replace").splitlines()
        return "\n".join(line[:300] for line in lines if "error[R" in line or line.startswith("make"))


@pytest.fixture(scope="session")
def axolotl() -> Environment:
    """Axolotl's environment, built on first need as for any user."""
    env = environment("axolotl")
    ensure(env, lambda progress: None)
    return env


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory, axolotl: Environment) -> Smoke:
    """A project with the shipped recipes and nothing run yet."""
    # a name in which Axolotl, given such a path, would find a model family (`mpt`) that it refuses
    root = tmp_path_factory.mktemp("prompts")
    shutil.copytree(ROOT / "recipes", root / "recipes")
    (root / "artifacts").mkdir()
    return Smoke(Project(root))


@pytest.fixture(scope="session")
def left_out(request: pytest.FixtureRequest) -> frozenset[str]:
    """Recipes that are not smoked: those that another stands in for, where no test is asked for that wants them."""
    every = any(item.get_closest_marker("nightly") for item in request.session.items)
    return frozenset() if every else frozenset(STANDS_IN)


@pytest.fixture(scope="session")
def smoked(scratch: Smoke, left_out: frozenset[str]) -> Smoke:
    """The same, after `make -j2` has smoked the recipes. A recipe that fails does not keep the others from running.

    What failed is tried once more, as pytest tries a test that failed (`--reruns`), and named among the warnings: on
    a loaded machine one server that came too late would otherwise take an hour's work with it.
    """
    graph = scratch.call("graph")
    assert graph.returncode == 0, graph.stderr
    makefile = scratch.project.root / "graph.mk"
    wanted = f"$(patsubst %,artifacts/%/smoke/done,$(filter-out {' '.join(sorted(left_out))},$(RECIPES)))"
    makefile.write_text(f"{graph.stdout}\nall-smoke: {wanted}\n")
    if _make(scratch, makefile):
        warnings.warn(f"smoked once more, since these failed:\n{scratch.failures()}", stacklevel=1)
        _make(scratch, makefile)
    return scratch


def _make(scratch: Smoke, makefile: Path) -> int:
    done = subprocess.run(
        ["make", "-j2", "-k", "-f", str(makefile), f"RUNNER={' '.join(RUNNER)}", "all-smoke"],
        cwd=scratch.project.root,
        env=scratch.env,
        capture_output=True,
        text=True,
        timeout=4800,
    )
    with (scratch.project.root / "make.log").open("a") as log:
        log.write(done.stdout + done.stderr)
    return done.returncode
