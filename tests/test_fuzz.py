"""A part of `make fuzz`: 5,000 damaged recipes, and that the fuzzer would notice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

START = "import os, sys\nfrom pathlib import Path\nfrom tests import fuzz\nfolder = Path(sys.argv[1])\n"
PROGRAM = """
found = fuzz.fuzz(5000, 20, folder / "project")
print(dict(found.ways), len(found.bad), [wrong[-300:] for _, wrong in found.bad[:3]])
sys.exit(1 if found.bad else 0 if found.ways["rendered"] > 150 else 2)
"""
# what a careless change might do: each must be noticed
BROKEN = """
few = fuzz.seeds()[:30]
fuzz.seeds = lambda: few
fuzz.SECOND = 0.2
careless = {
    "raises": lambda recipe: 1 / 0,
    "writes": lambda recipe: Path(folder, "x").write_text("x") and {},
    "starts a process": lambda recipe: os.system("true") or {},
    "leaves the run": lambda recipe: {"../x": ""},
    "takes long": lambda recipe: {"x": str(sum(range(40_000_000)))},
}
for i, (name, fuzz.render) in enumerate(careless.items()):
    print(name, len(fuzz.fuzz(60, 1, folder / str(i)).bad))
"""


def fuzzed(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, since an audit hook can't be taken away again."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", START + program, str(folder)]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


def test_5000_damaged_recipes(tmp_path: Path) -> None:
    done = fuzzed(tmp_path, PROGRAM)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["project"]
    assert [p.name for p in (tmp_path / "project").iterdir()] == ["recipes"]


def test_the_fuzzer_notices(tmp_path: Path) -> None:
    done = fuzzed(tmp_path, BROKEN)
    assert done.stderr == ""
    noticed = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    assert len(noticed) == 5
    assert all(int(count) for count in noticed.values()), noticed
