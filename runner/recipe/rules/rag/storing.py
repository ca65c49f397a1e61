"""Rules about the index: where it is, how it is searched, and what may stand in its address."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

from runner.diagnostics import Diagnostic
from runner.facts.servers import HOST
from runner.recipe.kinds import kind_schema
from runner.recipe.load import printable
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.rag.passages import value

SCHEMES = {"postgres": ("postgresql", "postgres"), "qdrant": ("http", "https")}
# with a password in it: `scheme://user:password@host`, `?password=` and libpq's `host=... password=...`
_CREDENTIALS = re.compile(r"^[A-Za-z][\w+.-]*://[^/@\s:]*:[^/@\s]+@|(?:^|[?&\s])password\s*=")
_ADDRESSES = ("store.url", "generator.endpoint", "evaluation.judge.endpoint", "service.otlp_endpoint")


@rule(
    "R985",
    "an index that is not there",
    source="https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING",
)
def address(facts: Facts) -> Iterator[Diagnostic]:
    """PostgreSQL's address begins with `postgresql://`, Qdrant's with `http://`. PostgreSQL and LanceDB need none: one
    is started inside the run's folder, the other keeps its files there. Qdrant is a server that somebody has started.
    """
    kind, url = str(facts.get("store.kind") or "postgres"), facts.get("store.url")
    if kind == "qdrant" and url is None and "store" not in facts.refused:
        yield facts.report(
            "R985", "store.kind", "Qdrant is a server, and nothing says where it is", help="add `url: http://HOST:6333`"
        )
    # or libpq's own words, `host=... dbname=...`
    words = isinstance(url, str) and kind == "postgres" and "://" not in url and "=" in url
    if not isinstance(url, str) or words or kind not in SCHEMES or url.partition("://")[0].lower() in SCHEMES[kind]:
        return
    wanted, store = SCHEMES[kind][0], "PostgreSQL" if kind == "postgres" else "Qdrant"
    yield facts.report(
        "R985",
        "store.url",
        f"`{printable(_without_password(url), 80)}` is no address of {store}",
        help=f"write `{wanted}://HOST:PORT{'/DATABASE' if kind == 'postgres' else ''}`",
    )


@rule("R986", "a graph that can't be built", source="https://github.com/pgvector/pgvector#index-options")
def graph(facts: Facts) -> Iterator[Diagnostic]:
    """pgvector wants at least twice as many candidates as links when it puts a vector in, and says so only when the
    index is made, after everything was embedded.
    """
    schema = kind_schema("rag")["properties"]["store"]["properties"]["hnsw"]["properties"]
    m, ef = (int(facts.get(f"store.hnsw.{key}") or schema[key]["default"]) for key in ("m", "ef_construction"))
    if str(facts.get("store.kind") or "postgres") == "postgres" and ef < 2 * m:
        at = "ef_construction" if facts.has("store.hnsw.ef_construction") else "m"
        yield facts.report(
            "R986",
            f"store.hnsw.{at}",
            f"`ef_construction: {ef}` is less than twice `m: {m}`",
            help=f"set `ef_construction: {2 * m}` or more",
        )


@rule(
    "R979",
    "fewer candidates than passages",
    source="https://plg.uwaterloo.ca/~gvcormac/cormacksigir09-rrf.pdf",
    severity="warning",
)
def candidates(facts: Facts) -> Iterator[Diagnostic]:
    """`candidates` is how long each list is before they are fused or read again. With fewer than `top_k` there is
    nothing to choose from, and as many as `top_k` are taken after all.
    """
    wanted, given = value(facts, "retrieval.top_k"), value(facts, "retrieval.candidates")
    if given < wanted:
        yield facts.report(
            "R979",
            "retrieval.candidates" if facts.has("retrieval.candidates") else "retrieval.top_k",
            f"{given} candidates for {wanted} passages leave nothing to choose from",
            help=f"set `candidates: {max(100, 4 * wanted)}`",
            severity="warning",
        )
    kept = facts.get("retrieval.rerank.top_n")
    if isinstance(kept, int) and kept > wanted:
        yield facts.report(
            "R979",
            "retrieval.rerank.top_n",
            f"the reranker keeps {kept} passages, and `top_k` gives {wanted}",
            help=f"set `top_k: {kept}`, or remove `top_n`",
            severity="warning",
        )


@rule("R987", "lists that count for nothing", source="https://plg.uwaterloo.ca/~gvcormac/cormacksigir09-rrf.pdf")
def weights(facts: Facts) -> Iterator[Diagnostic]:
    """Hybrid search fuses two lists by their weights. With both at 0 every passage is worth the same, and what is given
    is chance.
    """
    for at in ("retrieval", *(at for at, _ in facts.all("evaluation.variants.*.retrieval"))):
        if facts.get(f"{at}.weights.dense") == 0 and facts.get(f"{at}.weights.bm25") == 0:
            yield facts.report(
                "R987", f"{at}.weights", "neither of the two lists counts", help="give one of them a weight above 0"
            )


@rule(
    "R515",
    "a password in an address",
    source="https://cheatsheetseries.owasp.org/cheatsheets/Secrets_Management_Cheat_Sheet.html",
)
def password(facts: Facts) -> Iterator[Diagnostic]:
    """A recipe is committed, rendered into run directories and shown in reports, and so is a password in it. PostgreSQL
    takes its password from PGPASSWORD or ~/.pgpass, Qdrant its key from QDRANT_API_KEY. The line is not shown here, so
    that a log does not leak it once more.
    """
    for path in _ADDRESSES:
        node = facts.node(path)
        if node is None or not isinstance(node.value, str) or not _CREDENTIALS.search(node.value):
            continue
        yield replace(
            facts.report(
                "R515",
                path,
                f"`{path}` on line {node.span.line} holds a password",
                help="leave it out, and set PGPASSWORD in the environment, or QDRANT_API_KEY for Qdrant",
            ),
            span=replace(node.span, line=0, column=0, width=1),
        )


def _without_password(url: str) -> str:
    return re.sub(r"(?<=://)[^/@\s]*@", "", url)


@rule("R516", "not a host", source="https://www.rfc-editor.org/rfc/rfc1123#section-2.1")
def host(facts: Facts) -> Iterator[Diagnostic]:
    """`service.host` is an address or a name to listen on: 127.0.0.1 for this machine alone, 0.0.0.0 for all that can
    reach it, which needs an API key.
    """
    given = facts.get("service.host")
    if isinstance(given, str) and not HOST.fullmatch(given.strip("[]")):
        shown = printable(given, 60)
        mend = urlsplit(given).hostname if "://" in given else None
        yield facts.report(
            "R516",
            "service.host",
            f"`{shown}` is no host to listen on",
            help=f"set `host: {mend}`"
            if mend and HOST.fullmatch(mend)
            else "set `host: 127.0.0.1`, or another address",
        )
