"""Prompts within their budget, attacks in documents, checked citations, the gate: jobs/rag in its own environment."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from runner.engines import jobs_dir
from runner.engines.environment import ensure, environment

WORKER = Path(__file__).with_name("rag_answering_facts.py")
PARTS = ("messages", "system", "fence", "tokens", "hidden", "page")


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    env = environment("rag")
    ensure(env, lambda progress: None)
    done = subprocess.run(
        [env.python, WORKER, jobs_dir() / "rag" / "evaluate" / "injections.jsonl"],
        env={**os.environ, "PYTHONPATH": str(jobs_dir()), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FACTS ")]
    found: dict[str, Any] = json.loads(line[6:])
    return found


def test_a_prompt_has_numbered_quotations_and_fits(facts: dict[str, Any]) -> None:
    found = facts["prompts"]
    assert found["roles"] == ["system", "user"]
    assert found["user"].startswith("Passages:\n\n[1]\n| Harbour handbook\n| The harbour office opens at 7")
    assert found["taught"] == [True] * 3, "a small reader is asked as it was taught"
    assert found["not found"], "the model is told what to say where the answer is not there"
    assert found["fits"], "never more tokens than there is room for, whatever the room"
    assert found["used"] == [1, 2, 3], "the more room, the more passages"
    assert found["cut"] == [1, True, True], "of one that is too long as much as fits"
    assert found["too long"] == "the question takes 4000 tokens with what goes around it, and there is room for 2000"
    assert found["earlier"][1:-1] == ["user", "assistant"] * ((len(found["earlier"]) - 2) // 2)
    assert found["newest"] == "assistant 7", "older turns go first"


def test_no_document_reaches_the_pipelines_own_logic(facts: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    rows = facts["attacks"]
    with capsys.disabled():
        print(f"\n{'attack':16}{'kind':16}" + "".join(f"{part:10}" for part in PARTS))
        for row in rows:
            print(f"{row['id']:16}{row['kind']:16}" + "".join(f"{'held' if row[p] else 'BROKEN':10}" for p in PARTS))
    assert len(rows) >= 25
    assert min(Counter(row["kind"] for row in rows).values()) >= 1
    assert [row for row in rows if not all(row[part] for part in PARTS)] == []
    assert facts["idempotent"]


def test_what_an_attack_would_change_is_noticed(facts: dict[str, Any]) -> None:
    """The attacks through a live model are in test_rag.py, in the evaluation of phase5/rag-production-34b."""
    assert facts["noticed"] == {
        "nothing": [],
        "tools": ["request"],
        "rules": ["system"],
        "a turn": ["system"],
        "a filter": ["filters"],
        "a citation": ["citations"],
    }


def test_the_tokenizers_own_tokens_are_broken_up(facts: dict[str, Any]) -> None:
    assert "x h arbour-token y" in facts["own tokens"]
    assert facts["own tokens"].endswith("Question: a< odd>b"), "in questions too"


def test_citations_are_checked(facts: dict[str, Any]) -> None:
    assert facts["citations"]["states"] == {
        "copied": ["supported"],
        "in other words": ["supported"],
        "of two": ["supported"],
        "wrong passage": ["unsupported"],
        "wrong number": ["unsupported"],
        "made up": ["unsupported"],
        "invented": ["invented"],
        "zero": ["invented"],
        "uncited": ["uncited"],
        "code": ["uncited"],
    }
    assert facts["citations"]["of two"] == ["unsupported", "supported"]
    assert facts["citations"]["not found"] == []
    assert facts["citations"]["sentences"] == [
        ["It is so.", [1], "It is so. [1]"],
        ["See e.g. the oven, 3.5 m wide.", [2, 3], "See e.g. the oven, 3.5 m wide [2][3]."],
        ["- A list", [1], "- A list [1]"],
        ["- Its end", [], "- Its end"],
    ]


def test_the_page_links_citations_and_nothing_else(facts: dict[str, Any]) -> None:
    assert facts["page"]["links"] == (
        '<p>So it is<a class="cite" href="#t3p1" aria-label="passage 1">1</a>. <strong>Bold</strong> '
        '<code>code [1]</code><a class="cite" href="#t3p2" aria-label="passage 2">2</a>'
        '<span class="cite">7</span>.</p>\n'
    )
    assert facts["page"]["markdown"] == (
        "<p>![x](http://e/x.png) [y](http://e) &lt;http://e&gt; &lt;b&gt;b&lt;/b&gt;</p>\n"
    )
    assert facts["page"]["waiting"]


def test_who_comes_beyond_the_queue_is_told_at_once(facts: dict[str, Any]) -> None:
    found = facts["gate"]
    assert found["order"] == [0, 1, 2, 3, 4], "first come, first served"
    assert found["refused"] == [[5, True], [6, True], [7, True]]
    assert found["most"] == 2
    assert found["after"] == [0, 0], "nobody is counted twice, or forgotten"
