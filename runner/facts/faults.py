"""What can be wrong with a box file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a box file: the key it is about ("" for the file), what, a remark and how to mend it."""

    key: str
    message: str
    label: str = ""
    help: str = ""
    of_key: bool = False  # the key itself is wrong, not its value
    harmless: bool = False  # the box can be made without it


class BoxError(ValueError):
    """A box that makes no sense; `faults` say all that is wrong with it."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults = faults


def near(word: str, known: tuple[str, ...] | list[str]) -> str | None:
    import difflib  # 5 ms that a box without fault does not pay

    # `price`, `memory_gib`: a part of one key only; a part of several says nothing
    whole = [k for k in known if f"_{word}_" in f"_{k}_"]
    close = whole or difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return close[0] if len(close) == 1 else None


def listed(keys: tuple[str, ...] | list[str]) -> str:
    return ", ".join(f"`{key}`" for key in keys)
