"""What is installed in an environment, and what a killed pip left half done: read from metadata, nothing imported."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from runner.engines.locks import normal


@dataclass(slots=True)
class Site:
    """The site-packages of an environment, read from its metadata alone."""

    path: Path
    _sizes: dict[str, int] = field(default_factory=dict)

    def whole(self) -> dict[str, str]:
        """Installed distributions: normalised name -> version."""
        found = {}
        for info in self.path.glob("*.dist-info"):
            if info.name in self._sizes or _is_whole(info):
                name, _, version = info.name.removesuffix(".dist-info").rpartition("-")
                found[normal(name)] = version
                if info.name not in self._sizes:
                    self._sizes[info.name] = _recorded_bytes(info)
        return found

    def bytes(self) -> int:
        return sum(self._sizes[i.name] for i in self.path.glob("*.dist-info") if i.name in self._sizes)

    def mend(self) -> list[str]:
        """Remove what a killed pip left half done; pip then installs it anew. Returns the names."""
        torn = [i for i in self.path.glob("*.dist-info") if not _is_whole(i)]
        torn += self.path.glob("~*")
        for folder in torn:
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
        return sorted(t.name for t in torn)

    def torch_build(self) -> str:
        """`cuda` where a CUDA build of torch is installed, else `cpu`; torch is not imported."""
        try:
            text = (self.path / "torch" / "version.py").read_text()
        except OSError:
            return "cpu"
        return "cuda" if re.search(r"^cuda\b.*=\s*['\"]", text, re.MULTILINE) else "cpu"


def _is_whole(info: Path) -> bool:
    # pip writes RECORD last and lists INSTALLER in it; the RECORD that a wheel brings along never does
    try:
        return (info / "INSTALLER").exists() and "/INSTALLER," in (info / "RECORD").read_text()
    except OSError:
        return False


def _recorded_bytes(info: Path) -> int:
    total = 0
    for line in (info / "RECORD").read_text().splitlines():
        name, _, size = line.rpartition(",")
        if size.isdigit():
            total += int(size)
        elif name.endswith(".pyc,"):
            # what pip compiled has no size there, and is a tenth of all
            total += _size(info.parent / name.removesuffix(","))
    return total


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
