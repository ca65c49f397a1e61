"""What comes in and goes out: OpenAI's shapes, with what is ours under the key `rag`; refuses what it would not do."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..answer import Done, Question
from ..citations import Checked
from ..llm import SETTABLE
from ..prompt import Source
from ..types import Hit, Problem

LONGEST_QUESTION = 20_000


class Refused(Problem):
    """Of a request; `status` is HTTP's."""

    def __init__(self, said: str, status: int = 400, kind: str = "invalid_request_error") -> None:
        super().__init__(said)
        self.status, self.kind = status, kind


class Part(BaseModel):
    type: Literal["text"]
    text: str


class Turn(BaseModel):
    """Roles `system` and `developer` are read and left out: the service's own system message stands alone."""

    model_config = ConfigDict(extra="ignore")
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part] | None = None

    def text(self) -> str:
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(BaseModel):
    include_usage: bool = False


class Choices(BaseModel):
    """How one question is searched for."""

    model_config = ConfigDict(extra="forbid")
    k: int | None = Field(None, ge=1, le=100)
    where: dict[str, str | int | float | bool | list[str | int | float | bool]] | None = None
    mode: Literal["hybrid", "dense", "bm25"] | None = None

    def overrides(self) -> dict[str, Any] | None:
        return {"mode": self.mode} if self.mode else None


class Chat(BaseModel):
    model_config = ConfigDict(extra="ignore")
    messages: list[Turn] = Field(min_length=1, max_length=500)
    model: str | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int | None = None
    tools: list[Any] | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stop: str | list[str] | None = None
    seed: int | None = None
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    rag: Choices = Field(default_factory=Choices)

    def question(self) -> Question:
        """Raises Refused."""
        if self.n not in (None, 1):
            raise Refused("`n` is 1 here: one question has one answer")
        if self.tools:
            raise Refused("there are no tools here")
        turns = [t for t in self.messages if t.role in ("user", "assistant") and t.text().strip()]
        if not turns or turns[-1].role != "user":
            raise Refused("the last message is the question, and of role `user`")
        settings = {key: getattr(self, key) for key in SETTABLE}
        settings["max_tokens"] = self.max_completion_tokens or self.max_tokens
        earlier = tuple({"role": t.role, "content": t.text()} for t in turns[:-1])
        return Question(asked(turns[-1].text()), earlier, self.rag.k, self.rag.where, self.rag.overrides(), settings)


class Retrieve(Choices):
    query: str

    def question(self) -> Question:
        return Question(asked(self.query), (), self.k, self.where, self.overrides())


def asked(text: str) -> str:
    """Raises Refused."""
    if not text.strip():
        raise Refused("the question is empty")
    if len(text) > LONGEST_QUESTION:
        raise Refused(f"the question has {len(text):,} characters, and {LONGEST_QUESTION:,} are read")
    return text


def error(said: str, kind: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": said, "type": kind, "param": None, "code": code}}


def place(hit: Hit) -> str:
    """`page 3` or `lines 10-14`."""
    p = hit.passage
    if p.page is not None:
        return f"page {p.page}"
    return f"line {p.start_line}" if p.start_line == p.end_line else f"lines {p.start_line}-{p.end_line}"


def passage(number: int, hit: Hit, sources: Mapping[str, Source]) -> dict[str, Any]:
    p = hit.passage
    source = sources.get(p.document, Source(p.document, ""))
    return {
        "number": number,
        "id": p.id,
        "document": p.document,
        "title": source.title,
        "uri": source.uri,
        "heading": p.heading,
        "page": p.page,
        "lines": [p.start_line, p.end_line],
        "place": place(hit),
        "text": p.text,
        "shown": hit.shown or p.text,
        "score": round(hit.score, 6),
        "scores": {stage: round(score, 6) for stage, score in hit.scores.items()},
        "ranks": dict(hit.ranks),
        "meta": p.meta,
    }


def passages(hits: Sequence[Hit], sources: Mapping[str, Source]) -> list[dict[str, Any]]:
    return [passage(number, hit, sources) for number, hit in enumerate(hits, 1)]


def sentence(checked: Checked, done: Done) -> dict[str, Any]:
    """`state`: supported, unsupported, invented or uncited."""
    s = checked.sentence
    return {
        "text": s.text,
        "start": s.start,
        "end": s.end,
        "state": checked.state,
        "citations": [
            {
                "number": c.number,
                "state": c.state,
                "similarity": c.similarity,
                "overlap": c.overlap,
                "support": c.support,
                **_cited(c.number, done),
            }
            for c in checked.citations
        ],
    }


def _cited(number: int, done: Done) -> dict[str, Any]:
    if not 1 <= number <= len(done.used):
        return {}
    hit = done.used[number - 1]
    source = done.sources[hit.passage.document]
    return {"title": source.title, "uri": source.uri, "place": place(hit), "passage": hit.passage.id}


def told(done: Done) -> dict[str, Any]:
    """What is ours: passages by their numbers, sentences with their citations, how long each stage took."""
    return {
        "abstained": done.abstained,
        "best_similarity": round(done.best, 4),
        "passages": passages(done.used, done.sources),
        "sentences": [sentence(c, done) for c in done.checked],
        "timings_ms": done.timings_ms,
    }


def usage(done: Done) -> dict[str, int]:
    u = done.usage
    return {
        "prompt_tokens": u.prompt,
        "completion_tokens": u.completion,
        "total_tokens": u.prompt + u.completion,
    }


def completion(name: str, model: str, done: Done) -> dict[str, Any]:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": done.text, "refusal": None},
        "logprobs": None,
        "finish_reason": done.usage.finish,
    }
    made = {"id": name, "object": "chat.completion", "created": int(time.time()), "model": model}
    return {**made, "choices": [choice], "usage": usage(done), "rag": told(done)}


def chunk(
    name: str, model: str, delta: dict[str, Any] | None, finish: str | None = None, **more: Any
) -> dict[str, Any]:
    """Without a delta it is one that has no choice, as OpenAI's last with the usage."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    made = {"id": name, "object": "chat.completion.chunk", "created": int(time.time()), "model": model}
    return {**made, "choices": [] if delta is None else [choice], **more}
