"""Which recipes `make test` leaves to `make test-all`, each with the one that takes the same path through the engine.

Smoking all of them takes two cores an hour; this half of them adds other sizes, and combinations of what the others
show alone. A recipe that is not named here is smoked by `make test`: a new one needs nothing.
"""

from __future__ import annotations

import pytest

# what is left out -> what shows the same: its kind, engine, method and launcher, or its parts
STANDS_IN = {
    "phase1/data-openwebtext": ("phase1/data-fineweb-edu",),
    "phase1/data-pile": ("phase1/data-fineweb-edu",),
    "phase1/data-redpajama": ("phase1/data-fineweb-edu",),
    "phase1/gpt-shakespeare": ("phase1/gpt-1b",),
    "phase2/compute-optimal-2b-7b": ("phase2/lr-batch", "phase1/gpt-1b", "phase2/zero3-13b"),
    "phase2/model-parallel": ("phase2/zero2-13b", "phase2/parallel-pipeline", "phase2/lr-batch"),
    "phase2/parallel-context": ("phase2/zero2-13b",),
    "phase2/parallel-data": ("phase2/zero2-13b",),
    "phase2/parallel-tensor": ("phase2/zero2-13b",),  # and test_tensor_parallel.py trains what it renders
    "phase2/parallel-zero3": ("phase2/zero3-13b",),
    "phase2/pretrain-3b": ("phase1/gpt-1b",),
    "phase2/pretrain-7b": ("phase1/gpt-1b", "phase2/zero3-13b"),
    "phase2/scaling-sweep": ("phase2/lr-batch",),
    "phase3/bench-30b": ("phase3/bench-13b",),
    "phase3/bench-34b": ("phase3/bench-13b",),
    "phase3/quantize-awq-34b": ("phase3/quantize-awq-13b",),
    "phase3/quantize-bnb-int8-34b": ("phase3/quantize-bnb-int8-13b",),
    "phase3/quantize-bnb-nf4-34b": ("phase3/quantize-bnb-nf4-13b",),
    "phase3/quantize-fp8-34b": ("phase3/quantize-fp8-13b",),
    "phase3/quantize-gptq-34b": ("phase3/quantize-gptq-13b",),
    "phase3/quantize-w8a8-34b": ("phase3/quantize-w8a8-13b",),
    "phase4/compare-instruct": ("phase4/compare-qlora-full",),
    "phase4/dpo-34b": ("phase4/dpo-13b", "phase2/zero3-13b"),
    "phase4/eval-instruct-34b": ("phase4/eval-dpo-13b",),
    "phase4/instruct-34b": ("phase4/sft-13b",),
    "phase4/lora-30b": ("phase4/lora-13b",),
    "phase4/lora-34b": ("phase4/lora-13b",),
    "phase4/orpo-13b": ("phase4/dpo-13b",),
    "phase4/qlora-34b": ("phase4/qlora-13b",),
    "phase5/custom-compare": ("phase5/custom-architecture", "phase2/lr-batch"),
    "phase5/llava-13b-lora": ("phase5/llava-7b", "phase4/lora-13b"),
    "phase5/moe-compare": ("phase5/moe-switch-small", "phase2/lr-batch"),
    "phase5/moe-mixtral-lora": ("phase5/moe-switch-small", "phase4/lora-13b"),
    "phase5/moe-mixtral-small": ("phase5/moe-switch-small",),
    "phase5/rag-langchain": ("phase5/rag-llamaindex",),
    "phase5/rag-production-34b": ("phase5/rag-smoke-docs", "phase5/rag-compare"),  # and test_rag_answering.py
    "phase5/retrieval-compare": ("phase5/retrieval-pretrain", "phase2/lr-batch"),
    "phase5/retrieval-papers": ("phase5/rag-compare",),
    "phase5/retrieval-reader": ("phase5/retrieval-pretrain",),
}
nightly = pytest.mark.nightly


def each(recipes: list[str]) -> list[object]:
    """Parameters of a test of each recipe: those that another stands in for are left to `make test-all`."""
    return [pytest.param(name, marks=nightly) if name in STANDS_IN else name for name in recipes]
