"""Before every route: a name for the request, a bound on its size, and the key where one is asked for.

Plain ASGI, since Starlette's middleware would stand between a stream and whoever has hung up.
"""

from __future__ import annotations

import hmac
import json
import re
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from . import wire

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LARGEST_BODY = 1 << 20
NAME = re.compile(r"[A-Za-z0-9._:-]{1,128}")
HEADER = b"x-request-id"
# open to whoever reaches the port: they say nothing of what was ingested
OPEN = ("/health", "/health/live", "/health/ready")
# asked for the key always: without one there is nobody who may
ALWAYS = ("/v1/ingest",)
# the page asks for the key itself
KEYED = ("/v1/", "/metrics")
# no script, style, font or picture from elsewhere; nothing goes elsewhere either, whatever a document or a model says
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; "
    "form-action 'self'; base-uri 'self'; object-src 'none'"
)
SAFE = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class Doors:
    def __init__(self, app: App, key: str | None, count: Callable[[str, int], None]) -> None:
        self.app, self.key, self.count = app, key, count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = {name.lower(): value for name, value in scope["headers"]}
        given = headers.get(HEADER, b"").decode("latin-1")
        name = given if NAME.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request"] = name
        path = scope["path"]

        async def named(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (HEADER, name.encode()), *SAFE]
                self.count(path, message["status"])
            await send(message)

        if refusal := self._refusal(path, headers):
            return await answer(named, *refusal)
        try:
            await self.app(scope, _bounded(receive), named)
        except TooLarge:
            await answer(named, 413, f"a request has at most {LARGEST_BODY:,} bytes", "invalid_request_error")

    def _refusal(self, path: str, headers: dict[bytes, bytes]) -> tuple[int, str, str] | None:
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > LARGEST_BODY:
            return 413, f"a request has at most {LARGEST_BODY:,} bytes", "invalid_request_error"
        if path in OPEN or not path.startswith(KEYED):
            return None
        if self.key is None:
            if path in ALWAYS:
                return 403, "ingest wants a key, and this service has none: set RUNNER_API_KEY", "permission_error"
            return None
        if not self.opens(headers.get(b"authorization", b"")):
            return 401, "the API key is missing or wrong", "authentication_error"
        return None

    def opens(self, authorization: bytes) -> bool:
        scheme, _, given = authorization.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), (self.key or "").encode())


class TooLarge(Exception):
    """A body longer than it said."""


def _bounded(receive: Receive) -> Receive:
    total = 0

    async def counted() -> MutableMapping[str, Any]:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > LARGEST_BODY:
            raise TooLarge
        return message

    return counted


async def answer(send: Send, status: int, said: str, kind: str) -> None:
    body = json.dumps(wire.error(said, kind)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(b"www-authenticate", b"Bearer")] if status == 401 else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
