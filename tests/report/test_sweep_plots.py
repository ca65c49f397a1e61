"""A sweep's children side by side: what the table says is what routers reported, and what is drawn is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.report.sweep_plots import draw_children, short
from runner.report.sweep_table import Traced, read_loads, settled, table_of


def line(step: int, layer: int, shares: list[float]) -> str:
    most = max(shares) * len(shares)
    return json.dumps({"step": step, "layer": layer, "shares": shares, "most": most, "cv": most - 1, "balance": 1.0})


def test_loads_are_those_of_the_second_half_and_a_step_gone_through_twice_counts_once(tmp_path: Path) -> None:
    lines = [line(10, 0, [1.0, 0.0]), line(20, 0, [0.9, 0.1]), line(20, 1, [0.5, 0.5]), line(20, 0, [0.7, 0.3])]
    (tmp_path / "experts.jsonl").write_text("\n".join([*lines, '{"step": 30, "lay']))
    loads = read_loads(tmp_path)
    assert {at: each["shares"] for at, each in loads.items()} == {
        (10, 0): [1, 0],
        (20, 0): [0.7, 0.3],
        (20, 1): [0.5, 0.5],
    }
    assert settled(loads) == pytest.approx({"busiest expert": 1.2, "load cv": 0.2, "balance loss": 1.0})
    assert settled({}) == {}
    assert read_loads(tmp_path / "none") == {}


def row(name: str, params: int, active: int) -> dict[str, object]:
    return {"child": name, "params": params, "active": active, "flops_per_token": 6.0 * active, "tokens/s": 1234.5,
            "peak GiB": None}  # fmt: skip


def test_everything_that_is_there_is_drawn(tmp_path: Path) -> None:
    loads = {(s, layer): json.loads(line(s, layer, [0.7, 0.3])) for s in (10, 20) for layer in (0, 1)}
    dense = Traced("dense", row("dense", 1_000_000, 1_000_000), [(1000.0, 5.0), (2000.0, 4.0)])
    mixture = Traced("mixture", {**row("mixture", 4_000_000, 1_000_000), **settled(loads)}, [(2000.0, 3.9)], loads)
    written = {file.name for file in draw_children([dense, mixture], tmp_path)}
    assert written == {f"{name}.{suffix}" for name in ("losses", "costs", "experts") for suffix in ("png", "svg")}
    assert all((tmp_path / name).stat().st_size > 5000 for name in written)
    table = table_of([dense, mixture])
    assert table.columns[-3:] == ["busiest expert", "load cv", "balance loss"]
    assert len(table.notes) == 2
    assert len(table_of([dense]).notes) == 1
    assert {f.name for f in draw_children([dense], tmp_path / "dense")} == {
        "losses.png", "losses.svg", "costs.png", "costs.svg"
    }  # fmt: skip


def test_nothing_finished_draws_nothing(tmp_path: Path) -> None:
    assert draw_children([], tmp_path) == []
    assert table_of([]).rows == []


@pytest.mark.parametrize(("value", "shown"), [(0.567, "0.567"), (999, "999"), (4681, "4.68k"), (1.5e9, "1.5G")])
def test_short(value: float, shown: str) -> None:
    assert short(value) == shown
