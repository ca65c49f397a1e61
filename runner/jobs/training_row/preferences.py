"""A row of preference data -> what TRL's trainer makes of it: Axolotl's transform, then the trainer's own tokenizing.

The trainers' methods are called on an instance without a model: tokenizing needs none.
"""

from types import SimpleNamespace
from typing import Any

from axolotl.core.trainers.dpo.trainer import AxolotlDPOTrainer
from axolotl.core.trainers.trl import AxolotlCPOTrainer, AxolotlKTOTrainer, AxolotlORPOTrainer
from axolotl.utils.data import rl
from datasets import Dataset
from training_row.parts import part
from training_row.problem import Unshown


def preference_parts(cfg: Any, tokenizer: Any, ends: set[int]) -> tuple[str, list[dict[str, Any]]]:
    """What is learned, in a word, and the parts; `cfg.datasets` is the one that holds the row."""
    cfg.skip_prepare_dataset = True  # else Axolotl would leave a long row out, and save the rest
    rows = rl._load_split(cfg, "train")
    method = str(getattr(cfg.rl, "value", cfg.rl))
    if method in ("grpo", "gdpo"):
        return "rewards", [_prompt(tokenizer, rows[0], ends)]
    if method == "kto":
        return f"completion, {'desirable' if rows[0]['label'] else 'undesirable'}", _kto(tokenizer, rows, ends)
    if method in ("dpo", "ipo"):
        return "pair", _dpo(tokenizer, rows, ends)
    if method in ("orpo", "simpo"):
        return "pair", _by_row(AxolotlORPOTrainer if method == "orpo" else AxolotlCPOTrainer, tokenizer, rows[0], ends)
    raise Unshown("unshown", f"rows of `rl: {method}` are made while it trains")


def _bare(trainer: type, tokenizer: Any, **more: Any) -> Any:
    made = object.__new__(trainer)
    made.__dict__ |= {"_tokenizer": tokenizer, "processing_class": tokenizer, "is_encoder_decoder": False, **more}
    return made


# what they read of TRL's arguments; without a `max_length` nothing is left out for its length here
_ARGS = {"dataset_num_proc": None, "max_length": None, "truncation_mode": "keep_start"}


def _dpo(tokenizer: Any, rows: Dataset, ends: set[int]) -> list[dict[str, Any]]:
    made = _bare(AxolotlDPOTrainer, tokenizer)._prepare_dataset(rows, tokenizer, SimpleNamespace(**_ARGS), "train")[0]
    return [_answer(tokenizer, name, made["prompt_ids"], made[f"{name}_ids"], ends) for name in ("chosen", "rejected")]


def _kto(tokenizer: Any, rows: Dataset, ends: set[int]) -> list[dict[str, Any]]:
    trainer = _bare(AxolotlKTOTrainer, tokenizer, calculate_KL=False)
    made = trainer._prepare_dataset(rows, tokenizer, SimpleNamespace(**_ARGS), "train")[0]
    return [_answer(tokenizer, "completion", made["prompt_ids"], made["completion_ids"], ends)]


def _by_row(trainer: type, tokenizer: Any, row: dict[str, Any], ends: set[int]) -> list[dict[str, Any]]:
    made = _bare(trainer, tokenizer, max_length=10**9).tokenize_row(row)
    return [
        part(tokenizer, name, made[f"{name}_input_ids"], [x != -100 for x in made[f"{name}_labels"]], ends)
        for name in ("chosen", "rejected")
    ]


def _answer(tokenizer: Any, name: str, prompt: list[int], answer: list[int], ends: set[int]) -> dict[str, Any]:
    return part(tokenizer, name, prompt + answer, [False] * len(prompt) + [True] * len(answer), ends)


def _prompt(tokenizer: Any, row: dict[str, Any], ends: set[int]) -> dict[str, Any]:
    given = row["prompt"]
    if isinstance(given, str):
        ids = tokenizer(given)["input_ids"]
    else:
        ids = tokenizer.apply_chat_template(given, add_generation_prompt=True, tokenize=True, return_dict=False)
    return part(tokenizer, "prompt", ids, [False] * len(ids), ends)
