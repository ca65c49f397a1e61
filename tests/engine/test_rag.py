"""The rag recipes' smoke runs, for real: PostgreSQL, embeddings, labelled questions, a served language model."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from runner.record import Run
from tests.engine.conftest import Smoke
from tests.engine.serving import free, three_ports
from tests.engine.stand_ins import nightly

pytestmark = pytest.mark.engine
DOCS = "phase5/rag-smoke-docs"


def summary(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.path / "results/summary.json").read_text())
    return found


def scores(run: Run) -> dict[str, float]:
    return {each["name"]: each["metrics"]["ndcg@10"] for each in summary(run)["variants"]}


def command(run: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`python -m rag` in a run's folder, as launch.sh has it."""
    launch = (run / "launch.sh").read_text()
    folder = next(line.split("envs/")[1].rstrip('}"') for line in launch.splitlines() if line.startswith("RUNNER_ENV="))
    python = Path("~/.cache/llm-recipes/envs").expanduser() / folder / "bin/python"
    if cache := os.environ.get("RUNNER_CACHE"):
        python = Path(cache) / "envs" / folder / "bin/python"
    environment = {**os.environ, "PYTHONPATH": str(run / "jobs"), "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [python, "-m", "rag", *words], cwd=run, env=environment, capture_output=True, text=True, timeout=300
    )


def test_the_index_holds_what_was_read(smoked: Smoke) -> None:
    run = smoked.run(DOCS)
    report = json.loads((run.path / "ingest.json").read_text())
    assert report["documents"] == report["added"] > 5
    assert report["set_aside"] == []
    outputs = {output["type"]: output["bytes"] for output in run.record["outputs"]}
    assert set(outputs) == {"index", "results"}
    assert outputs["index"] > report["bytes"] > 0
    assert run.record["measured"]["index.passages"] == report["passages"] > 100
    assert "ndcg@10" in run.record["metrics"]["headline"]


def test_predicted_stands_beside_measured(smoked: Smoke) -> None:
    record = smoked.run(DOCS).record
    said, found = record["predicted"], record["measured"]
    for name in ("index.passages", "index.gib", "host.ram_gib"):
        assert said[name] > 0
        assert found[name] > 0
    for name, most in (("index.passages", 1.3), ("index.gib", 1.3), ("host.ram_gib", 2)):
        assert 1 / most < said[name] / found[name] < most, name


def test_run_again_nothing_is_embedded(smoked: Smoke) -> None:
    run = smoked.run(DOCS)
    first = (run.path / "ingest.json").read_text()
    again = command(run.path, "ingest", "rag.json")
    assert again.returncode == 0, again.stderr
    report = json.loads((run.path / "ingest.json").read_text())
    (run.path / "ingest.json").write_text(first)
    assert (report["added"], report["changed"], report["removed"]) == (0, 0, 0)
    assert report["unchanged"] == report["documents"]


def test_a_service_that_is_let_go_is_listed_and_stopped(smoked: Smoke) -> None:
    port = three_ports()
    url = f"http://127.0.0.1:{port}"
    begun = smoked.call("rag", DOCS, "--profile", "smoke", "--port", str(port), "--detach")
    assert begun.returncode == 0, begun.stderr
    assert f"`runner stop {DOCS}`" in begun.stderr
    body = json.dumps({"query": "read a JSON document from a file", "k": 3}).encode()
    asked = urllib.request.Request(f"{url}/v1/retrieve", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=60) as came:
        assert len(json.load(came)["passages"]) == 3
    (row,) = [row for row in json.loads(smoked.call("ps", "--json").stdout) if row["url"] == url]
    assert (row["recipe"], row["profile"], row["status"]) == (DOCS, "smoke", "ready")
    again = smoked.call("rag", DOCS, "--profile", "smoke", "--port", str(port + 1))
    assert f"error[R342]: `{DOCS}` (smoke) is being served already" in again.stderr
    ended = smoked.call("stop", DOCS)
    assert ended.stdout == f"{DOCS} (smoke): stopped, no processes left\n"
    assert [row for row in json.loads(smoked.call("ps", "--json").stdout) if row["url"] == url] == []
    assert free(port)


def test_ways_to_retrieve_in_one_table(smoked: Smoke) -> None:
    run = smoked.run("phase5/rag-compare")
    found = scores(run)
    filtered = found.pop("functions alone")
    assert {"as written", "dense", "bm25", "few candidates"} <= set(found)
    assert all(0.3 < value <= 1 for value in found.values())
    assert 0 < filtered <= 1
    assert found["as written"] >= max(found["dense"], found["bm25"]) - 0.02
    table = (run.path / "results/table.md").read_text()
    assert "hybrid by words" in table
    assert "p95 ms" in table
    for figure in ("found", "times", "differences"):
        assert (run.path / f"results/{figure}.png").read_bytes().startswith(b"\x89PNG")


def test_a_filter_leaves_out_what_it_names(smoked: Smoke) -> None:
    run = smoked.run("phase5/rag-compare")
    rows = [json.loads(line) for line in (run.path / "questions/corpus.jsonl").read_text().splitlines()]
    kinds = {row["_id"]: row["metadata"]["kind"] for row in rows}
    assert len(set(kinds.values())) == 3
    samples = [json.loads(line) for line in (run.path / "results/samples.jsonl").read_text().splitlines()]
    found = {name: [d for s in samples for d in s["found"][name]] for name in ("as written", "functions alone")}
    assert found["functions alone"]
    assert {kinds[name] for name in found["functions alone"]} == {"function"}
    assert {kinds[name] for name in found["as written"]} > {"function"}


def test_questions_that_nothing_was_chosen_by(smoked: Smoke) -> None:
    """Other documents than the recipe's sources, in an index of their own."""
    run = smoked.run("phase5/rag-heldout")
    told = summary(run)
    assert told["questions"]["n"] == sum(told["questions"]["groups"].values()) >= 10
    assert told["index"]["documents"] == told["questions"]["documents"] > 100
    rows = [json.loads(line) for line in (run.path / "questions/corpus.jsonl").read_text().splitlines()]
    assert {row["_id"].partition(".")[0] for row in rows} >= {"nltk", "sklearn"}
    found = scores(run)
    assert set(found) == {"as written", "dense", "bm25", "reciprocal ranks"}
    assert all(0.3 < value <= 1 for value in found.values())
    # over so few questions no more can be said than that fusing does no harm
    assert found["as written"] >= max(found["dense"], found["bm25"]) - 0.1


@pytest.mark.parametrize("name", ["llamaindex", pytest.param("langchain", marks=nightly)])
def test_a_framework_finds_as_much(smoked: Smoke, name: str) -> None:
    """Around the same store, with the same vectors; words are stemmed and counted differently."""
    run = smoked.run(f"phase5/rag-{name}")
    found = scores(run)
    assert found[f"through {name}"] == pytest.approx(found["as written"], abs=0.2)
    index = summary(run)["index"]
    assert index["chunking"]["framework"] == name


@nightly
def test_a_served_model_answers_and_is_judged(smoked: Smoke) -> None:
    """The tiny model's words are noise; that every question was asked, cited, timed and judged is not."""
    run = smoked.run("phase5/rag-production-34b")
    answers = [json.loads(line) for line in (run.path / "results/answers.jsonl").read_text().splitlines()]
    assert len(answers) == summary(run)["answers"]["n"] == 4
    asked = [row for row in answers if not row["abstained"]]
    assert asked
    assert all(row["passages"] and row["timings_ms"]["first_token"] > 0 for row in asked)
    attacks = summary(run)["attacks"]
    assert len(attacks) >= 25
    assert [row for row in attacks if not all(row["held"].values())] == []
    table = (run.path / "results/table.md").read_text()
    assert f"the pipeline held against {len(attacks)}, the model repeated 0." in table, "a tiny model does as it can"
    judged = summary(run)["judge"]
    # verdicts of a tiny judge can't be read, which is counted and not taken for a verdict
    assert judged["n"] == 4
    assert judged["faithfulness_unread"] + judged["relevance_unread"] <= 8
    assert run.record["engine"]["others"]
    assert json.loads((run.path / "endpoint-state.json").read_text())["status"] == "stopped"
