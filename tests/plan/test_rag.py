"""The plan of an index and of answers from it: what is counted, what a GPU and a processor do, what it costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.facts.boxes import load_box
from runner.facts.models import catalogue
from runner.plan.corpus import corpus_of
from runner.plan.rag import RagPlan, plan_rag, predicted_run
from runner.plan.serving.make import plan_serving
from runner.plan.serving.settings import Settings
from runner.project import Project
from runner.recipe.compose import compose
from runner.recipe.resolve import resolve
from runner.report.ink import Ink
from runner.report.rag_text import rag_page, rag_table
from tests.conftest import ROOT
from tests.plan.schema import faults

PROJECT = Project(ROOT)
WHOLE = {"documents": 1000, "sections": 9000, "bytes": 420_000}


def planned(name: str, *sets: str, box: str = "") -> RagPlan:
    doc = compose(PROJECT, PROJECT.recipe_file(name), sets=sets)
    recipe = resolve(PROJECT, doc, "full", lambda recipe, profile: None)
    return plan_rag(PROJECT, recipe, load_box(box) if box else None)


def source(path: Path, **more: object) -> dict[str, object]:
    return {"path": str(path), "include": ["**/*"], "exclude": [], "format": "auto", **more}


def test_local_files_are_counted_by_what_they_hold(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("x" * 1000)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/b.py").write_text("y" * 500)
    (tmp_path / "deep/rows.jsonl").write_text('{"text": "z"}\n' * 7)
    found = corpus_of([source(tmp_path)], WHOLE)
    assert (found.documents, found.prose, found.code) == (9, 1000 + 7 * 14, 500)
    assert corpus_of([source(tmp_path, include=["*.md"])], WHOLE).documents == 1
    assert corpus_of([source(tmp_path, exclude=["deep/*"])], WHOLE).documents == 1
    assert corpus_of([source(tmp_path / "a.md")], WHOLE).prose == 1000
    whole = corpus_of([{"stdlib": True, "include": ["*"], "exclude": []}], WHOLE)
    assert (whole.documents, whole.sections, whole.prose, whole.notes) == (1000, 9000, 420_000, ())
    part = corpus_of([{"stdlib": True, "include": ["json*"], "exclude": []}], WHOLE)
    assert 1 <= part.documents < 10
    assert part.notes


def test_passages_and_the_index_grow_with_what_is_read() -> None:
    plan = planned("phase5/rag-smoke-docs")
    small = planned("phase5/rag-smoke-docs", "chunking.chunk_size=64", "chunking.chunk_overlap=8")
    assert small.passages > 1.3 * plan.passages
    # 384 numbers of 4 bytes, and the row that holds them
    assert plan.index["vectors"] * 2**30 / plan.passages == pytest.approx(4 * 384 + 100)
    assert small.index["vectors"] / plan.index["vectors"] == pytest.approx(small.passages / plan.passages)
    assert plan.index_gib == pytest.approx(sum(plan.index.values()))
    assert plan.hours == pytest.approx(plan.passages / (plan.passages_per_s or 1) / 3600)


def test_a_gpu_embeds_faster_than_two_cores() -> None:
    cores, gpu = planned("phase5/rag-smoke-docs"), planned("phase5/rag-smoke-docs", box="1xh100")
    assert (gpu.passages_per_s or 0) > 50 * (cores.passages_per_s or 0)
    assert any("not measured" in note for note in gpu.notes)


def test_answers_cost_what_the_serving_plan_says() -> None:
    plan = planned("phase5/rag-production-34b")
    assert plan.answers is not None
    prompt = 400 + 6 * (1024 + 24)
    assert (plan.answers.model, plan.answers.prompt_tokens) == ("codellama-34b", prompt)
    settings = Settings(
        tensor_parallel_size=2, data_parallel_size=1, max_model_len=8192, input_len=prompt, output_len=768
    )
    served = plan_serving(catalogue()["codellama-34b"].architecture, load_box("2xh100"), settings)
    assert served.peak is not None
    assert served.peak.tokens_per_s is not None
    rate = served.peak.tokens_per_s.value / 768
    assert plan.answers.questions_per_hour == pytest.approx(3600 * rate)
    assert plan.answers.usd_per_thousand_questions == pytest.approx(1000 / rate / 3600 * 8.38)


def test_what_is_not_known_says_why() -> None:
    served = "generator={endpoint: 'http://127.0.0.1:8000/v1', model: m}"
    answers = planned("phase5/rag-smoke-docs", served).answers
    assert answers is not None
    assert "not known" in answers.why
    on_cpu = planned("phase5/rag-llamaindex", box="cpu").answers
    assert on_cpu is not None
    assert "has no GPU" in on_cpu.why
    unknown = planned("phase5/rag-smoke-docs", "embedding.model=some/model")
    assert unknown.index_gib is unknown.passages_per_s is None
    assert "nothing is known about the embedding model `some/model`" in unknown.notes


def test_a_model_too_large_does_not_fit() -> None:
    plan = planned("phase5/rag-llamaindex", "generator.serve.model=meta-llama/Llama-2-70b-hf")
    assert plan.fits == "no"
    assert plan.answers is not None
    assert plan.answers.questions_per_hour is None
    assert plan.answers.why


@pytest.mark.parametrize("name", ["phase5/rag-smoke-docs", "phase5/rag-production-34b", "phase5/rag-llamaindex"])
def test_its_json_and_its_page(name: str) -> None:
    plan = planned(name)
    assert faults({**plan.as_json(), "diagnostics": []}, "rag") == []
    page = list(rag_page(plan, Ink()))
    assert name in page[0]
    assert any(line.startswith("index ") for line in page)
    assert (plan.answers is not None) == any(line.startswith("answers ") for line in page)
    [head, row] = rag_table([plan], Ink())
    assert row.startswith(name)
    assert len(head) <= 80


def test_what_a_run_is_held_against() -> None:
    plan = planned("phase5/rag-smoke-docs")
    found = predicted_run(plan)
    assert set(found) == {"index.passages", "index.gib", "ingest.passages_per_s", "host.ram_gib"}
    assert found["index.passages"] == plan.passages
