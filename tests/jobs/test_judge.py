"""Judging: how a verdict is read, what two orders come to, and what is asked of an endpoint that sometimes fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from runner.jobs.judge import Problem
from runner.jobs.judge.__main__ import fill, judge
from runner.jobs.judge.verdict import PROMPT, count, outcome, verdict


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Both are fine, but A is shorter. [[A]]", "A"),
        ("At first [[A]] seemed better.\nVerdict: [[ B ]]", "B"),
        ("[[C]]", "C"),
        ("Answer A is better", None),
        ("[[D]]", None),
        ("[A]", None),
        ("", None),
    ],
)
def test_a_verdict_is_the_last_that_is_written(text: str, said: str | None) -> None:
    assert verdict(text) == said


@pytest.mark.parametrize(
    ("verdicts", "comes_to"),
    [("AB", "win"), ("BA", "loss"), ("CC", "tie"), ("AA", "tie"), ("BB", "tie"), ("AC", "tie"), ("CB", "tie")],
)
def test_two_orders_must_agree(verdicts: str, comes_to: str) -> None:
    assert outcome(*verdicts) == comes_to
    assert outcome(None, verdicts[1]) == outcome(verdicts[0], None) == "unparsed"


def row(first: str | None, second: str | None) -> dict[str, Any]:
    return {"verdicts": [first, second], "outcome": outcome(first, second), "error": None}


def test_what_is_counted() -> None:
    found = count([row("A", "B")] * 6 + [row("B", "A")] * 2 + [row("A", "A")] * 4 + [row(None, "B")] * 3, 0)
    assert (found["wins"], found["ties"], found["losses"], found["unparsed"], found["n"]) == (6, 4, 2, 3, 12)
    assert found["win_rate"] == pytest.approx(8 / 12)
    assert found["low"] < found["win_rate"] < found["high"]
    assert found["position_bias"] == pytest.approx(8 / 24)
    assert found["consistent"] == pytest.approx(8 / 12)


def test_a_judge_that_looks_at_places_alone_says_nothing() -> None:
    found = count([row("A", "A")] * 50, 0)
    assert (found["win_rate"], found["position_bias"], found["consistent"]) == (0.5, 1.0, 0.0)


def test_nothing_judged_is_no_rate() -> None:
    assert count([row(None, None)], 0)["win_rate"] is None


def test_answers_can_hold_anything() -> None:
    parts = {"{question}": "{answer_a}?", "{answer_a}": "{0} {answer_b}", "{answer_b}": "{}"}
    assert fill("{question} | {answer_a} | {answer_b}", parts) == "{answer_a}? | {0} {answer_b} | {}"
    long = fill(PROMPT, dict.fromkeys(parts, "x" * 20000))
    assert long.count("x" * 20_000) == 3


class LongerIsBetter(BaseHTTPRequestHandler):
    """An endpoint that prefers the longer answer, is sometimes overloaded, and refuses what is too long."""

    asked: list[dict[str, Any]]
    failures: list[int]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append({**body, "path": self.path, "key": self.headers["Authorization"]})
        text = body["messages"][0]["content"]
        if "too long" in text:
            return self.answer(400, {"error": "context length"})
        if self.failures:
            return self.answer(self.failures.pop(), {"error": "later"})
        first, second = (part.split("\n\n")[0].strip() for part in text.split("Answer ")[1:3])
        return self.answer(200, said("[[A]]" if len(first) > len(second) else "[[B]]"))

    def answer(self, code: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def said(text: str) -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}}]}


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.delenv("ENDPOINT_URL", raising=False)
    monkeypatch.setenv("RUNNER_API_KEY", "k")
    monkeypatch.setattr("runner.jobs.judge.ask.time.sleep", lambda seconds: None)
    LongerIsBetter.asked, LongerIsBetter.failures = [], [503, 429]
    server = ThreadingHTTPServer(("127.0.0.1", 0), LongerIsBetter)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()


def samples(folder: Path, answers: list[str]) -> Path:
    folder.mkdir()
    rows = [
        {"doc_hash": str(i), "doc": {"question": f"q{i}"}, "resps": [[a]], "target": "gold", "arguments": ARGUMENTS}
        for i, a in enumerate(answers)
    ]
    (folder / "samples_t_2026-11-24.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


ARGUMENTS = {"gen_args_0": {"arg_0": "the prompt", "arg_1": {}}}


def test_each_pair_is_asked_in_both_orders(tmp_path: Path, endpoint: str) -> None:
    ours = samples(tmp_path / "ours", ["a long answer", "no", "equal", "too long"])
    theirs = samples(tmp_path / "theirs", ["short", "a long one", "equal", "x"])
    judge({"tasks": ["t"], "against": str(theirs), "endpoint": endpoint, "model": "j", "max_tokens": 9}, ours)
    found = json.loads((ours / "judge.json").read_text())
    assert (found["wins"], found["losses"], found["ties"], found["unparsed"], found["failed"]) == (1, 1, 1, 1, 1)
    rows = [json.loads(line) for line in (ours / "verdicts.jsonl").read_text().splitlines()]
    assert [r["outcome"] for r in rows] == ["win", "loss", "tie", "unparsed"]
    assert rows[0]["verdicts"] == ["A", "B"]
    assert "context length" in rows[3]["error"]
    asked = LongerIsBetter.asked[0]
    assert (asked["path"], asked["key"], asked["model"], asked["max_tokens"]) == (
        "/v1/chat/completions", "Bearer k", "j", 9,
    )  # fmt: skip


def test_references_are_the_tasks_own_answers(tmp_path: Path, endpoint: str) -> None:
    ours = samples(tmp_path / "ours", ["longer than gold", "x"])
    judge({"tasks": ["t"], "endpoint": endpoint, "model": "j", "limit": 1}, ours)
    found = json.loads((ours / "judge.json").read_text())
    assert (found["pairs"], found["wins"], found["against"]) == (1, 1, None)


def test_what_can_not_be_judged_is_told(tmp_path: Path, endpoint: str) -> None:
    ours, theirs = samples(tmp_path / "ours", ["a", "b"]), samples(tmp_path / "theirs", ["a"])
    with pytest.raises(Problem, match="lacks answers to 1 of 2"):
        judge({"tasks": ["t"], "against": str(theirs), "endpoint": endpoint, "model": "j"}, ours)
    with pytest.raises(Problem, match="has no answers to other"):
        judge({"tasks": ["other"], "endpoint": endpoint, "model": "j"}, ours)
    with pytest.raises(Problem, match="answered none of 2 pairs"):
        judge({"tasks": ["t"], "endpoint": "http://127.0.0.1:9/v1", "model": "j"}, ours)
