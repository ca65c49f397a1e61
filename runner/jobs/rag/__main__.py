"""`python -m rag COMMAND rag.json ...` -> the module of that command; a Problem is told in one line, exit code 1."""

from __future__ import annotations

import sys
from importlib import import_module

from .types import Problem

# each has `main(argv) -> int`, argv being the rest of the command line, and is imported only when it is called
COMMANDS = {
    "ingest": "ingest",
    "counts": "counts",
    "move": "move",
    "retrieve": "retrieve",
    "evaluate": "evaluate",
    "judge": "judge",
    "serve": "serve",
}


def main(argv: list[str]) -> int:
    if not argv or argv[0] not in COMMANDS:
        print(f"usage: python -m rag {{{','.join(COMMANDS)}}} rag.json ...", file=sys.stderr)
        return 2
    try:
        command = import_module(f"{__package__}.{COMMANDS[argv[0]]}")
        return int(command.main(argv[1:]))
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
