"""`python -m multimodal rows|ask FILE.json`: one step of a run."""

import json
import os
import sys
from pathlib import Path

from .problem import Problem


def main() -> int:
    command, file = sys.argv[1:]
    config = json.loads(Path(file).read_text(encoding="utf-8"))
    # a picture that was cut off, or a model of another kind, is a person's to mend; what transformers says of it is not
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        if command == "rows":
            from .rows import write_rows

            write_rows(config)
        else:
            from .answers import ask

            ask(config)
    except Problem as problem:
        print(problem.line(), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
