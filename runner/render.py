"""Recipe -> {relative path: text}: Jinja with StrictUndefined, values quoted for where they land. Writes nothing."""

from __future__ import annotations

import json
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from runner import __version__
from runner.engines import environments_of, jobs_dir, load_engine
from runner.engines.environment import environment
from runner.engines.nodes import nodes_of
from runner.engines.sky import sky_task
from runner.facts.servers import HOST
from runner.plan.serving.recipe import laid_out
from runner.project import shipped
from runner.recipe.resolve import Recipe

SHELL_SCRIPTS = (".sh",)
# in a template's name: rendered once for each entry of that part of the context
_EACH = re.compile(r"\[(?P<key>\w+)\]")


def to_yaml(value: Any) -> str:
    """YAML that PyYAML reads back as the same values: it writes 5e-07 as `5.0e-07`, which is the only form that it
    takes for a number, and quotes words such as `no`."""
    return yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100_000, default_flow_style=False
    )


class _Dumper(yaml.SafeDumper):
    """Escapes the line breaks that only YAML 1.1 knows, which PyYAML writes as they are and reads back as spaces."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style='"' if re.search("[\x85\u2028\u2029]", text) else None
    )


_Dumper.add_representer(str, _text)


def to_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def quote(value: Any) -> str:
    """One word of shell, whatever it holds."""
    return shlex.quote(str(value))


def comment(value: Any) -> str:
    """Text that can't leave the comment it stands in; control characters, which YAML forbids there, are dropped."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())


def address(host: Any) -> str:
    """A host as HAProxy binds to it. Raises ValueError for what is none: rule R513 has refused it in a recipe."""
    named = str(host).strip("[]")
    if not HOST.fullmatch(named):
        raise ValueError(f"not a host: {host!r}")
    return f"[{named}]" if ":" in named else named


@cache
def jinja() -> Environment:
    made = Environment(
        loader=FileSystemLoader(shipped("templates")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - nothing here is HTML; every value passes a filter for where it lands
    )
    made.filters.update(to_yaml=to_yaml, to_json=to_json, quote=quote, comment=comment, address=address)
    return made


def template_folder(recipe_kind: str, engine: str) -> Path:
    """A kind's own templates where it has some, else its engine's."""
    own = shipped("templates") / recipe_kind
    return own if own.is_dir() else shipped("templates") / engine


def _for_nodes(recipe: Recipe, nodes: int) -> dict[str, str]:
    """What starts launch.sh elsewhere, as name -> template: by hand on several nodes, and by the box's scheduler."""
    found = {"hosts.sh": "_hosts.sh.j2"} if nodes > 1 else {}
    if (scheduler := recipe.box.scheduler) is not None:
        folder = shipped("templates") / "_schedulers" / scheduler.type
        found |= {p.stem: str(p.relative_to(shipped("templates"))) for p in sorted(folder.glob("*.j2"))}
    return found


def render(recipe: Recipe) -> dict[str, str]:
    """Every file of a run. A template that renders to nothing leaves no file; `children/[children].yaml.j2` leaves one
    for each of the context's `children`, named by its key, with its value as `item`."""
    recipe = laid_out(recipe)
    engine = load_engine(recipe.engine)
    env, *others = map(environment, environments_of(recipe))
    context = {
        "recipe": recipe,
        "steps": engine.steps(recipe),
        "environment": {"engine": env.engine, "folder": env.path.name},
        "others": {each.engine: each.path.name for each in others},
        "version": __version__,
        "nodes": nodes_of(recipe),
        **engine.context(recipe),
    }
    folder = template_folder(recipe.kind, recipe.engine)
    files: dict[str, str] = {}
    for template in sorted(folder.rglob("*.j2")):
        name = str(template.relative_to(folder)).removesuffix(".j2")
        ready = jinja().get_template(str(template.relative_to(shipped("templates"))))
        if each := _EACH.search(name):
            items = {name.replace(each[0], stem): item for stem, item in context[each["key"]].items()}
            files |= {file: ready.render(context, item=item) for file, item in items.items()}
        elif (text := ready.render(context)).strip():
            files[name] = text
    asked = {"saves_on_request": getattr(engine, "SAVES_ON_REQUEST", None), "sky_task": sky_task}
    for name, source in _for_nodes(recipe, context["nodes"]).items():
        files[name] = jinja().get_template(source).render(context, scheduler=recipe.box.scheduler, **asked)
    for job in engine.jobs(recipe):
        files[f"jobs/{job}"] = (jobs_dir() / job).read_text()
    return files
