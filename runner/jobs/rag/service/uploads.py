"""Documents that are sent in -> files in the run's `uploads`, which every later ingest reads as one more source."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from .wire import Refused

# no folders, no hidden files, and no way out
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
ENDINGS = (".md", ".markdown", ".txt", ".rst", ".html", ".htm")


class Upload(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    text: str


class Ingest(BaseModel):
    """With neither it is all of the recipe's sources, of which what has changed goes in and what is gone goes out."""

    model_config = ConfigDict(extra="forbid")
    documents: list[Upload] = Field(default_factory=list, max_length=1000)
    remove: list[str] = Field(default_factory=list, max_length=1000)


def keep(folder: Path, asked: Ingest) -> list[dict[str, Any]] | None:
    """Writes and deletes; returns the source that is to be ingested, None for all of them. Raises Refused."""
    for name in (*(d.name for d in asked.documents), *asked.remove):
        if not NAME.fullmatch(name) or not name.endswith(ENDINGS):
            raise Refused(
                f"{name[:80]!r} is no name for a document: letters, digits, dots and dashes, then {ENDINGS[0]}"
            )
    if not asked.documents and not asked.remove:
        return None
    folder.mkdir(exist_ok=True)
    for document in asked.documents:
        draft = folder / f".{document.name}"
        draft.write_text(document.text, encoding="utf-8")
        draft.replace(folder / document.name)
    for name in asked.remove:
        (folder / name).unlink(missing_ok=True)
    # what was deleted disappears where all sources are looked at alone
    return None if asked.remove else [{"path": str(folder)}]
