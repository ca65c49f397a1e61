"""Do the tests notice when a rule is changed? `python -m tests.mutate [HOW MANY|all] [PART OF A MODULE'S NAME] [SEED]`.

Each mutant is one change in one module of runner/recipe/rules: a comparison turned, a condition negated, a number one
higher, a word another. It is killed where a recipe of tests/bad, tests/good or recipes/ is told something else than
before, which is what tests/recipe/test_rules.py compares. mutmut and cosmic-ray start pytest for each mutant, which
would take a day here; a fork that has read all recipes already takes a tenth of a second.
"""

from __future__ import annotations

import ast
import copy
import importlib.abc
import importlib.util
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from runner.project import Project
from runner.recipe.check import check
from runner.recipe.compose import compose
from runner.recipe.document import Document
from runner.recipe.kinds import engine_of, kind_names
from runner.recipe.load import Refused
from tests.conftest import ROOT

RULES = ROOT / "runner" / "recipe" / "rules"
PATIENCE_S = 60
TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    file: Path
    line: int
    change: str
    tree: ast.Module

    @property
    def module(self) -> str:
        return ".".join(self.file.relative_to(ROOT).with_suffix("").parts)


def mutants_of(file: Path) -> Iterator[Mutant]:
    tree = ast.parse(file.read_text())
    for place, node in enumerate(ast.walk(tree)):
        for change in _changes(node):
            mutated = copy.deepcopy(tree)
            what = _apply(list(ast.walk(mutated))[place], change)
            yield Mutant(file, getattr(node, "lineno", 0), what, ast.fix_missing_locations(mutated))


def _changes(node: ast.AST) -> list[str]:
    """What can be changed here. Only code of functions: tables of names are data, and docstrings are words."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in TURNED:
        return ["turn"]
    if isinstance(node, ast.BoolOp):
        return ["and/or"]
    if isinstance(node, (ast.If, ast.IfExp)):
        return ["negate"]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return ["drop not"]
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod)):
        return ["operator"]
    if isinstance(node, ast.Continue):
        return ["break"]
    return ["number"] if isinstance(node, ast.Constant) and type(node.value) in (int, float) else []


def _apply(node: ast.AST, change: str) -> str:
    before = ast.unparse(node)
    if isinstance(node, ast.Compare):
        node.ops = [TURNED[type(node.ops[0])]()]
    elif isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, (ast.If, ast.IfExp)):
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.UnaryOp):
        node.op, node.operand = ast.Not(), ast.UnaryOp(ast.Not(), node.operand)
    elif isinstance(node, ast.BinOp):
        node.op = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
    elif isinstance(node, ast.Continue):
        node.__class__ = ast.Break  # type: ignore[assignment]
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        node.value = node.value + 1
    return f"{change}: {before.splitlines()[0][:60]} -> {ast.unparse(node).splitlines()[0][:60]}"


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the mutant when its module is imported."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(self, name: str, path: object, target: ModuleType | None = None) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(name, self) if name == self.mutant.module else None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.mutant.tree, str(self.mutant.file), "exec"), module.__dict__)


def recipes() -> dict[str, Document]:
    """Composed, by a name that begins with the code where it is a test of a rule."""
    files = {f"{g}/{f.stem}": f for g in ("bad", "good") for f in (ROOT / "tests" / g).glob("*.yaml")}
    files |= {f"recipes/{f.stem}": f for f in Project(ROOT).all_recipes()}
    found = {}
    for name, file in sorted(files.items()):
        try:
            found[name] = compose(Project(ROOT), file)
        except Refused:
            continue
    return found


def told(doc: Document) -> str:
    return repr(check(doc, ROOT))


def in_a_fork(mutant: Mutant | None, docs: dict[str, Document], expected: dict[str, str]) -> str:
    """What is told of each as JSON where there is no mutant; else `same`, or the first difference."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE_S if mutant is not None else 0)
        os.close(reading)
        with os.fdopen(writing, "w") as pipe:
            try:
                if mutant is None:
                    pipe.write(json.dumps({name: told(doc) for name, doc in docs.items()}))
                else:
                    sys.meta_path.insert(0, _Finder(mutant))
                    differs = next((name for name, doc in docs.items() if told(doc) != expected[name]), None)
                    pipe.write(f"differs at {differs}" if differs else "same")
            except BaseException as error:
                pipe.write(f"raises {type(error).__name__}")
            pipe.flush()
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def main(wanted: str, part: str, number: int) -> int:
    files = [f for f in sorted(RULES.rglob("*.py")) if f.name != "__init__.py" and part in str(f)]
    everything = [mutant for file in files for mutant in mutants_of(file)]
    chance = random.Random(number)
    chosen = everything if wanted == "all" else chance.sample(everything, min(int(wanted), len(everything)))
    docs = recipes()
    count: Counter[str] = Counter()
    expected = json.loads(in_a_fork(None, docs, {}))
    for mutant in sorted(chosen, key=lambda m: (m.file, m.line)):
        said = in_a_fork(mutant, _ordered(mutant, docs), expected)
        count["survived" if said == "same" else "killed"] += 1
        if said == "same":
            print(f"{mutant.file.relative_to(ROOT)}:{mutant.line}: {mutant.change}", flush=True)
    killed = count["killed"]
    print(
        f"{killed} of {len(chosen)} mutants killed ({killed / max(1, len(chosen)):.1%}), of {len(everything)} there are"
    )
    return 0


def _ordered(mutant: Mutant, docs: dict[str, Document]) -> dict[str, Document]:
    """Those that the module is for: recipes of its own codes first, which tell soonest."""
    text, engine = mutant.file.read_text(), mutant.file.parent.name
    meant = [name for name, doc in docs.items() if engine == "rules" or _engine(doc) in (engine, "vllm_bench", "make")]
    first = [name for name in meant if name.rpartition("/")[2].split("-")[0] in text and "recipes/" not in name]
    return {name: docs[name] for name in dict.fromkeys([*first, *meant])}


def _engine(doc: Document) -> str:
    kind = doc.keys.get("kind")
    return engine_of(str(kind.value)) if kind is not None and kind.value in kind_names() else ""


if __name__ == "__main__":
    words = dict(enumerate(sys.argv[1:]))
    raise SystemExit(main(words.get(0, "300"), words.get(1, ""), int(words.get(2, "0"))))
