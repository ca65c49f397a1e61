"""Reading: what is accepted with which place, and what is refused, however hostile."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.project import Project, valid_name
from runner.recipe.load import MAX_BYTES, Refused, load, parse
from runner.recipe.naming import find_recipe


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
        ("[" * 5000, "R003", 1),
        ("- " * 5000, "R003", 0),
        ("a: " + "[" * 60 + "]" * 60, "R003", 1),
        ("a: \x01\n", "R002", 1),
        ("a: 1\nb: x\x1b[31m\n", "R002", 2),
        ("%YAML 1.1\n---\na: yes\n", "R002", 1),
        ("a: .INF\n", "R003", 1),
        ("a: 1\nb: 1e999\n", "R003", 2),
        ("a: !!bool maybe\n", "R003", 1),
        ("a: !!set {x, y}\n", "R003", 1),
        ("a: !!binary aGk=\n", "R003", 1),
        ("a: !own x\n", "R003", 1),
        ('a: "\\ud800"\n', "R003", 1),
        ('a: 1\n"\\udfff": 1\n', "R003", 2),
        ("a: 1\n<<: 3\n", "R003", 2),
        ("<<: [{b: 1}, c]\n", "R003", 1),
        ("a: *nobody\n", "R002", 1),
        ("a: 'open\n", "R002", 2),
        ("a: b: c\n", "R002", 1),
        ("---\n...\n", "R003", 2),
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
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("name", ["brackets", "braces", "items", "keys", "anchors", "quotes", "comments", "colons"])
def test_a_large_file_costs_little_whatever_is_in_it(name: str) -> None:
    """A fraction of a second; quadratic time would be many."""
    size = MAX_BYTES // 4
    text = {
        "brackets": "a: " + "[" * size,
        "braces": "{a: " * size,
        "items": "a: [" + "1," * size,
        "keys": "".join(f"k{i}: 1\n" for i in range(2000)),
        "anchors": "".join(f"k{i}: &k{i} 1\n" for i in range(1500)),
        "quotes": 'a: "' + "\\n" * size,
        "comments": "#\n" * (size // 2 - 9) + "a: 1",
        "colons": ":\n" * size,
    }[name][:size]
    start = time.perf_counter()
    with suppress(Refused):
        parse(text, "x", "x")
    assert time.perf_counter() - start < 10


def test_values_are_those_of_yaml_1_2() -> None:
    text = "a: 1e-5\nb: no\nc: on\nd: 0o14\ne: true\nf: ~\ng: '1'\nh: 5.0\ni: 1_000\nj: 2020-01-01\nk: 0x1f\n"
    assert parse(text, "x", "x").plain() == {
        "a": 1e-5, "b": "no", "c": "on", "d": 12, "e": True, "f": None, "g": "1", "h": 5.0, "i": 1000,
        "j": "2020-01-01", "k": 31,
    }  # fmt: skip


def test_folded_text_is_one_line() -> None:
    doc = parse("a: >-\n  one\n  two\n\n  three\nb: |\n  one\n  two\n", "x.yaml", "x")
    assert {key: node.value for key, node in doc.keys.items()} == {"a": "one two\nthree", "b": "one\ntwo\n"}


def test_anchors_and_merge_keys() -> None:
    doc = parse("x: &a {b: 1, c: 3}\ny:\n  <<: *a\n  b: 2\nz: {<<: [*a, {d: 4}]}\n", "x", "x")
    assert doc.plain() == {"x": {"b": 1, "c": 3}, "y": {"b": 2, "c": 3}, "z": {"b": 1, "c": 3, "d": 4}}


def test_what_only_looks_like_another_type_is_text() -> None:
    text = "a: 1:30\nb: 0o9\nc: Yes\nd: '5'\ne: \"no\"\nf: 1e\ng: 0x\nh: 2020-01-01 10:00\ni: 1.2.3\nj: !!str 5\n"
    assert parse(text, "x", "x").plain() == {
        "a": "1:30", "b": "0o9", "c": "Yes", "d": "5", "e": "no", "f": "1e", "g": "0x", "h": "2020-01-01 10:00",
        "i": "1.2.3", "j": "5",
    }  # fmt: skip


def test_the_first_of_two_merged_mappings_wins_and_the_key_itself_over_both() -> None:
    doc = parse("x: &x {p: 1, q: 2}\ny: &y {p: 3, r: 4}\nz: {q: 9, <<: [*x, *y]}\nw: {'<<': 1}\n", "x", "x")
    assert doc.plain()["z"] == {"p": 1, "q": 9, "r": 4}
    assert doc.plain()["w"] == {"<<": 1}
    place = doc.find("z.r")
    assert place is not None
    assert place.key.line == 2, "where it is written"


@pytest.mark.filterwarnings("error")
def test_an_anchor_given_twice_means_the_last() -> None:
    assert parse("a: &x 1\nb: &x 2\nc: *x\n", "f", "x").plain() == {"a": 1, "b": 2, "c": 2}


def test_a_circle_of_aliases_and_what_holds_it() -> None:
    with pytest.raises(Refused, match="contains it"):
        parse("a: &a\n  b: {c: [*a]}\n", "x", "x")


def test_all_faults_of_one_file_are_told_together() -> None:
    with pytest.raises(Refused) as caught:
        parse("a: 1\na: 2\nb: .nan\nc: !x 1\nd:\n  e: 1\n  e: 2\n", "x", "x")
    assert [(d.code, d.span.line) for d in caught.value.diagnostics] == [
        ("R005", 2),
        ("R003", 3),
        ("R003", 4),
        ("R005", 7),
    ]
    assert caught.value.diagnostics[0].label == "first given on line 1"


def test_a_byte_that_is_no_text_has_its_place(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(Refused) as caught:
        load(tmp_path / "r.yaml", "r")
    (told,) = caught.value.diagnostics
    assert (told.span.line, told.span.column) == (2, 7)


def test_a_value_that_is_not_there_has_its_keys_place() -> None:
    doc = parse("a:\n  b:\n\nc: ''\n", "f", "x")
    for path, line in (("a.b", 2), ("c", 4)):
        node = doc.find(path)
        assert node is not None
        assert (node.value in (None, ""), node.span.line) == (True, line)


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


@pytest.mark.parametrize(
    "name", ["a\0b.yaml", "a" * 5000 + ".yaml", "folder.yaml", "pipe.yaml", "../" * 9 + "etc/passwd.yaml"]
)
def test_paths_that_lead_to_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(Refused) as caught:
        find_recipe(Project(tmp_path), name)
    assert caught.value.diagnostics[0].code in ("R001", "R011")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("recipes/phase4/dpo-13b.yaml", "phase4/dpo-13b"),
        ("recipes/llama-3.1.yaml", "llama-3.1"),
        ("elsewhere/dpo.yaml", "dpo"),
        ("elsewhere/My Recipe!.yaml", "my.recipe"),
        ("elsewhere/...yaml", "recipe"),
        ("elsewhere/a;touch x.yaml", "a.touch.x"),
        ("elsewhere/$(x).yaml", "x"),
        ("elsewhere/-rf.yaml", "rf"),
    ],
)
def test_a_file_has_a_name_that_can_be_a_path_and_a_target(tmp_path: Path, file: str, name: str) -> None:
    (tmp_path / "recipes").mkdir()
    found = Project(tmp_path).recipe_name(tmp_path / file)
    assert found == name
    assert valid_name(found)


def test_hidden_files_are_no_recipes(tmp_path: Path) -> None:
    for name in ("a.yaml", ".hidden.yaml", ".ipynb_checkpoints/a-checkpoint.yaml", "sub/b.yaml", "notes.yml"):
        (tmp_path / "recipes" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "recipes" / name).write_text("a: 1\n")
    assert [f.name for f in Project(tmp_path).all_recipes()] == ["a.yaml", "b.yaml"]


def test_a_name_nearly_right_is_suggested(tmp_path: Path) -> None:
    (tmp_path / "recipes/phase4").mkdir(parents=True)
    (tmp_path / "recipes/phase4/dpo-13b.yaml").write_text("a: 1\n")
    for given_name in ("phase4/dpo-13", "dpo-13b"):
        with pytest.raises(Refused) as caught:
            find_recipe(Project(tmp_path), given_name)
        assert "`phase4/dpo-13b`" in caught.value.diagnostics[0].help
    for good in ("phase4/dpo-13b", "recipes/phase4/dpo-13b.yaml"):
        assert find_recipe(Project(tmp_path), good).name == "dpo-13b.yaml"


@settings(max_examples=300, deadline=5000)
@given(st.text(max_size=400) | st.text(alphabet="ab:-[]{}&*!|>#'\"\n \t?,%@`", max_size=120))
def test_no_text_is_a_traceback(text: str) -> None:
    try:
        doc = parse(text, "x", "x")
    except Refused as refused:
        assert refused.diagnostics  # noqa: PT017
    else:
        assert isinstance(doc.plain(), dict)


@settings(max_examples=100, deadline=5000)
@given(content=st.binary(max_size=300))
def test_no_bytes_are_a_traceback(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "bytes.yaml"
    file.write_bytes(content)
    try:
        load(file, "bytes")
    except Refused as refused:
        assert refused.diagnostics  # noqa: PT017
