"""Passages, vectors, full text and metadata in PostgreSQL, in one transaction; embedded, or a server by its URL."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import psycopg
from psycopg import Connection, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool, PoolTimeout

from ..config import Config
from ..types import Change, Counts, Document, IndexSpec, Passage, Problem, Unavailable, Vectors, Where
from ..types import as_searched
from . import embedded, postgres_schema

WAIT_S = 3.0  # for a connection, before the store counts as unavailable
CONNECTIONS = 16
DOCUMENT = "id, uri, title, sha256, mime, body, meta, pages"
PASSAGE = "id, document, ordinal, body, start_at, end_at, start_line, end_line, tokens, page, heading, parent, meta"


def open_store(spec: IndexSpec, config: Config) -> PostgresStore:
    url = config.store.get("url")
    server = None if url else embedded.Embedded(config.folder / "postgres")
    try:
        return PostgresStore(spec, config, server)
    except embedded.NoServer as error:
        raise Problem(str(error)) from error


class PostgresStore:
    """Obeys types.Store."""

    def __init__(self, spec: IndexSpec, config: Config, server: embedded.Embedded | None) -> None:
        self.spec = spec
        self._server = server
        self._hnsw = {"m": 16, "ef_construction": 128, "ef_search": 128, **(config.store.get("hnsw") or {})}
        given = server.conninfo() if server else config.store["url"]
        try:
            self._conninfo = make_conninfo(given, connect_timeout=3, application_name=f"rag {spec.name}"[:60])
        except psycopg.ProgrammingError as error:
            raise Problem("store.url is no address of PostgreSQL, as in postgresql://user@host:5432/database") from error
        self._language = postgres_schema.language_of(config.retrieval)
        self._reviving = threading.Lock()
        try:
            with psycopg.connect(self._conninfo, autocommit=True) as connection:
                postgres_schema.prepare(connection, spec, self._language)
        except psycopg.OperationalError as error:
            raise Unavailable(self._says(error)) from error
        self._pool = ConnectionPool(
            self._conninfo,
            min_size=1,
            max_size=CONNECTIONS,
            timeout=WAIT_S,
            kwargs={"autocommit": True},
            configure=lambda c: postgres_schema.connect_settings(c, spec, self._hnsw["ef_search"]),
            check=ConnectionPool.check_connection,
            reconnect_timeout=1.0,  # then each request tries again, so that a server that is back is used at once
            open=True,
        )

    def known(self) -> dict[str, str]:
        with self._connection() as connection:
            return dict(connection.execute("select id, sha256 from document").fetchall())

    def apply(self, changes: Sequence[Change], removed: Sequence[str] = ()) -> None:
        with self._connection() as connection, connection.transaction():
            # one writer at a time; a reader that sees the new number sees the new passages
            connection.execute("update state set generation = generation + 1")
            gone = [*removed, *(change.document.id for change in changes)]
            connection.execute("delete from document where id = any(%s)", [gone])
            with connection.cursor() as cursor:
                _copy(cursor, "document", _documents(changes))
                _copy(cursor, "passage", _passages(changes))
                _copy(cursor, "embedding", _vectors(changes))

    @contextlib.contextmanager
    def ingesting(self) -> Iterator[None]:
        """A lock of the session: when this process dies, the server lets it go."""
        key = postgres_schema.schema_name(self.spec.name)
        with self._connection() as connection:
            taken = connection.execute("select pg_try_advisory_lock(hashtext(%s))", [key]).fetchone()
            if taken != (True,):
                raise Problem(f"another ingest into {self.spec.name!r} is running; try again when it has ended")
            try:
                yield
            finally:
                with contextlib.suppress(psycopg.Error):
                    connection.execute("select pg_advisory_unlock(hashtext(%s))", [key])

    def settle(self) -> None:
        """The graph is built over all vectors at once, in a tenth of the time that adding them singly takes."""
        with self._connection() as connection:
            if connection.execute("select to_regclass('embedding_hnsw')").fetchone() == (None,):
                with connection.transaction():
                    connection.execute("set local maintenance_work_mem = '512MB'")
                    connection.execute("set local max_parallel_maintenance_workers = 4")
                    connection.execute(
                        sql.SQL(
                            "create index if not exists embedding_hnsw on embedding using hnsw "
                            "((v::halfvec({d})) halfvec_ip_ops) with (m = {m}, ef_construction = {ef})"
                        ).format(d=self.spec.dimension, m=self._hnsw["m"], ef=self._hnsw["ef_construction"])
                    )
            connection.execute("vacuum (analyze) embedding")
            connection.execute("vacuum (analyze) passage")

    def dense(self, vector: Vectors, k: int, where: Where | None = None) -> list[tuple[str, float]]:
        filtered, values = _filter(where)
        asked = np.ascontiguousarray(vector, dtype=np.float32)
        near = (
            f"select id, -(v <#> %s) from embedding {filtered} "
            f"order by v::halfvec({self.spec.dimension}) <#> %s::vector::halfvec({self.spec.dimension}) limit %s"
        )
        with self._connection() as connection:
            found = connection.execute(near, [asked, *values, asked, k], binary=True).fetchall()
            if filtered and len(found) < k:
                exact = (
                    f"with matching as materialized (select id, v from embedding {filtered}) "
                    "select id, -(v <#> %s) from matching order by 2 desc limit %s"
                )
                found = connection.execute(exact, [*values, asked, k], binary=True).fetchall()
        # the graph is of 16-bit vectors; what it found is ranked by the whole ones
        return sorted(found, key=lambda row: (-row[1], row[0]))

    def full_text(self, query: str, k: int, where: Where | None = None) -> list[tuple[str, float]]:
        """PostgreSQL's own ranking of passages with any of the words; for indexes too large for BM25 in memory."""
        filtered, values = _filter(where, "p.meta")
        ranked = (
            "with asked as (select string_agg(quote_literal(word), '|')::tsquery as q "
            f"from unnest(tsvector_to_array(to_tsvector('{self._language}', %s))) as word) "
            "select p.id, ts_rank_cd(words, q, 1) as score from passage p, asked "
            f"{filtered or 'where true'} and words @@ q order by score desc, p.id limit %s"
        )
        with self._connection() as connection:
            return connection.execute(ranked, [query, *values, k]).fetchall()

    def lexicon(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        query = "select id, title, heading, body, meta from passage where searched order by document, ordinal"
        with self._connection() as connection, connection.transaction(), connection.cursor("lexicon") as cursor:
            cursor.itersize = 5000
            for id_, title, heading, body, meta in cursor.execute(query):
                yield id_, as_searched(title, heading, body), meta

    def generation(self) -> int:
        with self._connection() as connection:
            row = connection.execute("select generation from state").fetchone()
            return int(row[0]) if row else 0

    def fetch(self, ids: Sequence[str]) -> dict[str, Passage]:
        with self._connection() as connection:
            rows = connection.execute(f"select {PASSAGE} from passage where id = any(%s)", [list(ids)])
            return {row[0]: Passage(*row) for row in rows}

    def around(self, passage: Passage, before: int, after: int) -> list[Passage]:
        query = (
            f"select {PASSAGE} from passage where document = %s and ordinal between %s and %s and searched = "
            "coalesce((select searched from passage where id = %s), true) order by ordinal"
        )
        place = [passage.document, passage.ordinal - before, passage.ordinal + after, passage.id]
        with self._connection() as connection:
            return [Passage(*row) for row in connection.execute(query, place)]

    def document(self, id: str) -> Document | None:
        with self._connection() as connection:
            row = connection.execute(f"select {DOCUMENT} from document where id = %s", [id]).fetchone()
            return _document(row) if row else None

    def scan(self, batch: int = 256) -> Iterator[Change]:
        """By the bytes of the ids, each batch as it was at one moment."""
        last: str | None = None
        select = f'select {DOCUMENT} from document where %s::text is null or id collate "C" > %s order by id collate "C"'
        while True:
            with self._connection() as connection, connection.transaction():
                connection.execute("set transaction isolation level repeatable read")
                rows = connection.execute(f"{select} limit %s", [last, last, batch]).fetchall()
                changes = _changes(connection, rows, self.spec.dimension)
            if not rows:
                return
            last = rows[-1][0]
            yield from changes

    def counts(self) -> Counts:
        query = (
            "select (select count(*) from document), (select count(*) from passage where searched), "
            "(select count(*) from embedding), (select count(words) from passage where searched), "
            "pg_total_relation_size('document') + pg_total_relation_size('passage') "
            "+ pg_total_relation_size('embedding')"
        )
        with self._connection() as connection:
            row = connection.execute(query).fetchone()
            assert row is not None
            return Counts(*map(int, row))

    def check(self) -> None:
        with self._connection() as connection:
            connection.execute("select 1 from state")

    def close(self) -> None:
        self._pool.close()
        if self._server:
            self._server.close()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Connection[Any]]:
        try:
            with self._pool.connection() as connection:
                yield connection
        except (PoolTimeout, psycopg.OperationalError, psycopg.InterfaceError) as error:
            self._revive()
            raise Unavailable(self._says(error)) from error

    def _revive(self) -> None:
        """An embedded server that died is started again, by one thread; the next request finds it."""
        if self._server and self._reviving.acquire(blocking=False):
            try:
                with contextlib.suppress(embedded.NoServer, OSError):
                    self._server.conninfo()
            finally:
                self._reviving.release()

    def _says(self, error: Exception) -> str:
        """Without the password that a URL may hold."""
        asked = conninfo_to_dict(self._conninfo)
        where = f"{asked.get('host', 'localhost')}:{asked.get('port', 5432)}/{asked.get('dbname', '')}"
        lines = str(error).strip().splitlines()
        return f"PostgreSQL at {where} does not answer: {lines[0] if lines else type(error).__name__}"


def _filter(where: Where | None, column: str = "meta") -> tuple[str, list[Jsonb]]:
    parts, values = [], []
    for key, wanted in (where or {}).items():
        some = list(wanted) if isinstance(wanted, (list, tuple)) else [wanted]
        parts.append("(" + " or ".join([f"{column} @> %s"] * len(some) or ["false"]) + ")")
        values += [Jsonb({key: value}) for value in some]
    return (f"where {' and '.join(parts)}" if parts else ""), values


def _copy(cursor: psycopg.Cursor[Any], table: str, rows: Iterator[tuple[tuple[str, str, Any], ...]]) -> None:
    """Each row is of (column, type, value); all have the same columns."""
    first = next(rows, None)
    if first is None:
        return
    columns = ", ".join(column for column, _, _ in first)
    with cursor.copy(f"copy {table} ({columns}) from stdin (format binary)") as copy:
        copy.set_types([kind for _, kind, _ in first])
        copy.write_row([value for _, _, value in first])
        for row in rows:
            copy.write_row([value for _, _, value in row])


def _documents(changes: Sequence[Change]) -> Iterator[tuple[tuple[str, str, Any], ...]]:
    for change in changes:
        d = change.document
        text = {"id": d.id, "sha256": d.sha256, "uri": d.uri, "title": d.title, "mime": d.mime, "body": d.text}
        yield (
            *((column, "text", value) for column, value in text.items()),
            ("meta", "jsonb", Jsonb(d.meta)),
            ("pages", "int4[]", list(d.pages)),
        )


def _passages(changes: Sequence[Change]) -> Iterator[tuple[tuple[str, str, Any], ...]]:
    for change in changes:
        for searched, passages in ((False, change.parents), (True, change.passages)):
            for p in passages:
                text = {"id": p.id, "document": p.document, "title": change.document.title}
                text |= {"heading": p.heading, "body": p.text, "parent": p.parent}
                number = {"ordinal": p.ordinal, "start_at": p.start, "end_at": p.end, "tokens": p.tokens}
                number |= {"start_line": p.start_line, "end_line": p.end_line, "page": p.page}
                yield (
                    *((column, "text", value) for column, value in text.items()),
                    *((column, "int4", value) for column, value in number.items()),
                    ("searched", "bool", searched),
                    ("meta", "jsonb", Jsonb(p.meta)),
                )


def _vectors(changes: Sequence[Change]) -> Iterator[tuple[tuple[str, str, Any], ...]]:
    for change in changes:
        for passage, vector in zip(change.passages, change.vectors, strict=True):
            yield ("id", "text", passage.id), ("meta", "jsonb", Jsonb(passage.meta)), ("v", "vector", vector)


def _document(row: Sequence[Any]) -> Document:
    return Document(*row[:7], pages=tuple(row[7]))


def _changes(connection: Connection[Any], rows: Sequence[Any], dimension: int) -> list[Change]:
    """Of the documents in `rows`, all else."""
    query = (
        f"select {', '.join('p.' + c for c in PASSAGE.split(', '))}, p.searched, e.v from passage p "
        "left join embedding e on e.id = p.id where p.document = any(%s) order by p.ordinal"
    )
    parts: dict[str, tuple[list[Passage], list[Passage], list[Any]]] = {row[0]: ([], [], []) for row in rows}
    for *row, searched, vector in connection.execute(query, [list(parts)], binary=True):
        passages, parents, vectors = parts[row[1]]
        (passages if searched else parents).append(Passage(*row))
        if searched:
            vectors.append(vector.to_numpy())
    none = np.zeros((0, dimension), np.float32)
    return [
        Change(_document(row), tuple(passages), np.array(vectors, np.float32) if vectors else none, tuple(parents))
        for row in rows
        for passages, parents, vectors in [parts[row[0]]]
    ]
