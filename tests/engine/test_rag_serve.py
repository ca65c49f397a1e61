"""`runner rag` with real vLLM, PostgreSQL and a tiny model that was taught one answer: what it says and refuses, what
it does when a part is gone, and that nothing is left of it.

The tests share one service and go in the order of the file.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from runner.engines import jobs_dir
from runner.engines.environment import Environment, ensure, environment
from runner.project import Project
from tests.engine.conftest import RUNNER, Smoke
from tests.engine.rag_browser import CHROMIUM, WIDTHS, Reader, chromium, needs_chromium
from tests.engine.serving import answer, eventually, free, three_ports
from tests.engine.stand_ins import nightly

HERE = Path(__file__).parent
NAME = "phase5/town"
KEY = "a-key-of-this-test"
SAID = (
    "The harbour office opens at 7 in the morning [1]. Boats pay 12 crowns for a night [9]. "
    "The moon is made of green cheese [1]. Nobody knows anything more about boats."
)
STATES = ["supported", "invented", "unsupported", "uncited"]
NOT_FOUND = "That is not in the documents."
KNOWN, UNKNOWN = "When does the harbour office open?", "Who won the football match in Brazil?"
DOCUMENTS = {
    "harbour.md": "# Harbour handbook\n\nThe harbour office opens at 7 in the morning and closes at 18. Boats pay 12 "
    "crowns for a night, in advance. Dogs are kept on a lead on the quay.\n",
    "bakery.md": "# Bakery notes\n\nThe bakery on the square bakes rye bread on Tuesdays. Its oven was built in 1911 "
    "and burns beech wood.\n",
    "library.md": "# Library rules\n\nBooks are lent for four weeks. Late books cost 1 crown a day. The reading room "
    "has 40 seats and is closed on Mondays.\n",
}
RECIPE = """\
recipe: 1
kind: rag
title: A town's papers
box: cpu
sources:
  - path: docs
retrieval:
  top_k: 2
generator:
  serve:
    model: {model}
    served_model_name: town
    dtype: float32
    enforce_eager: true
    max_model_len: 1024
    max_num_seqs: 16
  context_length: 1024
  max_tokens: 80
service:
  max_concurrent: 16
  max_waiting: 32
  otlp_endpoint: {collector}
"""


@dataclass(frozen=True)
class Town(Smoke):
    """A project with one recipe of kind rag, and its service where it runs."""

    rag: Environment
    port: int
    spans: list[bytes]

    @property
    def env(self) -> dict[str, str]:
        return super().env | {"RUNNER_API_KEY": KEY, "OMP_NUM_THREADS": "1"}

    @property
    def folder(self) -> Path:
        return (self.project.artifacts / NAME / "full" / "latest").resolve()

    def start(self, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*RUNNER, "rag", NAME, "--port", str(self.port), *options],
            cwd=self.project.root,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def client(self, task: str, number: int = 0, key: str = KEY) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.rag.python, HERE / "rag_client.py", f"http://127.0.0.1:{self.port}", NAME, task, str(number)],
            env={**os.environ, "ENDPOINT_KEY": key},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def asked(self, task: str, number: int = 0) -> dict[str, Any]:
        return answer(self.client(task, number))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The language model says nothing meanwhile."""
        state = json.loads((self.folder / "endpoint-state.json").read_text())
        sessions = {str(replica["pid"]) for replica in state["replicas"]}
        pids = [int(stat.parent.name) for stat in Path("/proc").glob("[0-9]*/stat") if session_of(stat) in sessions]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def left(self) -> list[str]:
        """Processes of the service, in whatever session."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                where, variables = str((entry / "cwd").readlink()), (entry / "environ").read_bytes()
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if (str(self.project.root) in where or str(self.project.root).encode() in variables) and line:
                found.append(line)
        return [line for line in found if "rag_client" not in line and "pytest" not in line]


def session_of(stat: Path) -> str:
    try:
        return stat.read_text().rpartition(")")[2].split()[3]
    except OSError:  # it has ended
        return ""


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    spans: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            spans.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        yield make_town(tmp_path_factory.mktemp("town"), spans, f"http://127.0.0.1:{collector.server_address[1]}")
        collector.shutdown()


def make_town(root: Path, spans: list[bytes], collector: str) -> Town:
    """Not ingested yet; with a model that says SAID, whatever it is asked."""
    rag, vllm = environment("rag"), environment("vllm")
    for env in (rag, vllm):
        ensure(env, lambda progress: None)
    (root / "artifacts").mkdir()
    (root / "docs").mkdir()
    for name, text in DOCUMENTS.items():
        (root / "docs" / name).write_text(text)
    made = subprocess.run(
        [vllm.python, HERE / "rag_answerer.py", root / "models" / "town", SAID],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert made.returncode == 0, made.stderr[-2000:]
    recipe = root / "recipes" / f"{NAME}.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(RECIPE.format(model=root / "models" / "town", collector=collector))
    return Town(Project(root), rag, three_ports(), spans)


@pytest.fixture(scope="module")
def service(town: Town) -> Iterator[subprocess.Popen[str]]:
    """Ingested, started and ready; what it said until then is in `said`."""
    done = town.call("run", NAME)
    assert done.returncode == 0, done.stdout + done.stderr
    process = town.start()
    assert process.stdout is not None
    said = ""
    while "curl" not in said:
        line = process.stdout.readline()
        assert line, said + log(town)
        said += line
    (town.project.root / "said").write_text(said)
    yield process
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)


def log(town: Town) -> str:
    file = town.folder / "serve.log"
    return file.read_text()[-3000:] if file.is_file() else ""


def test_without_an_index_it_is_told_how_to_make_one(town: Town) -> None:
    done = town.call("rag", NAME)
    assert done.returncode == 1
    assert f"error[R340]: `{NAME}` (full) has no index yet" in done.stderr
    assert f"`make recipe R={NAME}` makes it" in done.stderr


def test_ready_tells_how_it_is_asked(town: Town, service: subprocess.Popen[str]) -> None:
    said = (town.project.root / "said").read_text()
    assert f"page   http://127.0.0.1:{town.port}/\n" in said
    assert f"url    http://127.0.0.1:{town.port}/v1\n" in said
    assert '-H "Authorization: Bearer $RUNNER_API_KEY"' in said
    again = town.call("rag", NAME, "--port", str(town.port + 1))
    assert again.returncode == 1
    assert f"error[R342]: `{NAME}` (full) is being served already" in again.stderr
    taken = town.call("rag", NAME, "--port", str(town.port))
    assert f"error[R330]: port {town.port}, for the service, can't be listened on" in taken.stderr
    assert f"`--port {town.port + 1}`" in taken.stderr


def test_the_official_client(town: Town, service: subprocess.Popen[str]) -> None:
    found = town.asked("features")
    assert found["models"] == [NAME]
    assert found["said"] == found["streamed"] == SAID
    assert found["pieces"] > 5, "it came as it was written"
    assert [s["state"] for s in found["rag"]["sentences"]] == STATES
    assert [s["state"] for s in found["last"]["sentences"]] == STATES
    (cited,) = found["rag"]["sentences"][0]["citations"]
    assert (cited["uri"], cited["title"]) == ("docs/harbour.md", "Harbour handbook")
    first = found["rag"]["passages"][0]
    assert first["lines"][0] <= 3 <= first["lines"][1]
    assert "opens at 7" in first["text"]
    assert {"embed", "retrieve", "prompt", "first_token", "check", "total"} <= set(found["rag"]["timings_ms"])
    assert found["usage"]["completion_tokens"] == found["stream_usage"]["completion_tokens"] > 40
    assert found["stream_id"].startswith("chatcmpl-")
    assert found["abstained"] == [NOT_FOUND, True]
    assert found["followed"] == [5, "length"]
    refused = found["refused"]
    assert refused["key"] == [401, "the API key is missing or wrong"]
    assert refused["tools"] == [400, "there are no tools here"]
    assert refused["last"] == [400, "the last message is the question, and of role `user`"]
    assert refused["long"][0] == refused["role"][0] == 400
    assert "there is room for 944" in refused["long"][1]


def test_spans_of_an_answer_are_traced(town: Town, service: subprocess.Popen[str]) -> None:
    eventually(lambda: all(any(name in body for body in town.spans) for name in (b"retrieve", b"generate", b"check")))
    assert not any(b"harbour" in body for body in town.spans), "what was asked and answered stays here"


def test_routes_are_closed_but_for_those_that_say_nothing(town: Town, service: subprocess.Popen[str]) -> None:
    found = town.asked("routes")
    assert "rye bread" in found["first"]["text"]
    assert found["count"] == 2
    assert found["filtered"] == 0
    assert found["request"] == "mine-1"
    assert "default-src 'self'" in found["policy"]
    assert (found["unknown key"], found["no json"], found["large"]) == (400, 400, 413)
    open_to_all, closed = {"/health/live": 200, "/health": 200}, dict.fromkeys(("/docs", "/openapi.json"), 404)
    keyed = dict.fromkeys(("/metrics", "/v1/models", "/v1/ingest", "/v1/retrieve", "/config"), 401)
    assert found["statuses"] == open_to_all | closed | keyed
    assert found["health"] == {"status": "ready", "store": "ok", "model": "ok"}
    for line in (
        'rag_stage_seconds_count{stage="first_token"}',
        "rag_in_flight 0.0",
        "rag_abstained_total 1.0",
        'rag_sentences_total{state="invented"}',
        'rag_requests_total{path="/v1/chat/completions",status="200"}',
        'rag_up{part="store"} 1.0',
    ):
        assert line in found["metrics"], line


def test_the_page_asks_for_the_key_and_loads_nothing_from_elsewhere(town: Town, service: subprocess.Popen[str]) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{town.port}/", timeout=30) as came:
        page, policy = came.read().decode(), came.headers["content-security-policy"]
    assert '<html\n\tlang="en"' in page
    assert '"auth_required":true' in page.replace(" ", "")
    assert re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?(?:https?:)?//", page) == []
    assert "'self'" in policy
    assert "http" not in policy


@needs_chromium
def test_a_reader_with_a_keyboard_alone(town: Town, service: subprocess.Popen[str]) -> None:
    with chromium() as browser:
        reader = Reader(browser, town.url, KEY)
        reader.ask(KNOWN)
        reader.answered()
        assert reader.text(".answer").startswith("The harbour office opens at 7 in the morning")
        assert re.fullmatch(r"Searched in .+s, first word after .+s, whole after .+s\.", reader.text(".took"))
        assert reader.text(".sources > summary") == "2 passages used"
        reader.tab_to("a.cite", "Shift+Tab")  # the last of them, which is doubted
        reader.page.keyboard.press("Enter")
        assert reader.focused().startswith("1 Harbour handbook"), "the passage has the focus"
        assert "opens at 7 in the morning and closes" in reader.text(".passage[open] blockquote")
        reader.tab_to("#ask textarea")
        reader.ask(UNKNOWN)
        reader.answered(2)
        assert reader.text(".answer") == NOT_FOUND
        assert "the model was not asked" in reader.text(".took")
        assert reader.page.locator(".passage[open]").count() == 1, "what was opened stays open"
        live = reader.page.locator("#talk")
        assert (live.get_attribute("role"), live.get_attribute("aria-live")) == ("log", "polite")
        assert reader.errors == []
        assert [asked for asked in reader.asked if not asked.startswith((town.url, "data:", "blob:"))] == []


@needs_chromium
def test_the_page_at_all_widths_in_both_themes(town: Town, service: subprocess.Popen[str], tmp_path: Path) -> None:
    with chromium() as browser:
        for width in WIDTHS:
            for theme in ("light", "dark"):
                reader = Reader(browser, town.url, KEY, width, theme)
                reader.ask(KNOWN)
                reader.answered()
                reader.page.locator("a.cite").first.click()
                reader.page.locator(".doubts > summary").click()
                reader.page.screenshot(path=tmp_path / f"{width}-{theme}.png")
                assert reader.axe() == [], (width, theme)
                assert reader.wider_than_shown() == 0, (width, theme)
                assert reader.beneath() == [], (width, theme)
                reader.close()


@needs_chromium
def test_stop_and_questions_that_are_refused(town: Town, service: subprocess.Popen[str]) -> None:
    with chromium() as browser:
        reader = Reader(browser, town.url, KEY)
        with town.frozen():
            reader.ask(KNOWN)
            eventually(lambda: in_flight(town) == 1)
            assert reader.text(".answer") == "Searching …"
            reader.tab_to("#stop")
            reader.page.keyboard.press("Enter")
            reader.failed("Stopped.")
            eventually(lambda: in_flight(town) == 0)
            crowd = town.client("flood", 60)
            eventually(lambda: in_flight(town, "waiting") == 32)
            reader.tab_to("#ask textarea", "Shift+Tab")
            reader.ask(KNOWN)
            reader.failed("Too many ask at once. Ask again in about ")
        assert answer(crowd)["statuses"] == {"200": 48, "503": 12}
        reader.page.locator("#ask textarea").fill(KNOWN * 400)
        reader.page.locator("#ask textarea").press("Enter")
        reader.failed("and there is room for 944.")
        assert reader.text(".failed").startswith("The question takes "), "a sentence"


def in_flight(town: Town, what: str = "in_flight") -> float:
    asked = urllib.request.Request(f"{town.url}/metrics", headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(asked, timeout=30) as came:
        return float(re.search(rf"^rag_{what} (\S+)$", came.read().decode(), re.M)[1])


def test_who_wants_a_whole_answer_and_hangs_up_frees_the_place(town: Town, service: subprocess.Popen[str]) -> None:
    with town.frozen():
        assert town.asked("giveup", 20)["in_flight"] == ["rag_in_flight 0.0", "rag_waiting 0.0"]


def listed(town: Town) -> list[dict[str, Any]]:
    """What `runner ps` says of this service."""
    return [row for row in json.loads(town.call("ps", "--json").stdout) if row["url"] == town.url]


def test_it_is_listed_as_an_endpoint(town: Town, service: subprocess.Popen[str]) -> None:
    found = eventually(lambda: next((row for row in listed(town) if row["status"] == "ready"), None))
    assert (found["recipe"], found["profile"]) == (NAME, "full")
    assert found["pids"]
    taken = town.call("rag", NAME, "--port", str(town.port))
    assert f"endpoint `{NAME}` (full) listens there" in taken.stderr


def test_a_document_is_sent_in_and_taken_out(town: Town, service: subprocess.Popen[str]) -> None:
    found = town.asked("ingest")
    assert "swans" not in found["before"]
    assert found["put"][0] == 200
    assert found["put"][1]["added"] == 1
    assert "fed by the warden" in found["found"]
    assert found["gone"] == [200, 1]
    assert found["after"] == found["before"]
    assert found["names"] == [400] * 5


@pytest.fixture(scope="module")
def asking(town: Town, service: subprocess.Popen[str]) -> dict[str, Any]:
    """Retrieval that has the town's model rank and rewrite."""
    url = json.loads((town.folder / "endpoint-state.json").read_text())["url"]
    done = subprocess.run(
        [town.rag.python, HERE / "rag_asker.py", url, "town"],
        env={**os.environ, "PYTHONPATH": str(jobs_dir()), "ENDPOINT_KEY": KEY, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_served_model_ranks_passages(asking: dict[str, Any]) -> None:
    plain, ranked, unread = (asking[name] for name in ("plain", "ranked", "unread"))
    assert (plain["calls"], plain["said"]) == (0, [])
    before, (said,) = plain["names"], ranked["said"]
    assert ranked["calls"] == 1, "one question to the model, for all passages"
    assert "rerank" in ranked["stages"]
    # what it names comes first, in its order, each once; the rest stays as it was, what was not shown at the end
    named = [n - 1 for n in dict.fromkeys(map(int, re.findall(r"\d+", said))) if 1 <= n <= 8]
    assert named, "an answer with numbers"
    assert ranked["names"] == [before[n] for n in named] + [p for n, p in enumerate(before) if n not in named]
    assert ranked["names"] != before
    assert unread["calls"] == 1
    assert not re.search(r"\d", unread["said"][0])
    assert unread["names"] == before, "an answer without a number changes nothing"


def test_a_served_model_rewrites_questions(asking: dict[str, Any]) -> None:
    plain, found, same, both = (asking[name] for name in ("plain", "rewritten", "same", "both"))
    assert plain["questions"] == ["boats on the quay"]
    assert (found["calls"], both["calls"]) == (1, 2)
    assert found["questions"] == ["boats on the quay", found["said"][0].strip()]
    assert "p9" in found["names"], "what only the model's words find"
    assert "p9" not in plain["names"]
    assert set(plain["names"]) <= set(found["names"]), "what was asked for is searched for too"
    assert same["calls"] == 1
    assert len(same["questions"]) == 1, "the question over again is not searched for twice"
    assert {"rewrite", "rerank"} <= set(both["stages"])


def test_a_model_that_is_not_there_is_told(asking: dict[str, Any]) -> None:
    said = {"problem": "Unavailable: the language model at http://127.0.0.1:9/v1 can't be reached"}
    assert asking["gone"] == asking["gone too"] == said


def test_many_streams_at_once_and_more_than_may_wait(town: Town, service: subprocess.Popen[str]) -> None:
    assert town.asked("streams", 32)["said"] == {SAID: 32}
    found = town.asked("flood", 80)
    assert set(found["statuses"]) == {"200", "503"}
    assert found["statuses"]["200"] >= 48, "those that have a place or may wait"
    assert found["retry"]
    assert found["code"] == ["full"]
    assert town.asked("hangup", 4)["in_flight"] == ["rag_in_flight 0.0", "rag_waiting 0.0"]


def test_postgres_goes_away_under_load_and_comes_back(town: Town, service: subprocess.Popen[str]) -> None:
    client = town.client("load", 15)
    assert client.stdout is not None
    assert client.stdout.readline() == "begun\n"
    files = list(town.folder.rglob("postmaster.pid"))
    assert len(files) == 1
    postmaster = int(files[0].read_text().split()[0])
    os.kill(postmaster, signal.SIGKILL)
    came = answer(client)["came"]
    statuses = [row[0] for row in came]
    assert set(statuses) == {200, 503}, "nothing but clear words"
    assert statuses[-8:] == [200] * 8, "it has found the store again by itself"
    for status, said, *retry in came:
        if status == 503:
            assert "store" in said or "PostgreSQL" in said, said
            assert retry == ["5"]
    print(f"{statuses.count(200)} answers, {statuses.count(503)} times 503")


def test_the_key_is_written_nowhere(town: Town, service: subprocess.Popen[str]) -> None:
    assert KEY not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    files = [f for f in town.project.artifacts.rglob("*") if f.is_file() and os.access(f, os.R_OK)]
    assert [f for f in files if KEY.encode() in f.read_bytes()] == []


@nightly
def test_the_model_dies_and_is_started_again(town: Town, service: subprocess.Popen[str]) -> None:
    state = json.loads((town.folder / "endpoint-state.json").read_text())
    os.kill(state["replicas"][0]["pid"], signal.SIGKILL)
    eventually(lambda: health(town)[0] == 503, 30)
    assert "language model" in health(town)[1]
    assert [row["status"] for row in listed(town)] == ["degraded"]
    assert town.asked("routes")["count"] == 2, "what needs no model goes on"
    eventually(lambda: health(town)[0] == 200, 300)
    assert town.asked("streams", 1)["said"] == {SAID: 1}


def health(town: Town) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{town.port}/health", timeout=30) as came:
            return came.status, came.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_an_answer_under_way_is_drained_and_nothing_is_left(town: Town, service: subprocess.Popen[str]) -> None:
    with ExitStack() as stack:
        reader = Reader(stack.enter_context(chromium()), town.url, KEY) if CHROMIUM else None
        client = town.client("stream")
        assert client.stdout is not None
        assert client.stdout.readline() == "begun\n"
        with town.frozen():
            if reader is not None:
                reader.ask(KNOWN)
                # besides the client's, where that has not come to its end before the model was frozen
                eventually(lambda: in_flight(town) == 1 + (client.poll() is None))
            service.send_signal(signal.SIGINT)
            eventually(lambda: "answers under way come to their end" in log(town))
        if reader is not None:
            reader.answered()
            reader.failed("The service is being stopped.")
            assert "Boats pay 12 crowns for a night" in reader.text(".answer")
        found = answer(client)
    assert (found["text"], found["done"]) == (SAID, True)
    assert service.wait(120) == 0, log(town)
    assert listed(town) == []
    eventually(lambda: not town.left(), 30)
    assert free(town.port)
