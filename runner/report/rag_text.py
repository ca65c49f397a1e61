"""The plan of an index and of answers from it as a page, and a line of it in a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from runner.plan.rag import Answers, RagPlan
from runner.report.ink import Ink, brief_duration, count, duration

HEAD = ("fits", "passages", "time", "index", "RAM", "answer", "$/1000")
_WIDTHS = (5, 8, 6, 8, 7, 7, 7)
WORDS = {"yes": "it fits", "tight": "it may fit", "no": "it does not fit"}


def rag_page(plan: RagPlan, ink: Ink) -> Iterator[str]:
    where = f"{plan.recipe} ({plan.profile}) on {plan.box}" + (f", {plan.gpus} GPUs" if plan.gpus else ", no GPU")
    yield ink.paint(where, "bold")
    yield f"reads     {plan.documents:,} documents, {plan.text_bytes / 1e6:,.1f} MB; at most {plan.passages:,} passages"
    if plan.passages_per_s is not None and plan.hours is not None:
        yield f"embeds    {plan.passages_per_s:,.0f} passages a second, {duration(plan.hours)} in all"
    if plan.index_gib is not None:
        parts = ", ".join(f"{name} {_size(size)}" for name, size in plan.index.items())
        yield f"index     {_size(plan.index_gib)}: {parts}"
    disk = f", {_size(plan.disk_gib)} of disk while it is made" if plan.disk_gib is not None else ""
    yield f"memory    {plan.ram_gib:,.1f} GiB of RAM{disk}; {ink.paint(WORDS[plan.fits], plan.fits)}"
    if plan.answers is not None:
        yield from _answers(plan.answers)
    for note in plan.notes:
        yield f"note      {note}"


def _answers(answers: Answers) -> Iterator[str]:
    tokens = f"prompts of up to {answers.prompt_tokens:,} tokens, answers of {answers.answer_tokens:,}"
    yield f"answers   by {answers.model}: {tokens}"
    if answers.why:
        yield f"          {answers.why}"
        return
    if answers.gpu_gib is not None:
        yield f"          {answers.gpu_gib:,.1f} GiB of each GPU"
    if answers.first_token_ms is not None and answers.answer_s is not None:
        first = f"first token after {answers.first_token_ms:,.0f} ms"
        yield f"          {first}, all of it after {answers.answer_s:.1f} s, for one user alone"
    if answers.questions_per_hour is not None:
        price = answers.usd_per_thousand_questions
        cost = f", {price:,.2f} USD for a thousand" if price is not None else ""
        yield f"          {answers.questions_per_hour:,.0f} questions an hour at most{cost}"


def rag_table(plans: Iterable[RagPlan], ink: Ink) -> Iterator[str]:
    listed = list(plans)
    name = max(len(plan.recipe) for plan in listed)
    yield ink.paint(f"{'recipe':<{name}} {_row(HEAD)}".rstrip(), "bold")
    for plan in listed:
        answers = plan.answers
        alone = answers.answer_s if answers is not None else None
        price = answers.usd_per_thousand_questions if answers is not None else None
        figures = (
            plan.fits,
            count(plan.passages),
            brief_duration(plan.hours) if plan.hours is not None else "-",
            _size(plan.index_gib) if plan.index_gib is not None else "-",
            _size(plan.ram_gib),
            f"{alone:.1f} s" if alone is not None else "-",
            f"{price:,.2f}" if price is not None else "-",
        )
        yield f"{plan.recipe:<{name}} {_row(figures)}".rstrip()


def _row(words: tuple[str, ...]) -> str:
    return " ".join(f"{word:>{width}}" for word, width in zip(words, _WIDTHS, strict=True))


def _size(gib: float) -> str:
    return f"{gib:,.1f} GiB" if gib >= 1 else f"{gib * 1024:,.0f} MiB"
