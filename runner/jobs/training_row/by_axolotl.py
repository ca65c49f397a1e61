"""The rendered axolotl.yaml and a row's number -> that row as Axolotl's own prompt strategies make it."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import yaml
from axolotl.cli.config import plugin_set_cfg, prepare_plugins
from axolotl.loaders import load_tokenizer
from axolotl.utils.config import normalize_cfg_datasets, normalize_config, validate_config
from axolotl.utils.data import rl, sft
from axolotl.utils.data.shared import datasets_with_name_generator, load_dataset_with_config
from axolotl.utils.dict import DictDefault
from datasets import Dataset, DatasetDict
from training_row.parts import part
from training_row.problem import Unshown

TORCH = "2.13.0"


def shown(request: dict[str, Any]) -> dict[str, Any]:
    """Raises Unshown, and whatever Axolotl raises of a row that it can't read."""
    _stay_here()
    cfg = _config(request["gpus"])
    if cfg.processor_type:
        raise Unshown("unshown", "rows with pictures become tokens only once their pictures are looked at")
    tokenizer = load_tokenizer(cfg)
    ends = _ends(cfg, tokenizer)
    about = {
        "sequence_len": int(cfg.sequence_len),
        "long": str(cfg.excess_length_strategy or "drop").lower(),
        "eos": tokenizer.eos_token,
    }
    if cfg.prepared or cfg.pretraining_dataset or cfg.streaming:
        return about | {"long": "cut", "learns": "labels"} | _streamed(cfg, tokenizer, request["row"], ends)
    config, index, count = _pick(cfg, request["row"])
    about |= {"dataset": str(config.path), "type": _named(config.type), "index": index, "rows": count}
    if cfg.rl:
        learns, parts = _preferences(cfg, tokenizer, ends)
    else:
        learns, parts = _supervised(cfg, config, tokenizer, ends)
    return about | {"learns": learns, "parts": parts}


def _config(gpus: dict[str, Any]) -> DictDefault:
    """As `load_cfg` makes it, for the GPUs that the recipe is written for instead of this machine's."""
    cfg = DictDefault(yaml.safe_load(Path("axolotl.yaml").read_text(encoding="utf-8")))
    prepare_plugins(cfg)
    cfg = validate_config(cfg, capabilities=gpus, env_capabilities={"torch_version": TORCH})
    normalize_config(cfg)
    normalize_cfg_datasets(cfg)
    plugin_set_cfg(cfg)
    return cfg


def _named(kind: Any) -> str:
    return kind if isinstance(kind, str) else "user_defined" if kind else ""


def _ends(cfg: DictDefault, tokenizer: Any) -> set[int]:
    """Tokens that end a turn: the end token, and each of `eot_tokens` that is one token."""
    found = {tokenizer.eos_token_id} - {None}
    for token in cfg.eot_tokens or []:
        ids = tokenizer.encode(token, add_special_tokens=False)
        found |= set(ids) if len(ids) == 1 else set()
    return found


def _pick(cfg: DictDefault, row: int) -> tuple[DictDefault, int, int]:
    """The dataset that holds the row, which is from now on all that Axolotl finds of it, the row's number in it, and
    how many there are; the row counts over all of them, in order. Every dataset is read as the run would read it."""
    left, total = row, 0
    for config in datasets_with_name_generator(cfg.datasets):
        found = load_dataset_with_config(config, cfg.hf_use_auth_token, streaming=False)
        if isinstance(found, DatasetDict):
            named = config.split if config.split in found else "train"
            if named not in found:
                raise Unshown("data", f"no train split in {config.path}; it has {', '.join(found)}")
            found = found[named]
        if left < len(found):
            one = found.select([left])
            # shares of a dataset are drawn from its shuffled rows
            config.shards = config.shards_idx = None
            cfg.datasets = [config]
            _hand_out(one)
            return config, left, len(found)
        left, total = left - len(found), total + len(found)
    raise Unshown("missing", f"there is no row {row:,}: the data have {total:,}, the first of them 0")


def _stay_here() -> None:
    """datasets starts a process even for one row, which imports all of Axolotl again; and it takes rows for made that
    it made before with another `train_on_eos`, which its cache does not tell apart."""
    map_rows = Dataset.map

    def here(self: Dataset, *arguments: Any, **more: Any) -> Dataset:
        return map_rows(self, *arguments, **{**more, "num_proc": None, "load_from_cache_file": False})

    Dataset.map = here


def _hand_out(rows: Dataset) -> None:
    def load(*arguments: Any, **more: Any) -> Dataset:
        return rows

    rl.load_dataset_with_config = sft.load_dataset_with_config = load


def _preferences(cfg: DictDefault, tokenizer: Any, ends: set[int]) -> tuple[str, list[dict[str, Any]]]:
    from training_row.preferences import preference_parts  # its imports take seconds that other rows do without

    return preference_parts(cfg, tokenizer, ends)


def _supervised(
    cfg: DictDefault, config: DictDefault, tokenizer: Any, ends: set[int]
) -> tuple[str, list[dict[str, Any]]]:
    rows, _ = sft._load_and_process_single_dataset(config, cfg, tokenizer, "train", cfg.seed)
    if cfg.reward_model:
        made = rows[0]
        names = [(name, made.get(f"{name}_ids") or made.get(f"input_ids_{name}")) for name in ("chosen", "rejected")]
        return "score", [part(tokenizer, name, ids, [False] * len(ids), ends) for name, ids in names]
    if not len(rows):
        raise Unshown("data", "Axolotl makes nothing of this row: it is empty, or lacks what the format reads")
    if "labels" not in rows.column_names:
        raise Unshown("unshown", f"rows of type {_named(config.type)} have no labels yet: the trainer makes them")
    return "labels", list(_labelled(tokenizer, rows, ends))


def _labelled(tokenizer: Any, rows: Any, ends: set[int]) -> Iterator[dict[str, Any]]:
    several = len(rows) > 1  # a text that is longer than `sequence_len` becomes several
    for i, row in enumerate(rows):
        learned = [label != -100 for label in row["labels"]]
        yield part(tokenizer, f"text, part {i + 1}" if several else "text", row["input_ids"], learned, ends)


def _streamed(cfg: DictDefault, tokenizer: Any, row: int, ends: set[int]) -> dict[str, Any]:
    """Prepared shards, and streams: rows as the trainer takes them, of `sequence_len` tokens."""
    count = None
    if cfg.prepared:
        from shards import Shards

        found = Shards(cfg.prepared, "train", cfg.sequence_len)
        name, kind, count = cfg.prepared, "prepared", len(found)
        one = found[row] if row < count else None
    else:
        stream, _, _, _ = sft.prepare_datasets(cfg, tokenizer)
        listed = cfg.pretraining_dataset or cfg.datasets
        name, kind = str(listed[0]["path"] if isinstance(listed, list) else listed), "stream"
        one = next(islice(iter(stream), row, None), None)
    if one is None:
        raise Unshown("missing", f"there is no row {row:,}" + (f": the data have {count:,}" if count else ""))
    ids, labels = list(one["input_ids"]), list(one.get("labels", one["input_ids"]))
    made = part(tokenizer, "text", ids, [int(x) != -100 for x in labels], ends)
    return {"dataset": name, "type": kind, "index": row, "rows": count, "parts": [made]}
