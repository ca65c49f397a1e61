"""Reading: what is accepted with which place, and what is refused, however hostile."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.project import Project
from runner.recipe.load import MAX_BYTES, Refused, find_recipe, load, parse


def refusal(text: str) -> tuple[str, int]:
    with pytest.raises(Refused) as caught:
        parse(text, "x.yaml", "x")
    first = caught.value.diagnostics[0]
    return first.code, first.span.line


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("", "R003", 0),
        ("# only a comment\n", "R003", 0),
        ("- a\n- b\n", "R003", 1),
        ("just text\n", "R003", 1),
        ("a: 1\nb: [1, 2\nc: 3\n", "R002", 3),
        ("a:\n\t- x\n", "R002", 2),
        ("a: 1\n--- \nb: 2\n", "R002", 2),
        ("a: 1\na: 2\n", "R005", 2),
        ("a:\n  b: 1\n  b: 2\n", "R005", 3),
        ("a: !!python/object/apply:os.system ['x']\n", "R003", 1),
        ("a: &x [*x]\n", "R003", 1),
        ("a: .nan\n", "R003", 1),
        ("a: -.inf\n", "R003", 1),
        ("a: " + "9" * 50 + "\n", "R003", 1),
        ("? [1]\n: 2\n", "R003", 1),
        ("[" * 5000, "R003", 0),
        ("a: " + "[" * 60 + "]" * 60, "R003", 1),
        ("a: \x01\n", "R002", 1),
    ],
)
def test_what_is_no_recipe(text: str, code: str, line: int) -> None:
    assert refusal(text) == (code, line)


def test_an_alias_bomb_costs_nothing() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n"
    for above, below in zip("bcdefgh", "abcdefg", strict=True):
        bomb += f"{above}: &{above} [{','.join([f'*{below}'] * 9)}]\n"
    start = time.perf_counter()
    assert refusal(bomb)[0] == "R003"
    assert time.perf_counter() - start < 5


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    cases = {"zeros": b"a\x00b", "latin": b"a: caf\xe9\n", "huge": b"a: 1\n" * (MAX_BYTES // 5 + 1)}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Refused) as caught:
            load(tmp_path / name, name)
        assert caught.value.diagnostics[0].code == "R001"
    with pytest.raises(Refused):
        load(tmp_path / "none", "none")
    with pytest.raises(Refused):
        load(tmp_path, "folder")


def test_fifty_megabytes_are_not_read(tmp_path: Path) -> None:
    file = tmp_path / "big.yaml"
    with file.open("wb") as out:
        out.truncate(50 * 1024 * 1024)
    start = time.perf_counter()
    with pytest.raises(Refused, match="larger"):
        load(file, "big")
    assert time.perf_counter() - start < 1


def test_values_are_those_of_yaml_1_2() -> None:
    text = "a: 1e-5\nb: no\nc: on\nd: 0o14\ne: true\nf: ~\ng: '1'\nh: 5.0\ni: 1_000\nj: 2020-01-01\nk: 0x1f\n"
    assert parse(text, "x", "x").plain() == {
        "a": 1e-5, "b": "no", "c": "on", "d": 12, "e": True, "f": None, "g": "1", "h": 5.0, "i": 1000,
        "j": "2020-01-01", "k": 31,
    }  # fmt: skip


def test_anchors_and_merge_keys() -> None:
    doc = parse("x: &a {b: 1, c: 3}\ny:\n  <<: *a\n  b: 2\nz: {<<: [*a, {d: 4}]}\n", "x", "x")
    assert doc.plain() == {"x": {"b": 1, "c": 3}, "y": {"b": 2, "c": 3}, "z": {"b": 1, "c": 3, "d": 4}}


def test_places_of_keys_and_values() -> None:
    doc = parse("título: ñ\r\nlist:\n  - path: p  # why\n    type: alpaca\n", "f.yaml", "x")
    key = doc.keys["título"]
    assert (key.key.line, key.key.column, key.key.width) == (1, 1, 6)
    assert (key.span.line, key.span.column) == (1, 9)
    node = doc.find("list.0.type")
    assert node is not None
    assert (node.key.line, node.key.column, node.span.column, node.span.width) == (4, 5, 11, 6)


def test_a_byte_order_mark_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert load(tmp_path / "b.yaml", "b").plain() == {"a": 1}


@pytest.mark.parametrize(
    "name",
    ["../etc/passwd", "a/../b", "a;touch x", "$(touch x)", "`x`", "A/b", "", "/etc/x", "a" * 300, "a b", "-x", "a//b"],
)
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    (tmp_path / "recipes").mkdir()
    with pytest.raises(Refused) as caught:
        find_recipe(Project(tmp_path), name)
    assert caught.value.diagnostics[0].code == "R011"


def test_a_name_nearly_right_is_suggested(tmp_path: Path) -> None:
    (tmp_path / "recipes/phase4").mkdir(parents=True)
    (tmp_path / "recipes/phase4/dpo-13b.yaml").write_text("a: 1\n")
    for given_name in ("phase4/dpo-13", "dpo-13b"):
        with pytest.raises(Refused) as caught:
            find_recipe(Project(tmp_path), given_name)
        assert "`phase4/dpo-13b`" in caught.value.diagnostics[0].help
    for good in ("phase4/dpo-13b", "recipes/phase4/dpo-13b.yaml"):
        assert find_recipe(Project(tmp_path), good).name == "dpo-13b.yaml"


@settings(max_examples=300, deadline=2000)
@given(st.text(max_size=400) | st.text(alphabet="ab:-[]{}&*!|>#'\"\n \t?,%@`", max_size=120))
def test_no_text_is_a_traceback(text: str) -> None:
    try:
        doc = parse(text, "x", "x")
    except Refused as refused:
        assert refused.diagnostics  # noqa: PT017
    else:
        assert isinstance(doc.plain(), dict)


@settings(max_examples=100, deadline=2000)
@given(content=st.binary(max_size=300))
def test_no_bytes_are_a_traceback(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "bytes.yaml"
    file.write_bytes(content)
    try:
        load(file, "bytes")
    except Refused as refused:
        assert refused.diagnostics  # noqa: PT017
