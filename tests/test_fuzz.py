"""A part of `make fuzz`: 5,000 damaged recipes, and that the fuzzer would notice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

PROGRAM = """
import sys
from pathlib import Path
from tests import fuzz
{break_it}
found = fuzz.fuzz({count}, 20, Path(sys.argv[1]) / "project")
print(dict(found.ways), len(found.bad), [wrong[-300:] for _, wrong in found.bad[:3]])
sys.exit(1 if found.bad else 0 if found.ways["rendered"] > {count} / 30 else 2)
"""
# what a careless change might do: each must be noticed
BROKEN = {
    "raises": "fuzz.render = lambda recipe: 1 / 0",
    "writes": "fuzz.render = lambda recipe: Path(sys.argv[1], 'x').write_text('x') and {}",
    "starts a process": "import os\nfuzz.render = lambda recipe: os.system('true') or {}",
    "leaves the run": "fuzz.render = lambda recipe: {'../x': ''}",
    "takes long": "fuzz.SECOND = 0.2\nfuzz.render = lambda recipe: {'x': str(sum(range(40_000_000)))}",
}


def fuzzed(folder: Path, count: int, break_it: str = "") -> subprocess.CompletedProcess[str]:
    """In a process of its own, since an audit hook can't be taken away again."""
    program = PROGRAM.format(count=count, break_it=break_it)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", program, str(folder)]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


def test_5000_damaged_recipes(tmp_path: Path) -> None:
    done = fuzzed(tmp_path, 5000)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["project"]
    assert [p.name for p in (tmp_path / "project").iterdir()] == ["recipes"]


def test_the_fuzzer_notices(tmp_path: Path) -> None:
    for name, break_it in BROKEN.items():
        (folder := tmp_path / name.replace(" ", "-")).mkdir()
        done = fuzzed(folder, 60, break_it)
        assert done.returncode == 1, (name, done.stdout, done.stderr[-2000:])
        assert done.stderr == "", name
