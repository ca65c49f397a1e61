"""Damaged recipes through load, check, resolve and render: `python -m tests.fuzz [HOW MANY] [SEED]`.

Each starts from a recipe of the project or of the tests and is damaged as text, as values, or both. Nothing may end in
another exception than Refused, take a second, start a process, write a file, or reach the network.
"""

from __future__ import annotations

import copy
import json
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from runner.cli.common import check_recipe
from runner.project import Project
from runner.recipe.graph import Library
from runner.recipe.kinds import kind_names, kind_schema
from runner.recipe.load import Refused, parse
from runner.recipe.resolve import resolve
from runner.render import render
from tests.conftest import ROOT

SECOND = 1.0
# of the interpreter's audit events, with what they would mean here
FORBIDDEN = {
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.startfile", "os.mkdir",
    "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown", "os.kill",
    "socket.connect", "socket.bind", "shutil.rmtree", "shutil.copyfile", "pickle.find_class",
}  # fmt: skip
NASTY = [
    "", " ", "~", "null", "true", "no", "0", "-1", "1e400", "-.inf", ".nan", "9" * 45, "0x" + "f" * 50, "1_0",
    "2024-01-01", "$(touch x)", "`id`", "'; id; '", '"', "'", "\\", "{{ 7*7 }}", "{% raw %}", "{#", "../../../x",
    "/etc/passwd", "~/x", "a\nb", "a\r\n\tb", "\u2028", "\x85", "\ufeff", "\u202e", "é" * 300, "x" * 5000, "-x",
    "--flag", "%s", "${needs.a.b}",
    "${data}", "${project}/../x", "${", "__import__('os')", "!!python/object:os.system x", "&a [*a]", "*b", "<<", "? x",
    "- -", "[", "{", "|", ">", "#", "hf_" + "A" * 30, "llama-2-13b", "phase4/dpo-13b", "con", ".", "..", "a/b/c/d/e/f",
]  # fmt: skip
VALUES: list[Any] = [
    *NASTY, None, True, False, 0, -1, 1, 2, 3, 7, 10**30, -(10**30), 1e-300, 1e300, 0.5, [], {}, [[]], [{}], {"": None},
    [None], ["a"], {"a": 1}, [1, "a", None, []], {"x": {"y": {"z": []}}}, list(range(50)),
]  # fmt: skip


@dataclass
class Fuzz:
    """`bad` are inputs that broke a promise, each with what happened; `ways` counts how inputs ended."""

    seed: int
    project: Project
    ways: Counter[str] = field(default_factory=Counter)
    bad: list[tuple[str, str]] = field(default_factory=list)
    slowest: float = 0.0
    heard: list[str] = field(default_factory=list)
    listening: bool = False

    def __post_init__(self) -> None:
        self.library = Library(self.project, "full")

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.listening:
            return
        writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if (event in FORBIDDEN or writes) and "__pycache__" not in str(arguments[0]):
            self.heard.append(f"{event} {str(arguments)[:200]}")

    def one(self, text: bytes) -> None:
        file = self.project.recipe_file("fuzzed")
        file.write_bytes(text)
        self.heard.clear()
        started, self.listening = time.process_time(), True
        try:
            way, wrong = self.through(file)
        except RecursionError as error:
            way, wrong = "recursion", repr(error)
        except Exception:
            way, wrong = "exception", traceback.format_exc()
        self.listening = False
        took = time.process_time() - started
        self.slowest = max(self.slowest, took)
        self.ways[way] += 1
        wrong = wrong or (f"took {took:.1f} s" if took > SECOND else "") or "; ".join(self.heard)
        if wrong:
            self.bad.append((text.decode("utf-8", "replace"), wrong))

    def through(self, file: Path) -> tuple[str, str]:
        library = self.library
        library._read.pop("fuzzed", None)
        doc, found = check_recipe(library, file)
        if doc is None or any(d.is_error for d in found):
            return ("refused" if doc is None else "diagnosed"), ""
        for profile in ("full", "smoke"):
            try:
                recipe = resolve(self.project, doc, profile, lambda recipe, profile: None)
                files = render(recipe)
            except Refused:
                continue
            for name in files:
                if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                    return "rendered", f"a file outside the run: {name}"
        return "rendered", ""


def seeds() -> list[str]:
    """Small recipes more often than large ones: what can go wrong is the same, and they take less time."""
    found = [
        f.read_text()
        for folder in ("good", "bad")
        for f in sorted((ROOT / "tests" / folder).glob("*.yaml"))
        if _is_text(f)
    ]
    return [*found, *[f.read_text() for f in sorted((ROOT / "recipes").rglob("*.yaml"))][::8]]


def _is_text(file: Path) -> bool:
    try:
        return file.stat().st_size < 3000 and bool(file.read_text())
    except UnicodeDecodeError:
        return False


def damaged(chance: random.Random, texts: list[str], plains: list[dict[str, Any]]) -> bytes:
    if chance.random() < 0.5:
        plain = json.loads(json.dumps(chance.choice(plains)))
        for _ in range(chance.choice((1, 1, 1, 1, 2, 3))):
            damage_values(chance, plain)
        text = json.dumps(plain, ensure_ascii=False)
        raw = text.encode("utf-8", "surrogatepass")
        return raw if chance.random() < 0.9 else damage_text(chance, text, texts)
    return damage_text(chance, chance.choice(texts), texts)


def damage_values(chance: random.Random, plain: dict[str, Any]) -> None:
    """One key or item anywhere: another value, another key, gone, doubled, or one more key of some kind."""
    at: Any = plain
    while True:
        keys: list[Any] = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            break
        key = chance.choice(keys)
        if isinstance(at[key], (dict, list)) and chance.random() < 0.7:
            at = at[key]
            continue
        what = chance.random()
        if what < 0.45:
            at[key] = copy.deepcopy(chance.choice(VALUES))
        elif what < 0.7:
            del at[key]
        elif isinstance(at, dict) and what < 0.8:
            at[str(chance.choice(NASTY))] = at.pop(key)
        else:
            break
        return
    if isinstance(at, list):
        at.append(copy.deepcopy(chance.choice(VALUES)))
    else:
        kind = plain.get("kind")
        known = kind if isinstance(kind, str) and kind in kind_names() else chance.choice(kind_names())
        at[chance.choice(list(kind_schema(known)["properties"]))] = copy.deepcopy(chance.choice(VALUES))


def damage_text(chance: random.Random, text: str, texts: list[str]) -> bytes:
    for _ in range(chance.choice((1, 1, 2, 4))):
        lines = text.split("\n")
        at = chance.randrange(len(lines))
        line = lines[at]
        key, nasty = line.partition(":")[0], chance.choice(NASTY)
        lines[at : at + 1] = chance.choice(
            [
                [line, line],
                [],
                [f"{nasty}: {chance.choice(NASTY)}", line],
                [f"{key}: {nasty}"],
                [" " * chance.randrange(5) + line],
                [line[: chance.randrange(len(line) + 1)]],
                [chance.choice(chance.choice(texts).split("\n")), line],
                ["x: " + chance.choice("[{") * chance.choice((3, 40, 300)), line],
                ["b: &b {" + ", ".join(f"k{i}: *b" for i in range(3)) + "}", line],
            ]
        )
        text = "\n".join(lines)
    raw = text.encode("utf-8", "surrogatepass")
    if chance.random() < 0.2:
        at, gone = chance.randrange(len(raw) + 1), chance.randrange(3)
        raw = raw[:at] + bytes(chance.randrange(256) for _ in range(chance.choice((1, 1, 4)))) + raw[at + gone :]
    return raw


def fuzz(count: int, seed: int, folder: Path, *, told: Callable[[Fuzz, int], None] = lambda fuzz, done: None) -> Fuzz:
    """`folder` becomes a project with our recipes, which the damaged one may name, and that one."""
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    found = Fuzz(seed, Project(folder))
    sys.addaudithook(found.hear)
    texts = seeds()
    plains = [plain for text in texts if (plain := _plain(text)) is not None and len(plain) > 3]
    chance = random.Random(seed)
    for done in range(1, count + 1):
        found.one(damaged(chance, texts, plains))
        told(found, done)
    return found


def _plain(text: str) -> dict[str, Any] | None:
    try:
        plain: dict[str, Any] = parse(text, "seed.yaml", "seed").plain()
    except Refused:
        return None
    return plain


def main(count: int, seed: int) -> int:
    started = time.monotonic()

    def told(found: Fuzz, done: int) -> None:
        if done % 5000 == 0 or done == count:
            print(
                f"{done:,} inputs, {time.monotonic() - started:.0f} s, {dict(found.ways)}, ",
                f"slowest {found.slowest:.2f} s",
                flush=True,
            )

    with tempfile.TemporaryDirectory() as folder:
        found = fuzz(count, seed, Path(folder), told=told)
    for text, wrong in found.bad[:20]:
        print(f"--- {wrong}\n{text[:2000]}\n", file=sys.stderr)
    print(f"{len(found.bad)} of {count:,} inputs (seed {seed}) broke a promise")
    return 1 if found.bad else 0


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:3]]
    raise SystemExit(main(*[*numbers, *(200_000, 0)[len(numbers) :]]))
