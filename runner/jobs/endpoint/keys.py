"""The API key: from RUNNER_API_KEY, else from a file that nobody else can read. It goes on by environment alone."""

from __future__ import annotations

import ipaddress
import os
import stat
from pathlib import Path

from .spec import WILDCARDS, Problem, Spec, reachable

VARIABLE = "RUNNER_API_KEY"


def read_key(key_file: str | None) -> str | None:
    """None where there is none. Raises Problem for a file that is missing, empty, or open to others."""
    if key := os.environ.get(VARIABLE, "").strip():
        return key
    if not key_file:
        return None
    file = Path(key_file).expanduser()
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        if mode & 0o077:
            raise Problem(f"the key file {file} has mode {mode:o}, which lets others read it: chmod 600 {file}")
        key = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"can't read the key file {file}: {error}") from None
    if not key:
        raise Problem(f"the key file {file} is empty")
    return key


def refuse_open(spec: Spec, key: str | None) -> None:
    """Raises Problem where others than this machine's users could ask without a key, or ask vLLM itself, which wants
    its key on a part of its paths only."""
    host = reachable(spec.host) if spec.host not in WILDCARDS else spec.host
    try:
        own = ipaddress.ip_address(host).is_loopback
    except ValueError:
        own = host.lower() == "localhost"
    if own:
        return
    if key is None:
        raise Problem(f"{spec.host} is seen beyond this machine, and there is no API key: set {VARIABLE} or a key file")
    if spec.proxy is None:
        raise Problem(f"{spec.host} is seen beyond this machine, and there is no proxy before the server")


def for_servers(key: str | None) -> dict[str, str]:
    """vLLM reads its key from its environment; the proxy's configuration names ENDPOINT_KEY."""
    return {"VLLM_API_KEY": key, "ENDPOINT_KEY": key} if key else {}
