"""One HTTP request to a server of ours; an answer that isn't there is None."""

from __future__ import annotations

import http.client
import json
from typing import Any

from .spec import Server, reachable


def ask(
    server: Server, path: str, *, key: str | None = None, body: Any = None, timeout: float = 5.0
) -> tuple[int, bytes] | None:
    """Status and body. GET, or POST where there is a `body` for JSON."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    payload = None
    if body is not None:
        headers["Content-Type"] = "application/json"
        payload = json.dumps(body)
    connection = http.client.HTTPConnection(reachable(server.host), server.port, timeout=timeout)
    try:
        connection.request("GET" if payload is None else "POST", path, body=payload, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
