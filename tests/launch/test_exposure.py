"""What must hold before servers start, each refusal with its place and its mend."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.cli.served import recipe_to_serve
from runner.gpus import Gpu
from runner.launch import exposure
from runner.launch.serving import spec_of
from runner.machine import Machine
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe
from runner.render import render
from tests.conftest import Bench
from tests.jobs.supervised import free_ports

FREE, HELD = Gpu("H100", 79.6, 79.1, "sm_90"), Gpu("H100", 79.6, 3.2, "sm_90")
MACHINE = Machine("Linux", "3.11", 8, 64, 60, 500, "/", (FREE, HELD))


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(exposure.KEY, raising=False)


def opened(bench: Bench, profile: str = "smoke", *sets: str) -> tuple[Recipe, dict[str, Any]]:
    recipe = recipe_to_serve(bench.project, "llama-2-13b", profile, sets)
    return recipe, spec_of(render(recipe))


def codes(recipe: Recipe, spec: dict[str, Any], machine: Machine | None = None) -> list[str]:
    return [d.code for d in exposure.check_endpoint(recipe, spec, machine, [])]


def test_a_taken_port(shipped_bench: Bench) -> None:
    port, other = free_ports(2)
    recipe, spec = opened(shipped_bench, "smoke", f"port={port}")
    assert codes(recipe, spec) == []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        (told,) = exposure.check_endpoint(recipe, spec, None, [])
        assert told.code == "R330"
        assert f"port {port}" in told.message
        assert codes(*opened(shipped_bench, "smoke", f"port={other}")) == []


def test_gpu_memory_that_others_hold(shipped_bench: Bench) -> None:
    (port,) = free_ports(1)
    recipe, spec = opened(shipped_bench, "full", f"port={port}")
    (told,) = [d for d in exposure.check_endpoint(recipe, spec, MACHINE, []) if d.code == "R331"]
    assert told.message == "GPU 1 has 3.2 GiB free, and the server takes 73.2 GiB of it"
    free = replace(MACHINE, gpus=(FREE, FREE))
    assert "R331" not in codes(recipe, spec, free)


def test_no_haproxy(shipped_bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "R332" in codes(*opened(shipped_bench, "smoke", f"port={port}", "replicas=2"))
    assert "R332" not in codes(*opened(shipped_bench, "smoke", f"port={port}"))


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "gpu-box", "::"])
def test_beyond_this_machine_only_with_a_key(shipped_bench: Bench, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    with pytest.raises(Refused) as refused:
        opened(shipped_bench, "smoke", f"port={port}", f"host={host}")
    assert [d.code for d in refused.value.diagnostics] == ["R988"]
    recipe, spec = opened(shipped_bench, "smoke", f"port={port}")
    assert "R510" in codes(recipe, spec | {"host": host}), "of one that a command is given"
    monkeypatch.setenv(exposure.KEY, "secret")
    recipe, spec = opened(shipped_bench, "smoke", f"port={port}", f"host={host}")
    assert "R510" not in codes(recipe, spec)
    assert spec["proxy"], "vLLM itself stays on loopback"
    assert "127.0.0.1" in spec["replicas"][0]["argv"]


def test_a_key_that_nothing_asks_for(shipped_bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(exposure.KEY, "secret")
    (port,) = free_ports(1)
    recipe, spec = opened(shipped_bench, "full", f"port={port}", "engine=sglang", "replicas=1")
    assert "R514" in codes(recipe, spec)
    assert "R514" not in codes(*opened(shipped_bench, "full", f"port={port}", "engine=sglang", "api_key_file=/x"))
    assert "R514" not in codes(*opened(shipped_bench, "full", f"port={port}", "replicas=1"))


@pytest.mark.parametrize(("mode", "text"), [(0o644, "key"), (0o640, "key"), (0o600, ""), (None, "")])
def test_a_key_file_that_will_not_do(shipped_bench: Bench, tmp_path: Path, mode: int | None, text: str) -> None:
    file = tmp_path / "key"
    if mode is not None:
        file.write_text(text)
        file.chmod(mode)
    (port,) = free_ports(1)
    recipe, spec = opened(shipped_bench, "smoke", f"port={port}", f"api_key_file={file}")
    assert "R511" in codes(recipe, spec)
    file.write_text("key")
    file.chmod(0o600)
    assert "R511" not in codes(recipe, spec)
