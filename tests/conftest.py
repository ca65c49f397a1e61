"""A project of a test's own, and the runner's command called in it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from runner.project import Project
from runner.recipe.compose import compose
from runner.recipe.kinds import engine_of, kind_names

ROOT = Path(__file__).resolve().parents[1]
HEADER = "recipe: 1\nkind: finetune\ntitle: A test\n"
BODY = """\
base_model: meta-llama/Llama-2-13b-hf
adapter: lora
lora_r: 8
lora_alpha: 16
lora_target_linear: true
datasets:
  - path: yahma/alpaca-cleaned
    type: alpaca
sequence_len: 512
micro_batch_size: 1
num_epochs: 1
learning_rate: 1e-4
"""


# where real processes are started, which on two busy cores come late now and then
REAL = tuple(ROOT / "tests" / name for name in ("engine", "engines", "jobs", "launch", "editor"))
for ignored in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    # under nohup, or in the background of a shell, they are ignored, and so by every process that a test interrupts
    if signal.getsignal(ignored) is signal.SIG_IGN:
        signal.signal(ignored, signal.default_int_handler if ignored == signal.SIGINT else signal.SIG_DFL)


def recipes_of(engine: str) -> list[str]:
    """Names of the shipped recipes that an engine runs."""
    project = Project(ROOT)
    kinds = {kind for kind in kind_names() if engine_of(kind) == engine}
    return [project.recipe_name(f) for f in project.all_recipes() if compose(project, f).keys["kind"].value in kinds]


class OneWorkerPerProject(LoadScopeScheduling):  # type: ignore[misc]
    """Engine tests that share a project or a run stay in one worker, since each worker would make it anew: those that
    use all smoke runs together, others by file. All else is handed out test by test."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        if not file.startswith("tests/engine/"):
            return nodeid
        return "smoked" if "smoked" in (ROOT / file).read_text() else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneWorkerPerProject:
    """xdist's own groups (`--dist loadgroup`) don't reach pytest 9's node ids."""
    return OneWorkerPerProject(config, log)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--again", type=int, default=0, help="how often a test of real processes that failed is tried again"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`--reruns` for all would do the same and take 20 ms of each of 5,000 tests."""
    if again := config.getoption("again"):
        for item in items:
            if item.get_closest_marker("slow") or any(item.path.is_relative_to(folder) for folder in REAL):
                item.add_marker(pytest.mark.flaky(reruns=again, reruns_delay=2))


class ToldAtOnce:
    """What fails is named when it does, and what is tried again too: a run that is cut off tells nothing at its end."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.outcome not in ("failed", "rerun"):
            return
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        why = [line for line in report.longreprtext.splitlines() if line.startswith("E ")] or [""]
        terminal.ensure_newline()
        terminal.write_line(f"{report.outcome}: {report.nodeid}: {why[0][1:].strip()[:500]}")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(ToldAtOnce(config))


@dataclass(frozen=True)
class Bench:
    """A temporary project; `write` puts a recipe into it, `call` runs the command there."""

    project: Project

    def write(self, name: str, text: str = HEADER + BODY) -> Path:
        file = self.project.recipe_file(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def call(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "RUNNER_PROJECT": str(self.project.root), **variables}
        return subprocess.run(
            [sys.executable, "-m", "runner", *arguments],
            cwd=self.project.root,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """An empty project."""
    (tmp_path / "recipes").mkdir()
    return Bench(Project(tmp_path))


@pytest.fixture
def shipped_bench(tmp_path: Path) -> Bench:
    """A project with the shipped recipes."""
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    return Bench(Project(tmp_path))
