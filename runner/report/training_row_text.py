"""A row as the engine makes it -> its text with what is learned marked, and what follows from it in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from runner.launch.training_row import Part, TrainingRow
from runner.report.ink import Ink

# around what is learned where there is no colour; text that holds them itself is shown as it stands
MARKS = ("[[", "]]")
_KEPT = "\n\t"


def as_text(row: TrainingRow, name: str, profile: str, engine: str, ink: Ink) -> Iterator[str]:
    """Lines. Text of the data is printed with control characters made visible: it may come from anywhere."""
    of = f" of {row.rows:,}" if row.rows is not None else ""
    kind = f", type `{row.type}`" if row.type else ""
    yield ink.paint(f"{name} ({profile}): row {row.index:,}{of} of {_shown(row.dataset)}{kind}", "bold")
    yield f"as {engine} makes it; {_how(row, ink)}"
    for part in row.parts:
        yield ""
        title = f"{part.name}: {_counts(row, part)}"
        yield ink.paint(f"--- {title}", "bold")
        yield _marked(part, row.sequence_len, ink)
    yield ""
    yield from _verdicts(row)


def _shown(dataset: str) -> str:
    return Path(dataset).name if dataset.startswith("/") else dataset


def _how(row: TrainingRow, ink: Ink) -> str:
    if row.learns == "score":
        return "a reward model learns one score for each, read at its last token"
    if row.learns == "rewards":
        return "it is a prompt: what the model writes after it is what learns"
    marks = "bold green" if ink.colour else f"between {MARKS[0]} and {MARKS[1]}"
    verb = {"labels": "carries loss", "pair": "is compared"}.get(row.learns, f"is learned ({row.learns})")
    return f"what {verb} is {marks}"


def _counts(row: TrainingRow, part: Part) -> str:
    total, learned = len(part.ids), sum(part.learned)
    said = _tokens(total)
    if row.learns not in ("score", "rewards"):
        said += f", {learned:,} learned ({100 * learned / max(1, total):.0f}%)"
    return said


def _marked(part: Part, limit: int, ink: Ink) -> str:
    said = []
    for run in part.runs:
        text = visible(run.text)
        if ink.colour:
            said.append("".join(f"{_line(line, run.learned, ink)}" for line in text.splitlines(keepends=True)))
        else:
            said.append(f"{MARKS[0]}{text}{MARKS[1]}" if run.learned else text)
    return "".join(said).removesuffix("\n")


def _line(text: str, learned: bool, ink: Ink) -> str:
    """Each line painted by itself: some terminals carry a colour over the end of one."""
    line = text.rstrip("\n")
    return ink.paint(line, "yes" if learned else "dim") + text[len(line) :]


def visible(text: str) -> str:
    """Control characters and such as their names in Python, so that data can't steer a terminal."""
    return "".join(c if c.isprintable() or c in _KEPT else c.encode("unicode_escape").decode() for c in text)


def _verdicts(row: TrainingRow) -> Iterator[str]:
    if row.learns not in ("score", "rewards"):
        yield from _end_words(row)
    longest = max((len(p.ids) for p in row.parts), default=0)
    over = longest - row.sequence_len
    if over <= 0:
        yield f"sequence_len {row.sequence_len:,}: nothing is cut, room for {_tokens(-over)}"
        return
    beyond = sum(sum(p.learned[row.sequence_len :]) for p in row.parts)
    fate = {
        "drop": "the row is left out of training (`excess_length_strategy: truncate` cuts it instead)",
        "raise": "the run stops at it (`excess_length_strategy: raise`)",
        "truncate": f"{_tokens(over)} cut, {beyond:,} of them learned",
        "cut": f"{_tokens(over)} cut",
    }[row.long]
    yield f"sequence_len {row.sequence_len:,}: {_tokens(over)} too long; {fate}"


def _end_words(row: TrainingRow) -> Iterator[str]:
    if not any(any(p.learned) for p in row.parts):
        yield "nothing of it is learned: packing leaves the row out, and without packing it teaches nothing"
        return
    ends = [end for part in row.parts for end in part.ends]
    good = [end for end in ends if end.learned]
    if len(good) == len(ends):
        names = ", ".join(f"`{visible(name)}`" for name in dict.fromkeys(end.by or "" for end in ends))
        yield f"ends: {names}, learned {_times(len(good))}"
        return
    masked = next((end.by for end in ends if end.by and not end.learned), None)
    what = f"`{visible(masked)}` follows, and is not learned" if masked else "no token that ends a turn is learned"
    eos = f"`{visible(row.eos)}`" if row.eos else "none"
    yield f"ends: {len(ends) - len(good)} of {len(ends)} without: {what}; a model is not shown there where to stop"
    yield f"  the tokenizer's end token is {eos}; `eot_tokens` names others"


def _tokens(count: int) -> str:
    return f"{count:,} token{'' if count == 1 else 's'}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
