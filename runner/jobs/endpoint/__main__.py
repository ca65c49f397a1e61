"""`python -m endpoint endpoint.json [-- COMMAND ...]`; see the package."""

from __future__ import annotations

import sys
from pathlib import Path

from .spec import Problem, read_spec
from .state import State
from .supervise import Supervisor

USAGE = "usage: python -m endpoint [--keep] ENDPOINT.json [-- COMMAND ...]"


def main(argv: list[str]) -> int:
    keep = argv[:1] == ["--keep"]
    argv = argv[1:] if keep else argv
    if not argv or argv[0] in ("-h", "--help") or (len(argv) > 1 and (argv[1] != "--" or len(argv) < 3)):
        print(USAGE, file=sys.stderr)
        return 2
    spec = None
    try:
        spec = read_spec(Path(argv[0]))
        supervisor = Supervisor(spec, argv[2:], keep=keep)
    except Problem as problem:
        # of what had not begun
        if spec is not None:
            State(url=spec.url, model=spec.model, replicas=[]).set(status="failed", error=str(problem))
        print(f"error: {problem}", file=sys.stderr)
        return 1
    try:
        return supervisor.run()
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
