"""PDF -> the text of its pages, in order; sets aside what is locked, damaged, or only pictures."""

from __future__ import annotations

import io
import logging

from . import Parsed, Unreadable


def parse(data: bytes) -> Parsed:
    """Raises Unreadable."""
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    logging.getLogger("pypdf").setLevel(logging.ERROR)
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("locked with a password")
        texts = [page.extract_text() for page in reader.pages]
        title = str((reader.metadata or {}).get("/Title") or "")
    except Unreadable:
        raise
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OSError) as error:
        # a damaged file comes to grief anywhere in pypdf
        said = str(error).splitlines() or [type(error).__name__]
        raise Unreadable(f"not read as PDF: {said[0]}") from error
    if not any(text.strip() for text in texts):
        raise Unreadable("a PDF without text: scanned pages need optical character recognition first")
    pages, at = [], 0
    for text in texts:
        pages.append(at)
        at += len(text) + 2
    return Parsed("\n\n".join(texts), title, pages=tuple(pages))
