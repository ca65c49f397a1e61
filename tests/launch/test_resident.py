"""Memory of processes as /proc tells it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.launch import resident
from runner.launch.local import launch
from runner.launch.resident import Resident, family, held_bytes
from tests.launch.test_local import script

HOLD = "b = bytearray(80 * 2**20); b[::4096] = b'x' * len(b[::4096]); import time; time.sleep(2)"


def test_a_family_is_all_that_a_process_started(tmp_path: Path) -> None:
    """Sessions of their own make no difference: torchrun gives each rank one."""
    shell = subprocess.Popen(["bash", "-c", f"setsid {sys.executable} -c 'import time; time.sleep(60)' & wait"])
    try:
        deadline = time.monotonic() + 10
        while len(found := family(shell.pid)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert found[0] == shell.pid
        assert len(found) == 2
    finally:
        for pid in found:
            os.kill(pid, 9)
        shell.wait()
    assert family(shell.pid) == [shell.pid]
    assert held_bytes(shell.pid) == 0


def test_what_ends_while_it_is_looked_at_is_left_out() -> None:
    """Found in a CI: a process ended between two looks, and its run with it."""
    shell = subprocess.Popen(["bash", "-c", "while :; do /bin/true & /bin/true; done"], start_new_session=True)
    try:
        seen = [family(shell.pid) for _ in range(5000)]
    finally:
        os.killpg(shell.pid, 9)
        shell.wait()
    assert max(map(len, seen)) > 1


def test_the_most_of_each_part_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    held = iter([5, 9, 7, 3])
    monkeypatch.setattr(resident, "family", lambda pid: [pid])
    monkeypatch.setattr(resident, "held_bytes", lambda pid: next(held))
    monkeypatch.setattr(resident, "EVERY_S", 0.0)
    monkeypatch.setattr(resident, "SPARE", 0)
    found = Resident(1)
    for part in ("train", "train", "train", "merge"):
        found.look(part)
    assert found.peaks == {"train": 9, "merge": 3}


def test_looking_takes_little_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    monkeypatch.setattr(resident, "family", lambda pid: looked.append(pid) or [pid])
    found = Resident(os.getpid())
    for _ in range(1000):
        found.look("train")
    assert len(looked) == 1


def test_what_a_run_holds_is_measured_by_part(tmp_path: Path) -> None:
    run = script(tmp_path / "r", f"echo '=== train'\n{sys.executable} -c \"{HOLD}\" &\nwait\n")
    ended = launch(run, lambda p: None)
    assert 80 / 1024 < ended.resident_gib["train"] < 0.3
    assert ended.peak_rss_gib > 80 / 1024
