"""`python -m trainer FILE.yaml`: one stage of a run."""

import sys
from pathlib import Path

from shards import BadShards

from . import startup
from .settings import BadSettings, read_settings


def main() -> int:
    settings = read_settings(Path(sys.argv[1]))
    startup.hide(startup.unused(settings))
    try:
        from .stage import run  # imports torch and transformers, which must not see what is hidden

        return run(settings)
    except (BadShards, BadSettings) as error:
        print(f"trainer: error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
