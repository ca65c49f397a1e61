"""rag.json with `evaluation` -> results/summary.json, results/table.md, samples.jsonl and a row of metrics.jsonl.

beir       a folder of labelled questions in BEIR's format
measure    ranked documents -> hit rate, MRR, nDCG, recall, by pytrec_eval; paired differences
compare    each variant of retrieval over all questions, with its times by stage
attacked   documents that give orders, through the live model: what the pipeline's own logic did
judged     answers -> faithfulness and relevance, by a served judge
report     what was found -> the files
"""

from __future__ import annotations

from pathlib import Path


def main(argv: list[str]) -> int:
    """Raises Problem."""
    from .compare import evaluate

    if len(argv) != 1:
        print("usage: python -m rag evaluate rag.json")
        return 2
    evaluate(Path(argv[0]))
    return 0
