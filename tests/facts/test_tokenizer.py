"""A tokenizer by its files: of a local folder, and of the hub's cache."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.facts.tokenizer import find_tokenizer


def make(folder: Path, config: dict[str, object], vocabulary: str = '{"model": {"vocab": {"<s>": 0, "é": 1}}}') -> Path:
    folder.mkdir(parents=True)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(vocabulary)
    return folder


def test_special_tokens_in_each_of_their_spellings(tmp_path: Path) -> None:
    folder = make(tmp_path / "t", {"eos_token": {"content": "</s>"}, "bos_token": "<s>"})
    (folder / "special_tokens_map.json").write_text('{"pad_token": {"content": "<pad>"}, "eos_token": "other"}')
    found = find_tokenizer("t", tmp_path)
    assert found is not None
    told = [found.special(name) for name in ("bos_token", "eos_token", "pad_token", "unk_token")]
    assert told == ["<s>", "</s>", "<pad>", None]


def test_the_template_of_its_own_file_comes_first(tmp_path: Path) -> None:
    folder = make(
        tmp_path / "t", {"chat_template": [{"name": "tools", "template": "T"}, {"name": "default", "template": "D"}]}
    )
    found = find_tokenizer("t", tmp_path)
    assert found is not None
    assert found.template == "D"
    (folder / "chat_template.jinja").write_text("own")
    find_tokenizer.cache_clear()
    found = find_tokenizer("t", tmp_path)
    assert found is not None
    assert found.template == "own"


def test_tokens_are_found_however_they_are_spelt(tmp_path: Path) -> None:
    make(tmp_path / "t", {"added_tokens_decoder": {"9": {"content": "<added>"}}})
    make(tmp_path / "escaped", {}, json.dumps({"model": {"vocab": {"é": 1, 'a"b': 2}}}))
    found, escaped = find_tokenizer("t", tmp_path), find_tokenizer("escaped", tmp_path)
    assert found is not None
    assert escaped is not None
    assert [found.has(t) for t in ("<s>", "é", "<added>", "<none>", "")] == [True, True, True, False, None]
    assert [escaped.has(t) for t in ("é", 'a"b', "<s>")] == [True, True, False]


def test_without_a_vocabulary_nothing_is_said_of_tokens(tmp_path: Path) -> None:
    (make(tmp_path / "t", {}) / "tokenizer.json").unlink()
    found = find_tokenizer("t", tmp_path)
    assert found is not None
    assert found.has("<s>") is None


def test_what_the_hub_left_in_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    model = tmp_path / "hub" / "models--org--name"
    make(model / "snapshots" / "older", {"eos_token": "<old>"})
    make(model / "snapshots" / "main-revision", {"eos_token": "<main>"})
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("main-revision")
    find_tokenizer.cache_clear()
    found = find_tokenizer("org/name", tmp_path)
    assert found is not None
    assert found.special("eos_token") == "<main>"


@pytest.mark.parametrize("name", ["", "a\x00b", "x" * 2000, "${needs.sft.model}", "../" * 300, "no/such"])
def test_names_that_lead_nowhere(name: str, tmp_path: Path) -> None:
    assert find_tokenizer(name, tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[1]", b"[" * 200_000, b'{"eos_token": 5}'])
def test_damaged_files(content: bytes, tmp_path: Path) -> None:
    (make(tmp_path / "t", {}) / "tokenizer_config.json").write_bytes(content)
    found = find_tokenizer("t", tmp_path)
    assert found is not None
    assert (found.special("eos_token"), found.template) == (None, None)
