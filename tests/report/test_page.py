"""The report page: what it says of runs, what it makes of text that somebody else wrote, and how it is served."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from runner.comparison.tables import Table
from runner.curriculum import curriculum
from runner.project import Project
from runner.record import point_latest
from runner.report.page.contents import contents
from runner.report.page.html import html
from runner.report.page.lineage import graphs
from runner.report.page.plan import deliverables, levels
from runner.report.page.summaries import summary_table
from runner.report.page.watching import watching
from tests.cli.conftest import Invoke
from tests.cli.conftest import invoke as invoke
from tests.cli.test_runs import ran
from tests.conftest import ROOT, Bench

NASTY = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


def trained(project: Project, recipe: str, **changes: Any) -> Path:
    run = ran(project, recipe, "20260101-000000", **changes)
    rows = [{"step": step, "max_steps": 40, "loss": 4 - step / 20} for step in range(0, 41, 10)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    point_latest(run)
    return run


@pytest.fixture
def filled(bench: Bench) -> Bench:
    for name in ("phase1/data", "phase1/model", "phase3/bench", "phase3/never"):
        bench.write(name)
    trained(bench.project, "phase1/data", kind="prepare")
    trained(bench.project, "phase1/model", upstream=[{"alias": "data", "recipe": "phase1/data", "run": "x"}])
    served = trained(bench.project, "phase3/bench", kind="bench", title=NASTY, profile="smoke",
                     upstream=[{"alias": "m", "recipe": "phase1/model", "run": "x"}])  # fmt: skip
    table = Table(["what", "value"], [{"what": NASTY, "value": 12345}, {"what": "b", "value": 0.5}], [NASTY])
    table.write(served / "output/inner")
    return bench


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_each_part_is_there(filled: Bench) -> None:
    found = contents(filled.project)
    assert [s.id for s in found.sections] == ["curves", "predicted", "benchmarks"]
    curves, predicted, bench = found.sections
    assert [c.title for c in curves.charts] == ["phase1/data (full)", "phase1/model (full)", "phase3/bench (smoke)"]
    assert curves.charts[0].told == "loss 4 at step 0 to 2 at step 40"
    assert {row[2].text for row in predicted.grids[0].rows} == {"peak (GiB)", "time (h)"}
    [grid] = bench.pieces[0].grids
    assert (grid.title, grid.columns, grid.numeric) == ("inner", ("what", "value"), frozenset({1}))
    assert [cell.text for cell in grid.rows[0]] == [NASTY, "12,345"]
    assert [(goal.title, goal.standing) for goal in found.phases] == [
        ("Phase 1", "done"),
        ("Phase 3", "0 of 2 done, 1 smoked"),
    ]


def test_evaluations_and_retrieval_have_their_tables(tmp_path: Path) -> None:
    metrics = {"acc": {"value": 0.5, "stderr": 0.1, "n": 8}}
    evaluation = {"tasks": {"t": {"num_fewshot": 5, "metrics": metrics}}, "groups": {"g": {"metrics": metrics}}}
    ways = {"variants": [{"name": "bm25", "metrics": {"hit@1": 0.4}, "latency_ms": {"total": {"p50": 3, "p95": 9}}}]}
    (tmp_path / "summary.json").write_text(json.dumps(evaluation))
    found = summary_table(tmp_path)
    assert found is not None
    assert [(row["task"], row["score"], row["examples"]) for row in found.rows] == [
        ("t", 0.5, 5),
        ("all of g", 0.5, None),
    ]
    (tmp_path / "summary.json").write_text(json.dumps(ways))
    found = summary_table(tmp_path)
    assert found is not None
    assert found.rows == [{"way": "bm25", "hit@1": 0.4, "p50 ms": 3, "p95 ms": 9, "USD per 1,000": None}]
    for text in ("{", "[]", "{}", '{"variants": 3}', '{"tasks": {"t": 1}}'):
        (tmp_path / "summary.json").write_text(text)
        assert summary_table(tmp_path) is None, text


def test_a_record_that_makes_no_sense_leaves_the_others_alone(filled: Bench) -> None:
    ran(filled.project, "phase1/odd", "20260401-000000", upstream=[1, {"recipe": None}], predicted=[1], measured="x",
        seconds="long", metrics=[])  # fmt: skip
    odd = ran(filled.project, "phase1/odder", "20260401-000000", kind="compare", status="running", upstream="x")
    (odd / "metrics.jsonl").write_text('{"step": "x", "max_steps": 0}\n[]\n{"step": 1e999, "loss": NaN}\n')
    ended = ran(filled.project, "phase1/oddest", "20260401-000000", kind="compare")
    (ended / "output").mkdir()
    (ended / "output/table.json").write_text('{"columns": ["a"], "rows": [{"a": [1, {}]}, {}], "notes": 3}')
    (ended / "output/x.svg").write_text("<svg")
    (ended / "metrics.jsonl").write_text('{"step": 1e999, "loss": 1.0}\n{"step": 2, "loss": 1.0}\n')
    text = html(contents(filled.project))
    assert "phase1/model" in text
    assert "phase1/oddest" in text


def test_text_of_others_stays_text(filled: Bench) -> None:
    elements = Elements(html(contents(filled.project))).found
    assert sum(tag == "script" for tag, _ in elements) == 1
    assert not [tag for tag, _ in elements if tag in ("img", "iframe", "object", "link") and tag != "link"]
    for tag, attributes in elements:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)


def test_no_two_elements_share_an_id(filled: Bench) -> None:
    ids = [attributes["id"] for _, attributes in Elements(html(contents(filled.project))).found if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_nothing_has_run(bench: Bench) -> None:
    text = html(contents(bench.project))
    assert "Nothing has run yet" in text
    assert "<table" not in text


def test_deliverables_are_those_of_the_curriculum(bench: Bench) -> None:
    of = curriculum().deliverables[1]
    trained(bench.project, of.proof[0])
    level = levels(bench.project, of.proof)
    assert level == {of.proof[0]: "done"} | dict.fromkeys(of.proof[1:], "new")
    goals = deliverables(level)
    assert [g.title for g in goals] == [d.title for d in curriculum().deliverables]
    assert (goals[1].week, goals[1].count("done")) == (of.week, 1)
    assert goals[0].standing == f"0 of {len(goals[0].of)} done"


def test_lineage_goes_from_what_is_needed_to_what_needs_it() -> None:
    needs = {"data": [], "model": ["data"], "eval": ["model", "data"], "alone": [], "x": ["y"], "y": ["x"]}
    large, small = graphs(needs, {}, {"data": "done"})
    x = {node.name: node.x for node in large.nodes}
    assert x["data"] < x["model"] < x["eval"]
    assert len(large.edges) == 3
    assert ("eval", ("model", "data")) in large.chains
    assert {node.name for node in small.nodes} == {"x", "y"}, "files that go in a circle are drawn all the same"
    assert len({(node.x, node.y) for node in large.nodes}) == 3


def test_report_writes_one_file(filled: Bench, invoke: Invoke) -> None:
    code, out, err = invoke("report")
    assert (code, err) == (0, "")
    assert out.startswith("artifacts/report.html: 3 runs, ")
    text = (filled.project.artifacts / "report.html").read_text()
    assert "data-live" not in text.partition("<main")[0]
    (filled.project.root / "file").write_text("")
    refused = invoke("report", "--out", "file/x.html")
    assert refused.code == 1
    assert "error[R474]: the page can't be written: File exists" in refused.err
    assert invoke("report", "--watch", "--out", "x").code == 2


def ask(address: str, path: str, host: str | None = None) -> tuple[int, str]:
    place = address.removeprefix("http://").rstrip("/")
    link = http.client.HTTPConnection(place, timeout=20)
    link.request("GET", path, headers={"Host": host or place})
    answer = link.getresponse()
    text = answer.read().decode()
    link.close()
    return answer.status, text


def test_watching_shows_what_is_new_and_answers_this_machine_alone(filled: Bench) -> None:
    with watching(filled.project, 0) as (address, server):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        before, (status, page) = ask(address, "/version"), ask(address, "/")
        assert status == 200
        assert "<body data-live>" in page
        assert ask(address, "/version") == before
        ran(filled.project, "phase3/never", "20260301-000000", status="running")
        assert ask(address, "/version") != before
        assert "Running now" in ask(address, "/")[1]
        port = address.rpartition(":")[2].rstrip("/")
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1:1", f"127.0.0.1.evil.example:{port}"):
            assert ask(address, "/", host)[0] == 403, host
        assert ask(address, "/", f"localhost:{port}")[0] == 200
        assert ask(address, "/../recipes/phase1/data.yaml")[0] == 404
        server.shutdown()


def test_watch_ends_cleanly_and_says_when_its_port_is_taken(filled: Bench) -> None:
    env = {"RUNNER_PROJECT": str(filled.project.root), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-u", "-m", "runner", "report", "--watch", "--port"]
    with subprocess.Popen([*command, "0"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as first:
        try:
            assert first.stdout is not None
            port = re.search(r":(\d+)/", first.stdout.readline())
            assert port is not None
            second = subprocess.run([*command, port[1]], env=env, capture_output=True, text=True, timeout=60)
            assert second.returncode == 1
            assert f"error[R473]: port {port[1]} can't be listened on: " in second.stderr
            time.sleep(0.2)
            first.send_signal(signal.SIGINT)
            out, err = first.communicate(timeout=60)
        finally:
            first.kill()  # where something above failed, it would be waited for without end
    assert (first.returncode, out, err) == (0, "ended\n", "")
