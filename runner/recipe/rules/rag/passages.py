"""Rules about passages: whole for the embedding model, shorter than what they are cut from, and vectors of a size."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.facts.embedders import Embedder, find_embedder
from runner.recipe.kinds import kind_schema
from runner.recipe.rules import Facts, rule

_TRUNCATED = "https://www.sbert.net/examples/sentence_transformer/applications/computing-embeddings/README.html#input-sequence-length"
_PARENTS = "https://docs.llamaindex.ai/en/stable/examples/retrievers/auto_merging_retriever/"
# what pgvector's HNSW takes of a vector in 16 bits, as they lie in the graph
MOST_DIMENSIONS = {"postgres": 4000}


def value(facts: Facts, path: str) -> int:
    """A whole number of the recipe, or its default."""
    top, key = path.split(".")
    given = facts.get(path)
    return int(kind_schema("rag")["properties"][top]["properties"][key]["default"] if given is None else given)


def embedder(facts: Facts) -> Embedder | None:
    default = kind_schema("rag")["properties"]["embedding"]["properties"]["model"]["default"]
    return find_embedder(str(facts.get("embedding.model") or default), facts.root)


@rule("R971", "passages longer than the embedding model reads", source=_TRUNCATED, severity="warning")
def truncated(facts: Facts) -> Iterator[Diagnostic]:
    """An embedding model reads so many tokens and drops the rest without a word, so that no question finds a passage's
    end. Passages are therefore cut at what it reads, whatever `chunk_size` says; and beyond what the model was trained
    for, `max_length` gives vectors that mean less.
    """
    known, longest = embedder(facts), value(facts, "embedding.max_length")
    if known is not None and longest > known.max_length:
        yield facts.report(
            "R971",
            "embedding.max_length",
            f"the embedding model was trained to read {known.max_length:,} tokens, `max_length` asks for {longest:,}",
            help=f"set `max_length: {known.max_length}`",
            severity="warning",
        )
        return
    size = value(facts, "chunking.chunk_size")
    if size > longest:
        most = known.max_length if known is not None else longest
        more = f", or `embedding.max_length: {min(size, most)}`" if most >= size else ""
        yield facts.report(
            "R971",
            "chunking.chunk_size",
            f"passages of {size:,} tokens are asked for, and the embedding model reads {longest:,}",
            note="they are cut at what it reads: the rest of a longer one would be dropped without a word",
            help=f"set `chunk_size: {longest}`{more}",
            severity="warning",
        )


@rule(
    "R972",
    "passages that overlap entirely",
    source="https://docs.llamaindex.ai/en/stable/api_reference/node_parsers/sentence_splitter/",
)
def overlap(facts: Facts) -> Iterator[Diagnostic]:
    """A passage shares its first tokens with the end of the one before it. Where it shares as many as it may have,
    cutting never gets on; LlamaIndex raises.
    """
    size, shared = value(facts, "chunking.chunk_size"), value(facts, "chunking.chunk_overlap")
    if shared >= size:
        at = "chunking.chunk_overlap" if facts.has("chunking.chunk_overlap") else "chunking.chunk_size"
        yield facts.report(
            "R972",
            at,
            f"passages of {size:,} tokens can't share {shared:,}",
            help=f"set `chunk_overlap` to an eighth of `chunk_size`, {size // 8}",
        )


@rule("R973", "surroundings that there are not", source=_PARENTS)
def surroundings(facts: Facts) -> Iterator[Diagnostic]:
    """A parent is what passages are cut from, so it is larger than they are; `expand: parent` shows it, and needs to
    know its size.
    """
    size, parent = value(facts, "chunking.chunk_size"), facts.get("chunking.parent_size")
    if parent is not None and parent <= size:
        yield facts.report(
            "R973",
            "chunking.parent_size",
            f"passages of {size:,} tokens can't be cut from one of {parent:,}",
            help=f"set `parent_size: {4 * size}`, or remove it",
        )
    asked = [("retrieval.expand", facts.get("retrieval.expand"))]
    asked += [(at, node.value) for at, node in facts.all("evaluation.variants.*.retrieval.expand")]
    for at, expand in asked:
        if expand == "parent" and parent is None and "chunking" not in facts.refused:
            yield facts.report(
                "R973",
                at,
                "`expand: parent` has no larger passages to show",
                help=f"add `chunking.parent_size: {4 * size}`, or use `expand: window`",
            )


@rule(
    "R976",
    "similarities that are no cosines",
    source="https://www.sbert.net/docs/package_reference/util.html",
    severity="warning",
)
def lengths(facts: Facts) -> Iterator[Diagnostic]:
    """`abstain_below` and `support_at` are cosines, from -1 to 1. Vectors that are not brought to length 1 are compared
    by inner product, which is of any size: the pipeline would never say that something is not in the documents, or
    always.
    """
    if facts.get("embedding.normalize") is False and facts.has("generator"):
        yield facts.report(
            "R976",
            "embedding.normalize",
            "`abstain_below` and `support_at` are cosines, and these vectors are compared by inner product",
            help="remove `normalize`, unless the model was trained for inner products of any length",
            severity="warning",
        )


@rule(
    "R977",
    "vectors longer than the index takes",
    source="https://github.com/pgvector/pgvector#hnsw",
)
def dimensions(facts: Facts) -> Iterator[Diagnostic]:
    """pgvector's HNSW holds 2,000 numbers of 32 bits or 4,000 of 16 in a vector; the graph is made of the latter.
    Qdrant and LanceDB have no such limit.
    """
    known, store = embedder(facts), str(facts.get("store.kind") or "postgres")
    most = MOST_DIMENSIONS.get(store)
    if known is not None and most is not None and known.dimension > most:
        yield facts.report(
            "R977",
            "embedding.model",
            f"its vectors have {known.dimension:,} numbers, and pgvector's index takes {most:,}",
            help="set `store: {kind: qdrant, url: ...}` or `store: {kind: lancedb}`, or use a smaller model",
        )


@rule(
    "R978",
    "texts without the prefix that the model was trained with",
    source="https://huggingface.co/intfloat/e5-base-v2#faq",
    severity="warning",
)
def prefixes(facts: Facts) -> Iterator[Diagnostic]:
    """E5 was trained with `query: ` before each question and `passage: ` before each passage; without them it finds
    noticeably less, and nothing says so.
    """
    known = embedder(facts)
    for key in ("query_prefix", "passage_prefix"):
        wanted = getattr(known, key) if known is not None else ""
        if wanted and not facts.get(f"embedding.{key}"):
            yield facts.report(
                "R978",
                "embedding.model",
                f"this model was trained with `{wanted.strip()} ` before each {key.partition('_')[0]}",
                help=f'add `{key}: "{wanted}"` to `embedding`',
                severity="warning",
            )
