"""Passages, vectors, documents in two collections of Qdrant, a server; without a URL its local mode, for few passages.

Qdrant has no transactions: a document counts as in (`known`) only after all of its passages are, so that an ingest that
was killed between puts it in again.
"""

from __future__ import annotations

import contextlib
import os
import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

import numpy as np
from qdrant_client import QdrantClient
from qdrant_client import models as q
from qdrant_client.http.exceptions import ApiException

from ..config import Config
from ..types import Change, Counts, Document, IndexSpec, Passage, Problem, Unavailable, Vectors, Where, as_searched
from .postgres_schema import schema_name
from .rows import alone, document_of, document_row, passage_of, refuse_different, scalars

AT_ONCE = 256  # points in one request
TIMEOUT_S = 10
STATE = str(uuid.uuid5(uuid.NAMESPACE_OID, "state"))


def open_store(spec: IndexSpec, config: Config) -> QdrantStore:
    return QdrantStore(spec, config)


class QdrantStore:
    """Obeys types.Store."""

    def __init__(self, spec: IndexSpec, config: Config) -> None:
        self.spec = spec
        self._folder = config.folder / "index" / "qdrant"
        self._url = config.store.get("url")
        hnsw = {"m": 16, "ef_construction": 128, "ef_search": 128, **(config.store.get("hnsw") or {})}
        self._ef = hnsw["ef_search"]
        # one name for each index, of letters that a collection may have
        self._passages, self._documents = (schema_name(spec.name) + end for end in ("", "_documents"))
        with self._reached():
            self._client = self._connect()
            if not self._client.collection_exists(self._documents):
                built = q.HnswConfigDiff(m=hnsw["m"], ef_construct=hnsw["ef_construction"])
                # of the inner product: for cosine Qdrant would change the vectors, which are of length 1 already
                size = q.VectorParams(size=spec.dimension, distance=q.Distance.DOT)
                with contextlib.suppress(ValueError, ApiException):  # another made it just now
                    self._client.create_collection(self._passages, size, hnsw_config=built)
                if self._url:
                    self._client.create_payload_index(self._passages, "document", q.PayloadSchemaType.KEYWORD)
                self._client.create_collection(self._documents, vectors_config={})
                self._put_state({"spec": asdict(spec), "generation": 0})
            refuse_different(self._state()["spec"], spec)

    def known(self) -> dict[str, str]:
        with self._reached():
            return {row["id"]: row["sha256"] for row in self._scroll(self._documents, _any_document())}

    def apply(self, changes: Sequence[Change], removed: Sequence[str] = ()) -> None:
        with self._reached():
            gone = [*removed, *(change.document.id for change in changes)]
            if not gone:
                return
            # first what says that they are in, last what says it again
            for at in range(0, len(gone), AT_ONCE):
                some = gone[at : at + AT_ONCE]
                self._client.delete(self._documents, q.PointIdsList(points=[_point("d", id_) for id_ in some]))
                mine = q.Filter(must=[q.FieldCondition(key="document", match=q.MatchAny(any=list(some)))])
                for collection in (self._documents, self._passages):  # parents, passages
                    self._client.delete(collection, q.FilterSelector(filter=mine))
            self._upsert(self._passages, [point for change in changes for point in _passage_points(change)])
            self._upsert(self._documents, [point for change in changes for point in _document_points(change)])
            self._put_state({"generation": self._state()["generation"] + 1})

    def ingesting(self) -> AbstractContextManager[None]:
        """Of the programs on this machine; Qdrant has no locks for those on others."""
        return alone(self._folder.parent, self.spec.name)

    def settle(self) -> None:
        """Qdrant builds its graphs by itself."""

    def dense(self, vector: Vectors, k: int, where: Where | None = None) -> list[tuple[str, float]]:
        with self._reached():
            found = self._client.query_points(
                self._passages,
                query=np.asarray(vector, np.float32).tolist(),
                limit=k,
                query_filter=_filter(where),
                search_params=q.SearchParams(hnsw_ef=max(k, self._ef)) if self._url else None,
                with_payload=["id"],
            ).points
        return sorted(((p.payload["id"], p.score) for p in found if p.payload), key=lambda each: (-each[1], each[0]))

    def lexicon(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        with self._reached():
            titles = {row["id"]: row["title"] for row in self._scroll(self._documents, _any_document())}
            for row in self._scroll(self._passages):
                yield row["id"], as_searched(titles.get(row["document"], ""), row["heading"], row["text"]), row["meta"]

    def generation(self) -> int:
        with self._reached():
            return int(self._state()["generation"])

    def fetch(self, ids: Sequence[str]) -> dict[str, Passage]:
        with self._reached():
            rows = self._client.retrieve(self._passages, [_point("p", id_) for id_ in ids])
            parents = self._client.retrieve(self._documents, [_point("r", id_) for id_ in ids])
            return {row.payload["id"]: passage_of(row.payload) for row in [*rows, *parents] if row.payload}

    def around(self, passage: Passage, before: int, after: int) -> list[Passage]:
        place = q.Range(gte=passage.ordinal - before, lte=passage.ordinal + after)
        mine = [
            q.FieldCondition(key="document", match=q.MatchValue(value=passage.document)),
            q.FieldCondition(key="ordinal", range=place),
        ]
        with self._reached():
            is_parent = bool(self._client.retrieve(self._documents, [_point("r", passage.id)], with_payload=False))
            kept = self._documents if is_parent else self._passages
            rows = self._scroll(kept, q.Filter(must=mine))
            return sorted(map(passage_of, rows), key=lambda each: each.ordinal)

    def document(self, id: str) -> Document | None:
        with self._reached():
            rows = self._client.retrieve(self._documents, [_point("d", id)])
            return document_of(rows[0].payload) if rows and rows[0].payload else None

    def scan(self, batch: int = 256) -> Iterator[Change]:
        for id_ in sorted(self.known(), key=str.encode):
            document = self.document(id_)
            if document is not None:
                with self._reached():
                    yield self._change(document)

    def counts(self) -> Counts:
        with self._reached():
            documents = list(self._scroll(self._documents, _any_document()))
            points = self._client.count(self._passages, exact=True).count
            has_text = sum(1 for _ in self._scroll(self._passages, fields=["text"]))
        size = sum(f.stat().st_size for f in self._folder.rglob("*") if f.is_file()) if not self._url else 0
        return Counts(len(documents), sum(row["passages"] for row in documents), points, has_text, size)

    def check(self) -> None:
        with self._reached():
            self._client.collection_exists(self._documents)

    def close(self) -> None:
        self._client.close()

    def _connect(self) -> QdrantClient:
        if self._url:
            return QdrantClient(url=self._url, api_key=os.environ.get("QDRANT_API_KEY"), timeout=TIMEOUT_S)
        self._folder.mkdir(parents=True, exist_ok=True)
        warnings.filterwarnings("ignore", message="Local mode is not recommended", category=UserWarning)
        try:
            return QdrantClient(path=str(self._folder), force_disable_check_same_thread=True)
        except RuntimeError as error:
            raise Problem(
                f"{self._folder} is open in another program, and Qdrant's local mode serves one at a time: "
                "give store.url a server"
            ) from error

    def _change(self, document: Document) -> Change:
        mine = q.Filter(must=[q.FieldCondition(key="document", match=q.MatchValue(value=document.id))])
        found = sorted(self._points(self._passages, mine, vectors=True), key=lambda point: point.payload["ordinal"])
        vectors = np.array([point.vector for point in found], np.float32).reshape(len(found), self.spec.dimension)
        parents = sorted(map(passage_of, self._scroll(self._documents, mine)), key=lambda each: each.ordinal)
        return Change(document, tuple(passage_of(point.payload) for point in found), vectors, tuple(parents))

    def _state(self) -> dict[str, Any]:
        found = self._client.retrieve(self._documents, [STATE])
        if not found or not found[0].payload:
            raise Problem(f"the collection {self._documents} is none of ours, or was never finished: remove it")
        return found[0].payload

    def _put_state(self, state: dict[str, Any]) -> None:
        held = self._client.retrieve(self._documents, [STATE])
        before = (held[0].payload or {}) if held else {}
        self._client.upsert(self._documents, [q.PointStruct(id=STATE, vector={}, payload={**before, **state})])

    def _upsert(self, collection: str, points: list[q.PointStruct]) -> None:
        for at in range(0, len(points), AT_ONCE):
            self._client.upsert(collection, points[at : at + AT_ONCE], wait=True)

    def _scroll(
        self, collection: str, some: q.Filter | None = None, fields: list[str] | None = None
    ) -> Iterator[dict[str, Any]]:
        return (point.payload for point in self._points(collection, some, fields))

    def _points(
        self, collection: str, some: q.Filter | None, fields: list[str] | None = None, vectors: bool = False
    ) -> Iterator[Any]:
        after: Any = None
        while True:
            found, after = self._client.scroll(
                collection, some, limit=1000, offset=after, with_payload=fields or True, with_vectors=vectors
            )
            yield from found
            if after is None:
                return

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (ApiException, ConnectionError, OSError) as error:
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise Unavailable(f"Qdrant at {self._url or self._folder} does not answer: {said[0]}") from error


def _point(kind: str, id_: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{kind}:{id_}"))


def _passage_points(change: Change) -> Iterator[q.PointStruct]:
    for passage, vector in zip(change.passages, change.vectors, strict=True):
        yield q.PointStruct(id=_point("p", passage.id), vector=vector.tolist(), payload=asdict(passage))


def _document_points(change: Change) -> Iterator[q.PointStruct]:
    """Parents first: the document says that all is in."""
    for parent in change.parents:
        yield q.PointStruct(id=_point("r", parent.id), vector={}, payload={**asdict(parent), "kind": "parent"})
    row = {**document_row(change.document), "kind": "document", "passages": len(change.passages)}
    yield q.PointStruct(id=_point("d", change.document.id), vector={}, payload=row)


def _any_document() -> q.Filter:
    return q.Filter(must=[q.FieldCondition(key="kind", match=q.MatchValue(value="document"))])


def _filter(where: Where | None) -> q.Filter | None:
    parts: list[q.Condition] = []
    for key, wanted in (where or {}).items():
        some = scalars(wanted)
        if not all(isinstance(value, (str, bool, int)) for value in some):
            raise Problem(f"a filter in Qdrant is on text, whole numbers, true or false; {key} is {wanted!r}")
        each = [q.FieldCondition(key=f'meta."{key}"', match=q.MatchValue(value=value)) for value in some]
        parts.append(q.Filter(should=list(each)) if each else q.HasIdCondition(has_id=[]))
    return q.Filter(must=parts) if parts else None
