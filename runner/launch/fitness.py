"""What this machine lacks for a recipe as it is written, found before anything is built or downloaded."""

from __future__ import annotations

import netrc
from collections.abc import Mapping
from typing import Any

from runner.diagnostics import Diagnostic
from runner.engines.deepspeed import stage_name
from runner.facts.boxes import Box
from runner.machine import HERE, Machine, check_box, check_compilers
from runner.recipe.check import box_of, model_of
from runner.recipe.document import Document
from runner.recipe.kinds import kind_names, serves

WANDB_HOST = "api.wandb.ai"
_WITHOUT_ACCOUNT = ("offline", "disabled", "dryrun")


def check_machine(machine: Machine, doc: Document, box: Box | None = None) -> list[Diagnostic]:
    """Everything: the box's GPUs and memory, compilers where DeepSpeed will need them, a token for a gated model.
    `box` stands in for the recipe's own."""
    kind = doc.keys.get("kind")
    make = "serve MODEL" if kind is not None and kind.value in kind_names() and serves(str(kind.value)) else "recipe R"
    found = check_box(machine, box or box_of(doc), doc.name, make) + check_compilers(machine, offloads(doc))
    return [*found, *check_token(machine, doc)]


def check_token(machine: Machine, doc: Document) -> list[Diagnostic]:
    """R322: a warning, since the model may lie in the hub's cache already."""
    model = model_of(doc)
    if model is None or not model.gated or machine.tokens:
        return []
    return [
        Diagnostic(
            "R322",
            f"`{model.hub}` is gated, and there is no token for the hub here",
            HERE,
            notes=("its licence is accepted on its page, once, by the account that the token belongs to",),
            help="set HF_TOKEN, or log in with `hf auth login`",
            severity="warning",
        )
    ]


def check_tracker(doc: Document, environment: Mapping[str, str]) -> list[Diagnostic]:
    """R477: a run that reports to Weights & Biases stops when training starts where no key is known."""
    on = next((key for key in ("use_wandb", "wandb_project") if _given(doc, key)), None)
    if "wandb" in (_given(doc, "report_to") or ()):
        on = "report_to"
    quiet = _given(doc, "wandb_mode") in ("offline", "disabled") or environment.get("WANDB_MODE") in _WITHOUT_ACCOUNT
    if on is None or quiet or environment.get("WANDB_API_KEY") or _in_netrc(WANDB_HOST, environment):
        return []
    return [
        Diagnostic(
            "R477",
            "there is no key for Weights & Biases here, and the recipe reports to it",
            doc.keys[on].key,
            notes=("it would stop when training starts, once the model was loaded",),
            help="set WANDB_API_KEY, log in with `wandb login`, or set `wandb_mode: offline`",
        )
    ]


def _given(doc: Document, key: str) -> Any:
    node = doc.keys.get(key)
    return node.plain() if node is not None else None


def _in_netrc(host: str, environment: Mapping[str, str]) -> bool:
    """Where `wandb login` writes it."""
    file = environment.get("NETRC") or f"{environment.get('HOME', '')}/.netrc"
    try:
        return host in netrc.netrc(file).hosts
    except (OSError, netrc.NetrcParseError):
        return False


def offloads(doc: Document) -> bool:
    """Whether DeepSpeed will keep the optimizer's state in host memory, which takes its CPU Adam."""
    node = doc.keys.get("deepspeed")
    given: Any = node.plain() if node is not None else None
    if isinstance(given, dict):
        zero = given.get("zero_optimization")
        moved = zero.get("offload_optimizer") if isinstance(zero, dict) else None
        return isinstance(moved, dict) and moved.get("device", "cpu") != "none"
    try:
        return isinstance(given, str) and "_offload" in stage_name(given)
    except ValueError:
        return False
