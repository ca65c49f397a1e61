"""Plots of a benchmark: there, the same from the same table, and without cells that have no figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runner.report.bench_plots import draw


def row(endpoint: str, mode: str, load: float, **changed: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "endpoint": endpoint,
        "input_len": 1024,
        "output_len": 128,
        "mode": mode,
        "concurrency": int(load) if mode == "concurrency" else None,
        "rate": load if mode == "rate" else None,
        "output_tokens_per_s": 90.0 * load,
        "requests_per_s": load,
        "goodput_per_s": None,
        "predicted_output_tokens_per_s": 100.0 * load,
        "predicted_ttft_ms": 50.0,
        "predicted_tpot_ms": None,
    }
    found |= {f"{name}_p{p}_ms": 10.0 * load * p for name in ("ttft", "tpot") for p in (50, 99)}
    return found | changed


def test_a_plot_for_each_kind_of_load(tmp_path: Path) -> None:
    rows = [row(name, "concurrency", n) for name in ("a", "b") for n in (1, 4)]
    assert {f.name for f in draw(rows, tmp_path)} == {"latency-throughput.png", "latency-throughput.svg"}
    rows += [row("a", "rate", rate, goodput_per_s=rate / 2) for rate in (1.0, 2.0)]
    files = draw(rows, tmp_path)
    assert {f.stem for f in files} == {"latency-throughput", "rates"}
    assert all(f.stat().st_size > 5000 for f in files)
    first = (tmp_path / "rates.svg").read_bytes()
    draw(rows, tmp_path)
    assert (tmp_path / "rates.svg").read_bytes() == first


def test_cells_without_figures_are_left_out(tmp_path: Path) -> None:
    failed = row("a", "concurrency", 1, output_tokens_per_s=None, ttft_p50_ms=None)
    offline = row("a", "offline", 1, ttft_p50_ms=None)
    assert draw([failed, offline], tmp_path) == []
    assert draw([], tmp_path) == []
