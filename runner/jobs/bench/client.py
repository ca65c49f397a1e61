"""vLLM's own benchmark client, `vllm bench serve`, called for one cell at a time: it takes seconds to import."""

from __future__ import annotations

import json
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.measures import Request

# transformers' server refuses a request with a field that it does not know; vLLM's client sends this one always
UNKNOWN_TO_TRANSFORMERS = ("repetition_penalty", "ignore_eos")
TRANSFORMERS = "transformers"


@dataclass(frozen=True)
class Target:
    """Where requests go: `url` without `/v1`, the served model's name, and whose API it is."""

    url: str
    model: str
    engine: str
    tokenizer: str


@dataclass(frozen=True)
class Load:
    """`concurrency` requests at a time, or `rate` per second with `burstiness` (1 Poisson, inf constant)."""

    prompts: tuple[str, ...]
    output_len: int
    concurrency: int | None = None
    rate: float | None = None
    burstiness: float = 1.0


@dataclass(frozen=True)
class Answers:
    """`failed` are the errors of requests that were not answered. `client` is the client's own summary."""

    requests: tuple[Request, ...]
    failed: tuple[str, ...]
    seconds: float
    input_tokens: int
    client: dict[str, Any]


def arguments(target: Target, load: Load, dataset: Path, seed: int) -> list[str]:
    """As of `vllm bench serve`, which does the same by hand (with `pip install vllm[bench]`, for pandas)."""
    argv = ["--backend", TRANSFORMERS if target.engine == TRANSFORMERS else "openai"]
    argv += ["--base-url", target.url, "--endpoint", "/v1/completions", "--model", target.model]
    argv += ["--tokenizer", target.tokenizer, "--dataset-name", "custom", "--dataset-path", str(dataset)]
    argv += ["--disable-shuffle", "--skip-chat-template", "--num-prompts", str(len(load.prompts))]
    argv += ["--custom-output-len", str(load.output_len), "--ignore-eos", "--temperature", "0"]
    argv += ["--seed", str(seed % 2**32), "--percentile-metrics", "ttft,tpot,itl,e2el"]
    # its trial request and its warm-up send the first prompt, which would then be in the prefix cache
    argv += ["--metric-percentiles", "50,95,99", "--ready-check-timeout-sec", "0", "--num-warmups", "0"]
    argv += ["--max-concurrency", str(load.concurrency)] if load.concurrency else []
    argv += ["--request-rate", f"{load.rate:g}", "--burstiness", f"{load.burstiness:g}"] if load.rate else []
    return [*argv, "--disable-tqdm", "--save-detailed"]


def send(target: Target, load: Load, dataset: Path, seed: int) -> Answers:
    """All requests of a cell, answered or not. `dataset` is where the prompts are kept, as JSON Lines."""
    from vllm.benchmarks import serve
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    _teach_transformers()
    os.environ.pop("OPENAI_API_KEY", None)  # somebody's own is for nobody else
    if key := os.environ.get("ENDPOINT_KEY"):
        os.environ["OPENAI_API_KEY"] = key  # where the client looks for it
    dataset.parent.mkdir(parents=True, exist_ok=True)
    dataset.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in load.prompts))
    parser = FlexibleArgumentParser()
    serve.add_cli_args(parser)
    serve.get_samples = lambda args, tokenizer: _samples(load, tokenizer)  # vLLM's reads the file by pandas
    found = serve.main(parser.parse_args(arguments(target, load, dataset, seed)))
    return _answers(found)


def _samples(load: Load, tokenizer: Any) -> list[Any]:
    from vllm.benchmarks.datasets import SampleRequest

    lengths = [len(ids) for ids in tokenizer(list(load.prompts)).input_ids]
    return [
        SampleRequest(prompt=text, prompt_len=length, expected_output_len=load.output_len, request_id=str(i))
        for i, (text, length) in enumerate(zip(load.prompts, lengths, strict=True))
    ]


def _answers(found: dict[str, Any]) -> Answers:
    requests, failed, tokens = [], [], 0
    rows = zip(
        found["ttfts"], found["itls"], found["latencies"], found["output_lens"], found["errors"], found["input_lens"],
        strict=True,
    )  # fmt: skip
    for ttft, itl, latency, length, error, prompt in rows:
        if length and not error:
            requests.append(Request(ttft, latency, length, tuple(itl)))
            tokens += prompt
        else:
            failed.append(str(error).strip().rsplit("\n", 1)[-1] or "no answer")
    kept = {k: float(v) if isinstance(v, float) else v for k, v in found.items() if not isinstance(v, list | dict)}
    return Answers(tuple(requests), tuple(failed), float(found["duration"]), tokens, kept)


def _teach_transformers() -> None:
    """One more backend of the client: its own function for completions, over a session that speaks to transformers."""
    from vllm.benchmarks.lib import endpoint_request_func as functions

    async def ask(request_func_input: Any, session: Any, pbar: Any = None) -> Any:
        spoken = _Session(session)
        output = await functions.async_request_openai_completions(request_func_input, spoken, pbar)
        usage = spoken.usage()
        if output.success and usage:  # it comes with the last piece of text, where the client does not look for it
            output.output_tokens = usage["completion_tokens"]
            output.prompt_len = usage["prompt_tokens"]
            if output.itl:  # that piece is empty: no token was waited for
                output.latency -= output.itl.pop()
        return output

    functions.ASYNC_REQUEST_FUNCS[TRANSFORMERS] = ask
    if TRANSFORMERS not in functions.OPENAI_COMPATIBLE_BACKENDS:
        functions.OPENAI_COMPATIBLE_BACKENDS.append(TRANSFORMERS)


class _Session:
    """An aiohttp session in transformers' words; keeps the end of the answer."""

    def __init__(self, session: Any) -> None:
        self.session, self.tail = session, b""

    @asynccontextmanager
    async def post(self, *, url: str, json: dict[str, Any], headers: dict[str, str]) -> Any:
        async with self.session.post(url=url, json=in_transformers_words(json), headers=headers) as response:
            yield _Response(response, self)

    def usage(self) -> dict[str, int] | None:
        for line in reversed(self.tail.decode("utf-8", "replace").splitlines()):
            if line.startswith("data: {") and '"usage"' in line:
                try:
                    found: dict[str, int] | None = json.loads(line.removeprefix("data: ")).get("usage")
                except ValueError:
                    return None
                return found
        return None


class _Response:
    def __init__(self, response: Any, session: _Session) -> None:
        self.status, self.reason, self.content = response.status, response.reason, self
        self._response, self._session = response, session

    async def iter_any(self) -> Any:
        async for piece in self._response.content.iter_any():
            self._session.tail = (self._session.tail + piece)[-4096:]
            yield piece


def in_transformers_words(payload: dict[str, Any]) -> dict[str, Any]:
    """Without the fields it refuses; `ignore_eos`, which it has not, as the fewest and the most new tokens."""
    spoken = {key: value for key, value in payload.items() if key not in UNKNOWN_TO_TRANSFORMERS}
    if payload.get("ignore_eos"):
        length = payload["max_tokens"]
        settings = {"min_new_tokens": length, "max_new_tokens": length, "do_sample": False, "pad_token_id": 0}
        spoken["generation_config"] = json.dumps(settings)
    return spoken
