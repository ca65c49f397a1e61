"""A file that is partly ours and partly a person's: our part carries its own hash, so that a change in it is seen."""

from __future__ import annotations

import hashlib
import re

_MARK = "<!-- generated {digest}: written again by `runner log`; write below, not in here -->"
_END = "<!-- end of what is generated -->"
_PART = re.compile(r"<!-- generated ([0-9a-f]{12}): [^\n]*-->\n(.*?)\n" + re.escape(_END), re.S)


class Edited(Exception):
    """Our part was changed by hand, or can't be found."""


def mark(ours: str) -> str:
    return f"{_MARK.format(digest=_digest(ours))}\n{ours}\n{_END}"


def replaced(text: str, ours: str) -> str:
    """`text` with our part new and all around it as it was. Raises Edited."""
    found = list(_PART.finditer(text))
    if len(found) != 1 or found[0][1] != _digest(found[0][2]):
        raise Edited
    part = found[0]
    return text[: part.start()] + mark(ours) + text[part.end() :]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
