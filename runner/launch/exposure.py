"""What must hold before servers start: their ports free, GPU memory to spare, a proxy, and a key that stays secret."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from runner.diagnostics import Diagnostic, Span
from runner.facts.servers import KEY, VLLM, WILDCARDS, is_loopback
from runner.launch.endpoints import Endpoint
from runner.machine import HERE, Machine
from runner.recipe.resolve import Recipe

# vLLM's own default (config/cache.py)
UTILIZATION = 0.92


def check_endpoint(
    recipe: Recipe,
    spec: dict[str, Any],
    machine: Machine | None,
    running: Iterable[Endpoint],
    option: str = "--set port=8100",
) -> list[Diagnostic]:
    """R330 ports, R331 GPU memory (not without a `machine`), R332 the proxy, R510, R511 and R514 the key. `option` is
    how the command at hand takes another port."""
    found = [*_ports(recipe, spec, list(running), option), *_proxy(spec), *_key(recipe, spec)]
    return found + (list(_memory(recipe, spec, machine)) if machine is not None else [])


def _span(recipe: Recipe, key: str) -> Span:
    node = recipe.doc.keys.get(key)
    return node.span if node is not None else HERE


def _ports(recipe: Recipe, spec: dict[str, Any], running: list[Endpoint], option: str) -> Iterator[Diagnostic]:
    proxy = [{"name": "the proxy", **spec["proxy"]}] if spec["proxy"] else []
    for server in (*proxy, *spec["replicas"]):
        host, port = spec["host"] if server in proxy or not proxy else "127.0.0.1", int(server["port"])
        taken = _taken(host, port)
        if taken is None:
            continue
        holder = next((e for e in running if e.alive and port in _ports_of(e)), None)
        note = f"endpoint `{holder.recipe}` ({holder.profile}) listens there" if holder else taken
        end = f"`runner stop {holder.recipe}`" if holder else "end what listens there"
        help = f"{end}, or take another port: `{option}`"
        message = f"port {port}, for {server['name']}, can't be listened on"
        yield Diagnostic("R330", message, _span(recipe, "port"), notes=(note,), help=help)


def _ports_of(endpoint: Endpoint) -> set[int]:
    ports = {int(r.get("port", 0)) for r in endpoint.state.get("replicas", ())}
    user = endpoint.url.rpartition(":")[2]
    return ports | ({int(user)} if user.isdigit() else set())


def _taken(host: str, port: int) -> str | None:
    """Why nobody can listen there; None where one can."""
    host = host.strip("[]")
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            None if host == "*" else host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return "another program listens there" if error.errno == errno.EADDRINUSE else f"{host}: {error.strerror}"
    return None


def _memory(recipe: Recipe, spec: dict[str, Any], machine: Machine) -> Iterator[Diagnostic]:
    share = float(recipe.values.get("gpu_memory_utilization") or UTILIZATION)
    for index in sorted({gpu for replica in spec["replicas"] for gpu in replica["gpus"]}):
        if index >= len(machine.gpus):
            continue  # R310 has told
        gpu = machine.gpus[index]
        wanted = share * gpu.memory_gib
        if gpu.memory_gib and gpu.free_gib < wanted:
            yield Diagnostic(
                "R331",
                f"GPU {index} has {gpu.free_gib:.1f} GiB free, and the server takes {wanted:.1f} GiB of it",
                _span(recipe, "gpu_memory_utilization"),
                notes=(f"`gpu_memory_utilization` of {share:g} is a share of all its {gpu.memory_gib:.1f} GiB",),
                help="end what holds it (`nvidia-smi` and `runner ps` list them), or lower the share",
            )


def _proxy(spec: dict[str, Any]) -> Iterator[Diagnostic]:
    if spec["proxy"] and shutil.which(spec["proxy"]["argv"][0]) is None:
        why = f"{len(spec['replicas'])} servers share one port" if len(spec["replicas"]) > 1 else "a key is asked for"
        help = "install it: `apt-get install haproxy`, `dnf install haproxy`"
        yield Diagnostic(
            "R332", "HAProxy is not installed", HERE, notes=(f"it stands before vLLM where {why}",), help=help
        )


def _key(recipe: Recipe, spec: dict[str, Any]) -> Iterator[Diagnostic]:
    given = os.environ.get(KEY, "").strip()
    host, file = str(spec["host"]), spec["key_file"]
    if not given and file is None and (host in WILDCARDS or not is_loopback(host)):
        yield Diagnostic(
            "R510",
            f"`{host}` is seen beyond this machine, and there is no API key",
            _span(recipe, "host"),
            notes=("whoever reaches the port could use the GPUs and read what others ask",),
            help=f"set {KEY}, or name a file of mode 600 in `api_key_file`; or stay on 127.0.0.1",
        )
    engine = str(recipe.values.get("engine") or VLLM)
    if given and engine != VLLM and not spec["proxy"]:
        yield Diagnostic(
            "R514",
            f"{KEY} is set, and nothing would ask for it: {engine} takes no key from the environment",
            _span(recipe, "engine"),
            help="name a file of mode 600 in `api_key_file`, and the proxy asks; or unset the variable",
        )
    if given or file is None:
        return
    if problem := _key_file_problem(Path(str(file)).expanduser()):
        what, help = problem
        yield Diagnostic("R511", what, _span(recipe, "api_key_file"), help=help)


def _key_file_problem(file: Path) -> tuple[str, str] | None:
    make = f"`(umask 077; openssl rand -hex 32 > {file})` makes one"
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        if mode & 0o077:
            return (
                f"the key file `{file}` has mode {mode:o}: others can read it",
                f"`chmod 600 {file}`, and take a new key",
            )
        if not file.read_text().strip():
            return f"the key file `{file}` is empty", make
    except (OSError, UnicodeDecodeError) as error:
        return f"the key file `{file}` can't be read: {getattr(error, 'strerror', None) or 'it is no text'}", make
    return None
