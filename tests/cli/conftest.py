"""The runner's own `main`, called in this process: exit codes and handling of errors as a person meets them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from runner.cli import main
from tests.conftest import Bench


class Said(NamedTuple):
    code: int
    out: str
    err: str


Invoke = Callable[..., Said]


@pytest.fixture
def invoke(bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """`invoke("validate", "r")` in the bench's project."""
    monkeypatch.setenv("RUNNER_PROJECT", str(bench.project.root))
    monkeypatch.delenv("RUNNER_DEBUG", raising=False)
    monkeypatch.chdir(bench.project.root)

    def call(*arguments: str) -> Said:
        monkeypatch.setattr("sys.argv", ["runner", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Said(ended.value.code, out, err)

    return call
