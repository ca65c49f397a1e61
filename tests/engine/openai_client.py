"""The official client against an endpoint; runs in vLLM's environment, which has it, and prints what came as JSON.

`python openai_client.py URL MODEL TASK`, with the key in ENDPOINT_KEY.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from openai import APIStatusError, AsyncOpenAI, OpenAI

URL, MODEL, TASK = sys.argv[1:4]
KEY = os.environ.get("ENDPOINT_KEY", "none")
LONG = {"max_tokens": 400, "extra_body": {"ignore_eos": True}}
client = OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0, timeout=300)


def refused(call: Any) -> dict[str, Any]:
    try:
        call()
    except APIStatusError as error:
        return {"status": error.status_code, "said": str(error)}
    return {"status": 200, "said": ""}


def features() -> dict[str, Any]:
    completion = client.completions.create(model=MODEL, prompt="import os", max_tokens=8)
    hello = [{"role": "user", "content": "Hello"}]
    chat = client.chat.completions.create(model=MODEL, messages=hello, max_tokens=8)
    stream = client.chat.completions.create(model=MODEL, messages=hello, max_tokens=8, stream=True)
    pieces = [chunk.choices[0].delta.content for chunk in stream if chunk.choices]
    scored = client.completions.create(model=MODEL, prompt="import os", max_tokens=4, logprobs=3)
    stranger = OpenAI(base_url=f"{URL}/v1", api_key="wrong", max_retries=0)
    return {
        "models": [model.id for model in client.models.list()],
        "completion": completion.usage.completion_tokens,
        "chat": chat.choices[0].message.role,
        "pieces": len(pieces),
        "logprobs": scored.choices[0].logprobs.token_logprobs,
        "wrong_key": refused(stranger.models.list),
        "too_long": refused(lambda: client.completions.create(model=MODEL, prompt="x " * 4000, max_tokens=4)),
    }


async def answers(requests: int, tokens: int, at_once: int, begun_after: int = 0) -> dict[str, Any]:
    """So many under way all the time. Says `begun` when `begun_after` of them are answered."""
    many = AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0, timeout=300)
    numbers, found = iter(range(requests)), []

    async def one(index: int) -> int | str:
        try:
            answer = await many.completions.create(
                model=MODEL, prompt=f"number {index}", max_tokens=tokens, extra_body={"ignore_eos": True}
            )
        except Exception as error:  # each of them is what the test is about
            return repr(error)
        return answer.usage.completion_tokens

    async def work() -> None:
        for index in numbers:
            found.append(await one(index))
            if len(found) == begun_after:
                print("begun", flush=True)

    await asyncio.gather(*(work() for _ in range(at_once)))
    return {"answers": found}


def stream() -> dict[str, Any]:
    """Says `begun` in mid-stream. A chunk may hold several tokens; the last one counts them."""
    reason, usage = None, None
    counted = {"stream_options": {"include_usage": True}}
    chunks = client.completions.create(model=MODEL, prompt="import os", stream=True, **LONG, **counted)
    for index, chunk in enumerate(chunks):
        usage = chunk.usage or usage
        reason = chunk.choices[0].finish_reason if chunk.choices else reason
        if index == 10:
            print("begun", flush=True)
    return {"tokens": usage.completion_tokens, "reason": reason}


TASKS = {
    "features": features,
    "many": lambda: asyncio.run(answers(64, 16, at_once=64)),
    "load": lambda: asyncio.run(answers(240, 64, at_once=24, begun_after=30)),
    "stream": stream,
}
print(json.dumps(TASKS[TASK]()))
