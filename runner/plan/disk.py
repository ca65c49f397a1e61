"""Recipe x data -> GiB of disk that a run takes: checkpoints, models, caches, the engine."""

from __future__ import annotations

from math import ceil
from typing import Any

from runner.engines import load_engine, locks
from runner.engines.environment import OWN, lock_file
from runner.plan.datasets import Source, Unsized, read_in_place, sources
from runner.plan.memory.states import base_parameters, states, trained_parameters
from runner.plan.types import Estimate, Length, Store
from runner.plan.workload import Workload
from runner.recipe.resolve import Recipe

GIB = 2**30
GB = 1e9
# axolotl core/builders/base.py, _configure_save_and_eval_strategy
_KEPT = 4
# Bytes of a token as Axolotl prepares it: 4 of input_ids, 8 of labels, 1 of the mask, and Arrow's offsets; packed
# samples have 8 of position_ids as well. Measured on the smoke datasets: 14.0 and 15.4 (pairs, which stay text).
_PREPARED_BYTES = 15
_POSITION_BYTES = 8
# datasets keeps what is downloaded and an Arrow copy of it, which is not compressed: Parquet of text holds 2.5 times
# its size (dataset_size / download_size of the cards in data/datasets.yaml lies between 1.6 and 3)
_UNPACKED = 2.5
# the tokenizer and its like, in each folder of a model; Llama 2's are 3 MB, those of 128,000 words 17
_TOKENIZER_BYTES = 4e6
# nine of ten; what is kept is exact, caches and environments are not
_INTERVAL = 0.15


def disk(recipe: Recipe, w: Workload, length: Length) -> Store:
    """The most that lies there at once, downloads included: nothing that a machine may have already is taken off."""
    data = _sources(recipe)
    parts = {
        "checkpoints": _checkpoints(recipe.values, w, length),
        "model": _final(w),
        "merged": _merged(w) if recipe.merge else 0.0,
        "download": _download(recipe, w),
        "datasets": sum(source.gib * GIB * (1 + _UNPACKED) for source in data),
        "prepared": _prepared(data, w) + _blocks(recipe, w, length),
        "environment": _environment(recipe, w),
    }
    parts = {name: size / GIB for name, size in parts.items() if size}
    total = sum(parts.values())
    gib = Estimate(total, total * (1 - _INTERVAL), total * (1 + _INTERVAL))
    return Store(gib, parts, w.box.disk_gib * w.box.nodes)


def _checkpoints(values: dict[str, Any], w: Workload, length: Length) -> float:
    """Those that are kept, and the one that is written before the oldest goes (transformers, _rotate_checkpoints)."""
    kept = int(values.get("save_total_limit") or _KEPT)
    saves = save_count(values, length)
    count = kept + 1 if saves is None else min(saves, kept + 1)
    return count * checkpoint_bytes(values, w)


def save_count(values: dict[str, Any], length: Length) -> int | None:
    """Checkpoints that the run writes; None where its length is not known."""
    epochs = float(values.get("num_epochs") or 1)
    every = values.get("save_steps")
    if values.get("saves_per_epoch"):
        share = 1 / (float(values["saves_per_epoch"]) * epochs)  # axolotl utils/config/__init__.py, normalize_config
        every = share if share < 1 else every
    if every:
        if length.steps is None:
            return None
        interval = max(1, ceil(length.steps * every) if float(every) < 1 else int(every))
        # and one at the end (transformers trainer_callback.py, DefaultFlowCallback)
        return length.steps // interval + (length.steps % interval > 0)
    if values.get("save_strategy") in ("no", False):
        return 0
    return ceil(epochs)


def checkpoint_bytes(values: dict[str, Any], w: Workload) -> float:
    """Weights as they are saved and, unless `save_only_model`, all that training needs to go on."""
    trained = trained_parameters(w)
    weights = _final(w)
    if values.get("save_only_model"):
        return weights
    if w.sharding.engine == "deepspeed":
        # 32-bit weights and two moments of each trained parameter in zero_pp_rank_*_optim_states.pt, beside the
        # 16-bit ones for stages 1 and 2 in mp_rank_*_model_states.pt (runtime/engine.py, save_checkpoint); the frozen
        # ones are left out for an adapter (transformers integrations/deepspeed.py)
        again = weights if w.sharding.stage < 3 and w.stages == 1 else 0.0  # a pipeline writes a file a layer, once
        return weights + again + 12.0 * trained.count
    return weights + trained.count * w.optimizer.state_bytes[0 if trained.bytes_each == 4 else 1]


def _final(w: Workload) -> float:
    """What training leaves: the adapter with what was trained whole, or the model."""
    if w.adapter is not None:
        return trained_parameters(w).count * w.adapter.weight_bytes + _TOKENIZER_BYTES
    s = states(w)
    each = w.weight_bytes if s.quantized == 0 else w.compute_bytes
    return base_parameters(w) * each + _TOKENIZER_BYTES


def _merged(w: Workload) -> float:
    return base_parameters(w) * w.compute_bytes + _TOKENIZER_BYTES


def _download(recipe: Recipe, w: Workload) -> float:
    """The base model's files from the hub, 16 bits a weight unless its config says 32; a tiny one is made here."""
    if recipe.tiny is not None:
        return 4.0 * base_parameters(w) if recipe.tiny.weights else 0.0
    base = str(recipe.values.get("base_model") or "")
    if recipe.architecture is not None or not base or base.startswith("/"):
        return 0.0
    kept = str((recipe.model.config if recipe.model else {}).get("torch_dtype", ""))
    return base_parameters(w) * (4.0 if kept == "float32" else 2.0)


def _sources(recipe: Recipe) -> list[Source]:
    """Those whose size is known; a stream leaves nothing on disk."""
    found: list[Source] = []
    if read_in_place(recipe) or recipe.engine == "deepspeed_pipeline":
        return found
    for key in ("datasets", "test_datasets"):
        try:
            found += sources(recipe, key)
        except Unsized:
            continue
    return found


def _prepared(data: list[Source], w: Workload) -> float:
    """`dataset_prepared_path`, and the copy in the datasets cache that it was saved from."""
    tokens = sum(source.rows * source.mean for source in data if source.mean)
    each = _PREPARED_BYTES + (_POSITION_BYTES if w.packed else 0)
    return 2.0 * tokens * each


def _blocks(recipe: Recipe, w: Workload, length: Length) -> float:
    """The tokens that a pipeline's run reads, in 2 bytes each up to 65,536 words (jobs/text_shards.py)."""
    if recipe.engine != "deepspeed_pipeline" or recipe.prepared is not None:
        return 0.0
    return float((length.tokens or 0) * (2 if w.architecture.vocab <= 2**16 else 4))


def _environment(recipe: Recipe, w: Workload) -> float:
    name = load_engine(recipe.engine).ENVIRONMENT
    return 0.0 if name == OWN else locks.read(lock_file(name)).size_gb("cuda" if w.box.gpus else "cpu") * GB
