"""The generator: any endpoint that speaks OpenAI's chat completions, streamed; Unavailable where it does not answer."""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai

from .config import Config
from .counting import Count, Message, bound, by_folder, by_server
from .types import Problem, Unavailable

CONNECT_S = 5.0
# of a rewriting or a ranking, which is a few words
ASK_TOKENS = 128
# what a caller may set for one answer
SETTABLE = ("temperature", "top_p", "max_tokens", "stop", "seed", "presence_penalty", "frequency_penalty")


@dataclass(slots=True)
class Usage:
    """What the endpoint counted; `finish` is its word for why it ended."""

    prompt: int = 0
    completion: int = 0
    finish: str = "stop"


class Generator:
    """`model` is the name by which the endpoint knows it. Making one asks for nothing."""

    def __init__(self, config: Config) -> None:
        given = config.generator
        served = os.environ.get("ENDPOINT_URL")  # of the endpoint that was started for us
        address = served or given.get("endpoint")
        if not address:
            raise Problem("the generator has no address: start it with `runner rag`, or give `generator.endpoint`")
        self.address = f"{address.rstrip('/').removesuffix('/v1')}/v1"
        self.model = str(os.environ.get("ENDPOINT_MODEL") or given.get("model") or "")
        self.context_length, self.max_tokens = int(given["context_length"]), int(given["max_tokens"])
        self.temperature = float(given.get("temperature") or 0.0)
        self.folder = _tokenizer(config.folder / "endpoint.json")
        self._by_folder: tuple[Count, tuple[str, ...]] | None = None
        self.key = _key(self.address)
        timeout = openai.Timeout(float(given.get("timeout_s") or 120), connect=CONNECT_S)
        options: dict[str, Any] = {"base_url": self.address, "api_key": self.key, "max_retries": 0, "timeout": timeout}
        self.asynchronous = openai.AsyncOpenAI(**options)
        self.client = openai.OpenAI(**options)

    def check(self) -> None:
        """Raises Unavailable unless it answers now; Problem where it serves another model, or a shorter context."""
        with told(self.address):
            listed = {m.id: m for m in self.client.with_options(timeout=CONNECT_S).models.list()}
        if not self.model and len(listed) == 1:
            self.model = next(iter(listed))
        if self.model not in listed:
            names = ", ".join(f"`{name}`" for name in listed) or "none"
            raise Problem(f"{self.address} serves {names}, and not `{self.model}`")
        longest = (listed[self.model].model_extra or {}).get("max_model_len")
        if longest and self.context_length > int(longest):
            raise Problem(
                f"`context_length` is {self.context_length}, and `{self.model}` is served with a context of {longest}"
            )

    def counter(self) -> tuple[Count, tuple[str, ...]]:
        """How prompts are counted, by the best that there is; the tokenizer's special tokens where it is at hand."""
        self._by_folder = self._by_folder or by_folder(self.folder)
        if self._by_folder:
            return self._by_folder
        return by_server(self.address, self.model, self.key) or bound, ()

    async def stream(self, messages: Sequence[Message], settings: dict[str, Any], usage: Usage) -> AsyncIterator[str]:
        """Pieces of the answer as they come; `usage` is filled in. Raises Unavailable."""
        wanted = {"temperature": self.temperature, **{k: settings[k] for k in SETTABLE if settings.get(k) is not None}}
        wanted["max_tokens"] = min(int(wanted.get("max_tokens") or self.max_tokens), self.max_tokens)
        with told(self.address):
            chunks = await self.asynchronous.chat.completions.create(
                model=self.model,
                messages=list(messages),  # type: ignore[arg-type]
                stream=True,
                stream_options={"include_usage": True},
                **wanted,
            )
            async with chunks:
                async for chunk in chunks:
                    if chunk.usage:
                        usage.prompt, usage.completion = chunk.usage.prompt_tokens, chunk.usage.completion_tokens
                    for choice in chunk.choices:
                        usage.finish = choice.finish_reason or usage.finish
                        if choice.delta.content:
                            yield choice.delta.content

    def ask(self, messages: list[Message]) -> str:
        """A short answer, at once: how retrieval has questions rewritten and hits ranked. Raises Unavailable."""
        with told(self.address):
            said = self.client.chat.completions.create(
                model=self.model,
                messages=messages,
                max_tokens=min(ASK_TOKENS, self.max_tokens),
                temperature=0.0,
            )
        return said.choices[0].message.content or ""

    async def close(self) -> None:
        await self.asynchronous.close()
        self.client.close()


@contextmanager
def told(address: str) -> Iterator[None]:
    """The client's exceptions as ours: what passes by itself is Unavailable."""
    try:
        yield
    except openai.APITimeoutError as error:
        raise Unavailable(f"the language model at {address} did not answer in time") from error
    except openai.APIConnectionError as error:
        raise Unavailable(f"the language model at {address} can't be reached") from error
    except openai.APIStatusError as error:
        said = f"the language model at {address} answered {error.status_code}: {str(error.message)[:200]}"
        raise (Unavailable if error.status_code in (408, 409, 429) or error.status_code >= 500 else Problem)(
            said
        ) from error
    except openai.APIError as error:  # in mid-stream
        raise Unavailable(f"the language model at {address} broke off: {str(error)[:200]}") from error


def _tokenizer(file: Path) -> Path:
    """Of the model that is served for us, as its command line in endpoint.json names it."""
    try:
        argv = json.loads(file.read_text())["replicas"][0]["argv"]
    except (OSError, ValueError, LookupError, TypeError):
        return Path("/nowhere")
    named = argv[argv.index("--tokenizer") + 1] if "--tokenizer" in argv else argv[2]
    return Path(str(named))


def _key(address: str) -> str:
    """ENDPOINT_KEY comes with an endpoint that was started for us. The key of our own service is for this machine's
    endpoints alone, which `runner serve` started with the same."""
    host = urlsplit(address).hostname or ""
    try:
        own = ipaddress.ip_address(host).is_loopback
    except ValueError:
        own = host == "localhost"
    mine = os.environ.get("RUNNER_API_KEY") if own else None
    return os.environ.get("ENDPOINT_KEY") or os.environ.get("OPENAI_API_KEY") or mine or "none"
