"""Passages, vectors, full text and metadata in PostgreSQL, in one transaction; embedded, or a server by its URL."""

# what is put into statements is constants and the dimension; values are parameters
# ruff: noqa: S608

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import psycopg
from psycopg import Connection, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool, PoolTimeout

from ..config import Config
from ..types import Change, Counts, Document, IndexSpec, Passage, Problem, Unavailable, Vectors, Where, as_searched
from . import embedded, postgres_schema
from .postgres_rows import DOCUMENT, PASSAGE, copy_in, document_of, filtered_by, whole

WAIT_S = 3.0  # for a connection, before the store counts as unavailable
CONNECTIONS = 16


def open_store(spec: IndexSpec, config: Config) -> PostgresStore:
    url = config.store.get("url")
    server = None if url else embedded.Embedded(config.folder / "index" / "postgres")
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
            raise Problem("store.url is no address, as in postgresql://user@host:5432/database") from error
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
            copy_in(connection, changes)

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
        """The graph is built over all vectors at once, in a fraction of the time that adding them singly takes."""
        with self._connection() as connection:
            if connection.execute("select to_regclass('embedding_hnsw')").fetchone() != (None,):
                connection.execute("analyze embedding, passage")  # what is dead is for autovacuum
                return
            try:
                self._build(connection, workers=4)
            except psycopg.errors.DiskFull:  # of /dev/shm, which is small in containers
                self._build(connection, workers=0)
            connection.execute("vacuum (analyze) embedding, passage")

    def _build(self, connection: Connection[Any], workers: int) -> None:
        """In memory as long as it has room there: 16 bits for each number, and the edges."""
        row = connection.execute("select count(*) from embedding").fetchone()
        mb = max(64, min(4096, int(row[0] if row else 0) * (2 * self.spec.dimension + 700) * 3 // 2 >> 20))
        with connection.transaction():
            connection.execute(f"set local maintenance_work_mem = '{mb}MB'")
            connection.execute(f"set local max_parallel_maintenance_workers = {workers}")
            graph = sql.SQL(
                "create index if not exists embedding_hnsw on embedding using hnsw ((v::halfvec({d})) halfvec_ip_ops) "
                "with (m = {m}, ef_construction = {ef})"
            )
            d, m, ef = self.spec.dimension, self._hnsw["m"], self._hnsw["ef_construction"]
            connection.execute(graph.format(d=d, m=m, ef=ef))

    def dense(self, vector: Vectors, k: int, where: Where | None = None) -> list[tuple[str, float]]:
        filtered, values = filtered_by(where)
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

    def similarities(self, vector: Vectors, ids: Sequence[str]) -> dict[str, float]:
        """Of passages that were found another way; those that are gone are left out."""
        asked = np.ascontiguousarray(vector, dtype=np.float32)
        with self._connection() as connection:
            query = "select id, -(v <#> %s) from embedding where id = any(%s)"
            return dict(connection.execute(query, [asked, list(ids)], binary=True).fetchall())

    def full_text(self, query: str, k: int, where: Where | None = None) -> list[tuple[str, float]]:
        """PostgreSQL's own ranking of passages with any of the words; for indexes too large for BM25 in memory."""
        filtered, values = filtered_by(where, "p.meta")
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
            return document_of(row) if row else None

    def scan(self, batch: int = 256) -> Iterator[Change]:
        """By the bytes of the ids, each batch as it was at one moment."""
        last: str | None = None
        after = '%s::text is null or id collate "C" > %s order by id collate "C" limit %s'
        while True:
            with self._connection() as connection, connection.transaction():
                connection.execute("set transaction isolation level repeatable read")
                rows = connection.execute(
                    f"select {DOCUMENT} from document where {after}", [last, last, batch]
                ).fetchall()
                changes = whole(connection, rows, self.spec.dimension)
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
