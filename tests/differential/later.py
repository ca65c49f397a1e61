"""What we refuse and Axolotl's validator passes, since it goes wrong only after it: code -> where."""

from __future__ import annotations

LATER: dict[str, str] = {}


def is_later(codes: tuple[str, ...], told: tuple[str, ...]) -> bool:
    """Whether all that we said is about what comes after the validator."""
    return bool(codes) and all(code in LATER for code in codes)
