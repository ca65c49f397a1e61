"""Commands are called in this process, as in tests/cli."""

from tests.cli.conftest import invoke

__all__ = ["invoke"]
