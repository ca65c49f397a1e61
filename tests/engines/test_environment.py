"""Real environments, built by real pip from tiny packages that lie on disk: no network, a few seconds each."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.engines import locks
from runner.engines.environment import (
    READY,
    Progress,
    ensure,
    environment,
    environments,
    lock_file,
    remove,
)
from runner.engines.locks import parse
from runner.engines.site import Site
from runner.recipe.load import Refused

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
CUDA_TORCH = "__version__ = '2.13.0+cu130'\nfrom typing import Optional\ncuda: Optional[str] = '13.0'\n"
CPU_TORCH = CUDA_TORCH.replace("+cu130", "+cpu").replace("'13.0'", "None")
GPU_LOCK = """# a lock in small
# runner: first torch
# runner: imports torch pure
# runner: shows torch pure
# runner: size_gb cpu 0.1 cuda 0.2
pure==1.0
torch==2.13.0
torchvision==0.28.0  # only: cuda
triton==3.9.0  # only: cpu
"""
# in a process of its own: what it reports, a line each, then `ready`
BUILD = """
import sys
from pathlib import Path
from runner.engines import locks
from runner.engines.environment import ensure, environment
locks.FOLDER = Path(sys.argv[1])
env = environment(sys.argv[2])
ensure(env, lambda p: print(p.line(), flush=True))
print("ready" if env.ready else "not ready", flush=True)
"""


def wheel(folder: Path, name: str, version: str, files: dict[str, str] | None = None, needs: str = "") -> None:
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + (
        f"Requires-Dist: {needs}\n" if needs else ""
    )
    content = {
        **({f"{name}/__init__.py": ""} if files is None else files),
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    content[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*content, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)


def slow_source(folder: Path, gate: Path) -> None:
    """A source package whose build says that it has begun, and goes on when `gate` is there."""
    backend = f"""
import pathlib, time
WHEEL = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
def build_wheel(folder, config_settings=None, metadata_directory=None):
    gate = pathlib.Path({str(gate)!r})
    gate.with_suffix(".begun").touch()
    for _ in range(600):
        if gate.exists():
            break
        time.sleep(0.05)
    import zipfile
    with zipfile.ZipFile(pathlib.Path(folder) / "slow-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("slow.py", "")
        archive.writestr("slow-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: slow\\nVersion: 1.0\\n")
        archive.writestr("slow-1.0.dist-info/WHEEL", WHEEL)
        archive.writestr("slow-1.0.dist-info/RECORD", "slow.py,,\\n")
    return "slow-1.0-py3-none-any.whl"
"""
    project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    project += '[project]\nname = "slow"\nversion = "1.0"\n'
    with tarfile.open(folder / "slow-1.0.tar.gz", "w:gz") as archive:
        for name, text in (
            ("pyproject.toml", project),
            ("backend.py", backend),
            ("PKG-INFO", "Metadata-Version: 2.1\n"),
        ):
            data = text.encode()
            member = tarfile.TarInfo(f"slow-1.0/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index in a folder, a cache and a folder of locks of one's own."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    (tmp_path / "locks").mkdir()
    wheel(folder, "pure", "1.0")
    for name, value in (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(folder)), ("PIP_NO_CACHE_DIR", "1")):
        monkeypatch.setenv(name, value)
    for name in ("PIP_CONSTRAINT", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("RUNNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(locks, "FOLDER", tmp_path / "locks")
    return folder


def write_lock(text: str, engine: str = "tiny") -> None:
    lock_file(engine).write_text(text)


def start(engine: str = "tiny") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, str(locks.FOLDER), engine],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def wait_for(what: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def refusal(engine: str = "tiny") -> str:
    """The code and all words of the one diagnostic that building gives."""
    with pytest.raises(Refused) as refused:
        ensure(environment(engine), lambda p: None)
    (d,) = refused.value.diagnostics
    return " | ".join((d.code, d.message, *d.notes, d.help))


def test_a_cuda_build_of_torch_brings_its_own_triton_and_gets_what_is_for_cuda(wheels: Path) -> None:
    wheel(wheels, "torch", "2.13.0", {"torch/__init__.py": "", "torch/version.py": CUDA_TORCH}, needs="triton~=3.8.0")
    wheel(wheels, "triton", "3.8.1")
    wheel(wheels, "torchvision", "0.28.0")
    write_lock(GPU_LOCK)
    env = environment("tiny")
    assert not env.ready
    assert env.versions() == {}
    told: list[Progress] = []
    ensure(env, told.append)

    assert env.ready
    record = json.loads((env.path / READY).read_text())
    assert record["torch_build"] == "cuda"
    assert {k: record["packages"][k] for k in ("pure", "torch", "torchvision", "triton")} == {
        "pure": "1.0",
        "torch": "2.13.0",
        "torchvision": "0.28.0",
        "triton": "3.8.1",
    }
    assert env.versions() == {"python": sys.version.split()[0], "torch": "2.13.0", "pure": "1.0"}
    assert record["bytes"] > 1e6
    assert told
    assert told[0].expected_bytes == 100_000_000

    began = time.monotonic()
    ensure(env, told.append)
    assert time.monotonic() - began < 0.05
    kept = environments()
    assert [(k.engine, k.ready, k.current, k.holder) for k in kept] == [("tiny", True, True, "")]
    remove(kept[0])
    assert not env.path.exists()
    assert environments() == []


def test_operators_that_were_compiled_for_cuda_are_declared_beside_a_cpu_build(wheels: Path) -> None:
    """torch calls what stands under `torch.backends` when it is imported."""
    wheel(wheels, "torch", "2.13.0", {"torch/__init__.py": "", "torch/version.py": CPU_TORCH})
    wheel(wheels, "torchvision", "0.28.0")
    write_lock("# runner: first torch\n# runner: without_ops torchvision\ntorch==2.13.0\ntorchvision==0.28.0\n")
    env = environment("tiny")
    ensure(env, lambda p: None)
    ask = "from importlib.metadata import entry_points as e; print([p.value for p in e(group='torch.backends')])"
    done = subprocess.run([env.python, "-c", ask], capture_output=True, text=True)
    assert done.stdout.strip() == "['torchvision_without_ops:declare']"
    (module,) = env.path.glob("lib/python*/site-packages/torchvision_without_ops.py")
    assert "def declare() -> None:" in module.read_text()
    assert json.loads((env.path / READY).read_text())["packages"]["torchvision"] == "0.28.0"


@pytest.mark.fault("two runs that build the same environment", "built once; the other waits and says for whom")
def test_two_at_once_build_once_and_the_other_says_for_whom_it_waits(wheels: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    slow_source(wheels, gate)
    write_lock("# runner: imports slow\nslow==1.0\n")
    first = start()
    wait_for(gate.with_suffix(".begun").exists, 30)
    assert [k.holder.split(" on ")[0] for k in environments()] == [f"process {first.pid}"]
    second = start()
    assert second.stdout is not None
    assert f"waiting for process {first.pid} on " in second.stdout.readline()
    gate.touch()
    built, waited = first.communicate()[0], second.communicate()[0]
    assert built.endswith("ready\n")
    assert "creating the environment" in built
    assert waited.endswith("ready\n")
    assert "creating the environment" not in waited


@pytest.mark.fault("killed while an environment is built", "what is installed; the rest follows")
def test_killed_half_way_it_goes_on_in_the_same_folder(wheels: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    slow_source(wheels, gate)
    write_lock("# runner: first pure\n# runner: imports slow pure\npure==1.0\nslow==1.0\n")
    env = environment("tiny")
    killed = start()
    wait_for(gate.with_suffix(".begun").exists, 30)
    killed.kill()
    killed.wait()
    # its pip lives on and keeps the lock; it would write into the environment while the next one does
    next_one = start()
    assert next_one.stdout is not None
    assert f"waiting for process {killed.pid}" in next_one.stdout.readline()
    end_pip(env.path)
    # what a pip that is killed while it writes leaves
    (site,) = env.path.glob("lib/python*/site-packages")
    (site / "~lo").mkdir()
    torn = site / "slow-1.0.dist-info"
    torn.mkdir()
    (torn / "METADATA").write_text("Metadata-Version: 2.1\nName: slow\nVersion: 1.0\n")
    gate.touch()
    assert next_one.communicate(timeout=60)[0].endswith("ready\n")
    log = Path(f"{env.path}.log").read_text()
    assert "creating" not in log
    assert "-m venv" not in log
    assert "Requirement already satisfied: pure==1.0" in log
    assert not (site / "~lo").exists()


def end_pip(path: Path) -> None:
    """Kill the pip that works in an environment, found by the command line that this test itself caused."""
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if words[:3] == [str(path / "bin" / "python"), "-m", "pip"]:
            os.killpg(int(entry.name), signal.SIGKILL)
            return
    raise AssertionError("no pip is running")


@pytest.mark.fault("Ctrl-C while an environment is built", "pip is ended, the lock is free")
def test_interrupted_it_ends_pip_and_frees_the_lock(wheels: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    slow_source(wheels, gate)
    write_lock("slow==1.0\n")
    env = environment("tiny")

    def interrupt(progress: Progress) -> None:
        if gate.with_suffix(".begun").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure(env, interrupt)
    with pytest.raises(AssertionError, match="no pip is running"):
        end_pip(env.path)
    assert not env.ready
    assert [(k.ready, k.holder) for k in environments()] == [(False, "")]
    gate.touch()
    ensure(env, lambda p: None)
    assert env.ready


def test_a_pin_that_is_not_there_is_told_in_pips_words(wheels: Path) -> None:
    write_lock("pure==9.9\n")
    said = refusal()
    assert said.startswith(
        "R301 | the `tiny` environment can't be built: it failed at: packages | ERROR: Could not find"
    )
    assert "No matching distribution found for pure==9.9" in said
    assert "pip config list" in said
    assert f"{environment('tiny').path}.log" in said
    # in the same folder, mended: what is there is used
    wheel(wheels, "pure", "9.9")
    ensure(environment("tiny"), lambda p: None)
    assert environment("tiny").ready
    # and one that is installed but does not import is not called ready
    write_lock("# runner: imports pure.nothing\npure==9.9\n", "broken")
    site = Path(next(iter(environment("tiny").path.glob("lib/python*/site-packages"))))
    environment("tiny").path.rename(environment("broken").path)
    (environment("broken").path / READY).unlink()
    assert site.exists() is False
    said = refusal("broken")
    assert (
        "R301 | the `broken` environment can't be built: it failed at: checking imports | ModuleNotFoundError" in said
    )
    assert not environment("broken").ready


def test_too_little_disk_a_wrong_python_and_a_cache_that_cannot_be_written(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lock("# runner: size_gb cpu 900000 cuda 900000\npure==1.0\n")
    said = refusal()
    assert said.startswith("R302 | the `tiny` environment needs 900001.0 GB of disk")
    assert "RUNNER_CACHE" in said
    write_lock("# runner: python 3.1 3.2\npure==1.0\n", "old")
    assert refusal("old").startswith("R303 | the `old` environment can't be built with Python 3.")
    write_lock("pure==1.0\n", "plain")
    (tmp_path / "file").touch()
    monkeypatch.setenv("RUNNER_CACHE", str(tmp_path / "file"))
    assert refusal("plain").startswith("R304 | can't write the cache: ")
    assert not environment("plain").ready


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("OSError: [Errno 28] No space left on device", "free some space"),
        (
            "WARNING: Retrying: NewConnectionError('...')\nERROR: No matching distribution found for x",
            "check the network",
        ),
        ("error: command 'gcc' failed: No such file or directory", "install a C compiler"),
        ("something new", "runner env build tiny"),
    ],
)
def test_the_help_fits_what_pip_said(text: str, words: str, tmp_path: Path) -> None:
    from runner.engines.install import Install

    install = Install("tiny", tmp_path / "env", parse(""), tmp_path / "log", 0, lambda p: None)
    assert words in install._failed("it failed", text).diagnostics[0].help


@pytest.fixture
def kept(wheels: Path, tmp_path: Path) -> Path:
    write_lock("pure==1.0\n")
    folder = tmp_path / "cache" / "envs"
    for name in ("tiny-0123456789ab", "gone-0123456789ab", "notes", "tiny-nothex"):
        (folder / name).mkdir(parents=True)
    return folder


def test_stale_ones_are_known_and_other_folders_left_alone(kept: Path) -> None:
    assert [(k.path.name, k.current, k.ready) for k in environments()] == [
        ("gone-0123456789ab", False, False),
        ("tiny-0123456789ab", False, False),
    ]
    for each in environments():
        remove(each)
    assert sorted(p.name for p in kept.iterdir() if p.is_dir()) == ["notes", "tiny-nothex"]


def test_the_key_follows_the_pins_and_not_the_comments(wheels: Path) -> None:
    write_lock("pure==1.0\n", "a")
    write_lock("# reworded\n# runner: seconds 5\npure==1.0\n", "b")
    write_lock("pure==1.1\n", "c")
    keys = [environment(e).key for e in "abc"]
    assert keys[0] == keys[1] != keys[2]
    assert re.fullmatch("[0-9a-f]{12}", keys[0])


def test_the_build_of_torch_is_read_without_importing_it(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    assert Site(tmp_path).torch_build() == "cpu"
    for text, build in ((CUDA_TORCH, "cuda"), (CPU_TORCH, "cpu")):
        (tmp_path / "torch" / "version.py").write_text(text)
        assert Site(tmp_path).torch_build() == build


def test_a_line_of_progress() -> None:
    assert Progress("fetching torch", seconds=3).line() == "fetching torch, 3 s"
    full = Progress("installing packages", 12, 245, 1_000_000_000, 30, 4_600_000_000, 120)
    assert full.line() == "installing packages 12/245, 1.0 of about 4.6 GB, 30 of about 120 s"


def test_the_lock_of_axolotl_is_whole() -> None:
    text = lock_file("axolotl").read_text()
    lock = parse(text)
    pins = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(pins) == len(lock.pins)
    assert list(lock.pins) == sorted(lock.pins)
    assert "torch==2.13.0" in pins
    assert "://" not in text
    assert {"torchaudio", "torchcodec"}.isdisjoint(lock.pins)
    cpu, cuda = ({p.name for p in lock.wanted(build)} for build in ("cpu", "cuda"))
    assert cpu - cuda == {"triton"}
    assert cuda - cpu == {"torchvision"}
    assert [str(p) for p in lock.chosen("first")] == ["torch==2.13.0"]
    assert len(lock.chosen("tools")) == 3
    assert len(lock.chosen("shows")) == 9
    assert lock.size_gb("cuda") > lock.size_gb("cpu") > 4
    with pytest.raises(ValueError, match="axolotl>=0"):
        parse("axolotl>=0.19\n")
