"""Tables of runs: what is understood, and what is refused with its place."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from runner.diagnostics import Diagnostic
from runner.project import Project
from runner.recipe.load import Refused
from runner.record import point_latest
from runner.scaling.points import budgets
from runner.scaling.read_csv import read_csv
from runner.scaling.sources import read_sources


def table(folder: Path, text: str | bytes, name: str = "runs.csv") -> Path:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def refused(file: Path, law: str = "chinchilla") -> list[Diagnostic]:
    with pytest.raises(Refused) as caught:
        read_csv(file, law)
    return caught.value.diagnostics


def test_tokens_follow_from_flops_and_flops_from_tokens(tmp_path: Path) -> None:
    by_tokens = read_csv(table(tmp_path, "params,tokens,loss\n1e6,2e9,3.5\n"))
    assert by_tokens.flops == pytest.approx([6 * 1e6 * 2e9])
    by_flops = read_csv(table(tmp_path, "params,flops,loss\n1e6,1.2e16,3.5\n"))
    assert by_flops.tokens == pytest.approx([2e9])
    mixed = read_csv(table(tmp_path, "params,tokens,flops,loss\n1e6,2e9,,3.5\n1e6,,1.2e16,3.5\n1e6,2e9,1.3e16,3.5\n"))
    assert mixed.tokens == pytest.approx([2e9] * 3)
    assert mixed.flops == pytest.approx([1.2e16, 1.2e16, 1.3e16])


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff Params , TOKENS,seed, Loss \n1e6, 2e9 ,7, 3.5\n",
        "params\ttokens\tloss\r\n1e6\t2e9\t3.5\r\n",
        "params;tokens;loss\n1000000;2000000000;3.5\n\n",
        "# from a paper\nModel Size,Training Tokens,val loss\n\n1e6,2e9,3.5",
        '"params","tokens","name","loss"\n"1e6","2e9","a, b","3.5"\n',
    ],
)
def test_headers_and_separators_as_people_write_them(tmp_path: Path, text: str) -> None:
    found = read_csv(table(tmp_path, text))
    assert (found.params[0], found.tokens[0], found.loss[0]) == (1e6, 2e9, 3.5)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("70M", "`70M` is not a number"),
        ("nan", "`nan` is no finite `params`"),
        ("inf", "`inf` is no finite `params`"),
        ("-5", "`params` must be above zero"),
        ("0", "`params` must be above zero"),
        ("", "a run without `params`"),
        ("1_0", "`1_0` is not a number"),
    ],
)
def test_a_cell_that_is_no_positive_number_is_told_with_its_place(tmp_path: Path, cell: str, message: str) -> None:
    file = table(tmp_path, f"loss, params,tokens\n3.1,1e6,1e9\n3.2,  {cell},1e9\n")
    (found,) = refused(file)
    assert (found.code, found.message, found.span.file, found.span.line) == ("R803", message, str(file), 3)
    if cell:
        assert (found.span.column, found.span.width) == (7, len(cell))


@pytest.mark.parametrize("row", ["1e300,1e300,3", "1e-300,1e9,3", "1e6,1e9,1e200"])
def test_sizes_beyond_all_bounds(tmp_path: Path, row: str) -> None:
    (found,) = refused(table(tmp_path, f"params,tokens,loss\n{row}\n"))
    assert (found.message, found.span.line) == ("sizes that no run has", 2)


def test_every_bad_cell_is_told_in_one_pass(tmp_path: Path) -> None:
    found = refused(table(tmp_path, "params,tokens,loss\nx,1e9,3\n1e6,y,3\n1e6,1e9\n"))
    assert [d.span.line for d in found] == [2, 3, 4]
    many = refused(table(tmp_path, "params,tokens,loss\n" + "x,y,z\n" * 500))
    assert len(many) == 20


def test_a_run_with_neither_tokens_nor_flops(tmp_path: Path) -> None:
    (found,) = refused(table(tmp_path, "params,tokens,flops,loss\n1e6,,,3\n"))
    assert found.message == "a run with neither tokens nor FLOPs"


@pytest.mark.parametrize(
    ("header", "law", "message"),
    [
        ("params,tokens", "chinchilla", "no column `loss`"),
        ("parms,tokens,loss", "chinchilla", "no column `params`"),
        ("params,loss,seed", "chinchilla", "neither a column `tokens` nor `flops`"),
        ("params,tokens,loss", "data-constrained", "no column `unique_tokens`"),
        ("params,params,tokens,loss", "chinchilla", "the column `params` is there twice"),
    ],
)
def test_a_missing_column(tmp_path: Path, header: str, law: str, message: str) -> None:
    (found,) = refused(table(tmp_path, f"{header}\n1,2,3,4\n"), law)
    assert (found.code, found.message, found.span.line) == ("R802", message, 1)


def test_a_table_without_a_header_is_told_so(tmp_path: Path) -> None:
    assert all("the first line must name the columns" in d.help for d in refused(table(tmp_path, "1e6,2e9,3.5\n")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "the table is empty"),
        (b"\n \n", "the table is empty"),
        (b"params,tokens,loss\n", "a table without runs"),
        (b"\xff\xfe\x00p", "the table is not UTF-8 text"),
        (b"PK\x03\x04\x00\x00", "the table is not UTF-8 text"),
    ],
)
def test_what_is_no_table(tmp_path: Path, text: bytes, message: str) -> None:
    (found,) = refused(table(tmp_path, text))
    assert (found.code, found.message) == ("R801", message)


def test_runs_of_a_sweep_by_its_recipe_and_single_runs(tmp_path: Path) -> None:
    project = Project(tmp_path)
    run = tmp_path / "artifacts" / "phase2" / "sweep" / "smoke" / "20260101-000000"
    (run / "output").mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"status": "finished"}))
    table(run / "output", "params,tokens,loss\n1e6,1e9,3.5\n2e6,1e9,3.4\n")
    point_latest(run)
    alone = tmp_path / "one"
    alone.mkdir()
    sizes = {"params": 3e6, "tokens": 1e9, "flops": 1.9e16, "loss": 3.3}
    (alone / "run.json").write_text(json.dumps({"status": "finished", "scaling": sizes}))
    found = read_sources(project, ["phase2/sweep", str(alone)], "smoke")
    assert found.params.tolist() == [1e6, 2e6, 3e6]
    assert found.flops[2] == 1.9e16
    assert found.place(2).endswith("one/run.json")


def test_sources_that_are_not_there_are_all_told(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    lost = tmp_path / "lost"
    lost.mkdir()
    (lost / "run.json").write_text(json.dumps({"scaling": {"params": 1e6, "loss": "nan"}}))
    with pytest.raises(Refused) as caught:
        read_sources(Project(tmp_path), ["nothing.csv", str(empty), str(lost), "../x"], "full")
    assert [d.code for d in caught.value.diagnostics] == ["R800", "R800", "R803", "R800"]


def test_budgets_are_runs_of_about_equal_flops() -> None:
    found = budgets(np.array([1e20, 1e18, 1.1e18, 0.98e20, 3e19]))
    assert [group.tolist() for group in found] == [[1, 2], [4], [3, 0]]
