"""Bars: on a terminal, for what takes long enough; nothing where output is piped."""

from __future__ import annotations

import io
import time

import pytest

from runner.cli import bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_piped_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    monkeypatch.setattr(bar, "PATIENCE_S", 0.0)
    assert list(bar.over([1, 2, 3], "counting")) == [1, 2, 3]
    with bar.working("counting"):
        time.sleep(0.05)
    assert bar.sys.stderr.getvalue() == ""


def test_quick_work_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", Terminal())
    assert list(bar.over([1, 2, 3], "counting")) == [1, 2, 3]
    with bar.working("counting"):
        pass
    assert bar.sys.stderr.getvalue() == ""


def test_slow_work_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setattr(bar, "PATIENCE_S", 0.0)
    seen = []
    for item in bar.over([1, 2, 3], "counting"):
        time.sleep(0.12)
        seen.append(item)
    assert seen == [1, 2, 3]
    assert "counting" in bar.sys.stderr.getvalue()
    assert "/3" in bar.sys.stderr.getvalue()
    monkeypatch.setattr("sys.stderr", Terminal())
    with bar.working("thinking"):
        time.sleep(0.3)
    assert "thinking" in bar.sys.stderr.getvalue()


def test_an_error_ends_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setattr(bar, "PATIENCE_S", 0.0)

    def divide() -> None:
        with bar.working("dividing"):
            time.sleep(0.05)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        divide()
