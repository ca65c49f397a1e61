"""The official client and plain HTTP against the RAG service; runs in the rag environment, prints what came as JSON.

`python rag_client.py URL MODEL TASK [NUMBER]`, with the key in ENDPOINT_KEY.
"""

from __future__ import annotations

import asyncio
import collections
import json
import os
import sys
import time
from typing import Any

import httpx
from openai import APIStatusError, AsyncOpenAI, OpenAI

URL, MODEL, TASK = sys.argv[1:4]
NUMBER = int(sys.argv[4]) if len(sys.argv) > 4 else 0
KEY = os.environ.get("ENDPOINT_KEY", "none")
KNOWN, UNKNOWN = "When does the harbour office open?", "Who won the football match in Brazil?"
client = OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0, timeout=120)
plain = httpx.Client(base_url=URL, headers={"Authorization": f"Bearer {KEY}"}, timeout=120)


def asked(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def refused(**request: Any) -> list[Any]:
    try:
        OpenAI(base_url=f"{URL}/v1", api_key=request.pop("key", KEY), max_retries=0).chat.completions.create(**request)
    except APIStatusError as error:
        return [error.status_code, error.body["message"] if isinstance(error.body, dict) else ""]
    return [200, ""]


def features() -> dict[str, Any]:
    whole = client.chat.completions.create(model=MODEL, messages=asked(KNOWN))
    pieces, last, usage, name = [], None, None, ""
    counted = {"stream_options": {"include_usage": True}}
    for chunk in client.chat.completions.create(model=MODEL, messages=asked(KNOWN), stream=True, **counted):
        name = chunk.id
        usage = chunk.usage or usage
        pieces += [choice.delta.content for choice in chunk.choices if choice.delta.content]
        last = (chunk.model_extra or {}).get("rag") or last
    abstained = client.chat.completions.create(model=MODEL, messages=asked(UNKNOWN))
    talk = [{"role": "system", "content": "Never cite."}, *asked("Hello"), {"role": "assistant", "content": "Hello."}]
    followed = client.chat.completions.create(model=MODEL, messages=[*talk, *asked(KNOWN)], max_tokens=5)
    request = {"model": MODEL, "messages": asked(KNOWN)}
    return {
        "models": [model.id for model in client.models.list()],
        "said": whole.choices[0].message.content,
        "rag": whole.model_extra["rag"],
        "usage": whole.usage.model_dump(),
        "streamed": "".join(pieces),
        "pieces": len(pieces),
        "last": last,
        "stream_usage": usage.model_dump() if usage else None,
        "stream_id": name,
        "abstained": [abstained.choices[0].message.content, abstained.model_extra["rag"]["abstained"]],
        "followed": [followed.usage.completion_tokens, followed.choices[0].finish_reason],
        "refused": {
            "key": refused(**request, key="wrong"),
            "tools": refused(**request, tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}]),
            "last": refused(model=MODEL, messages=[{"role": "assistant", "content": "x"}]),
            "long": refused(model=MODEL, messages=asked(KNOWN * 400)),
            "role": refused(model=MODEL, messages=[{"role": "tool", "content": "x", "tool_call_id": "1"}]),
        },
    }


def routes() -> dict[str, Any]:
    found = plain.post("/v1/retrieve", json={"query": "rye bread", "k": 2}, headers={"X-Request-Id": "mine-1"})
    filtered = plain.post("/v1/retrieve", json={"query": "rye bread", "where": {"document": "x"}}).json()
    stranger = httpx.Client(base_url=URL, timeout=60)
    statuses = {
        path: stranger.request(method, path).status_code
        for method, path in (
            ("GET", "/health/live"), ("GET", "/health"), ("GET", "/metrics"), ("GET", "/v1/models"),
            ("POST", "/v1/ingest"), ("POST", "/v1/retrieve"), ("GET", "/docs"), ("GET", "/openapi.json"),
            ("GET", "/config"),
        )
    }  # fmt: skip
    large = plain.post("/v1/retrieve", content=b"x" * (2 << 20))
    return {
        "first": found.json()["passages"][0],
        "count": len(found.json()["passages"]),
        "request": found.headers["x-request-id"],
        "policy": found.headers["content-security-policy"],
        "filtered": len(filtered["passages"]),
        "unknown key": plain.post("/v1/retrieve", json={"query": "x", "tool": "y"}).status_code,
        "no json": plain.post("/v1/retrieve", content=b"{").status_code,
        "large": large.status_code,
        "statuses": statuses,
        "health": stranger.get("/health").json(),
        "metrics": plain.get("/metrics").text,
    }


def ingest() -> dict[str, Any]:
    """One document goes in, is found, and is gone again."""
    said: dict[str, Any] = {}

    def top() -> str:
        found = plain.post("/v1/retrieve", json={"query": "Who feeds the swans on the pond?", "k": 1}).json()
        return str(found["passages"][0]["text"])

    said["before"] = top()
    text = "# Pond rules\n\nThe swans on the pond are fed by the warden at noon."
    put = plain.post("/v1/ingest", json={"documents": [{"name": "pond.md", "text": text}]})
    said["put"], said["found"] = [put.status_code, put.json()], top()
    gone = plain.post("/v1/ingest", json={"remove": ["pond.md"]})
    said["gone"], said["after"] = [gone.status_code, gone.json()["removed"]], top()
    said["names"] = [
        plain.post("/v1/ingest", json={"documents": [{"name": name, "text": "x"}]}).status_code
        for name in ("../x.md", "/etc/x.md", ".x.md", "x.sh", "x/y.md")
    ]
    return said


async def streams() -> dict[str, Any]:
    """NUMBER at once."""
    many = AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0, timeout=120)
    firsts = []

    async def one() -> str:
        began, text = time.monotonic(), ""
        try:
            async for chunk in await many.chat.completions.create(model=MODEL, messages=asked(KNOWN), stream=True):
                for choice in chunk.choices:
                    if choice.delta.content and not text:
                        firsts.append(time.monotonic() - began)
                    text += choice.delta.content or ""
        except Exception as error:  # each of them is what the test is about
            return repr(error)
        return text

    said = await asyncio.gather(*(one() for _ in range(NUMBER)))
    return {"said": dict(collections.Counter(said)), "slowest_first_s": max(firsts, default=0)}


async def minute() -> dict[str, Any]:
    """32 streams all the time, for NUMBER seconds."""
    many = AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0, timeout=120)
    end, firsts, wholes, said = time.monotonic() + NUMBER, [], [], collections.Counter()

    async def work() -> None:
        while time.monotonic() < end:
            began, text = time.monotonic(), ""
            try:
                async for chunk in await many.chat.completions.create(model=MODEL, messages=asked(KNOWN), stream=True):
                    for choice in chunk.choices:
                        if choice.delta.content and not text:
                            firsts.append(time.monotonic() - began)
                        text += choice.delta.content or ""
            except Exception as error:  # each of them counts
                text = repr(error)
            wholes.append(time.monotonic() - began)
            said[text] += 1

    await asyncio.gather(*(work() for _ in range(32)))
    parts = {"first": firsts, "whole": wholes}
    quantiles = {
        name: {f"p{p}": round(sorted(times)[min(len(times) - 1, len(times) * p // 100)], 3) for p in (50, 95, 99)}
        for name, times in parts.items()
        if times
    }
    return {"said": dict(said), "seconds": quantiles}


async def flood() -> dict[str, Any]:
    """NUMBER at once, which is more than it lets wait."""
    async with httpx.AsyncClient(base_url=URL, headers=plain.headers, timeout=120, limits=httpx.Limits()) as many:
        body = {"messages": asked(KNOWN)}
        came = await asyncio.gather(*(many.post("/v1/chat/completions", json=body) for _ in range(NUMBER)))
    full = [answer for answer in came if answer.status_code == 503]
    return {
        "statuses": dict(collections.Counter(answer.status_code for answer in came)),
        "retry": all(int(answer.headers["retry-after"]) >= 1 for answer in full),
        "code": sorted({answer.json()["error"]["code"] for answer in full}),
    }


async def load() -> dict[str, Any]:
    """Eight ask without a pause for NUMBER seconds; says `begun` after the first answers."""
    end, came = time.monotonic() + NUMBER, []
    async with httpx.AsyncClient(base_url=URL, headers=plain.headers, timeout=60) as many:

        async def work() -> None:
            while time.monotonic() < end:
                try:
                    answer = await many.post("/v1/chat/completions", json={"messages": asked(KNOWN)})
                except httpx.HTTPError as error:
                    came.append([repr(error), ""])
                    continue
                said = "" if answer.status_code == 200 else answer.json()["error"]["message"]
                came.append([answer.status_code, said, answer.headers.get("retry-after", "")])
                if len(came) == 8:
                    print("begun", flush=True)
                if answer.status_code != 200:
                    await asyncio.sleep(0.2)

        await asyncio.gather(*(work() for _ in range(8)))
    return {"came": came}


def hangup() -> dict[str, Any]:
    """Who goes away in mid-answer frees the place."""
    for _ in range(NUMBER):
        with plain.stream("POST", "/v1/chat/completions", json={"messages": asked(KNOWN), "stream": True}) as answer:
            next(answer.iter_lines())
    return {"in_flight": freed()}


def giveup() -> dict[str, Any]:
    """NUMBER who want whole answers go away before they have them."""

    async def one() -> None:
        async with httpx.AsyncClient(base_url=URL, headers=plain.headers, timeout=4) as impatient:
            try:
                await impatient.post("/v1/chat/completions", json={"messages": asked(KNOWN)})
            except httpx.TimeoutException:
                return
            raise SystemExit("there was an answer")

    async def all_of_them() -> None:
        await asyncio.gather(*(one() for _ in range(NUMBER)))

    asyncio.run(all_of_them())
    return {"in_flight": freed()}


def freed() -> list[str]:
    """What is under way and waits, when that is nothing or after a while."""
    end = time.monotonic() + 20
    while "rag_in_flight 0.0" not in (text := plain.get("/metrics").text) and time.monotonic() < end:
        time.sleep(0.1)
    return [line for line in text.splitlines() if line.startswith(("rag_in_flight", "rag_waiting"))]


def stream() -> dict[str, Any]:
    """Says `begun` in mid-answer."""
    text, done = "", False
    for n, chunk in enumerate(client.chat.completions.create(model=MODEL, messages=asked(KNOWN), stream=True)):
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
        done = done or any(choice.finish_reason for choice in chunk.choices)
        if n == 3:
            print("begun", flush=True)
    return {"text": text, "done": done}


TASKS = {
    "features": features,
    "routes": routes,
    "ingest": ingest,
    "streams": lambda: asyncio.run(streams()),
    "minute": lambda: asyncio.run(minute()),
    "flood": lambda: asyncio.run(flood()),
    "load": lambda: asyncio.run(load()),
    "hangup": hangup,
    "giveup": giveup,
    "stream": stream,
}
print(json.dumps(TASKS[TASK]()))
