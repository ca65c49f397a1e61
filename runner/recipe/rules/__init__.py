"""Rules across fields: one small module per theme, found by looking; an engine's own in a folder of its name.

A rule is a generator function over Facts, decorated with `rule`. It sees only keys that passed the schema, so it may
trust their types, and yields one Diagnostic per cause. Its docstring is the long form that `runner explain` prints;
its `source` is public and says why the rule exists.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from runner.diagnostics import Diagnostic, Severity, Span
from runner.facts.boxes import Box
from runner.facts.models import Model
from runner.recipe.document import Document, Node, parse_path


@dataclass(frozen=True, slots=True)
class Facts:
    """What a rule may look at: one composed recipe, its box, and its base model where it is known.

    `refused` names the top-level keys that the schema refused and that `doc` therefore lacks. `root` is the project's
    folder, below which local files are looked for; the current one where it is not told.
    """

    doc: Document
    kind: str
    box: Box
    model: Model | None = None
    refused: frozenset[str] = frozenset()
    root: Path | None = None

    def node(self, path: str) -> Node | None:
        """The node at a dotted path (`trl.num_generations`, `datasets.0.type`)."""
        return self.doc.find(path)

    def get(self, path: str, default: Any = None) -> Any:
        """The plain value at a dotted path; `default` where it is absent or null."""
        node = self.doc.find(path)
        value = None if node is None else node.plain()
        return default if value is None else value

    def has(self, path: str) -> bool:
        """True where the key is given with a value that is neither null nor false."""
        return self.get(path) not in (None, False)

    def lacks(self, key: str) -> bool:
        """True where a top-level key is neither set nor given wrongly: only then is its absence the mistake."""
        return not self.has(key) and key not in self.refused

    def all(self, path: str) -> Iterator[tuple[str, Node]]:
        """Nodes at a dotted path in which `*` stands for every list item, each with its own dotted path."""
        found: list[tuple[tuple[str | int, ...], Node]] = [((), self.doc.root)]
        for part in parse_path(path):
            step: list[tuple[tuple[str | int, ...], Node]] = []
            for at, node in found:
                if part == "*" and isinstance(node.value, list):
                    step += [((*at, i), item) for i, item in enumerate(node.value)]
                elif (below := node.child(part)) is not None:
                    step.append(((*at, part), below))
            found = step
        for at, node in found:
            yield ".".join(map(str, at)), node

    @property
    def adapter(self) -> str | None:
        found: str | None = self.get("adapter")
        return found

    @property
    def ranks(self) -> int:
        """Processes that train, one per GPU of the box, of all its nodes."""
        return max(1, self.box.total_gpus)

    @property
    def zero_stage(self) -> int:
        """1, 2 or 3 with DeepSpeed; 0 without."""
        given = self.get("deepspeed")
        if isinstance(given, dict):
            zero = given.get("zero_optimization")
            stage = zero.get("stage") if isinstance(zero, dict) else None
            return stage if isinstance(stage, int) else 0
        if isinstance(given, str):
            return next((n for n in (1, 2, 3) if f"zero{n}" in given), 0)
        return 0

    def span(self, path: str) -> Span:
        """Where to point: at the key, or at the closest thing above it that exists."""
        node = self.doc.nearest(parse_path(path))
        return node.key

    def report(
        self,
        code: str,
        path: str,
        message: str,
        *,
        label: str = "",
        note: str | tuple[str, ...] = (),
        help: str = "",
        severity: Severity = "error",
    ) -> Diagnostic:
        notes = ((note,) if note else ()) if isinstance(note, str) else note
        return Diagnostic(code, message, self.span(path), label, notes, help, severity)


Check = Callable[[Facts], Iterator[Diagnostic]]


@dataclass(frozen=True, slots=True)
class Rule:
    """A registered rule: `code` is stable, `source` is a public address that gives the reason."""

    code: str
    title: str
    source: str
    check: Check
    severity: Literal["error", "warning"] = "error"

    @property
    def explanation(self) -> str:
        return (self.check.__doc__ or "").strip()


def rule(
    code: str, title: str, *, source: str, severity: Literal["error", "warning"] = "error"
) -> Callable[[Check], Rule]:
    """Make a generator over Facts into a Rule. The module-level name becomes the Rule."""

    def made(check: Check) -> Rule:
        return Rule(code, title, source, check, severity)

    return made


@cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule there is, by code."""
    found: list[Rule] = []
    for module in pkgutil.walk_packages(__path__, f"{__name__}."):
        found += _rules_in(module.name)
    return tuple(sorted(found, key=lambda r: r.code))


@cache
def rules_for(engine: str) -> tuple[Rule, ...]:
    """The rules of a recipe that `engine` runs: those that lie here hold for all, those in `engine/` for it alone."""
    found: list[Rule] = []
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        if not module.ispkg:
            found += _rules_in(module.name)
        elif module.name.endswith(f".{engine}"):
            package = importlib.import_module(module.name)
            for below in pkgutil.iter_modules(package.__path__, f"{module.name}."):
                found += _rules_in(below.name)
    return tuple(sorted(found, key=lambda r: r.code))


def _rules_in(module: str) -> list[Rule]:
    return [value for value in vars(importlib.import_module(module)).values() if isinstance(value, Rule)]
