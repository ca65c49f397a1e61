"""What runs left, with the engines' own eyes: made again, their cards read, and commits asked of a hub."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from runner.engines.environment import Environment
from runner.launch.gc import all_runs
from runner.launch.hub import ask_hub
from runner.launch.supervise import PROBES
from runner.provenance.hub import Repo
from runner.provenance.verify import verify
from runner.record import Run, read_run
from tests.engine.conftest import Smoke
from tests.engine.stand_ins import nightly

COMMIT = "0123456789abcdef0123456789abcdef01234567"
# every field as the hub's own library reads it: model-index becomes results, and back
READ_CARDS = """
import json, sys
from huggingface_hub import ModelCard
for file in json.load(sys.stdin):
    card = ModelCard.load(file, ignore_metadata_errors=False)
    data = card.data.to_dict()
    print(json.dumps({"file": file, "data": data, "results": len(card.data.eval_results or [])}))
"""


def _kept(smoked: Smoke) -> list[Run]:
    """A probe's outputs are dropped once it is measured."""
    return [run for run in all_runs(smoked.project) if PROBES not in run.path.parts]


def test_every_smoked_run_is_as_recorded(smoked: Smoke) -> None:
    finished = [run for run in _kept(smoked) if run.status == "finished"]
    assert len(finished) > 20
    found = {str(run.path): [d.message for d in verify(run)] for run in finished}
    assert {path: told for path, told in found.items() if told} == {}
    deep = smoked.call("verify", "phase4/dpo-13b", "phase1/gpt-nano", "--profile", "smoke", "--deep")
    assert deep.returncode == 0, deep.stderr


# Axolotl with an adapter that it draws and merges, and transformers' Trainer on prepared shards
@pytest.mark.parametrize("recipe", ["phase4/sft-13b", pytest.param("phase1/gpt-nano", marks=nightly)])
def test_a_run_comes_out_the_same_from_its_directory_alone(smoked: Smoke, recipe: str) -> None:
    """On a CPU with one thread: every byte of every output, every metric, every step; without the recipe's file."""
    run = smoked.run(recipe)
    file = smoked.project.recipe_file(recipe)
    aside = file.rename(file.with_suffix(".aside"))
    try:
        done = smoked.call("reproduce", str(run.path))
    finally:
        aside.rename(file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "result    the same" in done.stdout
    again = smoked.project.artifacts / ".reproduced" / recipe / "smoke"
    (made,) = (found for p in again.iterdir() if (found := read_run(p)) is not None)
    assert made.status == "finished"
    assert verify(made) == []
    assert smoked.run(recipe).id == run.id, "it is not what others start from"


def test_the_hubs_library_reads_every_card(smoked: Smoke, axolotl: Environment) -> None:
    runs = {run.path: run for run in _kept(smoked) if run.record.get("cards")}
    cards = {str(path / name): run for path, run in runs.items() for name in run.record["cards"]}
    assert len(cards) > 20
    done = subprocess.run(
        [axolotl.python, "-c", READ_CARDS],
        input=json.dumps(list(cards)),
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    read = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(read) == len(cards)
    for each in read:
        assert {"library_name", "license", "pipeline_tag", "tags"} <= each["data"].keys()
        if isinstance(cards[each["file"]].record["metrics"].get("eval_loss"), float):
            assert each["results"], each["file"]
        assert "runner reproduce" in Path(each["file"]).read_text()


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's interface as tells a commit: /api/{models,datasets}/OWNER/NAME/revision/REVISION."""

    def do_GET(self) -> None:
        known = "/org/" in self.path
        body = json.dumps({"id": "org/name", "sha": COMMIT} if known else {"error": "Repository not found"}).encode()
        self.send_response(200 if known else 404)
        if not known:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield
    server.shutdown()
    server.server_close()


def test_the_hub_is_asked_through_its_own_library(hub: None, axolotl: Environment) -> None:
    def repo(type: str, name: str) -> Repo:
        return Repo(type, name, "main", ("base_model",), None)

    model, data, nobody = ask_hub(axolotl, [repo("model", "org/a"), repo("dataset", "org/b"), repo("model", "no/c")])
    assert model == data == (COMMIT, "")
    assert nobody[0] is None
    assert "RepositoryNotFoundError" in nobody[1]


def test_offline_it_says_so(axolotl: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    ((commit, why),) = ask_hub(axolotl, [Repo("model", "org/a", "main", ("base_model",), None)])
    assert commit is None
    assert "OfflineModeIsEnabled" in why
