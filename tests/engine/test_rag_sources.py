"""What kind `rag` makes of files: their text, its structure, and passages that stand exactly where they say."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.engines.environment import ensure, environment
from tests.engine.rag_folder import Worker, fill


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    env = environment("rag")
    ensure(env, lambda progress: None)
    made = Worker(env.python)
    yield made
    made.close()


# text with all that is hard: surrogate pairs, combining and wide characters, long words, line ends
pieces = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r"), max_size=40),
    st.sampled_from(["\n\n", "\n", ". ", "\t", "Dr. Who? Yes! ", "x" * 700]),
    st.sampled_from(["\u65e5\u672c\u8a9e\u3002", "\U0001f600 e\u0301 "]),
)
texts = st.lists(pieces, max_size=60).map("".join)
splitters = st.sampled_from(["auto", "sentence", "markdown", "code", "window"])


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts, splitter=splitters, size=st.sampled_from([8, 32]), parent=st.sampled_from([None, 96]))
def test_a_passage_is_what_stands_at_its_place(
    worker: Worker, text: str, splitter: str, size: int, parent: int | None
) -> None:
    format = {"markdown": "markdown", "code": "code"}.get(splitter, "text")
    found = worker.ask("cut", text=text, splitter=splitter, size=size, overlap=size // 4, parent=parent, format=format)
    assert found["exact"]
    passages = found["passages"]
    covered = set()
    for passage in passages:
        assert passage["text"].strip()
        assert passage["text"] == passage["text"].strip()
        covered |= set(range(passage["start"], passage["end"]))
    left = [c for at, c in enumerate(text) if at not in covered]
    assert not "".join(left).strip(), "all that is to be read is in some passage"
    assert [p["ordinal"] for p in passages] == list(range(len(passages)))
    assert len({p["id"] for p in passages}) == len(passages)
    assert all(p["tokens"] <= max(size, 16) for p in passages)
    parents = {p["id"]: p for p in found["parents"]}
    assert bool(parents) == bool(parent and passages)
    for passage in passages if parent else ():
        whole = parents[passage["parent"]]
        assert whole["start"] <= passage["start"] <= passage["end"] <= whole["end"]


def test_passages_fill_their_size_and_end_where_sentences_do(worker: Worker) -> None:
    text = " ".join(f"Sentence number {n} tells of a badger and of a hole." for n in range(80))
    found = worker.ask("cut", text=text, size=48, overlap=14)
    assert all(p["text"].endswith(".") and p["text"].startswith("Sentence") for p in found["passages"])
    assert all(c <= 48 for c in found["counted"])
    assert min(found["counted"][:-1]) > 24
    pairs = itertools.pairwise(found["passages"])
    assert all(after["start"] < before["end"] for before, after in pairs), "they overlap"
    apart = worker.ask("cut", text=text, size=48, overlap=0)["passages"]
    assert all(a["end"] <= b["start"] for a, b in itertools.pairwise(apart))


def test_structure_is_kept(worker: Worker, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    fill(docs)
    guide = worker.ask("parse", file=str(docs / "guide.md"), format="markdown")
    headings = [heading for heading, _ in guide["sections"]]
    assert headings == ["Guide", "Guide", "Guide > Install", "Guide > Use", "Guide > Use", "Guide > Use > Twice"]
    assert guide["sections"][-1][1] == "### Twice\n\nPress it twice.\n"
    page = worker.ask("parse", file=str(docs / "page.html"), format="html")
    assert page["text"].strip() == "Bread\n\nFlour & water.\n\nOven\n\nHot, very hot."
    assert (page["title"], page["sections"][-1][0]) == ("A page", "Bread > Oven")
    code = dict(worker.ask("parse", file=str(docs / "deep/er/birds.py"), format="code")["sections"])
    assert code["parrot"].strip().startswith("# about the parrot\ndef parrot")
    assert code["Cage.open"].strip() == "def open(self):\n        return True"
    paper = worker.ask("parse", file=str(docs / "paper.pdf"), format="pdf")
    first, second = paper["pages"]
    assert paper["text"][first:second].strip() == "Whales are mammals."
    assert paper["text"][second:] == "Sharks are fishes."


def test_the_standard_library_is_read_and_not_imported(worker: Worker) -> None:
    found = worker.ask("docstrings", name="wave")
    assert found["same"]
    assert not found["imported"]
    assert found["headings"][0] == "wave"
    assert {"wave.Wave_read", "wave.Wave_write"} <= set(found["headings"])


def test_globs_hidden_folders_and_equal_ids(worker: Worker, tmp_path: Path) -> None:
    for name in ("a.md", "sub/b.md", "sub/c.txt", ".git/d.md", "node_modules/e.md"):
        (tmp_path / "one" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "one" / name).write_text("text")
    (tmp_path / "out.md").write_text("secret")
    (tmp_path / "one/link.md").symlink_to(tmp_path / "out.md")
    found = worker.ask("listed", sources=[{"path": "one"}], folder=str(tmp_path))
    assert found["ids"] == ["one/a.md", "one/sub/b.md", "one/sub/c.txt"]
    assert found["aside"] == [["one/link.md", "a link that leads out of the source"]]
    only = [{"path": "one", "include": ["**/*.md"], "exclude": ["*.md"]}]
    assert worker.ask("listed", sources=only, folder=str(tmp_path))["ids"] == ["one/sub/b.md"]
    twice = worker.ask("listed", sources=[{"path": "one"}, {"path": "one"}], folder=str(tmp_path))["ids"]
    assert twice[3:] == ["one-2/a.md", "one-2/sub/b.md", "one-2/sub/c.txt"]
    (tmp_path / "rows.jsonl").write_text('{"_id": "x", "text": "a"}\n{"_id": "x", "text": "b"}\n')
    same = worker.ask("listed", sources=[{"path": "rows.jsonl"}], folder=str(tmp_path))
    assert (same["ids"], len(same["aside"])) == (["x"], 1)
