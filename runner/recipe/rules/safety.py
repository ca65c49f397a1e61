"""Rules about what a recipe may do to the machine and the people that run it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path as FilePath

from runner.diagnostics import Diagnostic
from runner.facts.servers import HOST, KEY, is_loopback
from runner.recipe.document import Path, walk
from runner.recipe.kinds import servers_in
from runner.recipe.rules import Facts, rule
from runner.redact import LOOKS_LIKE_ONE

# of all kinds and at any depth, dashes as a server's own flags have them
_REMOTE_CODE = ("trust_remote_code", "trust_remote_code_model")
_SECRET_KEYS = ("comet_api_key", "swanlab_api_key", "swanlab_lark_secret")
# where users ask, by kind; its `host` and `api_key_file` are below
_LISTENING = {"serve": "", "rag": "service."}
# below the top, where schemas are open; serve's own keys and those of `engine_args` have rules of their own
_SECRET_NAME = re.compile(r"(?:\w*_)?(?:api_?key|hf_token|auth_token|access_token|password|passwd|secret(?:_key)?)")
_SECRET = re.compile(LOOKS_LIKE_ONE)
_PICKLES = (".pkl", ".pickle")
# weights as torch pickles them, and the ways to load them that ask for those
_WEIGHTS = (".bin", ".pt", ".pth", ".ckpt")
_FORMATS = ("pt", "npcache")


@rule("R501", "code from the hub that nobody allowed", source="https://huggingface.co/docs/transformers/custom_models")
def remote_code(facts: Facts) -> Iterator[Diagnostic]:
    """`trust_remote_code` runs Python files that somebody uploaded beside a model or dataset, with everything the user
    running the recipe can reach, and they can change after the recipe was read. A recipe that needs it says so in its
    header, where a reviewer looks.
    """
    if "trust_remote_code" in facts.get("allow", []) or "allow" in facts.refused:
        return
    for path, node in walk(facts.doc.root):
        key = str(path[-1]).lstrip("-").replace("-", "_") if path else ""
        # transformers itself trusts the kernels of that one organization
        kernel = key == "attn_implementation" and re.match(r"(?!kernels-community/).+/", str(node.value))
        if (key in _REMOTE_CODE and node.value is True) or kernel:
            yield Diagnostic(
                "R501",
                f"`{key}` runs code from the hub, and the recipe does not allow it",
                node.key,
                label="read that code first",
                notes=("files on the hub can change after they were read, unless a revision is pinned",),
                help="remove it, or add `allow: [trust_remote_code]`",
            )


@rule(
    "R502",
    "a secret in the recipe",
    source="https://docs.github.com/en/code-security/secret-scanning/introduction/about-secret-scanning",
)
def secret_in_file(facts: Facts) -> Iterator[Diagnostic]:
    """Recipes are committed, rendered into run directories and shown in reports. A token in one of them is a token that
    has leaked. Engines read theirs from the environment. The line is not shown here, so that a log does not leak it
    once more.
    """
    for path, node in walk(facts.doc.root):
        named = isinstance(node.value, str) and node.value and _names_secret(path)
        if named or (isinstance(node.value, str) and _SECRET.search(node.value)):
            shown = ".".join(map(str, path))
            env = str(path[-1]).upper() if named else "a variable such as HF_TOKEN"
            yield replace(
                facts.report(
                    "R502",
                    shown,
                    f"`{shown}` on line {node.span.line} holds a secret",
                    help=f"remove it, set {env} in the environment, and revoke it if this file has left your machine",
                ),
                span=replace(node.span, line=0, column=0, width=1),
            )


def _names_secret(path: Path) -> bool:
    if len(path) < 2:
        return bool(path) and path[0] in _SECRET_KEYS
    return path[0] != "engine_args" and _SECRET_NAME.fullmatch(str(path[-1]).lower()) is not None


@rule("R503", "pickled data that nobody allowed", source="https://huggingface.co/docs/hub/security-pickle")
def pickled(facts: Facts) -> Iterator[Diagnostic]:
    """Reading a pickle can run any code its author put into it. Weights in safetensors and rows in JSON or Parquet
    can't. A recipe that reads pickles says so in its header, where a reviewer looks.
    """
    if "pickle" in facts.get("allow", []) or "allow" in facts.refused:
        return
    found = [at for at, node in facts.all("model_kwargs.use_safetensors") if node.value is False]
    found += [at for at, node in facts.all("load_format") if node.value in _FORMATS]
    found += [key for key in ("base_model", "model", "lora_model_dir") if _holds_pickles(facts, key)]
    for pattern in ("datasets.*", "test_datasets.*", "pretraining_dataset.*"):
        for row, _ in facts.all(pattern):
            files = [at for key in ("path", "data_files", "data_files.*") for at, _ in facts.all(f"{row}.{key}")]
            pickles = [at for at in files if str(facts.get(at)).endswith(_PICKLES)]
            pandas = [f"{row}.ds_type"] if facts.get(f"{row}.ds_type") == "pandas" else []  # its builder unpickles
            found += (pickles or pandas)[:1]
    for at in found:
        yield facts.report(
            "R503",
            at,
            "this reads a pickle, and the recipe does not allow it",
            label="a pickle can run any code",
            help="use safetensors for weights and JSON or Parquet for rows, or add `allow: [pickle]`",
        )


@rule(
    "R988",
    "open to others without a key",
    source="https://cheatsheetseries.owasp.org/cheatsheets/REST_Security_Cheat_Sheet.html",
)
def open_to_others(facts: Facts) -> Iterator[Diagnostic]:
    """Where the host is not this machine alone, whoever reaches the port could use the GPUs, read the documents and see
    what others ask. So there must be an API key: in a file of mode 600, or in RUNNER_API_KEY, which is looked for where
    the recipe is checked. `runner serve` and `runner rag` refuse the same of a host that is given to them.
    """
    places = [_LISTENING[facts.kind]] if facts.kind in _LISTENING else []
    for at in (*places, *(f"{path}." for path in servers_in(facts.kind))):
        host = facts.get(f"{at}host")
        if not isinstance(host, str) or not HOST.fullmatch(host.strip("[]")) or is_loopback(host):
            continue
        if facts.lacks(f"{at}api_key_file") and at.partition(".")[0] not in facts.refused and not os.environ.get(KEY):
            yield facts.report(
                "R988",
                f"{at}host",
                f"`{host}` is seen beyond this machine, and there is no API key",
                note="whoever reaches the port could use the GPUs and read what others ask",
                help=f"name a file of mode 600 in `{at}api_key_file`, or set {KEY}; or stay on 127.0.0.1",
            )


def _holds_pickles(facts: Facts, key: str) -> bool:
    """A local folder with weights that only torch's unpickler reads."""
    given = facts.get(key)
    if not isinstance(given, str) or not given or "${" in given or "\x00" in given:
        return False
    try:
        names = [file.name for file in ((facts.root or FilePath()) / given).iterdir()]
    except OSError:
        return False
    return any(n.endswith(_WEIGHTS) for n in names) and not any(n.endswith((".safetensors", ".gguf")) for n in names)
