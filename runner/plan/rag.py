"""A `rag` recipe -> the size of its index, how long it takes to make, and what a thousand answers cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

from runner.engines.rag import GENERATOR, config, served_values
from runner.facts.boxes import Box
from runner.facts.embedders import Embedder, find_embedder
from runner.facts.read import read_facts
from runner.plan.bench import served_model
from runner.plan.corpus import Corpus, corpus_of
from runner.plan.serving.make import plan_serving
from runner.plan.serving.settings import settings_from
from runner.plan.serving.types import ServingPlan
from runner.project import Project, shipped
from runner.recipe.resolve import Recipe

KIND = "rag"
GIB = 2**30
_DIGITS = 5
# the pipeline's own instructions and a question, and what stands above each passage, in tokens
INSTRUCTIONS, MARKS = 400, 24


@dataclass(frozen=True, slots=True)
class Answers:
    """Foreseen of the language model, by the serving plan. `prompt_tokens` and `answer_tokens` are the most a question
    takes; rates and cost are those of a box that is busy, `first_token_ms` and `answer_s` those of one user alone."""

    model: str
    prompt_tokens: int
    answer_tokens: int
    fits: str
    gpu_gib: float | None = None
    first_token_ms: float | None = None
    answer_s: float | None = None
    questions_per_hour: float | None = None
    usd_per_thousand_questions: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class RagPlan:
    """Everything that is foreseen of an index and of answers from it. `passages` are at most; sizes are PostgreSQL's,
    `ram_gib` that of the process that searches. None where the embedding model is not known."""

    recipe: str
    kind: str
    profile: str
    box: str
    gpus: int
    documents: int
    text_bytes: int
    passages: int
    dimension: int | None
    passages_per_s: float | None
    hours: float | None
    index_gib: float | None
    index: dict[str, float]
    ram_gib: float
    disk_gib: float | None
    answers: Answers | None
    price_usd_per_hour: float
    fits: str
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = _rounded(asdict(self))
        return {**found, "notes": list(self.notes)}


@cache
def _facts() -> dict[str, Any]:
    return read_facts(shipped("data") / "retrieval.yaml")


def plan_rag(project: Project, recipe: Recipe, box: Box | None = None, price: float | None = None) -> RagPlan:
    """`box` instead of the recipe's own, `price` in USD per hour of it."""
    box = box or recipe.box
    box = box if price is None else replace(box, price_usd_per_hour=price)
    values = config(recipe, None, None)
    corpus = corpus_of(values["sources"], _facts()["stdlib"])
    embedder = find_embedder(values["embedding"]["model"], project.root)
    passages, tokens = _passages(values["chunking"], corpus)
    # in smoke two runs go on at a time, each on one core
    cores = 1 / max(1, box.cores) if recipe.profile == "smoke" and not box.gpus else 1.0
    rate = cores * _rate(embedder, box, tokens / passages) if embedder is not None and passages else None
    index = _index(values, embedder, corpus, passages)
    total = sum(index.values()) if embedder is not None else None
    answers = _answers(project, recipe, values, box)
    ram = _facts()["process_gib"] + passages * _facts()["passage_kib"] / 2**20
    ram += 4 * embedder.parameters / GIB if embedder is not None and not box.gpus else 0
    # while it is made, PostgreSQL's log of what was written lies beside the index
    disk = 2 * total if total is not None else None
    return RagPlan(
        recipe=recipe.name,
        kind=recipe.kind,
        profile=recipe.profile,
        box=box.name,
        gpus=box.total_gpus,
        documents=corpus.documents,
        text_bytes=corpus.prose + corpus.code,
        passages=passages,
        dimension=embedder.dimension if embedder is not None else None,
        passages_per_s=rate,
        hours=passages / rate / 3600 if rate else None,
        index_gib=total,
        index=index,
        ram_gib=ram,
        disk_gib=disk,
        answers=answers,
        price_usd_per_hour=box.price_usd_per_hour,
        fits=_fits(box, ram, disk, answers),
        notes=tuple(_notes(values, embedder, corpus, box)),
    )


def _passages(chunking: dict[str, Any], corpus: Corpus) -> tuple[int, float]:
    """Passages, and tokens of all of them together: each section's last is shorter, by half on the mean, and each but
    the first of a section repeats the overlap."""
    each = _facts()["bytes_per_token"]
    tokens = corpus.prose / each["prose"] + corpus.code / each["code"]
    if not corpus.documents:
        return 0, 0.0
    step = max(1, chunking["chunk_size"] - chunking["chunk_overlap"])
    passages = round(max(corpus.sections, tokens / step + corpus.sections / 2))
    return passages, tokens + (passages - corpus.sections) * chunking["chunk_overlap"]


def _rate(embedder: Embedder, box: Box, tokens: float) -> float:
    """Passages per second: two operations for each token and parameter that it is multiplied with."""
    share = _facts()["efficiency"]["gpu" if box.gpus else "cpu"]
    peak = box.facts.fp32_tflops * 1e12 if box.facts is not None else 0.0
    return peak * float(share) / (2 * embedder.multiplied * tokens)


def _index(values: dict[str, Any], embedder: Embedder | None, corpus: Corpus, passages: int) -> dict[str, float]:
    """GiB: vectors in 32 bits; the graph, which has them in 16 bits with twice `m` links of 6 bytes on its lowest layer
    (pgvector, src/hnsw.h); text with its words and the whole documents."""
    if embedder is None:
        return {}
    facts, wide = _facts(), embedder.dimension
    graph = (2 * wide + 12 * values["store"]["hnsw"]["m"] + facts["graph_row"]) * facts["graph_fill"]
    parents = 1.0 if values["chunking"]["parent_size"] else 0.0  # whole documents once more, in larger passages
    return {
        "vectors": passages * (4 * wide + facts["vector_row"]) / GIB,
        "graph": passages * graph / GIB,
        "text": ((corpus.prose + corpus.code) * (facts["text"] + parents) + passages * facts["passage_row"]) / GIB
        + facts["empty_kib"] / 2**20,
    }


def _answers(project: Project, recipe: Recipe, values: dict[str, Any], box: Box) -> Answers | None:
    generator = values.get("generator")
    if not generator:
        return None
    prompt, answer = _tokens(values, generator)
    served = served_values(recipe, GENERATOR)
    written = recipe.doc.find(f"{GENERATOR}.model")  # a need by its reference, not by the folder that it leaves
    name = str(written.value) if served is not None and written is not None else str(generator.get("model", ""))
    if served is None:
        return Answers(name, prompt, answer, "unknown", why="the machine behind the endpoint is not known")
    if not box.gpus:
        return Answers(
            name, prompt, answer, "unknown", why=f"`{box.name}` has no GPU: what a server does is not planned"
        )
    model, method = served_model(project, recipe, GENERATOR, served)
    if model is None:
        return Answers(name, prompt, answer, "unknown", why=f"nothing is known about the model `{name}`")
    name = model.name if name.startswith("${") else name
    load = {"quantization": method, "input_len": prompt, "output_len": answer, "shared_prefix_len": 0}
    load["data_parallel_size"] = int(served.get("replicas") or 1) * int(served.get("data_parallel_size") or 1)
    try:
        plan = plan_serving(model.architecture, box, settings_from({**served, **load}), name)
    except ValueError as error:
        return Answers(name, prompt, answer, "no", why=str(error))
    return _served(Answers(name, prompt, answer, plan.fits, why=plan.verdict), plan, box)


def _tokens(values: dict[str, Any], generator: dict[str, Any]) -> tuple[int, int]:
    """Of the prompt, which holds as many passages as there is room for, and of the answer, each at most."""
    retrieval, chunking, answer = values["retrieval"], values["chunking"], int(generator["max_tokens"])
    shown = chunking["chunk_size"]
    if retrieval["expand"] == "parent":
        shown = chunking["parent_size"] or shown
    elif retrieval["expand"] == "window":
        shown *= 1 + 2 * retrieval["window"]
    asked = INSTRUCTIONS + retrieval["top_k"] * (shown + MARKS)
    return max(1, min(asked, int(generator["context_length"]) - answer)), answer


def _served(found: Answers, plan: ServingPlan, box: Box) -> Answers:
    peak, alone = plan.peak, plan.points[0] if plan.points else None
    if plan.fits == "no" or peak is None or peak.tokens_per_s is None or alone is None:
        return found
    rate = peak.tokens_per_s.value / found.answer_tokens
    first = alone.first_token_ms.value if alone.first_token_ms else None
    each = alone.per_token_ms.value if alone.per_token_ms else None
    return replace(
        found,
        gpu_gib=plan.memory.usable_gib,
        first_token_ms=first,
        answer_s=(first + each * (found.answer_tokens - 1)) / 1000 if first is not None and each is not None else None,
        questions_per_hour=3600 * rate,
        usd_per_thousand_questions=1000 / rate / 3600 * box.price_usd_per_hour if box.price_usd_per_hour else None,
        why="",
    )


def _fits(box: Box, ram: float, disk: float | None, answers: Answers | None) -> str:
    if ram > box.ram_gib or (disk is not None and box.disk_gib and disk > box.disk_gib):
        return "no"
    if answers is not None and answers.fits in ("no", "tight"):
        return answers.fits
    return "yes"


def _notes(values: dict[str, Any], embedder: Embedder | None, corpus: Corpus, box: Box) -> list[str]:
    found = list(corpus.notes)
    if embedder is None:
        found.append(f"nothing is known about the embedding model `{values['embedding']['model']}`")
    elif box.gpus:
        found.append("how fast a GPU embeds is assumed from its data sheet, not measured")
    if values["store"]["kind"] != "postgres":
        found.append("the index's size is PostgreSQL's")
    return [*found, "vectors that were computed before are not computed again"]


def predicted_run(plan: RagPlan) -> dict[str, float | int]:
    """What a run is held against, by the names of runner/launch/measured.py."""
    found: dict[str, Any] = {
        "index.passages": plan.passages,
        "index.gib": plan.index_gib,
        "ingest.passages_per_s": plan.passages_per_s,
        "host.ram_gib": plan.ram_gib,
    }
    return {name: _rounded(value) for name, value in found.items() if value is not None}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return value
