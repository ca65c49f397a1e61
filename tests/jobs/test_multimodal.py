"""Rows with pictures, in each format that they come in; answers, and what guessing gets."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from runner.jobs.multimodal.answers import score
from runner.jobs.multimodal.pictures import COLOURS, drawn
from runner.jobs.multimodal.pictures import conversations as drawn_rows
from runner.jobs.multimodal.problem import Problem
from runner.jobs.multimodal.rows import Lengths
from runner.jobs.multimodal.served import from_server
from runner.jobs.multimodal.sources import conversations


def rows(tmp_path: Path, listed: list[dict[str, Any]], name: str = "rows.jsonl", **item: Any) -> list[Any]:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.png").write_bytes(b"")
    text = json.dumps(listed) if name.endswith(".json") else "".join(json.dumps(row) + "\n" for row in listed)
    (tmp_path / name).write_text(text)
    return [messages for _, messages in conversations({"path": str(tmp_path / name), **item}, tmp_path / "drawn")]


def test_llavas_own_format_becomes_parts(tmp_path: Path) -> None:
    [(asked, told)] = rows(
        tmp_path,
        [
            {
                "image": "a.png",
                "conversations": [
                    {"from": "human", "value": "What is it?\n<image>"},
                    {"from": "gpt", "value": "A cat."},
                ],
            }
        ],
        "chat.json",
    )
    picture = {"type": "image", "path": str((tmp_path / "a.png").resolve())}
    assert asked == {"role": "user", "content": [picture, {"type": "text", "text": "What is it?"}]}
    assert told == {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]}


def test_pictures_beside_the_messages_go_where_the_text_asks_for_them(tmp_path: Path) -> None:
    said = {"role": "assistant", "content": "yes"}
    asked = {"role": "user", "content": "<image><image>Are they the same?"}
    [messages] = rows(tmp_path, [{"images": ["a.png", "b.png"], "messages": [asked, said]}])
    assert [Path(p["path"]).name for p in messages[0]["content"] if p["type"] == "image"] == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": "x"}, "no `messages` and no `conversations`; its columns are text"),
        ({"messages": [{"role": "user", "content": "<image>what?"}]}, "asks for more pictures than the row has"),
        ({"image": "a.png", "messages": [{"role": "assistant", "content": "x"}]}, "1 pictures of the row have no"),
        ({"image": "c.png", "messages": [{"role": "assistant", "content": "<image>"}]}, "say where they lie with the"),
        ({"messages": [{"role": "user", "content": "what?"}]}, "the last message is not the assistant's"),
        ({"messages": [{"content": "what?"}]}, "neither `role` and `content` nor `from` and `value`"),
    ],
)
def test_a_row_that_says_nothing_is_named(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    with pytest.raises(Problem, match=said) as problem:
        rows(tmp_path, [row])
    assert str(problem.value).startswith("rows.jsonl:1: ")


def test_files_that_are_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="no such file"):
        list(conversations({"path": str(tmp_path / "none.jsonl")}, tmp_path))
    (tmp_path / "half.jsonl").write_text('{"messages": [')
    with pytest.raises(Problem, match=r"half\.jsonl:1: not a line of JSON"):
        list(conversations({"path": str(tmp_path / "half.jsonl")}, tmp_path))


def test_what_is_drawn_is_what_is_said(tmp_path: Path) -> None:
    for picture, messages in zip(drawn(40, 0), drawn_rows("captions", 40, 0, tmp_path), strict=True):
        assert messages[1]["content"][0]["text"] == f"a {picture.colour} {picture.shape}"
        with Image.open(messages[0]["content"][0]["path"]) as image:
            colours = {colour for _, colour in image.getcolors(9999)}
        assert colours == {COLOURS[picture.colour], picture.background}


def test_no_picture_that_is_held_out_was_trained_on() -> None:
    trained, held = ({p.name for p in drawn(2000, seed)} for seed in (0, 1))
    assert not trained & held
    assert {p.name for p in drawn(50, 0)} <= trained


def test_guessing_says_the_commonest_answer_of_each_question() -> None:
    def answered(question: str, wanted: str, right: bool) -> dict[str, Any]:
        return {"question": question, "wanted": wanted, "right": right}

    colours = [answered("colour?", "red" if i < 30 else "blue", i < 36) for i in range(40)]
    shapes = [answered("shape?", "circle" if i < 12 else "Square.", i < 20) for i in range(40)]
    found = score(colours + shapes)
    assert found["accuracy"] == 56 / 80
    assert found["chance"] == (30 + 28) / 80
    assert found["accuracy/colour?"] == 36 / 40


class Words:
    """A processor whose tokens are words, and whose picture is nine of them."""

    chat_template = None

    @staticmethod
    def tokenizer(texts: list[str], **_: Any) -> dict[str, list[list[str]]]:
        return {"input_ids": [text.split() for text in texts]}

    @staticmethod
    def apply_chat_template(messages: list[Any], **_: Any) -> str:
        parts = [part for m in messages for part in m["content"]]
        return " ".join("<image>" if part["type"] == "image" else part["text"] for part in parts)


def lengths(limit: int, drop: bool) -> Lengths:
    made = object.__new__(Lengths)
    made.limit, made.drop, made.processor, made.template, made.image = limit, drop, Words(), None, 9  # type: ignore[assignment]
    made.rows = made.longest = made.long = 0
    made.first = ""
    return made


def conversation(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image", "path": "a"}, {"type": "text", "text": text}]}]


def test_a_picture_counts_as_its_patches() -> None:
    measure = lengths(11, drop=False)
    assert len(measure.kept([("one", conversation("what is"))])) == 1
    measure.refuse_long()
    measure.kept([("two", conversation("what is it"))])
    with pytest.raises(Problem, match=r"1 rows have more .* `sequence_len` 11: two has 12, 9 of them of its pictures"):
        measure.refuse_long()


def test_rows_that_are_too_long_are_left_out_where_that_is_asked_for() -> None:
    measure = lengths(11, drop=True)
    kept = measure.kept([("one", conversation("what is")), ("two", conversation("what is it"))])
    assert kept == [conversation("what is")]
    measure.refuse_long()
    assert measure.told() == "2 rows, 12 tokens at most, 9 of each picture, 1 longer ones left out"
    with pytest.raises(Problem, match="1 rows have more"):
        measure.refuse_long(always=True)


class Seer(BaseHTTPRequestHandler):
    """Says what the picture's first pixel is, if the picture came along."""

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        picture, question = asked["messages"][0]["content"]
        if question["text"] == "too long?":
            self.reply(400, {"error": {"message": "the prompt is too long"}})
            return
        kind, _, data = picture["image_url"]["url"].partition(",")
        assert kind == "data:image/png;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            said = f" {asked['model']} sees {image.getpixel((0, 0))} "
        self.reply(200, {"choices": [{"message": {"content": said}}]})

    def reply(self, status: int, body: dict[str, Any]) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Seer) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_port}/v1"
        made.shutdown()


def asked(file: Path, question: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image", "path": str(file)}, {"type": "text", "text": question}]}]


def test_a_server_gets_the_picture_with_the_question(tmp_path: Path, server: str) -> None:
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for i, file in enumerate(files):
        Image.new("RGB", (2, 2), (i, 0, 0)).save(file)
    answer = from_server({"endpoint": server, "served_as": "seer", "num_concurrent": 2, "max_new_tokens": 4})
    assert answer([asked(file, "what?") for file in files]) == [f"seer sees ({i}, 0, 0)" for i in range(3)]
    with pytest.raises(Problem, match="the server refused a question: 400 the prompt is too long"):
        answer([asked(files[0], "too long?")])
