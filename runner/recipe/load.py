"""Text -> Document: YAML 1.2 with the place of every key and value, bounded, duplicate keys refused."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scanner import RoundTripScanner

from runner.diagnostics import Diagnostic, Span
from runner.recipe.document import Document, Node, Scalar

MAX_BYTES = 64 * 1024
MAX_DEPTH = 32
MAX_NODES = 20_000
# of a file with more faults than this nobody reads the rest
MAX_TOLD = 100
_TAG = "tag:yaml.org,2002:"
_OLDER = re.compile(r"^%YAML[ \t]+(?!1\.2\b)(?=\S)", re.MULTILINE)


class Refused(Exception):
    """Nothing more can be said before these diagnostics are mended."""

    def __init__(self, *diagnostics: Diagnostic) -> None:
        super().__init__("; ".join(d.message for d in diagnostics))
        self.diagnostics = list(diagnostics)


def printable(text: str, limit: int = 80) -> str:
    """Untrusted text on one short line."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:limit])
    return shown + ("…" if len(text) > limit else "")


def load(file: Path, name: str) -> Document:
    """Read a recipe. Raises Refused with everything wrong about it as YAML (R001 to R003, R005)."""
    return _parsed(_read(file), str(file), name)


def _read(file: Path) -> str:
    at = Span(str(file))
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise Refused(Diagnostic("R001", f"can't read the recipe: {error.strerror}", at)) from None
    if len(raw) > MAX_BYTES:
        raise Refused(Diagnostic("R001", f"the file is larger than a recipe may be ({MAX_BYTES // 1024} KiB)", at))
    if b"\x00" in raw:
        raise Refused(Diagnostic("R001", "the file is binary, not YAML text", at))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        raise Refused(
            Diagnostic("R001", "the file is not UTF-8 text", Span(str(file), line, column), help="save it as UTF-8")
        ) from None


@lru_cache(maxsize=256)
def _parsed(text: str, file: str, name: str) -> Document:
    """One recipe is the base, the parent and the need of others, and reading YAML is most of what a check takes."""
    return parse(text, file, name)


def parse(text: str, file: str, name: str) -> Document:
    """Like `load`, from text that is already at hand; `file` is what places refer to."""
    if older := _OLDER.search(text):
        line = text.count("\n", 0, older.start()) + 1
        raise Refused(Diagnostic("R002", "recipes are YAML 1.2", Span(file, line, 1), help="remove the `%YAML` line"))
    reader = YAML(typ="rt", pure=True)
    reader.Scanner = _Scanner
    reader.composer.warn_double_anchors = False  # YAML allows them; the last one counts
    try:
        top = reader.compose(text)
    except _TooDeep as error:
        span = Span(file, error.problem_mark.line + 1, error.problem_mark.column + 1)
        raise Refused(Diagnostic("R003", f"nested deeper than {MAX_DEPTH} levels", span)) from None
    except ReaderError as error:
        before = text[: error.position]
        span = Span(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise Refused(
            Diagnostic("R002", f"not valid YAML: a control character (U+{ord(text[error.position]):04X})", span)
        ) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        span = Span(file, mark.line + 1, mark.column + 1) if mark else Span(file)
        context = (f"{error.context}",) if error.context else ()
        raise Refused(
            Diagnostic("R002", f"not valid YAML: {printable(error.problem or 'syntax error')}", span, notes=context)
        ) from None
    except (YAMLError, ValueError, AttributeError, KeyError, IndexError, TypeError) as error:
        # ruamel raises plain Python errors on some malformed input; to a person they're the same thing.
        first = (str(error).splitlines() or ["syntax error"])[0]
        raise Refused(Diagnostic("R002", f"not valid YAML: {printable(first)}", Span(file))) from None
    except RecursionError:
        raise Refused(Diagnostic("R003", f"nested deeper than {MAX_DEPTH} levels", Span(file))) from None
    if top is None:
        raise Refused(
            Diagnostic("R003", "the file is empty", Span(file), help="`runner new NAME --from RECIPE` starts from one")
        )
    builder = _Builder(file)
    root = builder.build(top, None, 0)
    if not isinstance(root.value, dict):
        kind = "a list" if isinstance(root.value, list) else "a single value"
        builder.complain("R003", f"a recipe is a mapping of keys to values, this is {kind}", root.span)
    if builder.diagnostics:
        raise Refused(*builder.diagnostics)
    return Document(name, file, root)


class _TooDeep(MarkedYAMLError):
    pass


class _Scanner(RoundTripScanner):
    """Stops early at a run of brackets, in which ruamel's own looks for keys in quadratic time."""

    def fetch_flow_collection_start(self, *given: Any, **named: Any) -> None:
        if len(self.flow_context) > MAX_DEPTH:
            raise _TooDeep(problem_mark=self.reader.get_mark())
        super().fetch_flow_collection_start(*given, **named)


class _Builder:
    """ruamel's nodes -> ours, with every bound held."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.diagnostics: list[Diagnostic] = []
        self.count = 0
        self.open: set[int] = set()

    def complain(self, code: str, message: str, span: Span, **more: Any) -> None:
        self.diagnostics.append(Diagnostic(code, message, span, **more))
        if len(self.diagnostics) == MAX_TOLD:
            raise Refused(*self.diagnostics)

    def span(self, node: Any) -> Span:
        start, end = node.start_mark, node.end_mark
        width = end.column - start.column if end.line == start.line else 1
        return Span(self.file, start.line + 1, start.column + 1, max(1, width))

    def build(self, node: Any, key: Span | None, depth: int) -> Node:
        span = self.span(node)
        self.count += 1
        if self.count > MAX_NODES:
            raise Refused(
                Diagnostic(
                    "R003",
                    f"holds more than {MAX_NODES:,} values, aliases written out",
                    span,
                    help="remove the aliases",
                )
            )
        if depth > MAX_DEPTH:
            raise Refused(Diagnostic("R003", f"nested deeper than {MAX_DEPTH} levels", span))
        if id(node) in self.open:
            raise Refused(Diagnostic("R003", "an alias refers to a value that contains it", span))
        value: Scalar | dict[str, Node] | list[Node]
        if isinstance(node, ScalarNode):
            value = self.scalar(node, span)
            if key and node.start_mark.index == node.end_mark.index:
                span = key  # nothing is given: its place would be wherever the next thing stands
        else:
            self.open.add(id(node))
            if not _plain_collection(node):
                self.complain("R003", f"tag `{printable(str(node.tag))}` is not allowed in a recipe", span)
            if isinstance(node, SequenceNode):
                value = [self.build(below, None, depth + 1) for below in node.value]
            else:
                value = self.mapping(node, depth)
            self.open.discard(id(node))
        return Node(value, span, key or span)

    def mapping(self, node: MappingNode, depth: int) -> dict[str, Node]:
        built: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for key_node, value_node in node.value:
            span = self.span(key_node)
            if not isinstance(key_node, ScalarNode):
                self.complain("R003", "a key must be a plain word, not a collection", span)
                continue
            key = str(key_node.value)
            self.refuse_half(key, span)
            value = self.build(value_node, span, depth + 1)
            if key_node.tag == _TAG + "merge":
                for part in value.value if isinstance(value.value, list) else [value]:
                    if isinstance(part.value, dict):
                        merged = {**part.value, **merged}
                    else:
                        self.complain("R003", "`<<` takes a mapping, or a list of them", span)
            elif key in built:
                self.complain(
                    "R005",
                    f"key `{printable(key)}` is given twice",
                    span,
                    label=f"first given on line {built[key].key.line}",
                    notes=("PyYAML would keep the last one without a word",),
                    help="remove one of the two",
                )
            else:
                built[key] = value
        return {**merged, **built}

    def scalar(self, node: ScalarNode, span: Span) -> Scalar:
        text = str(node.value)
        if node.style == ">":
            text = text.replace("\a", "")  # with which ruamel marks where a folded text was folded
        tag = str(node.tag).removeprefix(_TAG)
        try:
            if tag == "null":
                return None
            if tag == "bool" and text.lower() in ("true", "false"):
                return text.lower() == "true"
            if tag == "int":
                return self.integer(text, span)
            if tag == "float":
                number = float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
                if not math.isfinite(number):
                    self.complain("R003", f"`{printable(text)}` is not a finite number", span)
                return number
        except ValueError:
            return text
        if tag not in ("str", "timestamp"):
            self.complain("R003", f"tag `{printable(str(node.tag))}` is not allowed in a recipe", span)
        self.refuse_half(text, span)
        return text

    def refuse_half(self, text: str, span: Span) -> None:
        """Half a surrogate pair, written as an escape, is text that no file can hold; a NUL none for a command line."""
        if any("\ud800" <= c <= "\udfff" for c in text):
            self.complain("R003", "half of a surrogate pair is not text", span, help="write the character itself")
        if "\0" in text:
            self.complain("R003", "a NUL character ends text where no reader sees it", span, help="remove it")

    def integer(self, text: str, span: Span) -> int:
        digits = text.replace("_", "")
        if len(digits) > 40:
            self.complain("R003", "a number of more than 40 digits", span)
            return 0
        return int(digits, 0) if digits.lstrip("+-")[:2].lower() in ("0x", "0o", "0b") else int(digits)


def _plain_collection(node: Any) -> bool:
    return str(node.tag) in (_TAG + "map", _TAG + "seq")
