"""An engine's extra in pyproject.toml -> its lock: resolve in a scratch environment, keep header, facts and marks.

Run by `make lock`. Needs Python 3.11 (tomllib), pip's usual access to packages, and a few minutes.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import tomllib

from runner.engines.locks import FOLDER, Pin, normal, parse

# built for CUDA alone on the package index: beside a CPU build of torch they break transformers' import
CUDA_ONLY = ("torchvision", "torchaudio", "torchcodec")


def extra(project: Path, engine: str) -> list[str]:
    """What pyproject.toml asks for. Raises KeyError where there is no such extra."""
    wanted: list[str] = tomllib.loads((project / "pyproject.toml").read_text())["project"]["optional-dependencies"][
        engine
    ]
    return wanted


def resolve(wanted: list[str], scratch: Path) -> list[str]:
    """`name==version` of all that pip chooses for `wanted`, torch first so that the rest is held to it."""
    venv.create(scratch, with_pip=True)
    pip = [str(scratch / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    held = scratch / "held.txt"
    torch = [w for w in wanted if re.split(r"[=<>!~ \[]", w)[0] == "torch"]
    held.write_text("\n".join(torch) + "\n")
    for names in (torch, wanted):
        if names:
            subprocess.run([*pip, "install", "--quiet", "-c", str(held), *names], check=True)
    frozen = subprocess.run([*pip, "freeze"], check=True, capture_output=True, text=True).stdout
    # a local version (`+cpu`) would keep pip from taking another build of the same release elsewhere
    return [re.sub(r"\+\w+$", "", line) for line in frozen.splitlines() if re.fullmatch(r"[\w.-]+==\S+", line)]


def relocked(old: str, resolved: list[str]) -> str:
    """The lock's text with new pins; comments, `# runner:` facts, `# only:` pins and the tools' pins stay."""
    before = parse(old)
    kept = {n: p for n, p in before.pins.items() if p.only or n in {normal(t) for t in before.fact("tools")}}
    pins = dict(kept)
    for line in resolved:
        name, version = line.split("==", 1)
        key = normal(name)
        drops = key.startswith("nvidia-") and key != "nvidia-ml-py"
        if not drops and (key not in CUDA_ONLY or key in before.fact("without_ops")):
            pins[key] = Pin(name, version, kept[key].only if key in kept else "")
    head = [line for line in old.splitlines() if line.startswith("#")]
    body = [f"{p}" + (f"  # only: {p.only}" if p.only else "") for _, p in sorted(pins.items())]
    return "\n".join([*head, *body]) + "\n"


def main() -> None:
    engine, project = sys.argv[1], Path(sys.argv[2])
    file = FOLDER / f"{engine}.txt"
    with tempfile.TemporaryDirectory(prefix="relock-") as scratch:
        file.write_text(relocked(file.read_text(), resolve(extra(project, engine), Path(scratch))))
    print(f"{file}: {len(parse(file.read_text()).pins)} pins")


if __name__ == "__main__":
    main()
