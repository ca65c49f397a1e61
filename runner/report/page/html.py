"""Contents -> the page, from templates/report/: one file, all text escaped."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from runner import __version__
from runner.project import shipped
from runner.report.page.lineage import BOX
from runner.report.page.types import Contents

TEMPLATE = "report.html.j2"


@cache
def _templates() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(shipped("templates") / "report"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # of SVG that page/svg.py took apart and put together again
    made.filters["drawing"] = Markup
    return made


def html(contents: Contents, *, live: bool = False) -> str:
    """`live` has it ask where it came from for what is new."""
    page: str = _templates().get_template(TEMPLATE).render(page=contents, live=live, version=__version__, box=BOX)
    return page


def write_page(text: str, target: Path) -> None:
    """Whole or not at all: somebody may have it open."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(target)
