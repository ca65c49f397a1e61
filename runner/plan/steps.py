"""Recipe x data -> optimizer steps, tokens and samples of the run, as Axolotl 0.19 and transformers 5.16 count them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path
from typing import Any

from runner.plan.datasets import Source, Unsized, sources
from runner.plan.keys import section
from runner.plan.packing import MOST, TYPICAL_FILL, batches, fill
from runner.plan.types import Length
from runner.plan.workload import Workload
from runner.recipe.resolve import Recipe

# `completion` cuts each text after 64 sequences (axolotl prompt_strategies/completion.py, load)
COMPLETION_SEQUENCES = 64
# attention that takes packed samples as one long row (axolotl utils/schemas/enums.py, ATTN_IMPLS_SUPPORTING_PACKING)
_LONG_ROWS = ("flash", "flex", "xformers", "sage")
_EPOCHS = 1.0  # axolotl utils/schemas/training.py
_BIN_SIZE = 200  # utils/schemas/config.py, sample_packing_bin_size


@dataclass(frozen=True, slots=True)
class Data:
    """What training goes through once: `samples`, tokens of one, and lengths of the first (of all where `whole`).
    `notes` say what is estimated, `lost` what of the data is not learned from."""

    samples: int
    mean: float | None
    lengths: tuple[int, ...] = ()
    whole: bool = False
    notes: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


def length_of(recipe: Recipe, w: Workload) -> Length:
    """Steps are exact where rows are counted and none is dropped for its length; packed ones are as exact as lengths
    are. `tokens` go through the model, padding to `sequence_len` included where that is asked for; `samples` are rows
    of the data, each as often as it is seen (of GRPO: completions).

    Where the size of the data is not known there are no steps, and `why` says what helps; elsewhere `why` says what
    is estimated.
    """
    values = recipe.values
    limit = max(0, int(values.get("max_steps") or 0))
    if recipe.engine == "deepspeed_pipeline":  # whole blocks, as many as the run takes
        return Length(limit, limit * w.step_tokens, limit * w.global_batch)
    try:
        data = _data(recipe, w)
    except Unsized as error:
        if not limit:
            return Length(None, None, None, str(error))
        return Length(limit, limit * w.step_tokens if _fills(values, w) else None, limit * w.global_batch)
    if limit or data is None:
        return _limited(limit, data, values, w, data.lost if data else ())
    epochs = float(values.get("num_epochs") or _EPOCHS)
    notes = (*data.lost, *data.notes)
    if _packs(values, w):
        steps = _packed_steps(data, epochs, values, w)
        if not data.whole:
            notes += ("packed steps are estimated, since they depend on the length of each sample",)
        return _limited(steps, data, values, w, notes)
    if w.objective == "grpo":
        return _limited(_grpo_steps(data.samples, epochs, values, w), data, values, w, notes)
    # axolotl utils/trainer.py, calculate_total_num_steps; common/datasets.py, load_preference_datasets: what they
    # count becomes the trainer's max_steps (core/builders/base.py)
    steps = ceil(data.samples * epochs / w.global_batch)
    seen = min(steps * w.global_batch, round(data.samples * epochs))
    return Length(steps, _tokens(seen, data, values, w, steps), seen, "; ".join(notes))


def _limited(steps: int, data: Data | None, values: dict[str, Any], w: Workload, notes: tuple[str, ...]) -> Length:
    """A run of `steps` full batches."""
    if not steps:
        return Length(None, None, None, "a stream has no end: set `max_steps`")
    why = "; ".join(notes)
    if data is None:  # a stream, packed as it comes
        return Length(steps, steps * w.step_tokens, None, why)
    if not _packs(values, w):
        seen = steps * w.global_batch
        return Length(steps, _tokens(seen, data, values, w, steps), seen, why)
    filled = steps * w.step_tokens * _fill(data, values, w)
    return Length(steps, _full(filled, values, w, steps), round(filled / data.mean) if data.mean else None, why)


def _tokens(samples: int, data: Data, values: dict[str, Any], w: Workload, steps: int) -> int | None:
    if data.mean is None:
        return steps * w.step_tokens if _fills(values, w) else None
    mean = data.mean + (w.generation.new_tokens if w.generation else 0)
    return _full(samples * mean, values, w, steps)


def _full(tokens: float, values: dict[str, Any], w: Workload, steps: int) -> int:
    full = steps * w.step_tokens
    return full if _fills(values, w) else min(full, round(tokens))


def _fills(values: dict[str, Any], w: Workload) -> bool:
    """Whether every sequence is as long as `sequence_len`."""
    return bool(values.get("pad_to_sequence_len")) and w.objective in ("sft", "pretrain")


def _packs(values: dict[str, Any], w: Workload) -> bool:
    return bool(values.get("sample_packing")) and w.objective in ("sft", "pretrain")


# --- the data ---


def _data(recipe: Recipe, w: Workload) -> Data | None:
    """None for a stream. Raises Unsized."""
    values = recipe.values
    if recipe.prepared is not None:
        return _shards(recipe.prepared, values, w)
    if values.get("pretraining_dataset") or values.get("streaming"):
        return None
    found = [_samples(source, values, w) for source in sources(recipe)]
    samples = sum(d.samples for d in found)
    samples = _shard(samples, values)
    held = _held_out(samples, values)
    known = [d for d in found if d.mean is not None]
    total = sum(d.samples for d in known)
    lengths = [length for d in found for length in d.lengths]
    notes = tuple(dict.fromkeys(n for d in found for n in d.notes))
    if values.get("dataset_exact_deduplication"):
        notes += ("duplicates are counted, though they will be taken off",)
    return Data(
        samples=samples - held,
        mean=sum(d.samples * (d.mean or 0) for d in known) / total if total else None,
        # what is held out is the end of data that was shuffled before (train_test_split without shuffling)
        lengths=tuple(lengths[: samples - held]),
        whole=bool(found) and all(d.whole for d in found),
        notes=notes,
        lost=tuple(n for d in found for n in d.lost),
    )


def _shards(folder: str, values: dict[str, Any], w: Workload) -> Data | None:
    """Rows that prepared shards make (runner/jobs/shards.py); None before they are there, for a run of so many steps.

    Raises Unsized.
    """
    try:
        manifest = json.loads((Path(folder) / "manifest.json").read_text(encoding="utf-8"))
        tokens = int(manifest["splits"]["train"]["tokens"])
    except (OSError, ValueError, KeyError, TypeError):
        if values.get("max_steps"):
            return None
        raise Unsized("how much there is to train on is known once it is prepared; set `max_steps`") from None
    rows = tokens // w.seq_len
    return Data(samples=rows, mean=float(w.seq_len), lengths=(), whole=False, notes=())


def _samples(source: Source, values: dict[str, Any], w: Workload) -> Data:
    """A dataset's rows as samples: texts cut into sequences, and those that are too long dropped."""
    notes = (source.note,) if source.note else ()
    if _cuts(source, values):
        return _cut(source, w.seq_len, notes)
    if not source.lengths:
        return Data(source.rows, source.mean, notes=notes)
    if values.get("excess_length_strategy") == "truncate" or w.objective in ("grpo", "reward", "prm"):
        rows = [tuple(min(n, w.seq_len) for n in row) for row in source.lengths]
    else:  # utils/data/utils.py, handle_long_seq_in_dataset; utils/data/rl.py, _drop_long_sequences
        rows = [row for row in source.lengths if max(row) <= w.seq_len]
    share = len(rows) / len(source.lengths)
    about = "" if source.whole else "about "
    lost = (f"{about}{1 - share:.0%} of `{source.shown}` is dropped: longer than `sequence_len`",) if share < 1 else ()
    sizes = [sum(row) for row in rows]
    return Data(round(source.rows * share), sum(sizes) / max(1, len(sizes)), tuple(sizes), source.whole, notes, lost)


def _cut(source: Source, longest: int, notes: tuple[str, ...]) -> Data:
    """`completion` makes a sample of every `longest` tokens of a text."""
    most = COMPLETION_SEQUENCES * longest
    texts = [min(sum(row), most) for row in source.lengths] or [min(round(source.mean or longest), most)]
    whole = [sum(row) for row in source.lengths] or [round(source.mean or longest)]
    samples = [min(longest, text - start) for text in texts for start in range(0, text, longest)]
    samples = [n for n in samples if n >= 2]  # utils/trainer.py, filter_sequences_by_length
    cut = max(whole) > most
    lost = (f"Axolotl cuts each text of `{source.shown}` after {most:,} tokens",) if cut else ()
    count = round(len(samples) * source.rows / len(texts))
    known = tuple(samples) if source.lengths else ()
    return Data(count, sum(samples) / max(1, len(samples)), known, source.whole, notes, lost)


def _cuts(source: Source, values: dict[str, Any]) -> bool:
    listed = values.get("datasets") or []
    return any(
        isinstance(d, dict) and d.get("path") == source.name and str(d.get("type", "")).startswith("completion")
        for d in listed
    )


def _shard(samples: int, values: dict[str, Any]) -> int:
    count, index = values.get("dataset_shard_num"), values.get("dataset_shard_idx")
    if not isinstance(count, int) or count < 2 or not isinstance(index, int):
        return samples
    return samples // count + (index < samples % count)


def _held_out(samples: int, values: dict[str, Any]) -> int:
    """`val_set_size` above 1 is a count, else a share, rounded up (axolotl utils/data/sft.py; datasets'
    train_test_split). Preference data of a recipe with `test_datasets` are not split (utils/data/rl.py)."""
    size = float(values.get("val_set_size") or 0)
    if values.get("rl") and values.get("test_datasets"):
        return 0
    return min(samples, int(size) if size > 1 else ceil(size * samples))


# --- steps ---


def _capacity(values: dict[str, Any], w: Workload) -> tuple[int, int]:
    """Tokens that a bin holds, and bins in a batch: one long row where the attention takes it, else a row for each
    sequence of the micro batch (`multipack_real_batches`)."""
    long_rows = any(name in str(values.get("attn_implementation") or "") for name in _LONG_ROWS)
    long_rows = long_rows or bool(values.get("flash_attention") or values.get("xformers_attention"))
    if long_rows and not values.get("multipack_real_batches"):
        return w.micro_batch * w.seq_len, 1
    return w.seq_len, w.micro_batch


def _fill(data: Data, values: dict[str, Any], w: Workload) -> float:
    capacity, _ = _capacity(values, w)
    if not data.lengths:
        return TYPICAL_FILL
    return fill(data.lengths, capacity, int(values.get("sample_packing_bin_size") or _BIN_SIZE))


def _packed_steps(data: Data, epochs: float, values: dict[str, Any], w: Workload) -> int:
    """axolotl utils/trainer.py, calculate_total_num_steps, the part for `sample_packing`."""
    tokens = data.samples * (data.mean or w.seq_len)
    estimate = values.get("sample_packing_eff_est")
    if estimate:
        return int((0.99 * tokens / float(estimate) / w.seq_len // w.global_batch - 1) * epochs)
    capacity, per_batch = _capacity(values, w)
    if data.whole and len(data.lengths) <= MOST:
        made = batches(
            data.lengths,
            capacity,
            per_batch,
            most_samples=int(values.get("sample_packing_bin_size") or _BIN_SIZE),
            in_order=bool(values.get("curriculum_sampling")),
        )
    else:
        made = floor(tokens / (capacity * _fill(data, values, w)) / per_batch)
    steps = floor(max(1, made * w.micro_batch // w.global_batch) * epochs)
    return steps - ceil(epochs) if values.get("dataloader_drop_last") else steps


def _grpo_steps(samples: int, epochs: float, values: dict[str, Any], w: Workload) -> int:
    """TRL's RepeatSampler (trainer/utils.py, trl 1.9): prompts in whole generation batches, each seen once for every
    step of a generation and iteration; then the trainer's own count (transformers 5.16, set_initial_training_values).
    """
    trl = section(values, "trl")
    completions = w.generation.completions if w.generation else 8
    ranks = max(1, w.data_parallel)
    batch = int(trl.get("generation_batch_size") or 0) or w.micro_batch * ranks * w.accumulation
    per_generation = max(1, batch // (w.micro_batch * ranks))
    rounds = samples // max(1, batch // completions)
    loaded = rounds * per_generation * int(trl.get("num_iterations") or 1)
    return ceil(epochs * max(1, ceil(loaded / w.accumulation)))
