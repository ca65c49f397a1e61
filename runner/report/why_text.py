"""An account of a run's end -> the block that a person reads, and the same as plain data."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from typing import Any

from runner.diagnostics import shown_path
from runner.launch.losses import WentWrong
from runner.plan.verdict import amount
from runner.report.ink import Ink
from runner.report.plan_text import PARTS
from runner.report.why import Account
from runner.report.why_plan import Short

LABEL = 9
CHILDREN = 8
_ENDS = {
    "failed": ("failed", "no"),
    "killed": ("broke off: its runner was killed, or could not write what became of it", "no"),
    "interrupted": ("was interrupted", "tight"),
    "running": ("is running", "yes"),
    "finished": ("finished: nothing failed", "yes"),
    "stopped": ("was stopped: nothing failed", "yes"),
}
_UNKNOWN = "not one of the failures we know: what it said, and the log's lines before that, are all there is to go by"
_WHAT = {"gpu": "of GPU memory on each GPU", "host": "of host RAM", "disk": "of disk"}


def page(a: Account, ink: Ink) -> list[str]:
    """Lines, without line ends."""
    lines = [_head(a, ink)]
    if a.failed:
        lines += ["", *_what(a, ink)]
    lines += _loss(a.loss, ink) if a.loss is not None else []
    lines += _plan(a.short, ink) if a.short is not None else []
    lines += _children(a, ink)
    if a.excerpt:
        lines += ["", *_log(a, ink)]
    if a.status in ("failed", "killed", "interrupted"):
        lines += ["", *_row("go on", f"{a.go_on}  ({_when(a)})", ink, "yes")]
    return lines


def brief(a: Account) -> list[str]:
    """What `runner run` says of a failure beside the engine's own word: no log, which it names."""
    if a.failure is None:
        return []
    told = [f"cause: {a.failure.cause}", f"knob: {a.failure.knob}"]
    told += [f"loss: {_loss_words(a.loss)}"] if a.loss is not None else []
    told += [f"plan: {words}" for words in _plan_words(a.short)] if a.short is not None else []
    return told


def _head(a: Account, ink: Ink) -> str:
    words, style = _ENDS.get(a.status, (a.status, "tight"))
    record = a.run.record
    where = f" in step `{record['part']}`" if a.failed and record.get("part") else ""
    code = f" (exit code {record['exit_code']})" if a.failed and record.get("exit_code") else ""
    when = str(record.get("finished") or record.get("started") or "")[:16].replace("T", " ")
    took = f", after {_seconds(float(record['seconds']))}" if record.get("seconds") else ""
    name = ink.paint(f"{a.recipe} ({a.profile})", "bold")
    return f"{name} {ink.paint(words, style)}{where}{code}{took}; {when} UTC, run {a.run.id}"


def _when(a: Account) -> str:
    if a.status != "failed":
        return "goes on from its newest checkpoint"
    return "it may do better now" if a.failure is not None and a.failure.retry else "once that is mended"


def _what(a: Account, ink: Ink) -> Iterator[str]:
    if a.failure is not None:
        yield from _row("what", a.failure.title, ink, "bold")
        if a.line is None and a.said:  # known from elsewhere than the log
            yield from _row("said", a.said, ink)
        yield from _row("cause", a.failure.cause, ink)
        yield from _row("knob", a.failure.knob, ink)
    else:
        last = a.excerpt[-1].text.strip() if a.excerpt else "it wrote nothing"
        yield from _row("what", a.said or last, ink, "bold")
        yield from _row("cause", _UNKNOWN, ink)


def _loss(story: WentWrong, ink: Ink) -> Iterator[str]:
    yield from _row("loss", _loss_words(story), ink)


def _loss_words(story: WentWrong) -> str:
    """`no number from step 41 on; 2.31 at step 40, gradient norm 913, learning rate 0.0002`."""
    shown = "no number" if story.how == "not_finite" else f"jumped to {story.loss:.3g}"
    words = [f"{shown} from step {story.step} on"]
    words += [f"{story.good_loss:.3g} at step {story.good_step}"] if story.good_loss is not None else []
    words += [f"gradient norm {story.grad_norm:.3g}"] if story.grad_norm is not None else []
    words += [f"learning rate {story.learning_rate:.3g}"] if story.learning_rate is not None else []
    return f"{words[0]}; {', '.join(words[1:])}" if words[1:] else words[0]


def _plan(short: Short, ink: Ink) -> Iterator[str]:
    first, *rest = _plan_words(short)
    yield from _row("plan", first, ink)
    for name, size in sorted(short.parts.items(), key=lambda part: -part[1]):
        words = PARTS.get(name, ("", name.replace("_", " ")))[1]
        yield f"{' ' * (LABEL + 4)}{words:<28}{size:>9,.2f} GiB  {size / short.needs * 100:>5.1f}%"
    for words in rest:
        yield from _row("try", words, ink)


def _plan_words(short: Short) -> list[str]:
    """What was planned, and the smallest change that takes less."""
    capacity = f", `{short.box}` has {amount(short.has)}" if short.has else ""
    unforeseen = "which should do: something else takes it, or the plan is wrong"
    verdict = f", {'which does not fit' if short.foreseen else unforeseen}" if short.has else ""
    told = [f"{amount(short.needs)} GiB {_WHAT[short.what]}{capacity}{verdict}"]
    if short.change is not None and short.then is not None:
        keys = " and ".join(f"`{key}: {_value(value)}`" for key, value in short.change.items())
        fits = "fits" if short.foreseen else "is the smallest change that takes a tenth less"
        told.append(f"{keys} {fits}: {amount(short.then)} GiB")
    return told


def _value(value: Any) -> str:
    return str(value).lower().replace("none", "null") if value is None or isinstance(value, bool) else str(value)


def _children(a: Account, ink: Ink) -> Iterator[str]:
    for i, child in enumerate(a.children[:CHILDREN]):
        what = child.failure.title if child.failure is not None else child.said or _ENDS.get(child.status, ("",))[0]
        yield from _row("" if i else "children", f"{child.recipe}: {what}", ink)
    if len(a.children) > CHILDREN:
        yield from _row("", f"and {len(a.children) - CHILDREN} more", ink)
    if a.children:
        yield from _row("", f"`runner why {a.children[0].recipe}` tells more of the first", ink)


def _log(a: Account, ink: Ink) -> Iterator[str]:
    place = shown_path(str(a.log)) + (f":{a.line}" if a.line is not None else "")
    yield from _row("log", place, ink)
    width = len(str(a.excerpt[-1].number))
    for line in a.excerpt:
        told = line.number == a.line
        room = max(40, ink.width - width - 7)
        for i, part in enumerate(textwrap.wrap(line.text, room, drop_whitespace=False)[: 4 if told else 1]):
            gutter = f"  {'>' if told and not i else ' '} {line.number if not i else '':>{width}} | "
            yield gutter + (ink.paint(part, "bold") if told else part)


def _row(label: str, text: str, ink: Ink, style: str = "") -> Iterator[str]:
    lines = textwrap.wrap(text, max(40, ink.width - LABEL - 2), break_on_hyphens=False) or [""]
    for i, line in enumerate(lines):
        name = ink.paint(label, "dim") + " " * (LABEL - len(label)) if not i else " " * LABEL
        yield f"  {name}{ink.paint(line, style) if style else line}"


def _seconds(taken: float) -> str:
    minutes, hours = taken / 60, taken / 3600
    return f"{hours:.1f} h" if hours >= 2 else f"{minutes:.0f} min" if minutes >= 3 else f"{taken:.0f} s"


def to_json(a: Account) -> dict[str, Any]:
    """What `runner why --json` prints. What isn't known is null."""
    record = a.run.record
    return {
        "run": shown_path(str(a.run.path)),
        "recipe": a.recipe,
        "profile": a.profile,
        "kind": record.get("kind"),
        "status": a.status,
        "part": record.get("part") if a.failed else None,
        "exit_code": record.get("exit_code"),
        "failure": None if a.failure is None else _failure(a),
        "said": a.said or None,
        "log": shown_path(str(a.log)),
        "excerpt": [{"line": line.number, "text": line.text} for line in a.excerpt],
        "loss": None if a.loss is None else {name: _finite(getattr(a.loss, name)) for name in a.loss.__slots__},
        "plan": None if a.short is None else {name: getattr(a.short, name) for name in a.short.__slots__},
        "children": [to_json(child) for child in a.children],
        "go_on": a.go_on if a.status not in ("finished", "stopped", "running") else None,
    }


def _finite(value: Any) -> Any:
    """JSON has no number for one that is none: text, as in run.json."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _failure(a: Account) -> dict[str, Any]:
    assert a.failure is not None
    f = a.failure
    return {"name": f.name, "title": f.title, "cause": f.cause, "knob": f.knob, "retry": f.retry, "line": a.line}
