"""Passages, vectors, documents in one table of LanceDB, a folder; a change of any number of documents is one commit."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa

from ..config import Config
from ..types import Change, Counts, Document, IndexSpec, Passage, Unavailable, Vectors, Where, as_searched
from .rows import alone, document_of, document_row, passage_of, refuse_different, scalars

TABLE = "index"
# below it every vector is compared, in milliseconds
INDEXED_FROM = 20_000
# the graph's vectors are of 8 bits: of so many times the passages asked for, the whole vectors are compared
REFINE = 2
PASSAGE = [*Passage.__dataclass_fields__]


def open_store(spec: IndexSpec, config: Config) -> LanceStore:
    given = config.store.get("url")
    folder = Path(given) if given else config.folder / "index" / "lancedb"
    return LanceStore(spec, folder, config)


class LanceStore:
    """Obeys types.Store. Rows are of kind `document`, `parent` or `passage`; only the last have a vector."""

    def __init__(self, spec: IndexSpec, folder: Path, config: Config) -> None:
        self.spec, self._folder = spec, folder
        self._hnsw = {"m": 16, "ef_construction": 128, "ef_search": 128, **(config.store.get("hnsw") or {})}
        self._writing = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        base = lancedb.connect(folder)
        described = folder / "spec.json"
        if described.exists():
            refuse_different(json.loads(described.read_text()), spec)
        self._table = base.create_table(TABLE, schema=_schema(spec.dimension), exist_ok=True)
        described.write_text(json.dumps(asdict(spec)))

    def known(self) -> dict[str, str]:
        rows = self._rows("kind = 'document'", ["document", "sha256"])
        return {row["document"]: row["sha256"] for row in rows}

    def apply(self, changes: Sequence[Change], removed: Sequence[str] = ()) -> None:
        rows = [row for change in changes for row in _rows_of(change)]
        gone = [*removed, *(change.document.id for change in changes)]
        if not gone:
            return
        with self._writing:
            if not rows:
                self._table.delete(f"document in ({_listed(gone)})")
                return
            # one commit: what is new goes in, and what these documents had beside it goes out
            (
                self._table.merge_insert("key")
                .when_matched_update_all()
                .when_not_matched_insert_all()
                .when_not_matched_by_source_delete(f"document in ({_listed(gone)})")
                .execute(pa.Table.from_pylist(rows, schema=_schema(self.spec.dimension)), on_bad_vectors="null")
            )

    def ingesting(self) -> AbstractContextManager[None]:
        return alone(self._folder, self.spec.name)

    def settle(self) -> None:
        from lancedb.index import BTree, HnswSq

        with self._writing:
            there = {index.name for index in self._table.list_indices()}
            for column in ("key", "document"):
                if f"{column}_idx" not in there:
                    self._table.create_index(column, config=BTree())
            if "vector_idx" not in there and self._table.count_rows("kind = 'passage'") >= INDEXED_FROM:
                built = HnswSq(distance_type="dot", m=self._hnsw["m"], ef_construction=self._hnsw["ef_construction"])
                self._table.create_index("vector", config=built)
            self._table.optimize()

    def dense(self, vector: Vectors, k: int, where: Where | None = None) -> list[tuple[str, float]]:
        asked = np.ascontiguousarray(vector, np.float32)
        query = self._fresh().search(asked, vector_column_name="vector").distance_type("dot").limit(k)
        found = (
            query.where(_filter(where), prefilter=True)
            .select(["id", "_distance"])
            .nprobes(20)
            .refine_factor(REFINE)
            .ef(max(REFINE * k, self._hnsw["ef_search"]))
            .to_arrow()
        )
        # LanceDB's distance of the inner product is 1 less it
        pairs = zip(found["id"].to_pylist(), found["_distance"].to_pylist(), strict=True)
        return sorted(((id_, 1.0 - distance) for id_, distance in pairs), key=lambda pair: (-pair[1], pair[0]))

    def lexicon(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        titles = {row["document"]: row["title"] for row in self._rows("kind = 'document'", ["document", "title"])}
        columns = ["id", "document", "heading", "text", "meta"]
        for row in self._rows("kind = 'passage'", columns):
            yield row["id"], as_searched(titles[row["document"]], row["heading"], row["text"]), json.loads(row["meta"])

    def generation(self) -> int:
        return int(self._fresh().version)

    def fetch(self, ids: Sequence[str]) -> dict[str, Passage]:
        if not ids:
            return {}
        keys = [f"{kind}:{id_}" for id_ in ids for kind in ("passage", "parent")]
        return {row["id"]: _passage(row) for row in self._rows(f"key in ({_listed(keys)})", PASSAGE)}

    def around(self, passage: Passage, before: int, after: int) -> list[Passage]:
        kind = "passage" if self._fresh().count_rows(f"key = {_quoted(f'passage:{passage.id}')}") else "parent"
        place = f"ordinal >= {passage.ordinal - before} and ordinal <= {passage.ordinal + after}"
        rows = self._rows(f"document = {_quoted(passage.document)} and kind = '{kind}' and {place}", PASSAGE)
        return sorted(map(_passage, rows), key=lambda each: each.ordinal)

    def document(self, id: str) -> Document | None:
        rows = list(self._rows(f"key = {_quoted(f'document:{id}')}"))
        return _document(rows[0]) if rows else None

    def scan(self, batch: int = 256) -> Iterator[Change]:
        ids = sorted(self.known(), key=str.encode)
        for at in range(0, len(ids), batch):
            some = ids[at : at + batch]
            parts: dict[str, list[dict[str, Any]]] = {id_: [] for id_ in some}
            for row in self._rows(f"document in ({_listed(some)})"):
                parts[row["document"]].append(row)
            yield from (_change(parts[id_], self.spec.dimension) for id_ in some)

    def counts(self) -> Counts:
        table = self._fresh()
        said = sum(row["ordinal"] for row in self._rows("kind = 'document'", ["ordinal"]))
        size = sum(file.stat().st_size for file in self._folder.rglob("*") if file.is_file())
        return Counts(
            documents=table.count_rows("kind = 'document'"),
            passages=said,
            vectors=table.count_rows("kind = 'passage' and vector is not null"),
            lexical=table.count_rows("kind = 'passage' and text is not null"),
            bytes=size,
        )

    def check(self) -> None:
        try:
            self._fresh()
        except (OSError, RuntimeError, ValueError) as error:
            raise Unavailable(f"LanceDB at {self._folder} can't be read: {str(error).splitlines()[0]}") from error

    def close(self) -> None:
        pass

    def _fresh(self) -> Any:
        """As it is now, whoever wrote."""
        self._table.checkout_latest()
        return self._table

    def _rows(self, where: str, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
        query = self._fresh().search().where(where)
        for part in (query.select(columns) if columns else query).to_batches():
            yield from part.to_pylist()


def _schema(dimension: int) -> pa.Schema:
    text = ["key", "kind", "id", "document", "sha256", "uri", "title", "mime", "text", "heading", "parent", "meta"]
    number = ["ordinal", "start", "end", "start_line", "end_line", "page", "tokens"]
    return pa.schema(
        [
            *(pa.field(name, pa.string()) for name in text),
            *(pa.field(name, pa.int32()) for name in number),
            pa.field("pages", pa.list_(pa.int32())),
            # `key=value` of the metadata, for filters
            pa.field("tags", pa.list_(pa.string())),
            pa.field("vector", pa.list_(pa.float32(), dimension)),
        ]
    )


def _rows_of(change: Change) -> Iterator[dict[str, Any]]:
    document = change.document
    # the ordinal of a document is the number of its passages: what the others are counted against
    yield {
        **document_row(document),
        "kind": "document",
        "key": f"document:{document.id}",
        "document": document.id,
        "meta": json.dumps(document.meta),
        "ordinal": len(change.passages),
    }
    for parent in change.parents:
        yield {**asdict(parent), "kind": "parent", "key": f"parent:{parent.id}", "meta": json.dumps(parent.meta)}
    for passage, vector in zip(change.passages, change.vectors, strict=True):
        row = {**asdict(passage), "kind": "passage", "key": f"passage:{passage.id}"}
        tags = [_tag(key, value) for key, value in passage.meta.items()]
        yield {**row, "meta": json.dumps(passage.meta), "tags": tags, "vector": vector}


def _tag(key: str, value: Any) -> str:
    return f"{key}={json.dumps(value, sort_keys=True)}"


def _filter(where: Where | None) -> str:
    parts = ["kind = 'passage'"]
    for key, wanted in (where or {}).items():
        some = [f"array_has(tags, {_quoted(_tag(key, value))})" for value in scalars(wanted)]
        parts.append(f"({' or '.join(some) or 'false'})")
    return " and ".join(parts)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _listed(texts: Sequence[str]) -> str:
    return ", ".join(map(_quoted, texts))


def _passage(row: dict[str, Any]) -> Passage:
    return passage_of({**row, "meta": json.loads(row["meta"])})


def _document(row: dict[str, Any]) -> Document:
    return document_of({**row, "id": row["document"], "meta": json.loads(row["meta"]), "pages": row["pages"] or []})


def _change(rows: list[dict[str, Any]], dimension: int) -> Change:
    rows.sort(key=lambda row: row["ordinal"])
    passages = [row for row in rows if row["kind"] == "passage"]
    vectors = np.array([row["vector"] for row in passages], np.float32).reshape(len(passages), dimension)
    document = next(row for row in rows if row["kind"] == "document")
    parents = tuple(_passage(row) for row in rows if row["kind"] == "parent")
    return Change(_document(document), tuple(map(_passage, passages)), vectors, parents)
