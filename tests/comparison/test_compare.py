"""What two evaluations must share, how groups are put together, and tables of others beside them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from runner.comparison.compare import MEAN, Entry, Options, compare
from runner.comparison.tables import Table
from runner.recipe.load import Refused
from runner.report.comparison_plots import draw


def results(folder: Path, tasks: dict[str, dict[str, list[float]]], **changes: Any) -> Path:
    """A folder as runner/jobs/evaluation leaves it, of scores by task and metric; a document is its place."""
    folder.mkdir(parents=True)
    summary: dict[str, Any] = {"format": 1, "tasks": {}, "groups": changes.pop("groups", {})}
    for task, metrics in tasks.items():
        count = len(next(iter(metrics.values())))
        documents = [hashlib.sha256(f"{task} {changes.get('salt', '')}{i}".encode()).hexdigest() for i in range(count)]
        rows = [
            {"doc_id": i, "doc_hash": documents[i], "prompt_hash": documents[i], "filter": "none"}
            | {metric: values[i] for metric, values in metrics.items()}
            for i in range(count)
        ]
        (folder / f"{task}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        summary["tasks"][task] = {
            "n": count,
            "num_fewshot": changes.get("num_fewshot", 0),
            "version": 1.0,
            "documents": hashlib.sha256("".join(sorted(documents)).encode()).hexdigest(),
            "prompts": changes.get("prompts", "same"),
            "samples": f"{task}.jsonl",
            "metrics": {m: {"value": sum(v) / count, "stderr": 0.1, "n": count} for m, v in metrics.items()},
        }
    (folder / "summary.json").write_text(json.dumps(summary | changes.get("summary", {})))
    return folder


ONE = {"a": {"acc": [0, 0, 1, 1]}, "b": {"exact_match": [1, 0, 0]}}
TWO = {"a": {"acc": [1, 1, 1, 0]}, "b": {"exact_match": [1, 0, 0]}}


def of(tmp_path: Path, *given: Path, **options: Any) -> Any:
    return compare([Entry(path.name, results=path) for path in given], Options(**options))


def test_pairs_count_documents(tmp_path: Path) -> None:
    found = of(tmp_path, results(tmp_path / "one", ONE), results(tmp_path / "two", TWO))
    a, b, mean = found.pairs.rows
    assert (a["wins"], a["ties"], a["losses"], a["difference"], a["p"]) == (2, 1, 1, 0.25, 1.0)
    assert (b["wins"], b["ties"], b["losses"], b["p"]) == (0, 3, 0, 1.0)
    assert (mean["task"], mean["difference"]) == (MEAN, 0.125)
    assert not any(row["clear"] for row in found.pairs.rows)
    assert found.scores.rows[0]["a acc"] == 0.5


def test_four_wins_of_four_are_not_clear(tmp_path: Path) -> None:
    """The bootstrap's interval says so, the exact test does not."""
    one = results(tmp_path / "one", {"a": {"acc": [0.0] * 4 + [1.0] * 60}})
    two = results(tmp_path / "two", {"a": {"acc": [1.0] * 64}})
    [row] = of(tmp_path, one, two).pairs.rows
    assert row["low"] > 0
    assert not row["clear"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"salt": "x"}, "was asked about other documents in `one` than in `two`"),
        ({"num_fewshot": 5}, "another number of examples: 0 in `one`, 5 in `two`"),
        ({"tasks": {"a": {"acc": [1, 1, 1]}, "b": ONE["b"]}}, "another number of documents: 4 in `one`, 3 in `two`"),
        ({"tasks": {"a": ONE["a"]}}, "`two` was not asked `b`, which `one` was"),
        ({"tasks": {**ONE, "c": ONE["a"]}}, "`one` was not asked `c`, which `two` was"),
    ],
)
def test_other_questions_are_refused_by_name(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    tasks = change.pop("tasks", TWO)
    with pytest.raises(Refused) as refused:
        of(tmp_path, results(tmp_path / "one", ONE), results(tmp_path / "two", tasks, **change))
    assert {d.code for d in refused.value.diagnostics} == {"R951"}
    assert any(said in d.message for d in refused.value.diagnostics)


def test_chosen_tasks_are_enough(tmp_path: Path) -> None:
    one, two = results(tmp_path / "one", ONE), results(tmp_path / "two", {"a": TWO["a"]})
    assert [row["task"] for row in of(tmp_path, one, two, tasks=("a",)).pairs.rows] == ["a"]
    with pytest.raises(Refused) as refused:
        of(tmp_path, one, one, tasks=("z",))
    assert refused.value.diagnostics[0].code == "R952"


def test_a_group_is_its_documents_together(tmp_path: Path) -> None:
    group = {"groups": {"ab": {"tasks": ["a", "c"], "metrics": {"acc": {"value": 0.5, "stderr": 0.1, "n": 6}}}}}
    one = results(tmp_path / "one", {"a": {"acc": [0, 0, 1, 1]}, "c": {"acc": [0, 1]}}, **group)
    two = results(tmp_path / "two", {"a": {"acc": [1, 1, 1, 1]}, "c": {"acc": [0, 0]}}, **group)
    [row] = of(tmp_path, one, two).pairs.rows
    assert (row["task"], row["n"], row["wins"], row["losses"]) == ("ab", 6, 2, 1)


def test_other_prompts_are_told(tmp_path: Path) -> None:
    found = of(tmp_path, results(tmp_path / "one", ONE), results(tmp_path / "two", TWO, prompts="other"))
    assert any("chat templates differ" in note for note in found.pairs.notes)


def test_a_baseline_is_compared_with_the_others(tmp_path: Path) -> None:
    three = [results(tmp_path / name, ONE) for name in ("one", "two", "three")]
    assert {(r["first"], r["second"]) for r in of(tmp_path, *three).pairs.rows} == {
        ("one", "two"), ("one", "three"), ("two", "three"),
    }  # fmt: skip
    found = of(tmp_path, *three, baseline="two")
    assert {(r["first"], r["second"]) for r in found.pairs.rows} == {("two", "one"), ("two", "three")}


def test_tables_of_others_stand_beside(tmp_path: Path) -> None:
    gates = [tmp_path / "gate1", tmp_path / "gate2"]
    for folder, recovery in zip(gates, (0.99, 0.95), strict=True):
        Table(["scheme", "recovery"], [{"scheme": folder.name, "recovery": recovery}]).write(folder)
    bench = tmp_path / "bench"
    Table(["load", "tokens/s"], [{"load": 1, "tokens/s": 10.5}, {"load": 8, "tokens/s": None}]).write(bench)
    entries = [Entry("one", gate=gates[0], bench=bench), Entry("two", gate=gates[1])]
    found = compare(entries, Options())
    assert found.scores.rows[1] == {"run": "two", "scheme": "gate2", "recovery": 0.95}
    assert [row["run"] for row in found.others["bench"].rows] == ["one", "one"]
    found.write(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "table.json").read_text())["columns"] == ["run", "scheme", "recovery"]
    assert (tmp_path / "out/bench/table.csv").read_text().splitlines()[2] == "one,8,"
    assert "## bench" in (tmp_path / "out/table.md").read_text()
    with pytest.raises(Refused) as refused:
        compare([Entry("one", gate=tmp_path / "none")], Options())
    assert refused.value.diagnostics[0].code == "R953"


def test_figures_are_drawn(tmp_path: Path) -> None:
    found = of(tmp_path, results(tmp_path / "one", ONE), results(tmp_path / "two", TWO))
    written = draw(found, tmp_path / "out")
    assert sorted(p.name for p in written) == ["differences.png", "differences.svg", "scores.png", "scores.svg"]
    before = {p: p.read_bytes() for p in written}
    assert {p: p.read_bytes() for p in draw(found, tmp_path / "out")} == before


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/summary.json").write_text("[1")
    for folder in (tmp_path / "none", tmp_path / "broken"):
        with pytest.raises(Refused) as refused:
            of(tmp_path, folder)
        assert refused.value.diagnostics[0].code == "R950"
