"""The service's key: RUNNER_API_KEY, else a file that nobody else can read; refuses to be seen beyond this machine
without one."""

from __future__ import annotations

import ipaddress
import os
import stat
from pathlib import Path

from ..types import Problem

VARIABLE = "RUNNER_API_KEY"


def read_key(file: str | None) -> str | None:
    """None where there is none. An endpoint that was started for us has taken the variable, and passed it on under its
    own name. Raises Problem."""
    given = os.environ.get(VARIABLE) or (os.environ.get("ENDPOINT_KEY") if os.environ.get("ENDPOINT_URL") else "")
    if given and given.strip():
        return given.strip()
    if not file:
        return None
    path = Path(file).expanduser()
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        key = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"can't read the key file {path}: {error}") from None
    if mode & 0o077:
        raise Problem(f"the key file {path} has mode {mode:o}, which lets others read it: chmod 600 {path}")
    if not key:
        raise Problem(f"the key file {path} is empty")
    return key


def refuse_open(host: str, key: str | None) -> None:
    """Raises Problem."""
    try:
        own = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        own = host.lower() == "localhost"
    if not own and key is None:
        raise Problem(f"{host} is seen beyond this machine, and there is no API key: set {VARIABLE} or a key file")
