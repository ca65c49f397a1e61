"""The figure of quantized checkpoints: drawn from rows as their gates leave them, the same each time."""

from __future__ import annotations

from pathlib import Path

from runner.report.quantization_plots import draw_quantization, drawable

ROW = {
    "run": "GPTQ",
    "scheme": "W4A16",
    "GiB": 6.7,
    "GiB before": 24.2,
    "bits/weight": 4.42,
    "recovery": 0.98,
    "recovery low": 0.97,
    "recovery high": 0.99,
    "task recovery": None,
    "tokens/s before (transformers)": 30.0,
    "tokens/s after (transformers)": 22.0,
    "passed": True,
}


def test_the_same_rows_make_the_same_figure(tmp_path: Path) -> None:
    rows = [ROW, {**ROW, "run": None, "recovery": 0.4, "recovery low": 0.3, "recovery high": 0.5, "passed": False}]
    one, two = (draw_quantization(rows, tmp_path / name) for name in ("a", "b"))
    assert [file.name for file in one] == ["quantization.png", "quantization.svg"]
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in two]


def test_rows_of_other_tables_are_left_out(tmp_path: Path) -> None:
    assert drawable([{"run": "a", "tokens/s": 3.0}, {**ROW, "recovery": None}]) == []
    assert draw_quantization([{"run": "a"}], tmp_path) == []
    assert list(tmp_path.iterdir()) == []
