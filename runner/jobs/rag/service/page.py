"""The chat page: Gradio's frame around shown.py's HTML; refuses nothing itself, since it asks through the same gate.

Nothing is loaded from elsewhere: system fonts, no analytics, and a policy in doors.py that browsers hold it to.
"""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from html import escape
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when it is imported
import gradio as gr
from fastapi import FastAPI

from ..answer import Delta, Question
from ..counting import Message
from ..types import Problem, Unavailable
from . import wire
from .app import Service
from .gate import Full
from .shown import Turn, conversation

HERE = Path(__file__).parent
FONTS = ["system-ui", "sans-serif"]
HELLO = "Each sentence says from which passage it comes; the number opens it."
# how often a stream is shown anew
EVERY_S = 0.08
KEPT_TURNS = 30


def mount(app: FastAPI, service: Service, key: str | None) -> Any:
    """At `/`; returns Gradio's own application. Where there is a key the page asks for it, as any name's password."""
    theme = gr.themes.Default(primary_hue="blue", font=FONTS, font_mono=["ui-monospace", "monospace"])
    # the login, which page.css does not reach: white on the default blue is hard to read
    theme.set(button_primary_background_fill="*primary_700", button_primary_background_fill_dark="*primary_700")
    gr.mount_gradio_app(
        app,
        blocks(service),
        path="/",
        footer_links=[],
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
        run_history=False,
        auth=(lambda name, given: hmac.compare_digest(given.encode(), key.encode())) if key else None,
        auth_message="Any name, and the API key as the password." if key else None,
        show_error=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        theme=theme,
        css_paths=HERE / "page.css",
        js=(HERE / "page.js").read_text(),
    )
    return next(route.app for route in reversed(app.routes) if getattr(route, "path", None) == "")


def blocks(service: Service) -> gr.Blocks:
    with gr.Blocks(title=service.name, analytics_enabled=False, fill_width=True) as page, gr.Column(elem_id="page"):
        gr.HTML(
            f"<h1>{escape(service.name)}</h1><p>Enter asks, Shift+Enter begins a new line.</p>",
            elem_id="head",
            js_on_load=None,
        )
        talk = gr.HTML(conversation((), HELLO), elem_id="talk", js_on_load=None)
        turns = gr.State([])
        with gr.Column(elem_id="asking"):
            box = gr.Textbox(
                label="Your question",
                placeholder="Ask the documents",
                lines=1,
                max_lines=6,
                max_length=wire.LONGEST_QUESTION,
                autofocus=True,
                elem_id="ask",
            )
            with gr.Row(elem_classes="buttons"):
                ask = gr.Button("Ask", variant="primary", min_width=90, scale=2)
                stop = gr.Button("Stop", min_width=80, scale=1, elem_id="stop")
                clear = gr.Button("Start anew", min_width=110, scale=1)
        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        begun = gr.on(
            [box.submit, ask.click],
            lambda said, turns: ("", begin(said, turns), said),
            [box, turns],
            [box, turns, gr.State("")],
            queue=False,
            **private,
        )

        async def answered(turns: list[Turn]) -> AsyncIterator[tuple[str, list[Turn]]]:
            async with aclosing(answer(service, turns)) as written:
                async for _ in written:
                    yield conversation(turns, HELLO), turns

        going = begun.then(answered, turns, [talk, turns], concurrency_limit=None, **private)
        stop.click(stopped, turns, [talk, turns], cancels=[going], queue=False, **private)
        clear.click(lambda: (conversation((), HELLO), []), None, [talk, turns], cancels=[going], queue=False, **private)
    return page


def begin(said: str, turns: list[Turn]) -> list[Turn]:
    if not said.strip():
        return turns
    return [*turns[-KEPT_TURNS:], Turn((turns[-1].number if turns else 0) + 1, said.strip())]


def stopped(turns: list[Turn]) -> tuple[str, list[Turn]]:
    if turns and turns[-1].done is None and not turns[-1].failed:
        turns[-1].failed = "Stopped."
    return conversation(turns, HELLO), turns


async def answer(service: Service, turns: list[Turn]) -> AsyncIterator[None]:
    """Writes the newest turn, and says each time that there is something to be shown."""
    if not turns or turns[-1].done or turns[-1].failed:
        return
    turn = turns[-1]
    yield
    earlier = tuple(message for t in turns[:-1] if t.done for message in said(t))
    shown = 0.0
    try:
        async with aclosing(service.answer(Question(wire.asked(turn.question), earlier))) as events:
            async for event in events:
                turn.last = service.stopping
                if isinstance(event, Delta):
                    turn.text += event.text
                    if time.monotonic() - shown > EVERY_S:
                        shown = time.monotonic()
                        yield
                else:
                    turn.done = event
    except Full as problem:
        turn.failed = f"Too many ask at once. Ask again in about {problem.retry_after_s} s."
    except Unavailable as problem:
        turn.failed = f"{sentence(problem)} Ask again in a moment."
    except TimeoutError:
        turn.failed = f"It took longer than {service.timeout_s:g} s. Ask again, or ask for less."
    except Problem as problem:
        turn.failed = sentence(problem)
    yield


def sentence(problem: Problem) -> str:
    said = str(problem)
    return f"{said[:1].upper()}{said[1:]}."


def said(turn: Turn) -> list[Message]:
    return [{"role": "user", "content": turn.question}, {"role": "assistant", "content": turn.text}]
