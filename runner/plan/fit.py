"""Searching the knobs of a recipe for the fastest plan that fits; what is learned stays the same as long as it can."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from runner.diagnostics import Span
from runner.engines.axolotl import ranks
from runner.facts.boxes import Box
from runner.plan.make import make_plan
from runner.plan.types import Plan
from runner.recipe.check import check
from runner.recipe.document import Document, make_node, merge
from runner.recipe.resolve import Recipe

ORIGIN = Span("<fit>")
MAX_FRONTIER = 8
# In the order in which they are given up: nothing of what is learned; rounding of the optimizer's states; what is
# trained at all; what a sample may hold.
_SAME, _ROUNDED, _ADAPTED, _SHORTENED = range(4)
_EIGHT_BITS = "the optimizer's states are rounded to 8 bits"


@dataclass(frozen=True, slots=True)
class Choice:
    """Keys to change, the plan they give, and sentences about what is then learned differently."""

    settings: dict[str, Any]
    plan: Plan
    changes_learning: tuple[str, ...] = ()

    @property
    def tokens_per_s(self) -> float:
        return self.plan.speed.tokens_per_s_per_gpu.value if self.plan.speed is not None else 0.0


@dataclass(frozen=True, slots=True)
class Search:
    """`best` fits and is the fastest that changes least of what is learned; None where nothing fits. `frontier` holds
    the plans that no other beats in both memory and speed, by memory."""

    best: Choice | None
    frontier: tuple[Choice, ...]
    tried: int


def search(recipe: Recipe, box: Box | None = None) -> Search:
    """Raises what make_plan raises."""
    tried = 0
    seen: list[Choice] = []
    best = None
    known = _wrong(recipe.doc)
    for level in (_SAME, _ROUNDED, _ADAPTED, _SHORTENED):
        found = [_choice(recipe, box, settings, words) for settings, words in _candidates(recipe, box, level)]
        tried += len(found)
        seen += found
        best = _fastest(recipe, found, known)
        if best is not None:
            break
    return Search(best, tuple(_frontier(recipe, seen, known)), tried)


def best_single_knob(recipe: Recipe, box: Box | None = None) -> Choice | None:
    """The first knob, from the harmless to the drastic, that makes the recipe fit alone; None where none does. The
    knob's key is the first of `settings`, what must change together with it follows."""
    known = _wrong(recipe.doc)
    for settings in _single(recipe, box):
        plan = _choice(recipe, box, settings, ()).plan
        if plan.fits != "no" and _holds(recipe, settings, known):
            return Choice(settings, plan)
    return None


def _choice(recipe: Recipe, box: Box | None, settings: dict[str, Any], words: tuple[str, ...]) -> Choice:
    changed = {key: value for key, value in settings.items() if recipe.values.get(key) != value}
    values = {key: value for key, value in {**recipe.values, **changed}.items() if value is not None}
    return Choice(changed, make_plan(replace(recipe, values=values), box), words)


def _fastest(recipe: Recipe, found: list[Choice], known: set[str]) -> Choice | None:
    """Those that surely fit before those that may not, then those that change least of what is learned; of equally fast
    ones the one that changes fewest keys."""

    def rank(choice: Choice) -> tuple[float, ...]:
        return len(choice.changes_learning), -choice.tokens_per_s, len(choice.settings)

    for wanted in ("yes", "tight"):
        ranked = sorted((c for c in found if c.plan.fits == wanted), key=rank)
        for choice in ranked:
            if _holds(recipe, choice.settings, known):
                return choice
    return None


def _frontier(recipe: Recipe, seen: list[Choice], known: set[str]) -> Iterator[Choice]:
    fastest = -1.0
    told = 0
    for choice in sorted(seen, key=lambda c: (c.plan.memory.peak.value, -c.tokens_per_s)):
        faster = choice.tokens_per_s > fastest * 1.01
        if faster and choice.plan.fits != "no" and _holds(recipe, choice.settings, known):
            fastest = choice.tokens_per_s
            told += 1
            yield choice
        if told == MAX_FRONTIER:
            return


def _holds(recipe: Recipe, settings: dict[str, Any], known: set[str]) -> bool:
    """Whether the changed recipe breaks no rule but those in `known`, which it breaks as it is."""
    if not settings:
        return True
    return _wrong(replace(recipe.doc, root=merge(recipe.doc.root, make_node(settings, ORIGIN)))) <= known


def _wrong(doc: Document) -> set[str]:
    return {d.code for d in check(doc) if d.is_error}


def _candidates(recipe: Recipe, box: Box | None, level: int) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    values = recipe.values
    if _is_pipeline(values) and level in (_ROUNDED, _ADAPTED):
        return  # it has neither adapters nor an optimizer in 8 bits
    base: list[tuple[dict[str, Any], tuple[str, ...]]] = [({}, ())]
    if level >= _ROUNDED and not _is_pipeline(values) and not str(values.get("optimizer", "")).endswith("8bit"):
        rounded: tuple[dict[str, Any], tuple[str, ...]] = ({"optimizer": "adamw_8bit"}, (_EIGHT_BITS,))
        base = [rounded] if level == _ROUNDED else [*base, rounded]
    if level >= _ADAPTED and not _is_pipeline(values):
        base = [
            ({**given, **more}, (*words, said)) for given, words in base for more, said in _adapters(values)
        ] or base
    if level == _SHORTENED:
        base = [
            ({**given, "sequence_len": length}, (*words, f"samples are cut at {length} tokens"))
            for given, words in base
            for length in _shorter(values)
        ]
    for (given, words), batch, kept, shard in product(
        base, _batches(values), _checkpointing(values), _shards(recipe, box)
    ):
        yield {**batch, **kept, **shard, **given}, words


def _is_pipeline(values: dict[str, Any]) -> bool:
    return "pipeline_parallel_size" in values


def _adapters(values: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    adapter = values.get("adapter")
    low = {"adapter": "qlora", "load_in_4bit": True}
    if adapter is None and not values.get("reinit_weights"):
        more = {"lora_r": 16, "lora_alpha": 32, "lora_target_linear": True}
        yield {"adapter": "lora", **more}, "only an adapter of rank 16 is trained"
        yield {**low, **more}, "only an adapter of rank 16 is trained, on weights rounded to 4 bits"
    elif adapter == "lora" and not values.get("load_in_4bit"):
        yield low, "the frozen weights are rounded to 4 bits"


def _shorter(values: dict[str, Any]) -> Iterator[int]:
    length = int(values.get("sequence_len") or 0) // 2
    while length >= 512:
        yield length
        length //= 2


def _batches(values: dict[str, Any]) -> Iterator[dict[str, int]]:
    """Micro batches and accumulation whose product stays, so that a step learns from the same samples."""
    micro = int(values.get("micro_batch_size") or 1)
    total = micro * int(values.get("gradient_accumulation_steps") or 1)
    sizes = {size for size in (1, 2, 4, 8, 16, 32, 64, 128) if total % size == 0} | {micro}
    if values.get("rl") in ("grpo", "gdpo"):
        sizes = {micro}  # a micro batch holds whole groups of answers
    for size in sorted(sizes):
        yield {"micro_batch_size": size, "gradient_accumulation_steps": total // size}


def _checkpointing(values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if _is_pipeline(values):
        yield from ({"activation_checkpoint_interval": interval} for interval in (1, 0))
        return
    yield {"gradient_checkpointing": True}
    if not values.get("gradient_checkpointing_kwargs"):
        yield {"gradient_checkpointing": False}
    else:
        yield {"gradient_checkpointing": False, "gradient_checkpointing_kwargs": None}


def _shards(recipe: Recipe, box: Box | None) -> Iterator[dict[str, Any]]:
    values = recipe.values
    own = values.get("deepspeed")
    yield {"deepspeed": own} if own else {}
    if _is_pipeline(values):
        return
    if values.get("fsdp_config") or values.get("fsdp_version") or isinstance(own, dict) or recipe.box.gpus == 0:
        return
    if own:
        yield {"deepspeed": None}  # nothing to divide between: on one GPU, or with weights that fit on each
    if ranks(recipe, box) > 1:
        stages = ["zero1", "zero2", "zero3"]
        stages += [] if values.get("adapter") else ["zero2_offload", "zero3_offload", "zero3_offload_all"]
        yield from ({"deepspeed": stage} for stage in stages if stage != own)


def _single(recipe: Recipe, box: Box | None) -> Iterator[dict[str, Any]]:
    values = recipe.values
    micro = int(values.get("micro_batch_size") or 1)
    for batch in sorted(_batches(values), key=lambda b: -b["micro_batch_size"]):
        if batch["micro_batch_size"] < micro:
            yield batch
    if _is_pipeline(values):
        yield {"activation_checkpoint_interval": 1}
        yield from ({"sequence_len": length} for length in _shorter(values))
        return
    if not values.get("gradient_checkpointing"):
        yield {"gradient_checkpointing": True}
    for shard in _shards(recipe, box):
        if shard and shard["deepspeed"] != values.get("deepspeed"):
            yield shard
    if not str(values.get("optimizer", "")).endswith("8bit"):
        yield {"optimizer": "adamw_8bit"}
        yield {"optimizer": "paged_adamw_8bit"}
    for settings, _ in _adapters(values):
        yield settings
    for length in _shorter(values):
        yield {"sequence_len": length}
