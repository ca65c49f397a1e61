"""An Axolotl config -> a recipe: keys and comments stay, values are written as they were meant, a header on top."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml.nodes import MappingNode

from runner.diagnostics import Diagnostic, Span
from runner.importing import pictures
from runner.importing.dump import dump
from runner.importing.kind import ENGINE, axolotl_properties, kind_of, missing_in, title_of
from runner.importing.places import changed, extents, nodes_of, prefixed
from runner.importing.plain import is_exported, restored
from runner.importing.types import Imported, Row, Source
from runner.importing.yaml11 import mended
from runner.importing.zero import from_file, known_stage
from runner.recipe.document import dotted, walk
from runner.recipe.kinds import header_keys, refused_values
from runner.recipe.load import Refused, parse, printable
from runner.recipe.naming import nearest_word

NAME = "axolotl"
# our own references may stand in a config that was exported by hand
_OURS = re.compile(r"\$\{(?:needs\.[^}]*|data|project|smoke)\}")
_VARIABLE = re.compile(r"\$\{[^}]*\}")
# Axolotl's second name for a key -> the one that its schema has
_ALIASES = {
    "overrides_of_model_config": "model_config",
    "overrides_of_model_kwargs": "model_kwargs",
    "type_of_model": "model_type",
    "revision_of_model": "model_revision",
}


def known() -> set[str]:
    return set(axolotl_properties()) | set(_ALIASES)


def translate(source: Source, root: Path) -> Imported:
    if is_exported(source.text):
        text = restored(source.text)
        doc = parse(text, str(source.file), "imported")
        return Imported(NAME, str(doc.keys["kind"].plain()), text)
    text, rows, found = _without_header_names(source)
    text, renamed = _one_name(text)
    text, inlined, unread = _deepspeed(text, source.file, root)
    text, meant = mended(text, axolotl_properties())
    values = parse(text, str(source.file), "imported").plain()
    _has_kind(source, values)
    kind, why = kind_of(values, root)
    if kind == pictures.KIND:
        text, off = pictures.without_types(text)
        rows = [*rows, *off]
    unset = [key for key, value in values.items() if value is None and key not in axolotl_properties()]
    text, off = _without(text, [*unset, *(key for key in missing_in(kind, values) if not values[key])], kind)
    rows = [Row("(kind)", kind, why), *source.rows, *rows, *renamed, *inlined, *meant, *off]
    found += [*source.found, *unread, *_variables(source)]
    return Imported(NAME, kind, headed(kind, title_of(kind, values), text), tuple(rows), tuple(found))


def _has_kind(source: Source, values: dict[str, Any]) -> None:
    why = refused_values(ENGINE).get("rl", {}).get(str(values.get("rl")))
    if why:
        raise Refused(
            Diagnostic(
                "R873",
                f"there is no kind of recipe for `rl: {values['rl']}`",
                source.span("rl"),
                notes=(why,),
                help="leave this config to Axolotl, or set `rl: grpo` with a reward function",
            )
        )


def headed(kind: str, title: str, text: str) -> str:
    """With the header above the keys, as far in as they stand."""
    margin = " " * int(nodes_of(text).value[0][0].start_mark.column)
    lines = dump({"recipe": 1, "kind": kind, "title": title}).splitlines()
    header = "".join(f"{margin}{line}\n" for line in lines)
    return f"{header}\n{text.lstrip(chr(10)).rstrip()}\n"


def _without_header_names(source: Source) -> tuple[str, list[Row], list[Diagnostic]]:
    """Keys that Axolotl doesn't know, and that would mean something in a recipe, are put into comments."""
    text = source.text
    taken = header_keys() - axolotl_properties().keys()
    if {"recipe", "kind"} <= source.doc.keys.keys():
        raise Refused(
            Diagnostic("R815", "this is a recipe already", source.span("recipe"), help="`runner validate` checks it")
        )
    changes, rows, found = [], [], []
    for key, _, start, end in extents(text, nodes_of(text)):
        if key.value in taken:
            changes.append(prefixed(text, start, end, "# "))
            rows.append(Row(str(key.value), "", "Axolotl has no such key; a recipe's header has, with another meaning"))
            found.append(
                Diagnostic(
                    "R812",
                    f"Axolotl ignores `{key.value}`, which a recipe's header would take for its own",
                    source.span(str(key.value)),
                    notes=("it was put into a comment",),
                    severity="warning",
                )
            )
    if len(changes) == len(source.doc.keys):
        raise Refused(Diagnostic("R810", "no key of Axolotl's is in this file", Span(str(source.file))))
    return changed(text, changes), rows, found


def _without(text: str, keys: list[str], kind: str) -> tuple[str, list[Row]]:
    """Keys that are off, and that the kind doesn't have at all, are put into comments."""
    at = {key.value: (start, end) for key, _, start, end in extents(text, nodes_of(text))}
    changes = [prefixed(text, *at[key], "# ") for key in keys if key in at]
    return changed(text, changes), [Row(key, "", f"off, and no key of kind {kind}") for key in keys if key in at]


def _one_name(text: str) -> tuple[str, list[Row]]:
    """Where Axolotl takes two names for a key, the one of its schema."""
    changes, rows = [], []
    pairs = nodes_of(text).value
    given = {str(key.value) for key, _ in pairs}
    for key, node in pairs:
        new = _ALIASES.get(str(key.value))
        if new is not None and new not in given:
            changes.append((key.start_mark.index, key.end_mark.index, new))
            rows.append(Row(str(key.value), new, "two names of one key"))
        elif key.value == "fsdp_config" and isinstance(node, MappingNode):
            for below, short in _fsdp(node):
                changes.append((below.start_mark.index, below.end_mark.index, short))
                rows.append(Row(f"fsdp_config.{below.value}", short, "Axolotl takes the prefix off"))
    return changed(text, changes), rows


def _fsdp(node: MappingNode) -> Iterator[tuple[Any, str]]:
    known = axolotl_properties()["fsdp_config"]["properties"]
    given = {str(key.value) for key, _ in node.value}
    for key, _ in node.value:
        short = str(key.value).removeprefix("fsdp_")
        if key.value not in known and short in known and short not in given:
            yield key, short


def _deepspeed(text: str, file: Path, root: Path) -> tuple[str, list[Row], list[Diagnostic]]:
    """A DeepSpeed config that lies beside the file, or below the project's folder, becomes a part of the recipe."""
    node = parse(text, str(file), "imported").keys.get("deepspeed")
    if node is None or not isinstance(node.value, str) or known_stage(node.value) is not None:
        return text, [], []
    given = from_file(node.value, node.span, file.parent, root)
    if given is None:
        return text, [], []  # the rule about `deepspeed` tells it
    if isinstance(given, Diagnostic):
        return text, [], [given]
    key, _, start, end = next(each for each in extents(text, nodes_of(text)) if each[0].value == "deepspeed")
    margin = " " * int(key.start_mark.column)
    lines = [f"{margin}{line}" for line in dump({"deepspeed": given}).splitlines()]
    lines[0] += f"  # {printable(node.value)}"
    row = Row("deepspeed", "deepspeed", f"the file `{printable(node.value)}`, written out")
    return changed(text, [(start, end, "\n".join(lines))]), [row], []


def _variables(source: Source) -> Iterator[Diagnostic]:
    for path, node in walk(source.doc.root):
        if isinstance(node.value, str) and (found := _VARIABLE.search(_OURS.sub("", node.value))):
            # text of a template has its own braces
            if dotted(path).endswith("jinja"):
                continue
            yield Diagnostic(
                "R819",
                f"nothing fills in `{printable(found[0])}`",
                node.span,
                notes=("Axolotl hands the text on as it stands, and so does the runner",),
                help=f"write the value, or `${{project}}` for the project's folder{_meant(found[0])}",
            )


def _meant(variable: str) -> str:
    close = nearest_word(variable[2:-1].lower(), ["data", "project"])
    return f"; did you mean `${{{close}}}`?" if close else ""
