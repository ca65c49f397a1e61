"""Data that a recipe brings along, and what a hostile one could do with them: everything is a diagnostic, and quick."""

from __future__ import annotations

import json
import os
import time

from tests.cli.conftest import Invoke
from tests.conftest import Bench

RECIPE = """recipe: 1
kind: finetune
title: Text
base_model: meta-llama/Llama-2-13b-hf
learning_rate: 1e-5
datasets:
  - {path: rows.jsonl, type: completion}
"""


def test_a_link_out_of_the_project_is_not_followed(bench: Bench, invoke: Invoke) -> None:
    secret = bench.project.root.parent / f"{bench.project.root.name}-secret.jsonl"
    secret.write_text('{"password": "x"}\n')
    (bench.project.root / "rows.jsonl").symlink_to(secret)
    bench.write("r", RECIPE)
    said = invoke("validate", "r")
    assert said.code == 0
    assert "warning[R853]: `rows.jsonl` is doubtful as data: it is a link that leads out of the project" in said.err
    assert "password" not in said.err


def test_a_pipe_is_not_waited_for(bench: Bench, invoke: Invoke) -> None:
    os.mkfifo(bench.project.root / "rows.jsonl")
    bench.write("r", RECIPE)
    assert "error[R853]: `rows.jsonl` can't be read as data: not a regular file" in invoke("validate", "r").err


def test_a_row_of_megabytes_is_doubted(bench: Bench, invoke: Invoke) -> None:
    (bench.project.root / "rows.jsonl").write_bytes(b'{"text": "' + b"x" * (6 << 20))
    bench.write("r", RECIPE)
    said = invoke("validate", "r")
    assert said.code == 0
    assert "its first row is longer than 4 MiB" in said.err


def test_columns_with_odd_names_are_shown_harmless(bench: Bench, invoke: Invoke) -> None:
    (bench.project.root / "rows.jsonl").write_text(json.dumps({"\x1b]0;owned\x07": 1, "x" * 5000: 2}) + "\n")
    bench.write("r", RECIPE)
    said = invoke("validate", "r")
    assert "error[R850]: `rows.jsonl` has no column `text`" in said.err
    assert "\x1b" not in said.err
    assert max(map(len, said.err.splitlines())) < 300


def test_only_words_of_the_data_are_shown(bench: Bench, invoke: Invoke) -> None:
    rows = [{"messages": [{"role": role, "content": "x"}]} for role in ("bot", "hunter2 and more", "AKIA0123456789")]
    (bench.project.root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    bench.write("r", RECIPE.replace("completion", "chat_template"))
    said = invoke("validate", "r")
    assert "speakers of its first rows: `bot`, others" in said.err


def test_many_datasets_are_checked_in_time(bench: Bench, invoke: Invoke) -> None:
    (bench.project.root / "rows.jsonl").write_text('{"text": "a"}\n' * 1000)
    line = "  - {path: rows.jsonl, type: completion}\n"
    bench.write("r", RECIPE + line * 400)
    start = time.process_time()
    assert invoke("validate", "r").code == 0
    assert time.process_time() - start < 3
