"""The step that is named, on the rest of the command line."""

import sys
from pathlib import Path

from . import Problem


def main() -> None:
    step, *rest = sys.argv[1:]
    try:
        if step == "ask":
            from .ask import ask

            ask(rest)
        elif step == "execute":
            from .execute import execute

            execute(*map(Path, rest))
        elif step == "summarise":
            from .summarise import summarise

            summarise(*map(Path, rest))
        else:
            sys.exit(f"evaluation: error: no step {step!r}")
    except Problem as problem:
        sys.exit(f"evaluation: error: {problem}")


if __name__ == "__main__":
    main()
