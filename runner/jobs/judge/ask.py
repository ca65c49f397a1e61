"""Chat completions of an OpenAI-compatible endpoint, by the standard library; tried again where that may help."""

import json
import os
import time
import urllib.error
import urllib.request
from typing import Any

TRIES = 4
TIMEOUT_S = 600
# what another try may mend
PASSING = (408, 409, 429, 500, 502, 503, 504)


class Judge:
    def __init__(self, config: dict[str, Any]) -> None:
        # the endpoint that was started for this run says itself where it is
        served = os.environ.get("ENDPOINT_URL")
        self.address = (f"{served.rstrip('/').removesuffix('/v1')}/v1" if served else config["endpoint"]).rstrip("/")
        self.model = os.environ.get("ENDPOINT_MODEL") or config["model"]
        self.key = os.environ.get("ENDPOINT_KEY") or os.environ.get("RUNNER_API_KEY") or "none"
        self.request = {
            "model": self.model,
            "max_tokens": config.get("max_tokens") or 512,
            "temperature": config.get("temperature") or 0.0,
            "seed": config.get("seed") or 0,
            **(config.get("extra_body") or {}),
        }

    def ask(self, prompt: str) -> str:
        """Raises OSError where the endpoint refuses, or does not answer."""
        body = json.dumps({**self.request, "messages": [{"role": "user", "content": prompt}]}).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"}
        for n in range(TRIES):
            request = urllib.request.Request(f"{self.address}/chat/completions", body, headers)  # noqa: S310
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                    said = json.load(answer)["choices"][0]["message"]["content"]
                return str(said or "")
            except urllib.error.HTTPError as error:
                if error.code not in PASSING or n == TRIES - 1:
                    raise OSError(f"{error.code}: {error.read(2000).decode('utf-8', 'replace')}") from error
            except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
                if n == TRIES - 1:
                    raise OSError(str(error)) from error
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise OSError(f"not a chat completion: {error}") from error
            time.sleep(2.0**n)
        raise AssertionError("unreachable")
