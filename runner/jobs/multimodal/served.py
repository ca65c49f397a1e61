"""A served model -> answers, by OpenAI's interface: pictures go along in the request."""

import base64
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .problem import Problem
from .sources import Message

TIMEOUT_S = 600


def from_server(config: dict[str, Any]) -> Callable[[list[list[Message]]], list[str]]:
    pool = ThreadPoolExecutor(config["num_concurrent"])

    def answer(asked: list[list[Message]]) -> list[str]:
        return list(pool.map(lambda messages: _one(config, messages), asked))

    return answer


def _one(config: dict[str, Any], messages: list[Message]) -> str:
    body = {
        "model": config["served_as"],
        "messages": [{"role": m["role"], "content": [_part(p) for p in m["content"]]} for m in messages],
        "max_tokens": config["max_new_tokens"],
        "temperature": 0.0,
    }
    address = config["endpoint"].rstrip("/") + "/chat/completions"
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("RUNNER_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(address, json.dumps(body).encode(), headers)  # noqa: S310 - the recipe's own
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:  # noqa: S310
            said = json.load(reply)
    except urllib.error.HTTPError as error:
        raise Problem(f"the server refused a question: {error.code} {_reason(error)}") from None
    except OSError as error:
        raise Problem(f"{address}: {error}") from None
    return str(said["choices"][0]["message"]["content"] or "").strip()


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if part["type"] != "image":
        return {"type": "text", "text": part["text"]}
    file = Path(part["path"])
    kind = "png" if file.suffix == ".png" else "jpeg"
    data = base64.b64encode(file.read_bytes()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{data}"}}


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"]["message"])[:300]
    except (ValueError, KeyError, TypeError):
        return str(error.reason)
