"""The machine as nvidia-smi and the kernel tell it; a stand-in for nvidia-smi on PATH plays two H100."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from runner import gpus, machine
from runner.facts.boxes import load_box
from runner.gpus import Gpu, parse_cuda, parse_gpus, parse_nvlink, visible
from runner.machine import Machine, check_box, check_compilers, check_driver, probe

QUERY = """NVIDIA H100 80GB HBM3, 81559, 81007, 580.95.05, 9.0
NVIDIA H100 80GB HBM3, 81559, 80994, 580.95.05, 9.0
"""
HEADER = """Tue Nov 24 07:02:11 2026
+-----------------------------------------------------------------------------------------+
| NVIDIA-SMI 580.95.05              Driver Version: 580.95.05      CUDA Version: 13.0     |
+-----------------------------------------+------------------------+----------------------+
"""
LINKS = "".join(
    f"GPU {i}: NVIDIA H100 80GB HBM3 (UUID: GPU-5f3c0a51-7d0e-4c11-9b1e-00000000000{i})\n"
    + "".join(f"\t Link {n}: 26.562 GB/s\n" for n in range(18))
    for i in range(2)
)
NO_DRIVER = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
    "Make sure that the latest NVIDIA driver is installed and running.\n"
)
H100 = Gpu("NVIDIA H100 80GB HBM3", 81559 / 1024, 81007 / 1024, "sm_90")
BOX = load_box("2xh100")
# as large as the box, with all that offload needs
WHOLE = Machine(
    system="Linux",
    python="3.11.7",
    cores=52,
    ram_gib=440.9,
    ram_available_gib=430,
    disk_free_gib=2000,
    disk="/data",
    gpus=(H100, H100),
    driver="580.95.05",
    driver_cuda="13.0",
    nvlink=18,
    cxx="/usr/bin/c++",
    nvcc="/usr/local/cuda/bin/nvcc",
    nvcc_version="13.0",
    cuda_home="/usr/local/cuda",
)


def fake_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def two_h100(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("query", QUERY), ("header", HEADER), ("links", LINKS)):
        (folder / name).write_text(text)
    case = 'case "$1" in --query-gpu=*) cat query;; nvlink) cat links;; "") cat header;; *) exit 2;; esac'
    fake_smi(folder, monkeypatch, f"cd '{folder}'; {case}")


def test_two_h100(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_h100(tmp_path, monkeypatch)
    m = probe(tmp_path)
    assert m.gpus == (H100, replace(H100, free_gib=80994 / 1024))
    assert (m.driver, m.driver_cuda, m.nvlink, m.notes) == ("580.95.05", "13.0", 18, ())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    m = probe(tmp_path)
    assert len(m.gpus) == 1
    assert m.notes == ("CUDA_VISIBLE_DEVICES hides 1 of 2 GPUs",)
    (found,) = [d for d in check_box(m, BOX) if d.code == "R310"]
    assert found.notes == m.notes


def test_an_nvidia_smi_that_fails_or_hangs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_smi(tmp_path, monkeypatch, f'echo "{NO_DRIVER.strip()}"; exit 9')
    m = probe(tmp_path)
    assert m.gpus == ()
    assert m.notes[0].startswith("nvidia-smi failed (exit code 9): NVIDIA-SMI has failed because it couldn't")
    fake_smi(tmp_path, monkeypatch, "exec sleep 20")
    monkeypatch.setattr(gpus, "SMI_TIMEOUT_S", 0.3)
    began = time.monotonic()
    m = probe(tmp_path)
    assert time.monotonic() - began < 2
    assert m.gpus == ()
    assert m.notes[0].startswith("nvidia-smi gave no answer")


def test_without_gpu_it_is_quick_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_TOKEN_PATH", raising=False)
    monkeypatch.setenv("HF_TOKEN", "secret")
    began = time.monotonic()
    m = probe(tmp_path / "not" / "yet" / "there")
    assert time.monotonic() - began < 0.3
    assert m.gpus == ()
    assert m.cores >= 1
    assert 0.5 < m.ram_available_gib <= m.ram_gib
    assert m.disk_free_gib > 0
    assert m.disk == str(tmp_path)
    assert m.tokens[0] == "HF_TOKEN"
    assert "secret" not in repr(m)
    (tmp_path / "token").write_text("secret")
    assert "Hugging Face token file" in probe(tmp_path).tokens


def test_limits_of_a_container_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "memory.max").write_text(f"{2 * 1024**3}\n")
    (tmp_path / "memory.current").write_text(f"{512 * 1024**2}\n")
    monkeypatch.setattr(machine, "_cgroups", lambda: [tmp_path])
    m = probe(tmp_path)
    assert m.cores <= 2
    assert m.ram_gib == 2
    assert m.ram_available_gib <= 1.5


def test_what_nvidia_smi_leaves_out() -> None:
    found, driver = parse_gpus("NVIDIA GB10, [N/A], [N/A], 590.44.01, 12.1\nnonsense\n")
    assert found == (Gpu("NVIDIA GB10", 0.0, 0.0, "sm_121"),)
    assert driver == "590.44.01"
    assert parse_gpus("No devices were found\n") == ((), "")
    assert parse_cuda("| NVIDIA-SMI 595.10   KMD Version: 595.10   CUDA UMD Version: 13.2 |") == "13.2"
    assert parse_cuda("") == ""
    assert parse_nvlink("GPU 0: A (UUID: x)\n\t Link 0: 26.562 GB/s\nGPU 1: A (UUID: y)\n\t Link 0: <inactive>\n") == 0
    assert parse_nvlink("") == 0


@pytest.mark.parametrize(
    ("setting", "count"), [(None, 2), ("", 0), ("-1", 0), ("0,1", 2), ("1", 1), ("7", 0), ("GPU-5f3c,GPU-aa", 2)]
)
def test_visible_devices(setting: str | None, count: int) -> None:
    kept, notes = visible((H100, H100), setting)
    assert len(kept) == count
    assert bool(notes) == (count < 2)


@pytest.mark.parametrize(
    ("change", "codes", "words"),
    [
        ({}, [], ""),
        # within the tolerances: 80 GB cards report a little differently, firmware keeps some RAM
        ({"gpus": (replace(H100, memory_gib=77.0),) * 2, "ram_gib": 400}, [], ""),
        ({"gpus": ()}, ["R310"], "box `2xh100` has 2 GPUs (NVIDIA H100 80GB HBM3), this machine no GPU"),
        ({"gpus": (H100,)}, ["R310"], "this machine 1 GPU"),
        ({"gpus": (H100, replace(H100, memory_gib=39.4))}, ["R311"], "79.1 GiB per GPU, this machine 39.4 GiB"),
        ({"gpus": (H100, H100, replace(H100, memory_gib=8.0))}, [], ""),
        ({"ram_gib": 251.4}, ["R312"], "442 GiB of RAM, this machine 251 GiB"),
        ({"gpus": (replace(H100, compute_capability="sm_80"),) * 2}, ["R313"], "GPUs of sm_90, this machine of sm_80"),
        ({"gpus": (replace(H100, compute_capability="sm_120"),) * 2}, [], ""),
        ({"driver": "550.54.15", "driver_cuda": "12.4"}, ["R321"], "driver 550.54.15 is too old"),
        ({"driver": "550.54.15", "driver_cuda": "13.0"}, [], ""),
    ],
)
def test_what_a_machine_lacks_of_a_box(change: dict[str, object], codes: list[str], words: str) -> None:
    found = check_box(replace(WHOLE, **change), BOX, "phase4/dpo-13b")  # type: ignore[arg-type]
    assert [d.code for d in found] == codes
    assert all(d.is_error and d.span.file == "<this machine>" and d.help for d in found)
    if codes:
        assert words in found[0].message
    if codes and codes != ["R321"]:
        assert "make recipe R=phase4/dpo-13b PROFILE=smoke" in found[0].help


def test_the_box_without_a_gpu_asks_for_none() -> None:
    small = replace(WHOLE, gpus=(), driver="", ram_gib=8)
    assert check_box(small, load_box("cpu")) == []
    assert check_driver(small) == []
    assert [d.code for d in check_box(replace(small, ram_gib=2), load_box("cpu"))] == ["R312"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        ({"cxx": ""}, "there is no C++ compiler"),
        ({"nvcc": "", "cuda_home": ""}, "there is no CUDA toolkit (nvcc, CUDA_HOME)"),
        ({"nvcc_version": "12.8"}, "the CUDA toolkit is 12.8, torch's is 13.0"),
        ({"nvcc_version": "13.1"}, "the CUDA toolkit is 13.1, torch's is 13.0"),
        ({"nvcc": "", "cuda_home": "", "gpus": ()}, ""),
    ],
)
def test_what_offload_compiles_with(change: dict[str, object], words: str) -> None:
    m = replace(WHOLE, **change)  # type: ignore[arg-type]
    found = check_compilers(m, needs_cpu_adam=True)
    assert [d.message for d in found] == ([words] if words else [])
    assert all(d.code == "R320" and d.help and "CPU Adam" in d.notes[0] for d in found)
    assert check_compilers(m, needs_cpu_adam=False) == []


def test_a_box_of_several_nodes_is_for_planning() -> None:
    found = check_box(replace(WHOLE, gpus=(H100,) * 8, ram_gib=2048.0), load_box("4x8xh100"), "phase4/dpo-13b")
    assert [d.code for d in found] == ["R314"]
    assert "4 nodes" in found[0].message
