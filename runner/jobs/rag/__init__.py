"""Retrieval and answering: documents -> passages -> an index -> hits -> an answer whose citations are checked.

Runs inside the `rag` environment as `python -m rag COMMAND rag.json`; the core never imports it. What flows is in
types.py, what a recipe says in config.py. Modules further down this list import only those above:

    types, config     what flows; the recipe's keys
    sources, chunk    files -> documents -> passages with their places
    models, embed     a model's folder and tokenizer; texts -> vectors, cached by content
    stores/, index    one module for each store, obeying types.Store; the one that a recipe names, opened
    ingest, move      sources x store -> what changed, in transactions; an index into another store, proven equal
    lexical, retrieve query -> hits: dense, BM25, hybrid, reranked, expanded
    prompt, answer    hits -> messages within the token budget -> a stream with checked citations
    evaluate          labelled questions -> nDCG, MRR, recall, and latency by stage
    service/          FastAPI: OpenAI's interface, health, metrics, the chat page
"""
