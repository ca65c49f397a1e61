"""A benchmark for real: vLLM and transformers side by side on a CPU; warm caches, kills and failures."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runner.engines.environment import environment
from runner.record import Run
from tests.engine.conftest import Smoke

RECIPE = "phase3/bench-13b"
VLLM, TRANSFORMERS = "vllm-replicas", "transformers"
READY_S = 600


@pytest.fixture(scope="module")
def benched(scratch: Smoke) -> Run:
    """The recipe's smoke, which `make` has run already where all are smoked."""
    done = scratch.call("run", RECIPE, "--profile", "smoke", timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    return scratch.run(RECIPE)


@pytest.fixture(scope="module")
def table(benched: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((benched.path / "output/table.json").read_text())
    return found


def test_both_engines_are_in_the_table(table: dict[str, Any]) -> None:
    rows = table["rows"]
    assert {(r["endpoint"], r["engine"]) for r in rows} == {(VLLM, "vllm"), (TRANSFORMERS, "transformers")}
    assert {r["status"] for r in rows} == {"finished"}
    assert {r["mode"] for r in rows} == {"concurrency", "rate", "saturation"}
    for row in rows:
        assert row["failed_requests"] == 0
        for at in (50, 95, 99):
            assert 0 < row[f"ttft_p{at}_ms"] <= row[f"e2e_p{at}_ms"], row["endpoint"]
        assert row["ttft_p50_ms"] <= row["ttft_p95_ms"] <= row["ttft_p99_ms"]
        assert 0 < row["tpot_p50_ms"] < row["e2e_p50_ms"]
        assert row["total_tokens_per_s"] > row["output_tokens_per_s"] > 0
        assert row["predicted_ttft_ms"] is None
        assert row["predicted_why_not"]
    assert {r["cached_share"] for r in rows if r["engine"] == "vllm"} == {0}
    assert {r["cached_share"] for r in rows if r["engine"] == "transformers"} == {None}


def test_every_answer_has_the_length_that_was_asked_for(benched: Run) -> None:
    cells = [json.loads(f.read_text()) for f in (benched.path / "cells").rglob("in*-c*.json")]
    assert len(cells) == 4
    for cell in cells:
        assert {tokens for _, _, tokens in cell["requests"]} == {cell["output_len"]}
        assert cell["figures"]["input_tokens"] == cell["num_prompts"] * cell["input_len"]
        assert cell["answered"] == cell["num_prompts"]


def test_our_figures_are_those_of_vllms_client(benched: Run) -> None:
    """Of vLLM; transformers' last piece of each stream has no token, and the client counts it."""
    for file in (benched.path / "cells" / VLLM).glob("in*-c*.json"):
        cell = json.loads(file.read_text())
        for ours, theirs in (("ttft", "ttft"), ("tpot", "tpot"), ("itl", "itl"), ("e2e", "e2el")):
            for at in (50, 95, 99):
                assert cell["figures"][f"{ours}_p{at}_ms"] == pytest.approx(cell["client"][f"p{at}_{theirs}_ms"])


def test_no_prompt_is_sent_twice(benched: Run) -> None:
    for endpoint in (VLLM, TRANSFORMERS):
        texts = [line for f in (benched.path / "prompts" / endpoint).glob("*.jsonl") for line in f.open()]
        assert len(texts) == len(set(texts)) > 16


def test_figures_and_tables_are_there(benched: Run) -> None:
    names = {f.name for f in (benched.path / "output").iterdir()}
    assert {"table.json", "table.csv", "table.md", "latency-throughput.png", "latency-throughput.svg"} <= names
    assert benched.record["metrics"]["failed_cells"] == 0


def test_nothing_is_left_of_the_servers(benched: Run) -> None:
    for file in (benched.path / "endpoints").glob("*.json"):
        assert not listens(json.loads(file.read_text())["port"])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True)
class Bench:
    """A folder with a run's jobs and endpoints in it, in which the job is called by hand."""

    folder: Path
    spec: dict[str, Any]

    @property
    def env(self) -> dict[str, str]:
        engine = environment("vllm").path
        return {
            **os.environ,
            "PATH": f"{engine}/bin:{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder / "jobs"),
            "CUDA_VISIBLE_DEVICES": "",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "VLLM_NO_USAGE_STATS": "1",
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        python = environment("vllm").path / "bin/python"
        with (self.folder / "log.txt").open("a") as log:
            return subprocess.Popen(
                [python, "-m", *arguments], cwd=self.folder, env=self.env, stdout=log, stderr=log, text=True
            )

    def run(self) -> int:
        return self.start("bench", "run", "bench.json").wait(READY_S)

    def write(self, endpoint: dict[str, Any], cells: list[dict[str, Any]], **changed: Any) -> None:
        bench = {**self.spec, "endpoints": [{**endpoint, "cells": cells}], **changed}
        (self.folder / "bench.json").write_text(json.dumps(bench))

    def result(self, endpoint: str, cell: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / f"cells/{endpoint}/{cell}.json").read_text())
        return found

    def endpoint(self, name: str) -> dict[str, Any]:
        return next(dict(e) for e in self.spec["endpoints"] if e["name"] == name)


@pytest.fixture
def by_hand(benched: Run, tmp_path: Path) -> Bench:
    for name in ("jobs", "endpoints"):
        shutil.copytree(benched.path / name, tmp_path / name)
    return Bench(tmp_path, json.loads((benched.path / "bench.json").read_text()))


@pytest.fixture(scope="module")
def running(benched: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """vLLM, up for the tests that need a server that stays: its address."""
    folder = tmp_path_factory.mktemp("running")
    for name in ("jobs", "endpoints"):
        shutil.copytree(benched.path / name, folder / name)
    server = Bench(folder, {})
    spec = json.loads((folder / f"endpoints/{VLLM}.json").read_text())
    process = server.start("endpoint", f"endpoints/{VLLM}.json")
    state = folder / "endpoint-state.json"
    deadline = time.monotonic() + READY_S
    while not (state.exists() and json.loads(state.read_text())["status"] == "ready"):
        assert process.poll() is None, (folder / "log.txt").read_text()[-3000:]
        assert time.monotonic() < deadline, "it did not get ready"
        time.sleep(0.5)
    yield f"http://127.0.0.1:{spec['port']}"
    process.terminate()
    process.wait(90)
    assert not listens(spec["port"])


def elsewhere(by_hand: Bench, url: str) -> dict[str, Any]:
    return {**by_hand.endpoint(VLLM), "spec": None, "url": url, "model": VLLM}


def test_a_warm_cache_fails_its_cell(by_hand: Bench, running: str) -> None:
    """Two cells of one seed: the second's prompts are in the cache, whose blocks are of 128 tokens on a processor."""
    endpoint = elsewhere(by_hand, running)
    first = {**endpoint["cells"][0], "id": "cold", "input_len": 300}
    by_hand.write(endpoint, [first, {**first, "id": "warm"}], warmup=0)
    assert by_hand.run() == 1
    assert by_hand.result(VLLM, "cold")["status"] == "finished"
    warm = by_hand.result(VLLM, "warm")
    assert warm["status"] == "failed"
    assert "the prefix cache was warm" in warm["reason"]
    assert warm["cached_share"] > 0.5
    rows = {r["status"]: r for r in json.loads((by_hand.folder / "output/table.json").read_text())["rows"]}
    assert rows["failed"]["output_tokens_per_s"] is None
    assert "the prefix cache was warm" in (by_hand.folder / "output/table.md").read_text()


def test_requests_that_fail_mark_their_cell(by_hand: Bench, running: str) -> None:
    """The model has 512 positions: longer prompts are refused, and the answers of long ones are cut."""
    endpoint = elsewhere(by_hand, running)
    refused = {**endpoint["cells"][0], "id": "refused", "input_len": 600, "num_prompts": 2}
    by_hand.write(endpoint, [refused, {**refused, "id": "cut", "input_len": 500}], warmup=0)
    assert by_hand.run() == 1
    assert "no request was answered" in by_hand.result(VLLM, "refused")["reason"]
    assert by_hand.result(VLLM, "refused")["failed_requests"] == 2
    cut = by_hand.result(VLLM, "cut")
    assert (cut["status"], cut["answered"]) == ("partial", 2)
    assert "have not the 16 tokens" in cut["reason"]


@pytest.mark.fault("a benchmark is killed", "the cells that were measured")
def test_a_killed_benchmark_goes_on(by_hand: Bench, running: str) -> None:
    endpoint = elsewhere(by_hand, running)
    short, long = (
        {**endpoint["cells"][0], "id": name, "seed": seed, "num_prompts": count}
        for name, seed, count in (("short", 1, 4), ("long", 2, 400))
    )
    by_hand.write(endpoint, [short, long], warmup=0)
    process = by_hand.start("bench", "run", "bench.json")
    kept = by_hand.folder / f"cells/{VLLM}/short.json"
    deadline = time.monotonic() + READY_S
    while not kept.exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    client = _child(process.pid)
    for pid in (process.pid, client):
        os.kill(pid, signal.SIGKILL)
    process.wait(30)
    assert not (by_hand.folder / f"cells/{VLLM}/long.json").exists()
    before = kept.read_bytes()
    by_hand.write(endpoint, [short, {**long, "num_prompts": 8}], warmup=0)
    assert by_hand.run() == 0
    assert kept.read_bytes() == before
    assert by_hand.result(VLLM, "long")["answered"] == 8


def _child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def test_a_server_is_gone_after_cells_that_fail(by_hand: Bench) -> None:
    """The client finds no tokenizer where it looks for one."""
    endpoint = {**by_hand.endpoint(TRANSFORMERS), "tokenizer": str(by_hand.folder / "nothing")}
    by_hand.write(endpoint, endpoint["cells"][:1])
    assert by_hand.run() == 1
    spec = json.loads((by_hand.folder / f"endpoints/{TRANSFORMERS}.json").read_text())
    assert not listens(spec["port"])
    assert json.loads((by_hand.folder / "endpoint-state.json").read_text())["status"] == "stopped"
    row = json.loads((by_hand.folder / "output/table.json").read_text())["rows"][0]
    assert row["status"] == "failed"
