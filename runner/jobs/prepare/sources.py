"""Where documents come from: files, the hub, or the standard library; each row is read, counted, or named as broken."""

import gzip
import json
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from datatrove.data import Document
from datatrove.io import get_datafolder
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.readers import HuggingFaceDatasetReader

from . import stdlib
from .problem import Problem
from .split import cut, sampled, share

TABLES = (".parquet",)
ROWS = (".jsonl", ".json", ".ndjson")
TEXTS = (".txt", ".md", ".text")
PACKED = (".gz", ".zst", ".xz", ".bz2")
_TORN = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError)


class Broken(Exception):
    """A row or a file that can't be read; the message says where and what."""


Row = tuple[str, str | None]  # id, text; None of a row without any


def bare(name: str) -> str:
    """A file's name without the ending of its compression."""
    return next((name[: -len(p)] for p in PACKED if name.endswith(p)), name)


def data_files(source: Path, glob_pattern: str | None) -> list[Path]:
    """The files below a folder that can be read, by name; a file stands for itself."""
    if source.is_file():
        return [source]
    found = sorted(f for f in source.rglob(glob_pattern or "*") if f.is_file() and not f.name.startswith("."))
    return [f for f in found if bare(f.name).endswith(TABLES + ROWS + TEXTS)]


def raw_rows(file: Path, columns: tuple[str, ...] = ()) -> Iterator[tuple[str, Any] | Broken]:
    """Place and content of every row of a file: a mapping, or the text of a plain one. Of a table `columns` only, where
    it has them. A broken row is given as such, and reading goes on where that is possible."""
    name = bare(file.name)
    try:
        if name.endswith(TABLES):
            yield from _table(file, columns)
        elif name.endswith(ROWS):
            yield from _json_lines(file)
        else:
            with get_datafolder(str(file.parent)).open(file.name, "rb", compression="infer") as stream:
                yield str(file), stream.read().decode("utf-8")
    except UnicodeDecodeError as error:
        yield Broken(f"{file}: not UTF-8 text at byte {error.start:,}")
    except _TORN as error:
        yield Broken(f"{file}: cut short or corrupted: {error}")


def _json_lines(file: Path) -> Iterator[tuple[str, Any] | Broken]:
    with get_datafolder(str(file.parent)).open(file.name, "rb", compression="infer") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                yield Broken(f"{file}:{number}: not JSON: {error}")
                continue
            yield (f"{file}:{number}", row) if isinstance(row, dict) else Broken(f"{file}:{number}: not a JSON object")


def _table(file: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, Any] | Broken]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(file) as table:
            names = table.schema_arrow.names
            chosen = [c for c in columns if c in names] or None
            for batch in table.iter_batches(batch_size=1000, columns=chosen):
                for row in batch.to_pylist():
                    yield f"{file}:{number}", row
                    number += 1
    except (pa.ArrowException, OSError) as error:
        words = str(error).splitlines()[0] if str(error) else type(error).__name__
        yield Broken(f"{file}: corrupted after row {number:,}: {words}")


def rows_of(file: Path, text_key: str, id_key: str) -> Iterator[Row | Broken]:
    """Id and text of every row of a file."""
    for found in raw_rows(file, (text_key, id_key)):
        if isinstance(found, Broken):
            yield found
        else:
            where, row = found
            yield (where, row) if isinstance(row, str) else _row(row, text_key, id_key, where)


def _row(row: dict[str, Any], text_key: str, id_key: str, where: str) -> Row | Broken:
    if text_key not in row:
        raise _lacks(where, text_key, list(row))
    text = row[text_key]
    if text is not None and not isinstance(text, str):
        return Broken(f"{where}: `{text_key}` holds {type(text).__name__}, not text")
    given = row.get(id_key)
    return (where if given is None else str(given)), text


def _lacks(where: str, text_key: str, names: list[str]) -> Problem:
    listed = ", ".join(f"`{n}`" for n in names[:12]) or "none"
    return Problem(f"{where}: no column `{text_key}`; it has {listed}", "set `text_key` to the one that holds the text")


class Reader(PipelineStep):
    """One task's share of the source as documents, with `rows` read and what became of those that give none."""

    type = "📖 - READER"
    name = "source"

    def __init__(self, config: dict[str, Any], set_aside: str) -> None:
        super().__init__()
        self.config, self.set_aside = config, set_aside

    def run(self, data=None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        config, aside = self.config, None
        limit = config["limit"]
        left = share(limit, world_size, rank) if limit else None
        try:
            for found in self._rows(rank, world_size):
                if left == 0:
                    break
                left = None if left is None else left - 1
                self.stat_update("rows")
                if isinstance(found, Broken):
                    if config["on_error"] == "fail":
                        raise Problem(str(found), "mend it, or set `on_error: set_aside` to go on without it")
                    self.stat_update("removed_unreadable")
                    if aside is None:
                        aside = get_datafolder(self.set_aside).open(f"{rank:05d}.jsonl", "w")
                    aside.write(json.dumps({"reason": str(found)}) + "\n")
                    continue
                identity, text = found
                if not text or not text.strip():
                    self.stat_update("removed_empty")
                elif config["sample_rate"] < 1 and not sampled(text, config["seed"], config["sample_rate"]):
                    self.stat_update("removed_not_sampled")
                else:
                    yield from self._documents(identity, text)
        finally:
            if aside is not None:
                aside.close()

    def _documents(self, identity: str, text: str) -> Iterator[Document]:
        chars = self.config["document_chars"]
        pieces = list(cut(text, chars)) if chars else [text]
        kept = [piece for piece in pieces if piece.strip()]
        self.stat_update("pieces_more", value=len(pieces) - 1)
        self.stat_update("removed_blank_piece", value=len(pieces) - len(kept))
        for i, piece in enumerate(kept):
            yield Document(piece, f"{identity}/{i}" if chars else identity, metadata={"source": identity})

    def _rows(self, rank: int, world_size: int) -> Iterator[Row | Broken]:
        config = self.config
        kind = config["source_kind"]
        if kind == "hub":
            yield from _hub_rows(config, rank, world_size)
        elif kind == "stdlib":
            for name, file in stdlib.modules()[rank::world_size]:
                yield from stdlib.documents(name, file)
        else:
            files = data_files(Path(config["source"]), config["glob_pattern"])
            if not files:
                raise Problem(
                    f"{config['source']}: no data files in it",
                    "it takes .jsonl, .json, .parquet and .txt, plain or compressed (.gz, .zst, .xz, .bz2)",
                )
            by_file = len(files) >= world_size
            for file in files[rank::world_size] if by_file else files:
                for i, row in enumerate(rows_of(file, config["text_key"], config["id_key"])):
                    if by_file or i % world_size == rank:
                        yield row


def _hub_rows(config: dict[str, Any], rank: int, world_size: int) -> Iterator[Row | Broken]:
    """Through datatrove's reader, which gives each task its files of a stream, or its rows where there is one file."""
    options = {"name": config["name"], "split": config["split"], "revision": config["revision"]}
    text_key, id_key = config["text_key"], config["id_key"]

    def adapter(self, data: dict[str, Any], path: str, id_in_file: int | str) -> dict[str, Any]:
        found = _row(data, text_key, id_key, f"{path}/{id_in_file}")
        # datatrove drops documents without text before anyone can count them
        text = found if isinstance(found, Broken) else found[1]
        return {"text": "x", "id": str(id_in_file), "metadata": {"row": found, "text": text}}

    reader = HuggingFaceDatasetReader(
        config["source"], {k: v for k, v in options.items() if v}, streaming=config["streaming"], adapter=adapter
    )
    try:
        for document in reader.run(None, rank, world_size):
            yield document.metadata["row"]
    except Problem:
        raise
    except Exception as error:
        problem = hub_problem(error, config["source"], config)
        if problem is None:
            raise
        raise problem from error


def hub_problem(error: Exception, name: str, entry: dict[str, Any]) -> Problem | None:
    """What `datasets` and the hub say, in words that name what to mend; None for what is none of theirs."""
    text, kind = str(error), type(error).__name__
    line = next((part.strip() for part in text.splitlines() if part.strip()), kind)[:200]
    chain = kind + "".join(type(e).__name__ for e in (error.__cause__, error.__context__) if e is not None)
    if "split" in text.lower() and isinstance(error, (ValueError, KeyError)):
        return Problem(f"{name}: no split `{entry.get('split')}`: {line}", "set `split` to one that it has")
    if "BuilderConfig" in text or "Config name is missing" in text:
        return Problem(f"{name}: no configuration `{entry.get('name')}`: {line}", "set `name` to one that it has")
    if "Gated" in chain or "gated" in text or "401" in text or "403" in text:
        return Problem(
            f"{name}: its owner asks for an account's consent: {line}",
            "accept the terms on its page and set HF_TOKEN, or take another dataset",
        )
    if "scripts are no longer supported" in text:
        return Problem(
            f"{name}: it is a loading script, which is no longer run",
            "set `revision: refs/convert/parquet`, or take another",
        )
    offline = ("OfflineMode", "ConnectError", "ConnectionError", "LocalEntryNotFound", "MaxRetry", "Timeout")
    if any(word in chain for word in offline) or "offline" in text.lower() or "Couldn't reach" in text:
        return Problem(
            f"{name}: the hub can't be reached, and it is not in the cache: {line}", "go online and run it again"
        )
    if "NotFound" in chain or "doesn't exist" in text:
        return Problem(f"{name}: no such dataset on the hub: {line}", "check `source`, `name` and `revision`")
    return None
