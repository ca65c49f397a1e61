"""Rules about a model class of the user's own: whether it may run, and whether it is what the recipe says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner.diagnostics import Diagnostic
from runner.facts.families import ANY_OTHER, families
from runner.recipe.load import printable
from runner.recipe.model_code import classes_of, code_file, read_code
from runner.recipe.naming import nearest_word
from runner.recipe.rules import Facts, rule

_DOCS = "https://huggingface.co/docs/transformers/custom_models"
_CLASSES = ("config", "model", "base")


def _code(facts: Facts) -> dict[str, Any] | None:
    given = facts.get("model_code")
    return given if isinstance(given, dict) and isinstance(given.get("file"), str) else None


def _classes(facts: Facts) -> dict[str, dict[str, Any]] | None:
    """None where the file can't be read, which another rule tells."""
    code = _code(facts)
    try:
        return None if code is None else classes_of(read_code(code_file(code, facts.root)))
    except (OSError, ValueError, SyntaxError, RecursionError):
        return None


@rule("R165", "code of a model that nobody allowed", source=_DOCS)
def not_allowed(facts: Facts) -> Iterator[Diagnostic]:
    """A model class of one's own is a Python file that runs with everything the user running the recipe can reach. The
    recipe names it in its header, under `allow`, where a reviewer looks; another file, or `trust_remote_code`, which
    means code of the hub, does not stand for it.
    """
    code = _code(facts)
    if code is None or code["file"] in facts.get("allow", []) or "allow" in facts.refused:
        return
    shown = printable(code["file"])
    yield facts.report(
        "R165",
        "model_code.file",
        f"`{shown}` would run, and the recipe does not allow it",
        label="read that code first",
        help=f"add `allow: [{shown}]`",
    )


@rule("R166", "code of a model that can't be read", source="https://docs.python.org/3/reference/")
def unreadable(facts: Facts) -> Iterator[Diagnostic]:
    """The file of `model_code` is parsed, not run, when a recipe is checked: it must be there, be UTF-8 text, and be
    Python. It is named relative to the project.
    """
    code = _code(facts)
    if code is None:
        return
    shown, file = printable(code["file"]), code_file(code, facts.root)
    what = note = ""
    try:
        classes_of(read_code(file))
    except SyntaxError as error:
        what, note = f"`{shown}` is not valid Python", f"line {error.lineno}: {error.msg}"
    except (OSError, ValueError, RecursionError) as error:
        what = f"`{shown}` can't be read"
        note = (error.strerror or "").lower() if isinstance(error, OSError) else str(error)
    if what:
        near = _near(file)
        help = f"did you mean `{near}`?" if near else "name a Python file, relative to the project's folder"
        help = "mend the file" if "Python" in what else help
        yield facts.report("R166", "model_code.file", what, note=note, help=help)


def _near(file: Path) -> str | None:
    try:
        there = [other.name for other in file.parent.glob("*.py")]
    except (OSError, ValueError):
        return None
    return nearest_word(file.name, there)


@rule("R167", "no such class of a model", source=_DOCS)
def missing_class(facts: Facts) -> Iterator[Diagnostic]:
    """`config`, `model` and `base` of `model_code` name classes that stand at the top level of its file, and the
    config's class has for its `model_type` the one that `architecture` names: that is how transformers finds it.
    """
    code, classes = _code(facts), _classes(facts)
    if code is None or classes is None:
        return
    missing = [key for key in _CLASSES if isinstance(code.get(key), str) and code[key] not in classes]
    for key in missing:
        near = nearest_word(code[key], list(classes))
        listed = ", ".join(f"`{printable(name)}`" for name in classes) or "none"
        yield facts.report(
            "R167",
            f"model_code.{key}",
            f"`{printable(code['file'])}` has no class `{printable(str(code[key]))}`",
            label=f"did you mean `{near}`?" if near else "",
            note=f"its classes: {listed}",
            help=f"set `{key}: {near}`" if near else f"set `{key}` to one of them",
        )
    wanted = facts.get("architecture.model_type")
    if "config" not in missing and wanted is not None:
        given = classes[code["config"]].get("model_type")
        if given != wanted:
            yield facts.report(
                "R167",
                "architecture.model_type",
                f"`{code['config']}` says `model_type = {given!r}`, the recipe `{printable(str(wanted))}`"
                if given is not None
                else f"`{code['config']}` gives no `model_type`",
                label="how transformers finds the class",
                help=f"set `model_type: {given}`"
                if given is not None
                else f'add `model_type = "{wanted}"` to the class',
            )


@rule("R168", "counted as no family", source="https://arxiv.org/abs/2001.08361")
def counted_as(facts: Facts) -> Iterator[Diagnostic]:
    """A plan knows a model by its config, without loading it. For a class of one's own `architecture.counts_as` names
    the family whose formulas stand for it, such as `llama`; without it a Llama of its sizes is assumed.
    """
    given = facts.get("architecture.counts_as")
    known = [name for name in families() if name != ANY_OTHER]
    if given is not None and given not in known:
        near = nearest_word(str(given), known)
        yield facts.report(
            "R168",
            "architecture.counts_as",
            f"`{printable(str(given))}` is not a family that is counted exactly",
            label=f"did you mean `{near}`?" if near else "",
            note="families: " + ", ".join(f"`{name}`" for name in sorted(known)),
            help=f"set `counts_as: {near}`" if near else "choose one of these, or remove it",
        )
