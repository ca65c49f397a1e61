"""Rules about servers other than vLLM."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.facts.servers import VLLM, other_servers
from runner.recipe.kinds import header_keys
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.vllm.removed import REMOVED

# the runner's own keys of the kind, which concern no server, or each in its own way
OURS = frozenset(
    {
        "model", "engine", "layout", "replicas", "host", "port", "served_model_name", "api_key_file", "engine_args",
        "ready_timeout_s", "drain_s", "input_len", "output_len", "request_rate",
    }
)  # fmt: skip


@rule("R909", "a key that this server doesn't have", source="https://docs.vllm.ai/en/latest/cli/serve/")
def understood(facts: Facts) -> Iterator[Diagnostic]:
    """Keys are vLLM's arguments. Those that other servers have too are given to them in their words; the rest they
    can't be told so, and a run that passed over them would not be what the recipe says.
    """
    server = other_servers().get(str(facts.get("engine", VLLM)))
    if server is None:
        return
    for key in facts.doc.keys:
        known = key in OURS or key in header_keys() or key in server.flags or key in server.also or key in REMOVED
        if not known and facts.get(key) is not None:
            yield facts.report(
                "R909",
                key,
                f"{server.title} has no `{key}`",
                note=f"its own flags: {server.docs}",
                help=f"remove it, or write what {server.title} calls it under `engine_args`",
            )


@rule(
    "R910",
    "a server that is no longer developed",
    source="https://github.com/huggingface/text-generation-inference",
    severity="warning",
)
def archived(facts: Facts) -> Iterator[Diagnostic]:
    """text-generation-inference was archived by its makers in March 2026: no new models, no fixes, and none for holes
    in its security. What was measured with it can still be compared.
    """
    if facts.get("engine") == "tgi":
        yield facts.report(
            "R910",
            "engine",
            "text-generation-inference was archived by its makers in March 2026",
            label="no more fixes, for security neither",
            help="use `vllm` or `sglang`, which its makers point to",
            severity="warning",
        )


@rule("R911", "flags in another server's words", source="https://docs.vllm.ai/en/latest/cli/serve/")
def own_words(facts: Facts) -> Iterator[Diagnostic]:
    """`engine_args` is for servers whose arguments are no keys here. vLLM's are keys, which are checked; hidden below
    `engine_args` nothing would be.
    """
    if facts.get("engine_args") and facts.get("engine", VLLM) == VLLM:
        first = next(iter(facts.get("engine_args")))
        yield facts.report(
            "R911",
            "engine_args",
            "vLLM's arguments are keys of the recipe",
            help=f"write `{_ours(str(first))}` at the top of the recipe, and remove `engine_args`",
        )


def _ours(flag: str) -> str:
    return flag.lstrip("-").replace("-", "_")
