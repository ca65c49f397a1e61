"""Pipeline steps between datatrove's own: stored documents, a count after each filter, the split, the exact content."""

from collections.abc import Iterator
from pathlib import Path

import orjson
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.writers import JsonlWriter

from .problem import AGAIN, Problem
from .split import split_of


class Stored(PipelineStep):
    """Documents that an earlier stage's task of the same number wrote. datatrove's reader passes over a broken line and
    deals files out by their place in the list; here nothing may be lost, and a task without documents has no file."""

    type = "📖 - READER"
    name = "stored"

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = folder

    def run(self, data=None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        file = Path(self.folder) / f"{rank:05d}.jsonl"
        if not file.is_file():
            return
        with file.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                try:
                    row = orjson.loads(line)
                except orjson.JSONDecodeError as error:
                    raise Problem(
                        f"{file}:{number}: corrupted since it was written: {error}",
                        f"remove the run's `work` folder, then {AGAIN[:12]}",
                    ) from None
                yield Document(row["text"], row["id"], metadata=row.get("metadata", {}))


class Tally(PipelineStep):
    """Counts what passes, in documents and bytes of UTF-8 text."""

    type = "🔢 - TALLY"

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__()

    def run(self, data, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        for document in data:
            self.stat_update("documents")
            self.stat_update("bytes", value=len(document.text.encode("utf-8", "surrogatepass")))
            yield document


class Length(BaseFilter):
    """Removes documents of fewer or more characters than asked for."""

    name = "length"

    def __init__(self, least: int | None, most: int | None, exclusion_writer=None) -> None:
        super().__init__(exclusion_writer)
        self.least, self.most = least, most

    def filter(self, doc: Document):
        if self.least and len(doc.text) < self.least:
            return False, "too_short"
        if self.most and len(doc.text) > self.most:
            return False, "too_long"
        return True


class Assign(PipelineStep):
    """Writes into each document's metadata the split that its content belongs to."""

    type = "✂️ - SPLIT"
    name = "split"

    def __init__(self, seed: int, fraction: float) -> None:
        super().__init__()
        self.seed, self.fraction = seed, fraction

    def run(self, data, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        for document in data:
            document.metadata["split"] = split_of(document.text, self.seed, self.fraction)
            yield document


def writer(folder: str, by_split: bool = False) -> JsonlWriter:
    """Plain JSON lines: compressing what is read once more and thrown away costs more than it saves."""
    name = "${split}/${rank}.jsonl" if by_split else "${rank}.jsonl"
    return JsonlWriter(folder, output_filename=name, compression=None, adapter=_row)


def _row(self, document: Document) -> dict:
    return {"text": document.text, "id": document.id, "metadata": document.metadata}


def content(document: Document) -> str:
    """What exact deduplication compares; datatrove reads its type from the annotation."""
    return document.text
