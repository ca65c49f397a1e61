"""LLaMA-Factory's and TRL's configs: what each key becomes, what is dropped and why, what needs a hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.importing import detect, llama_factory, trl
from runner.importing.kind import axolotl_properties
from runner.importing.read import read
from runner.importing.tables import table
from runner.importing.types import BY_HAND, Imported
from runner.project import Project
from runner.recipe.check import check
from runner.recipe.load import Refused, parse
from tests.cli.conftest import Invoke, invoke
from tests.conftest import Bench

__all__ = ["invoke"]
FACTORY = """\
model_name_or_path: meta-llama/Llama-2-13b-hf
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 16
lora_target: all
dataset: mine
template: alpaca
cutoff_len: 1024
output_dir: saves/x
per_device_train_batch_size: 2
gradient_accumulation_steps: 8
learning_rate: 1e-4
num_train_epochs: 3
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: yes
plot_loss: true
"""
HANDBOOK = """\
model_name_or_path: alignment-handbook/some-7b-sft
torch_dtype: bfloat16
use_peft: true
load_in_4bit: true
lora_r: 16
lora_alpha: 16
lora_target_modules: [q_proj, v_proj]
dataset_mixer:
  some/pairs: 1.0
  more/pairs: 0.25
dataset_splits: [train_prefs, test_prefs]
beta: 0.01
loss_type: ipo
do_eval: true
evaluation_strategy: steps
eval_steps: 100
max_length: 1024
max_prompt_length: 512
learning_rate: 5.0e-6
num_train_epochs: 1
per_device_train_batch_size: 4
max_steps: -1
report_to: [wandb, none]
"""


def imported(folder: Path, text: str, tool: str | None = None, name: str = "config.yaml") -> Imported:
    file = folder / name
    file.write_text(text)
    return detect.translate(read(file), folder, tool)


def values(made: Imported) -> dict[str, Any]:
    return parse(made.text, "recipe", "recipe").plain()


def faults(made: Imported, root: Path) -> set[str]:
    found = check(parse(made.text, "recipe", "recipe"), Project(root).root)
    return {d.code for d in (*made.found, *found) if d.is_error}


def the_row(made: Imported, key: str) -> tuple[str, str]:
    return next((row.ours, row.why) for row in made.rows if row.theirs == key)


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """A folder with a dataset_info.json."""
    (tmp_path / "data").mkdir()
    info = {
        "mine": {"hf_hub_url": "yahma/alpaca-cleaned"},
        "odd": {"file_name": "odd.jsonl", "columns": {"prompt": "q", "response": "a"}},
        "chats": {"hf_hub_url": "a/chats", "formatting": "sharegpt", "subset": "x", "split": "good"},
        "open": {
            "hf_hub_url": "a/open",
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
        },
        "pairs": {"hf_hub_url": "a/pairs", "formatting": "sharegpt", "ranking": True, "columns": {"chosen": "good"}},
        "texts": {"file_name": "t.txt", "columns": {"prompt": "text"}},
    }
    (tmp_path / "data" / "dataset_info.json").write_text(json.dumps(info))
    return tmp_path


def test_llama_factory_comes_to_a_recipe_that_can_run(listed: Path) -> None:
    made = imported(listed, FACTORY)
    got = values(made)
    assert (made.tool, made.kind) == ("llama-factory", "finetune")
    wanted = {
        "base_model": "meta-llama/Llama-2-13b-hf",
        "adapter": "lora",
        "lora_r": 16,
        "lora_alpha": 32,
        "lora_target_linear": True,
        "chat_template": "alpaca",
        "datasets": [{"path": "yahma/alpaca-cleaned", "type": "alpaca"}],
        "sequence_len": 1024,
        "micro_batch_size": 2,
        "num_epochs": 3,
        "learning_rate": 1e-4,
        "bf16": True,
        "gradient_checkpointing": True,
    }
    assert {key: got.get(key) for key in wanted} == wanted
    assert faults(made, listed) == set()
    assert the_row(made, "lora_rank") == ("lora_r", "")
    assert the_row(made, "plot_loss") == ("", "`runner curve` draws the loss")
    assert "#   output_dir: each run has a folder of its own" in made.text


@pytest.mark.parametrize(
    ("more", "ours"),
    [
        ({"stage": "dpo", "dataset": "pairs", "template": "llama3"}, {"rl": "dpo", "rl_beta": 0.1}),
        ({"stage": "dpo", "pref_loss": "orpo", "pref_beta": 0.2}, {"rl": "orpo", "rl_beta": 0.2}),
        ({"stage": "dpo", "pref_loss": "simpo", "simpo_gamma": 0.7}, {"rl": "simpo", "simpo_gamma": 0.7}),
        ({"stage": "dpo", "pref_loss": "hinge"}, {"rl": "dpo", "dpo_loss_type": ["hinge"]}),
        ({"stage": "kto", "kto_chosen_weight": 2.0}, {"rl": "kto", "kto_desirable_weight": 2.0}),
        ({"stage": "rm"}, {"reward_model": True, "num_labels": 1}),
        ({"stage": "pt", "dataset": "texts", "finetuning_type": "full"}, {"kind": "pretrain", "adapter": None}),
        ({"finetuning_type": "full", "pure_bf16": True, "bf16": None}, {"adapter": None, "bf16": True}),
        ({"quantization_bit": 4}, {"adapter": "qlora", "load_in_4bit": True}),
        ({"quantization_bit": 8}, {"adapter": "lora", "load_in_8bit": True}),
        ({"lora_target": "q_proj,v_proj"}, {"lora_target_modules": ["q_proj", "v_proj"], "lora_target_linear": None}),
        ({"additional_target": "lm_head, embed_tokens"}, {"lora_modules_to_save": ["lm_head", "embed_tokens"]}),
        ({"flash_attn": "fa2"}, {"attn_implementation": "flash_attention_2"}),
        ({"flash_attn": "auto"}, {"attn_implementation": None}),
        ({"disable_gradient_checkpointing": True}, {"gradient_checkpointing": False}),
        ({"neat_packing": True}, {"sample_packing": True}),
        (
            {"max_samples": 50},
            {"datasets": [{"path": "yahma/alpaca-cleaned", "type": "alpaca", "split": "train[:50]"}]},
        ),
        ({"val_size": 0.1, "eval_strategy": "steps", "eval_steps": 5}, {"val_set_size": 0.1, "eval_steps": 5}),
        ({"eval_strategy": "steps", "eval_steps": 5}, {"eval_steps": None, "eval_strategy": None}),
        ({"save_strategy": "no"}, {"save_strategy": "no"}),
        ({"deepspeed": "examples/deepspeed/ds_z3_offload_config.json"}, {"deepspeed": "zero3_offload_all"}),
        ({"deepspeed": "examples/deepspeed/ds_z2_config.json"}, {"deepspeed": "zero2"}),
        ({"deepspeed": "ds_z0_config.json"}, {"deepspeed": None}),
        ({"deepspeed": "data/dataset_info.json"}, {"adapter": "lora"}),
        ({"template": "qwen3"}, {"chat_template": "qwen3"}),
        ({"template": "unheard_of"}, {"chat_template": "tokenizer_default"}),
        ({"enable_liger_kernel": True}, {"liger_rope": True}),
        ({"warmup_steps": 0.1, "warmup_ratio": None}, {"warmup_ratio": 0.1}),
        ({"report_to": "wandb"}, {"use_wandb": True}),
        ({"num_train_epochs": None, "per_device_train_batch_size": None}, {"num_epochs": 3, "micro_batch_size": 8}),
    ],
)
def test_llama_factory_key_by_key(more: dict[str, Any], ours: dict[str, Any], listed: Path) -> None:
    made = imported(listed, yaml.safe_dump({**yaml.safe_load(FACTORY), "learning_rate": 1e-4, **more}))
    got = values(made)
    assert {key: got.get(key) for key in ours} == ours
    told = {part.strip() for row in made.rows for part in row.theirs.split(",")}
    assert told >= set(more), "every key has its line in the table"


@pytest.mark.parametrize(
    ("name", "stage", "row"),
    [
        ("chats", "sft", {"path": "a/chats", "name": "x", "split": "good", "field_messages": "conversations"}),
        ("open", "sft", {"message_property_mappings": {"role": "role", "content": "content"}, "roles": None}),
        ("pairs", "dpo", {"type": "chat_template.default", "field_chosen": "good", "field_rejected": "rejected"}),
        ("texts", "pt", {"type": "completion", "field": "text", "ds_type": "text"}),
        ("odd", "sft", {"ds_type": "json"}),
    ],
)
def test_llama_factory_datasets(name: str, stage: str, row: dict[str, Any], listed: Path) -> None:
    text = FACTORY.replace("dataset: mine", f"dataset: {name}").replace("stage: sft", f"stage: {stage}")
    got = values(imported(listed, text))["datasets"][0]
    assert {key: got.get(key) for key in row} == row
    if name == "odd":
        assert got["path"].endswith("data/odd.jsonl")
        assert (got["type"]["field_instruction"], got["type"]["field_output"]) == ("q", "a")


def test_llama_factory_names_that_are_not_listed_need_a_hand(tmp_path: Path) -> None:
    made = imported(tmp_path, FACTORY)
    assert [(d.code, d.span.line) for d in made.found] == [("R813", 7)]
    assert the_row(made, "dataset")[0] == BY_HAND
    assert values(made)["datasets"] == [{"path": "mine", "type": "alpaca"}]


def test_the_handbook_comes_to_a_recipe_that_can_run(tmp_path: Path) -> None:
    made = imported(tmp_path, HANDBOOK, name="dpo.yaml")
    got = values(made)
    assert (made.tool, made.kind) == ("trl", "dpo")
    pairs = {"path": "some/pairs", "split": "train_prefs", "type": "chat_template.argilla_chat"}
    wanted = {
        "rl": "dpo",
        "rl_beta": 0.01,
        "dpo_loss_type": ["ipo"],
        "adapter": "qlora",
        "lora_target_modules": ["q_proj", "v_proj"],
        "datasets": [pairs, {**pairs, "path": "more/pairs", "split": "train_prefs[:25%]"}],
        "test_datasets": [{**pairs, "path": path, "split": "test_prefs"} for path in ("some/pairs", "more/pairs")],
        "eval_steps": 100,
        "sequence_len": 1024,
        "use_wandb": True,
        "max_steps": None,
        "lr_scheduler": "linear",
    }
    assert {key: got.get(key) for key in wanted} == wanted
    assert faults(made, tmp_path) == set()
    assert the_row(made, "max_prompt_length")[0] == ""


@pytest.mark.parametrize(
    ("more", "ours"),
    [
        ({"dataset_mixer": None, "dataset_name": "a/b", "dataset_config": "c"}, {"datasets": [("a/b", "train", "c")]}),
        (
            {
                "dataset_mixer": None,
                "dataset_mixture": {"datasets": [{"id": "a/b", "split": "s", "weight": 0.5}], "test_split_size": 9},
            },
            {"datasets": [("a/b", "s[:50%]", None)], "val_set_size": 9},
        ),
        ({"num_generations": 4, "reward_funcs": "m.f", "loss_type": None}, {"rl": "grpo", "rl_beta": None}),
        ({"desirable_weight": 1.5, "loss_type": None}, {"rl": "kto", "kto_desirable_weight": 1.5}),
        ({"simpo_gamma": 0.4, "loss_type": "simpo"}, {"rl": "simpo", "dpo_loss_type": None}),
        ({"use_peft": False}, {"adapter": None, "lora_r": None, "load_in_4bit": None}),
        ({"lora_target_modules": "all-linear"}, {"lora_target_linear": True}),
        ({"chat_template": "{{ messages }}"}, {"chat_template": "jinja", "chat_template_jinja": "{{ messages }}"}),
        ({"eos_token": "<|im_end|>"}, {"special_tokens": {"eos_token": "<|im_end|>"}}),
        ({"do_eval": False, "evaluation_strategy": "no"}, {"test_datasets": None, "eval_strategy": None}),
        ({"bnb_4bit_quant_type": "fp4"}, {"bnb_config_kwargs": {"bnb_4bit_quant_type": "fp4"}}),
    ],
)
def test_trl_key_by_key(more: dict[str, Any], ours: dict[str, Any], tmp_path: Path) -> None:
    made = imported(tmp_path, yaml.safe_dump({**yaml.safe_load(HANDBOOK), **more}), name="dpo.yaml")
    got = values(made)
    if "datasets" in ours:
        got["datasets"] = [(row["path"], row["split"], row.get("name")) for row in got["datasets"]]
    assert {key: got.get(key) for key in ours} == ours
    told = {part.strip() for row in made.rows for part in row.theirs.split(",")}
    assert told >= set(more), "every key has its line in the table"


@pytest.mark.parametrize(
    ("text", "name", "rl"),
    [
        ("# ORPOTrainer\n", "c.yaml", "orpo"),
        ("output_dir: data/x-kto\n", "c.yaml", "kto"),
        ("beta: 0.1\n", "c.yaml", "dpo"),
        ("packing: true\n", "sft.yaml", None),
        ("packing: true\n", "reward-free.yaml", None),
    ],
)
def test_which_trainer_a_trl_config_is_for(text: str, name: str, rl: str | None, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b" / "c" / "d"
    folder.mkdir(parents=True)
    base = "model_name_or_path: a/b\ndataset_name: c/d\nlearning_rate: 1e-5\nmax_seq_length: 512\n"
    assert values(imported(folder, base + text, name=name)).get("rl") == rl


def test_a_key_that_nobody_knows_is_told_with_what_was_meant(tmp_path: Path) -> None:
    made = imported(tmp_path, FACTORY.replace("lora_rank", "lora_rang"))
    told = next(d for d in made.found if d.code == "R814")
    assert (told.span.line, told.label) == (5, "did you mean `lora_rank`?")


@pytest.mark.parametrize("tool", ["llama-factory", "trl"])
def test_the_tables_name_keys_that_axolotl_has(tool: str) -> None:
    known = table(tool)
    assert set(known.renamed.values()) <= axolotl_properties().keys()
    assert not known.renamed.keys() & (known.dropped.keys() | known.by_hand.keys())
    assert not known.dropped.keys() & known.by_hand.keys()
    special = {"llama-factory": llama_factory.SPECIAL, "trl": trl.SPECIAL}[tool]
    assert not special & (known.dropped.keys() | known.by_hand.keys())


def test_from_forces_the_tool(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        imported(tmp_path, "model_name_or_path: a/b\n")
    assert imported(tmp_path, "model_name_or_path: a/b\n", "trl").tool == "trl"
    assert imported(tmp_path, "model_name_or_path: a/b\n", "llama-factory").tool == "llama-factory"


def test_the_command_prints_the_table(bench: Bench, invoke: Invoke) -> None:
    (bench.project.root / "dpo.yaml").write_text(HANDBOOK + "label_smoothing_factor: 0.1\n")
    said = invoke("import", "dpo.yaml", "--as", "phase4/theirs")
    assert said.code == 1
    assert "dpo.yaml:24:1: error[R813]: `label_smoothing_factor` could not be translated" in said.err
    lines = [line.split(None, 2) for line in said.out.splitlines()]
    assert ["torch_dtype", "(dropped)"] in [line[:2] for line in lines]
    assert ["beta", "rl_beta"] in lines
    assert ["label_smoothing_factor", "(by", "hand)"] in [
        [*line[:2], line[2].split()[0]] for line in lines if len(line) > 2
    ]
