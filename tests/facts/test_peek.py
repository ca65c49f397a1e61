"""The first rows of local files: what `datasets` reads is read, what it refuses is told, and nothing hangs."""

from __future__ import annotations

import gzip
import json
import os
import random
import time
from pathlib import Path

import pytest

from runner.facts.parquet import parquet_columns, parquet_rows
from runner.facts.peek import data_files, peek, saved_columns

ROW = b'{"text": "a"}\n'
NESTED = Path(__file__).resolve().parents[1] / "bad" / "data" / "nested.parquet"

# as datasets 5.2 does with each: columns, or that it refuses
READ = {
    "lines.jsonl": (ROW * 3, ("text",)),
    "two-columns.jsonl": (ROW + b'{"txt": "b"}\n', ("text", "txt")),
    "list.json": (b'[{"text": "a"}, {"text": "b"}]', ("text",)),
    "pretty.json": (b'{\n "text": "a"\n}\n{\n "text": "b"\n}', ("text",)),
    "bom.jsonl": (b"\xef\xbb\xbf" + ROW, ("text",)),
    "latin1.jsonl": ('{"text": "caf\u00e9"}\n'.encode("latin-1"), ("text",)),
    "nan.jsonl": (b'{"text": NaN}\n', ("text",)),
    "table.csv": (b'text,label\n"a,\nb",1\n', ("text", "label")),
    "nul.csv": (b"text,b\na\x00b,1\n", ("text", "b")),
    "plain.txt": (b"one\ntwo\n", ("text",)),
    "packed.jsonl.gz": (gzip.compress(ROW * 2), ("text",)),
}
REFUSED = {
    "nul.jsonl": (b'{"text": "a\x00b"}\n', "NUL bytes"),
    "utf16.jsonl": ('{"text": "a"}'.encode("utf-16"), "NUL bytes"),
    "notes.jsonl": (ROW + b"and so on\n" + ROW, "line 2 is not JSON"),
    "commas.jsonl": (b'{"text": "a"},\n{"text": "b"},\n', "line 1 is not JSON"),
    "numbers.jsonl": (b"1\n2\n", "no mapping"),
    "lists.jsonl": (b"[1, 2]\n[3, 4]\n", "no mapping"),
    "empty.jsonl": (b"", "no rows"),
    "latin1.csv": (b"text\ncaf\xe9\n", "not UTF-8: byte 0xe9 in line 2"),
    "latin1.txt": (b"caf\xe9\n", "not UTF-8"),
    "deep.jsonl": (b'{"a": ' + b"[" * 100_000 + b"\n", "nested too deeply"),
    "broken.jsonl.gz": (b"\x1f\x8b\x08\x00no", "compressed file ended"),
    "none.parquet": (b"PAR1 and nothing", "Parquet"),
}


@pytest.mark.parametrize("name", READ)
def test_what_datasets_reads_is_read(name: str, tmp_path: Path) -> None:
    content, columns = READ[name]
    (tmp_path / name).write_bytes(content)
    found = peek(tmp_path / name)
    assert found.trouble == ""
    assert found.columns == columns
    assert found.rows
    assert found.whole


@pytest.mark.parametrize("name", REFUSED)
def test_what_datasets_refuses_is_told(name: str, tmp_path: Path) -> None:
    content, said = REFUSED[name]
    (tmp_path / name).write_bytes(content)
    assert said.lower() in peek(tmp_path / name).trouble.lower()


def test_only_the_start_of_a_large_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "large.jsonl"
    with file.open("wb") as out:
        out.writelines([json.dumps({"text": "x" * 1000}).encode() + b"\n"] * 500)
        out.seek(3 << 30)  # gigabytes of nothing behind
        out.write(b"\n")
    start = time.process_time()
    found = peek(file)
    assert (len(found.rows), found.whole, found.trouble) == (50, False, "")
    assert time.process_time() - start < 0.2


def test_a_row_that_is_cut_by_the_limit_is_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "long.jsonl"
    file.write_bytes(
        json.dumps({"text": "x" * 100_000}).encode() + b"\n" + json.dumps({"text": "y" * 100_000}).encode()
    )
    found = peek(file)
    assert (len(found.rows), found.trouble, found.whole) == (1, "", False)


def test_a_first_row_of_megabytes_is_doubted(tmp_path: Path) -> None:
    file = tmp_path / "one.jsonl"
    file.write_bytes(b'{"text": "' + b"x" * (5 << 20) + b'"}\n')
    assert "longer than 4 MiB" in peek(file).doubt


def test_a_packed_bomb_is_not_unpacked(tmp_path: Path) -> None:
    file = tmp_path / "bomb.jsonl.gz"
    with gzip.open(file, "wb", compresslevel=1) as out:
        out.writelines([b" " * (1 << 20)] * 64)
    start = time.process_time()
    peek(file)
    assert time.process_time() - start < 0.5


def test_what_is_no_file_is_neither_opened_nor_waited_for(tmp_path: Path) -> None:
    pipe, nowhere, ring = tmp_path / "pipe.jsonl", tmp_path / "nowhere.jsonl", tmp_path / "ring.jsonl"
    os.mkfifo(pipe)
    nowhere.symlink_to(tmp_path / "gone")
    ring.symlink_to(ring)
    assert peek(pipe).trouble == "not a regular file"
    assert peek(Path("/dev/zero"), "json").trouble == "not a regular file"
    assert "no such file" in peek(nowhere).trouble
    assert "symbolic links" in peek(ring).trouble
    assert data_files(nowhere) == [nowhere]
    assert data_files(tmp_path / "never") == []


def test_a_folder_shows_its_first_files(tmp_path: Path) -> None:
    for name in ("d.jsonl", "b.jsonl", "a.md", "c.csv", "dataset_info.json"):
        (tmp_path / name).write_bytes(ROW)
    (tmp_path / "dataset_info.json").write_text('{"features": {"prompt": {}, "chosen": {}}}')
    assert [f.name for f in data_files(tmp_path)] == ["b.jsonl", "c.csv", "d.jsonl"]
    assert saved_columns(tmp_path) == ("prompt", "chosen")


def test_parquet_tells_its_rows_and_top_columns() -> None:
    with NESTED.open("rb") as stream:
        assert parquet_columns(stream) == ("messages", "score", "meta", "id")
        assert parquet_rows(stream) == 3
    assert peek(NESTED).columns == ("messages", "score", "meta", "id")


def test_damaged_parquet_is_refused_and_never_hangs(tmp_path: Path) -> None:
    whole, chance = NESTED.read_bytes(), random.Random(5)
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            damaged[chance.randrange(len(damaged) // 2, len(damaged))] = chance.randrange(256)
        file = tmp_path / "damaged.parquet"
        file.write_bytes(bytes(damaged))
        start = time.process_time()
        found = peek(file)
        assert found.trouble or isinstance(found.columns, tuple)
        assert time.process_time() - start < 1


@pytest.mark.parametrize("name", ["é" * 300, "a\x00b", "\udcff", "x/" * 3000])
def test_a_name_that_no_file_can_have_names_none(name: str, tmp_path: Path) -> None:
    assert data_files(tmp_path / name) == []
