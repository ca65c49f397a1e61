"""`python -m bench run bench.json`: starts each endpoint once, runs its cells, stops it; then the table.

`cells FILE NAME` is what it runs while an endpoint is up; `table FILE` makes the table of the cells that there are.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from bench import offline, spec, table
from bench.spec import Bench, Endpoint

STATE = Path("endpoint-state.json")
LOG_TAIL = 4000


class Stopped(Exception):
    """We were asked to end."""


def run(file: Path) -> int:
    """0 where every cell has figures; 1 where one failed; the rest is measured all the same."""
    bench = spec.read(file)
    failed = 0
    spec.report(bench)
    for endpoint in bench.endpoints:
        failed |= _serve(file, endpoint)
        for cell in endpoint.pending:
            if cell["mode"] == spec.OFFLINE:
                failed |= not offline.run(bench, endpoint, cell)
                spec.report(bench)
    return _end(bench) or int(failed)


def _serve(file: Path, endpoint: Endpoint) -> int:
    """The endpoint's cells, with its server around them where it has one of its own."""
    if not any(cell in endpoint.served for cell in endpoint.pending):
        return 0
    argv = [sys.executable, "-m", "bench", "cells", str(file), endpoint.name]
    if endpoint.spec is not None:
        argv = [sys.executable, "-m", "endpoint", endpoint.spec, "--", *argv]
    STATE.unlink(missing_ok=True)
    code = _passed_on(argv)
    if endpoint.spec is not None and code:
        state = _state()
        error = state.get("error") or f"exit code {code}"
        errors = spec.CELLS / endpoint.name / "endpoint.error"
        errors.parent.mkdir(parents=True, exist_ok=True)
        errors.write_text(json.dumps({"error": f"its server: {error}" if state.get("error") else error}))
        print(f"bench: error: endpoint {endpoint.name}: {error}", flush=True)
    return int(code != 0)


def _passed_on(argv: list[str]) -> int:
    """Runs to its end. Who asks us to stop asks it; it ends by itself and leaves nothing, and we raise Stopped."""
    asked: list[int] = []
    process = subprocess.Popen(argv)

    def stop(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTERM and not asked:  # Ctrl-C reaches the whole group by itself
            process.send_signal(number)
        asked.append(number)

    before = {n: signal.signal(n, stop) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if asked:
        raise Stopped(asked[0])
    return code


def _state() -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(STATE.read_text())
    except (OSError, ValueError):
        return {}
    return found


def _end(bench: Bench) -> int:
    """Writes the table; 1 where a cell has no figures."""
    rows = table.write(bench)
    best = max((r["output_tokens_per_s"] for r in rows if r["output_tokens_per_s"]), default=0.0)
    failed = [r for r in rows if r["status"] == spec.FAILED]
    partial = sum(r["status"] == spec.PARTIAL for r in rows)
    figures = {"cells": len(rows), "failed_cells": len(failed), "partial_cells": partial}
    spec.report(bench, **figures, best_tokens_per_s=round(best, 2))
    if failed:
        first = failed[0]
        where = f"{first['endpoint']} {first['input_len']}/{first['output_len']} {table.load_of(first)}"
        print(f"bench: error: {len(failed)} of {len(rows)} cells failed; {where}: {first['reason']}", flush=True)
    return int(bool(failed))


def cells(file: Path, name: str) -> int:
    from bench.cells import Runner

    bench = spec.read(file)
    return int(not Runner(bench, bench.endpoint(name)).run())


def main() -> int:
    command, file, *rest = sys.argv[1:]
    if command == "cells":
        return cells(Path(file), *rest)
    if command == "table":
        return _end(spec.read(Path(file)))
    try:
        return run(Path(file))
    except Stopped as stopped:
        return 128 + int(stopped.args[0])


if __name__ == "__main__":
    sys.exit(main())
