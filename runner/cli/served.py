"""What `make serve MODEL=...` means -> the recipe that serves it: a serve recipe, or from-run with another's output."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from runner.cli.common import check_document, check_recipe
from runner.diagnostics import Diagnostic, Span
from runner.facts.models import find_model
from runner.project import Project
from runner.provenance.lock import read_lock
from runner.provenance.locked import resolve_pinned
from runner.recipe.artifacts import MODEL_KEYS, accepted, outputs_of
from runner.recipe.compose import compose
from runner.recipe.document import Document
from runner.recipe.graph import Library
from runner.recipe.kinds import kind_names, serves
from runner.recipe.load import Refused
from runner.recipe.naming import find_recipe
from runner.recipe.resolve import Recipe
from runner.recipe.rules.vllm.quantization import DROPPED

FOLDER = "serve"
FROM_RUN = f"{FOLDER}/from-run"
# of kind `quantize`, which bitsandbytes makes
DROPPED_SCHEMES = ("nf4", "int8")


def recipe_to_serve(project: Project, name: str, profile: str, sets: tuple[str, ...] = ()) -> Recipe:
    """Raises Refused, warnings included where there is an error too."""
    return open_to_serve(project, name, profile, sets)[0]


def open_to_serve(
    project: Project, name: str, profile: str, sets: tuple[str, ...] = ()
) -> tuple[Recipe, list[Diagnostic]]:
    """The recipe and its warnings. `name` is a serve recipe's, short or whole, or any other recipe's, of which the
    newest finished output is served."""
    library = Library(project, profile)
    file = _serve_file(project, name) or find_recipe(project, name)
    named = compose(project, file, profile=profile)
    if _serves(named):
        doc, found = check_recipe(library, file, sets)
    else:
        doc, found = check_document(library, *_from_run(library, named, sets))
    if doc is None or any(d.is_error for d in found):
        raise Refused(*found)
    recipe = resolve_pinned(library, doc, read_lock(doc.file))
    _refuse_dropped(recipe, named)
    return recipe, found


def _refuse_dropped(recipe: Recipe, named: Document) -> None:
    """Raises Refused (R906) for what bitsandbytes quantized: by the config of what is there, or by the recipe that will
    leave it. The rule sees only models that a recipe names itself."""
    model = find_model(str(recipe.values["model"]))
    stored = model.config.get("quantization_config") if model is not None else None
    has = stored.get("quant_method") if isinstance(stored, dict) else None
    scheme = named.keys.get("scheme")
    if (has == DROPPED or (scheme is not None and scheme.value in DROPPED_SCHEMES)) and recipe.upstreams:
        help = "serve what it was made from with `quantization: fp8_per_channel`, or quantize that to AWQ or GPTQ"
        message = f"`{named.name}` leaves what bitsandbytes quantized, which vLLM no longer loads"
        raise Refused(Diagnostic("R906", message, Span(named.file, 1, 1), help=help))


def _serve_file(project: Project, name: str) -> Path | None:
    """A name without a folder is one of recipes/serve/."""
    file = project.recipe_file(f"{FOLDER}/{name}")
    return file if "/" not in name and file.is_file() else None


def _serves(doc: Document) -> bool:
    kind = doc.keys.get("kind")
    return kind is not None and kind.value in kind_names() and serves(str(kind.value))


def _from_run(library: Library, upstream: Document, sets: tuple[str, ...]) -> tuple[Document, Document]:
    """The recipe `from-run` with the best of what `upstream` leaves as its model, in the library's profile and in full;
    it is called `serve/<upstream>`."""
    project = library.project
    file = find_recipe(project, FROM_RUN)
    output = served_output(upstream)
    # the recipe's own example is replaced as a whole
    mine = (f"needs={{run: {upstream.name}}}", f"model=${{needs.run.{output}}}")
    staged, full = (
        _only_run(compose(project, file, profile=profile, sets=(*mine, *sets))) for profile in (library.profile, "full")
    )
    name = f"{FOLDER}/{upstream.name}"
    return replace(staged, name=name), replace(full, name=name)


def _only_run(doc: Document) -> Document:
    """`--set` merges mappings: whatever else the recipe's own example needs is not needed now."""
    needs = doc.keys["needs"]
    assert isinstance(needs.value, dict)
    kept = replace(needs, value={"run": needs.value["run"]})
    return replace(doc, root=replace(doc.root, value={**doc.keys, "needs": kept}))


def served_output(upstream: Document) -> str:
    """The name of what is served: a whole model rather than the adapter it was merged from. Raises Refused (R918)."""
    takes = accepted((MODEL_KEYS[1],)) or ()
    kind = upstream.keys.get("kind")
    known = outputs_of(upstream) if kind is not None and kind.value in kind_names() else ()
    fitting = sorted((o for o in known if o.type in takes), key=lambda output: takes.index(output.type))
    if not fitting:
        leaves = ", ".join(f"`{o.name}` (type {o.type})" for o in known) or "nothing"
        raise Refused(
            Diagnostic(
                "R918",
                f"`{upstream.name}` leaves no model that can be served",
                Span(upstream.file, 1, 1),
                notes=(f"it leaves {leaves}",),
                help="name a recipe that leaves a model or an adapter; `runner list` shows them",
            )
        )
    return fitting[0].name
