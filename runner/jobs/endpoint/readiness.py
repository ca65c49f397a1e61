"""Whether a server is really ready: healthy, lists its model, and has generated a token.

vLLM says healthy with some quantized weights and dies on the first request.
"""

from __future__ import annotations

import json
import threading
import time

from .ask import ask
from .spec import Server, Spec

POLL_S = 0.1
TOKEN_TIMEOUT_S = 300.0


class Readiness(threading.Thread):
    """Asks until the server is `ready`; `error` where it answers, but not as it should."""

    def __init__(self, server: Server, spec: Spec, key: str | None) -> None:
        super().__init__(daemon=True, name=f"readiness of {server.name}")
        self.server, self.spec, self.key = server, spec, key
        self.ready = False
        self.error = ""
        self.note = ""
        self.waits_for = "its health"
        self.stopped = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._healthy():
            if self.stopped.wait(POLL_S):
                return
        self.waits_for = "its list of models"
        while not self._lists():
            if self.stopped.wait(POLL_S):
                return
        self.waits_for = "its first token"
        self.error = self._generates()
        self.ready = not self.error

    def _healthy(self) -> bool:
        answer = ask(self.server, self.spec.health)
        return answer is not None and answer[0] == 200

    def _lists(self) -> bool:
        answer = ask(self.server, "/v1/models", key=self.key)
        if answer is None or answer[0] != 200:
            return False
        try:
            names = [str(model["id"]) for model in json.loads(answer[1])["data"]]
        except (ValueError, KeyError, TypeError):
            names = []
        if self.spec.model not in names:
            # some servers name a model otherwise than they are asked for it; the token decides
            self.note = f"it lists {', '.join(names[:5]) or 'no model'}, not {self.spec.model}"
        return True

    def _generates(self) -> str:
        began = time.monotonic()
        if self.spec.probe == "chat":
            path, asked = "/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}]}
        else:
            path, asked = "/v1/completions", {"prompt": "Hello"}
        body = {"model": self.spec.model, **asked, "max_tokens": 1, "temperature": 0}
        answer = ask(self.server, path, key=self.key, body=body, timeout=TOKEN_TIMEOUT_S)
        if answer is None:
            seconds = time.monotonic() - began
            return f"healthy, but gave no answer to its first request ({seconds:.0f} s)"
        status, said = answer
        try:
            choices = json.loads(said).get("choices") if status == 200 else None
        except (ValueError, AttributeError):
            choices = None
        if choices:
            return ""
        note = f"; {self.note}" if self.note else ""
        return f"healthy, but answered its first request with {status}: {said[:300].decode('utf-8', 'replace')}{note}"
