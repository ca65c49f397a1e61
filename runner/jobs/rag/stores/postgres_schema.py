"""IndexSpec -> the tables of an index in a schema of PostgreSQL of its own; refuses an index made with another spec."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict
from typing import Any

from psycopg import Connection, errors, sql

from ..types import IndexSpec, Problem
from .rows import refuse_different

# PostgreSQL's names of the languages that Snowball stems, which are the stemmers' own; others are left as they are
LANGUAGES = {
    *("arabic", "armenian", "basque", "catalan", "danish", "dutch", "english", "finnish", "french", "german", "greek"),
    *("hindi", "hungarian", "indonesian", "irish", "italian", "lithuanian", "nepali", "norwegian", "portuguese"),
    *("romanian", "russian", "serbian", "spanish", "swedish", "tamil", "turkish", "yiddish"),
}
TABLES = """
create table state (
    one bool primary key default true check (one),
    spec jsonb not null,
    generation bigint not null default 0
);
create table document (
    id text primary key, sha256 text not null, uri text not null, title text not null, mime text not null,
    body text not null, meta jsonb not null, pages int[] not null
);
-- passages that are searched, and the parents that they are shown in
create table passage (
    id text primary key, document text not null references document on delete cascade,
    ordinal int not null, searched bool not null, title text not null, heading text not null, body text not null,
    start_at int not null, end_at int not null, start_line int not null, end_line int not null, page int,
    tokens int not null, parent text, meta jsonb not null,
    words tsvector generated always as (case when searched then
        setweight(to_tsvector({language}, title || ' ' || heading), 'A') || to_tsvector({language}, body) end) stored
);
create index passage_place on passage (document, searched, ordinal);
create index passage_words on passage using gin (words);
-- apart from the text, so that a search reads nothing else; the metadata is here too, to filter while it searches
create table embedding (
    id text primary key references passage on delete cascade, meta jsonb not null, v vector({dimension}) not null
);
alter table embedding alter column v set storage plain;
create index embedding_meta on embedding using gin (meta jsonb_path_ops);
"""


def schema_name(index: str) -> str:
    """A valid and unused name for each index's; two that read alike stay apart."""
    plain = re.sub(r"[^a-z0-9]+", "_", index.lower()).strip("_")[:40]
    return f"rag_{plain}_{hashlib.sha256(index.encode()).hexdigest()[:8]}"


def language_of(retrieval: dict[str, Any]) -> str:
    stemmer = (retrieval.get("bm25") or {}).get("stemmer") or "simple"
    return stemmer if stemmer in LANGUAGES else "simple"


def prepare(connection: Connection[Any], spec: IndexSpec, language: str) -> tuple[int, ...]:
    """Makes what is not there yet; pgvector's version. `connection` is in autocommit."""
    name = sql.Identifier(schema_name(spec.name))
    try:
        with connection.transaction():
            # two that open an index for the first time make it once
            connection.execute("select pg_advisory_xact_lock(hashtext('rag prepare'))")
            connection.execute("create extension if not exists vector")
            version = _pgvector(connection)
            connection.execute(sql.SQL("create schema if not exists {}").format(name))
            _path(connection, name)
            if connection.execute("select to_regclass('state')").fetchone() == (None,):
                parts = {"language": sql.Literal(language), "dimension": sql.Literal(spec.dimension)}
                parts["language"] = sql.SQL("{}::regconfig").format(parts["language"])
                connection.execute(sql.SQL(TABLES).format(**parts))
                connection.execute("insert into state (spec) values (%s)", [json.dumps(asdict(spec))])
    except (errors.FeatureNotSupported, errors.UndefinedFile) as error:
        raise Problem("this PostgreSQL has no pgvector: install it on the server, postgresql-NN-pgvector") from error
    except errors.InsufficientPrivilege as error:
        raise Problem(
            f"PostgreSQL's user may not make what is missing: {_first(error)}; let its owner run "
            "`create extension vector` and `grant create on database`"
        ) from error
    refuse_another(connection, spec)
    return version


def _path(connection: Connection[Any], name: sql.Identifier) -> None:
    row = connection.execute(
        "select nspname from pg_extension join pg_namespace n on n.oid = extnamespace where extname = 'vector'"
    ).fetchone()
    vector = sql.Identifier(row[0] if row else "public")
    connection.execute(sql.SQL("set search_path to {}, {}").format(name, vector))


def _pgvector(connection: Connection[Any]) -> tuple[int, ...]:
    row = connection.execute("select extversion from pg_extension where extname = 'vector'").fetchone()
    version = tuple(int(part) for part in row[0].split(".")) if row else ()
    if version < (0, 8):
        raise Problem(f"pgvector {row[0] if row else ''} is too old: filtered searches need 0.8 or later")
    return version


def refuse_another(connection: Connection[Any], spec: IndexSpec) -> None:
    """Raises Problem: vectors of two models in one index find nothing, and say nothing about it."""
    row = connection.execute("select spec from state").fetchone()
    refuse_different(row[0] if row else {}, spec)


def connect_settings(connection: Connection[Any], spec: IndexSpec, ef_search: int) -> None:
    """What each connection of the pool is set to, once."""
    from pgvector.psycopg import register_vector

    _path(connection, sql.Identifier(schema_name(spec.name)))
    register_vector(connection)
    connection.execute(f"set hnsw.ef_search = {int(ef_search)}")
    # goes on until there are enough that pass the filter; without, a rare value finds nothing
    connection.execute("set hnsw.iterative_scan = strict_order")


def _first(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
