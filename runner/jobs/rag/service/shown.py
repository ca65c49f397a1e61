"""A turn of the conversation -> HTML; whatever comes from a person, a model or a document is escaped.

Answers may use Markdown's paragraphs, lists, emphasis and code. Links and pictures stay as they are written: a picture
is fetched as soon as it is shown, and its address could carry away what was said.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml

from ..answer import Done
from ..citations import INVENTED, UNCITED, UNSUPPORTED, Checked
from ..types import Hit
from .wire import place

# of the characters that Unicode leaves to private use
DOUBT = "\ue0d7"
# the page has headings of its own
PLAIN = ["image", "link", "autolink", "reference", "heading", "lheading", "hr"]
_ONE = re.compile(r"\[\d{1,3}(?:\s*[,;]\s*\d{1,3})*\]")
_MARKER = re.compile(_ONE.pattern + DOUBT + "?")
LAST = "The service is being stopped. It finishes this answer and takes no more questions."
DOUBTS = {
    UNSUPPORTED: "the cited passage does not seem to say this",
    INVENTED: "this cites a passage that was never given",
    UNCITED: "this cites nothing",
}


@dataclass(slots=True)
class Turn:
    """`number` counts from 1; `done` is there when the answer is whole, `failed` when it could not be; `last` says that
    the service is being stopped, and ends with this answer."""

    number: int
    question: str
    text: str = ""
    status: str = "Searching"
    done: Done | None = None
    failed: str = ""
    last: bool = False


def conversation(turns: Sequence[Turn], hello: str) -> str:
    if not turns:
        return f'<p class="hello">{escape(hello)}</p>'
    return "".join(map(_turn, turns))


def _turn(turn: Turn) -> str:
    n = turn.number
    busy = "true" if turn.done is None and not turn.failed else "false"
    body = answer(marked(turn.text, turn.done.checked if turn.done else ()), n, len(turn.done.used) if turn.done else 0)
    if not turn.text and busy == "true":
        body = f'<p class="waiting">{escape(turn.status)} …</p>'
    failed = f'<p class="failed">{escape(turn.failed)}</p>' if turn.failed else ""
    failed += f'<p class="failed">{LAST}</p>' if turn.last else ""
    return (
        f'<article class="turn" aria-labelledby="q{n}">'
        f'<h2 class="question" id="q{n}"><span class="who">You asked: </span>{escape(turn.question)}</h2>'
        f'<div class="answer" aria-busy="{busy}">{body}{failed}</div>{_below(turn)}</article>'
    )


def marked(text: str, checked: Sequence[Checked]) -> str:
    """A sign behind each citation that its passage does not bear out; those that are there already are taken out."""
    text = text.replace(DOUBT, " ")
    made, at = "", 0
    for row in checked:
        doubted = {c.number for c in row.citations if c.state in DOUBTS}
        made += text[at : row.sentence.start]
        at = row.sentence.end
        made += _ONE.sub(
            lambda m, doubted=doubted: m[0] + (DOUBT if set(_numbers(m[0])) & doubted else ""),
            text[row.sentence.start : at],
        )
    return made + text[at:]


def answer(text: str, turn: int, passages: int) -> str:
    """Markdown in which `[2]` opens the second passage of the turn, where there is one."""
    md = MarkdownIt("commonmark", {"html": False, "breaks": True}).disable(PLAIN)
    md.add_render_rule("text", lambda self, tokens, at, options, env: _cited(tokens[at].content, turn, passages))
    return str(md.render(text))


def _cited(text: str, turn: int, passages: int) -> str:
    made, at = "", 0
    for match in _MARKER.finditer(text):
        made += escapeHtml(text[at : match.start()].rstrip(" "))
        made += "".join(_link(n, turn, passages, match[0].endswith(DOUBT)) for n in _numbers(match[0]))
        at = match.end()
    return made + escapeHtml(text[at:].replace(DOUBT, ""))


def _numbers(marker: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", marker)]


def _link(number: int, turn: int, passages: int, doubted: bool) -> str:
    sign, said = ("?", ", doubtful") if doubted else ("", "")
    kind = "cite doubt" if doubted else "cite"
    if 1 <= number <= passages:
        return f'<a class="{kind}" href="#t{turn}p{number}" aria-label="passage {number}{said}">{number}{sign}</a>'
    return f'<span class="{kind}">{number}{sign}</span>'


def _below(turn: Turn) -> str:
    if turn.done is None:
        return ""
    done = turn.done
    return (
        f'{_doubts(done)}<footer class="below"><p class="took">{escape(took(done))}</p>{_passages(turn, done)}</footer>'
    )


def _doubts(done: Done) -> str:
    rows = [(c.sentence.text, DOUBTS[c.state]) for c in done.checked if c.state in DOUBTS]
    if not rows:
        return ""
    lines = "".join(f"<li><q>{escape(text)}</q> <span>{escape(why)}</span></li>" for text, why in rows)
    what = "1 sentence" if len(rows) == 1 else f"{len(rows)} sentences"
    return f'<details class="doubts"><summary>{what} to be checked</summary><ul>{lines}</ul></details>'


def _passages(turn: Turn, done: Done) -> str:
    if not done.used:
        return ""
    found = "".join(_passage(turn.number, number, hit, done) for number, hit in enumerate(done.used, 1))
    what = "1 passage" if len(done.used) == 1 else f"{len(done.used)} passages"
    return f'<details class="sources" id="t{turn.number}s"><summary>{what} used</summary>{found}</details>'


def _passage(turn: int, number: int, hit: Hit, done: Done) -> str:
    source = done.sources[hit.passage.document]
    cited = any(c.number == number for row in done.checked for c in row.citations)
    # a document's first heading is most often its title, and need not be read twice
    named = hit.passage.heading and hit.passage.heading != source.title
    heading = f' <span class="heading">{escape(hit.passage.heading)},</span>' if named else ""
    # an address of a document is told and not linked: it may be a file of the server's
    where = f'<p class="uri">{escape(source.uri)}, {place(hit)}{_scores(hit)}</p>'
    return (
        f'<details class="passage{" cited" if cited else ""}" id="t{turn}p{number}">'
        f'<summary><span class="number">{number}</span> <cite>{escape(source.title)}</cite>{heading}'
        f' <span class="place">{place(hit)}</span></summary>{where}'
        f'<blockquote tabindex="0">{escape(hit.shown or hit.passage.text)}</blockquote></details>'
    )


def _scores(hit: Hit) -> str:
    ranks = "".join(f", {escape(stage)} rank {rank}" for stage, rank in hit.ranks.items() if stage in ("dense", "bm25"))
    near = f", similarity {hit.scores['dense']:.2f}" if "dense" in hit.scores else ""
    return near + ranks


def took(done: Done) -> str:
    """`Searched in 12 ms, first word after 80 ms, whole after 1.2 s.`"""
    t: dict[str, Any] = done.timings_ms
    generated = {"first_token", "total", "prompt", "check"}
    searched = t.get("retrieve") or sum(ms for stage, ms in t.items() if stage not in generated)
    if done.abstained:
        return (
            f"Nothing near enough was found (similarity {done.best:.2f}); the model was not asked. {_time(t['total'])}."
        )
    words = [f"Searched in {_time(searched)}", f"first word after {_time(t.get('first_token', t['total']))}"]
    return ", ".join([*words, f"whole after {_time(t['total'])}"]) + "."


def _time(ms: float) -> str:
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"
