"""What the runner sets in an Axolotl config, how many ranks it starts, and what it makes of a log."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from runner.engines import axolotl
from runner.engines.axolotl import context, failure, jobs, ranks, steps
from runner.recipe.compose import compose
from runner.recipe.resolve import Recipe, resolve
from tests.conftest import BODY, HEADER, Bench

SCRATCH = """\
recipe: 1
kind: pretrain
title: A test
architecture: {model_type: llama, hidden_size: 256, num_hidden_layers: 2, num_attention_heads: 4, vocab_size: 512}
tokenizer_config: EleutherAI/gpt-neox-20b
datasets: [{path: x, type: completion}]
learning_rate: 1e-4
"""


def recipe_of(bench: Bench, text: str = HEADER + BODY, profile: str = "full") -> Recipe:
    doc = compose(bench.project, bench.write("r", text), profile=profile)
    return resolve(bench.project, doc, profile, lambda recipe, profile: None)


def config_of(bench: Bench, text: str, profile: str = "full") -> dict[str, Any]:
    config: dict[str, Any] = context(recipe_of(bench, text, profile))["config"]
    return config


def test_the_recipes_keys_stand_as_they_are(bench: Bench) -> None:
    recipe = recipe_of(bench)
    config = context(recipe)["config"]
    assert {key: config[key] for key in recipe.values} == recipe.values
    assert set(config) - set(recipe.values) == {
        "plugins", "output_dir", "dataset_prepared_path", "auto_resume_from_checkpoints"
    }  # fmt: skip
    assert not {"recipe", "kind", "title", "needs", "box", "merge", "architecture"} & set(config)


def test_what_the_runner_sets_wins(bench: Bench) -> None:
    config = config_of(
        bench, HEADER + BODY + "output_dir: /elsewhere\nplugins: [axolotl.integrations.liger.LigerPlugin]\n"
    )
    assert config["output_dir"] == "./output"
    assert config["plugins"] == ["axolotl.integrations.liger.LigerPlugin", axolotl.PLUGIN]
    assert config["auto_resume_from_checkpoints"] is True


def test_a_model_from_scratch(bench: Bench) -> None:
    made = context(recipe_of(bench, SCRATCH))
    assert (made["config"]["base_model"], made["config"]["reinit_weights"]) == ("./model", True)
    assert made["architecture"]["hidden_size"] == 256
    assert made["base"] is None


def test_a_local_base_is_linked_under_a_name_of_no_family(bench: Bench) -> None:
    folder = bench.project.root / "prompts" / "mine"
    folder.mkdir(parents=True)
    made = context(recipe_of(bench, (HEADER + BODY).replace("meta-llama/Llama-2-13b-hf", "prompts/mine")))
    assert made["config"]["base_model"] == "./base"
    assert made["base"] == {"link": "base", "target": str(folder)}


def test_merging_knows_nothing_of_ranks(bench: Bench) -> None:
    made = context(recipe_of(bench, HEADER + BODY + "merge: true\ndeepspeed: zero2\n"))
    assert "deepspeed" not in made["merge"]
    assert made["merge"]["base_model"] == made["config"]["base_model"]
    assert context(recipe_of(bench))["merge"] is None


@pytest.mark.parametrize(
    ("extra", "profile", "expected"),
    [
        ("", "full", 2),
        ("box: cpu\n", "full", 1),
        ("deepspeed: zero3\n", "full", 2),
        ("", "smoke", 1),
        ("deepspeed: zero3\n", "smoke", 2),
        ("fsdp_version: 2\nfsdp_config: {reshard_after_forward: true}\n", "smoke", 1),
    ],
)
def test_ranks(bench: Bench, extra: str, profile: str, expected: int) -> None:
    assert ranks(recipe_of(bench, HEADER + BODY + extra, profile)) == expected


def test_deepspeed_is_rendered_for_those_ranks(bench: Bench) -> None:
    text = HEADER + BODY + "deepspeed: zero3_offload\ngradient_accumulation_steps: 4\nbf16: true\n"
    full, smoke = context(recipe_of(bench, text)), context(recipe_of(bench, text, "smoke"))
    assert full["config"]["deepspeed"] == smoke["config"]["deepspeed"] == "deepspeed.json"
    assert full["deepspeed"]["train_batch_size"] == 2 * 1 * 4
    assert full["deepspeed"]["zero_optimization"]["reduce_bucket_size"] == 5120 * 5120
    assert full["deepspeed"]["bf16"] == {"enabled": True}
    assert "offload_optimizer" in full["deepspeed"]["zero_optimization"]
    values = recipe_of(bench, text, "smoke").values
    assert (
        smoke["deepspeed"]["train_batch_size"] == 2 * values["micro_batch_size"] * values["gradient_accumulation_steps"]
    )
    assert smoke["deepspeed"]["bf16"] == {"enabled": False}
    assert "offload_optimizer" not in smoke["deepspeed"]["zero_optimization"]
    assert context(recipe_of(bench))["deepspeed"] is None


def test_steps_and_jobs(bench: Bench) -> None:
    text = HEADER + BODY + "merge: true\n"
    assert [s.name for s in steps(recipe_of(bench, text))] == ["train", "merge"]
    assert [s.name for s in steps(recipe_of(bench, text, "smoke"))] == ["build", "train", "merge"]
    assert steps(recipe_of(bench))[0].does == "finetune with lora"
    always = ("axolotl_plugin.py", "cpu_ranks.py", "experts.py", "meter.py", "shards.py")
    assert jobs(recipe_of(bench)) == always
    assert jobs(recipe_of(bench, text, "smoke")) == (*always, "build_tiny.py")


TORCHRUN = """\
  0%|          | 0/40 [00:00<?, ?it/s]
W1124 07:00:00.000000 123 torch/distributed/elastic/multiprocessing/api.py:908] Sending process 124 SIGTERM
E1124 07:00:00.000000 123 torch/distributed/elastic/multiprocessing/api.py:882] failed (exitcode: {code}) local_rank: 0
Traceback (most recent call last):
  File "/env/lib/python3.11/site-packages/torch/distributed/run.py", line 936, in <module>
    main()
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
axolotl.cli.train FAILED
------------------------------------------------------------
Failures:
  <NO_OTHER_FAILURES>
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-24_07:00:00
  host      : box
  rank      : 0 (local_rank: 0)
  exitcode  : {code} (pid: 124)
  error_file: <N/A>
  traceback : {why}
============================================================
"""
NO_TRACEBACK = "To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html"
TRACEBACK = """\
[rank0]: Traceback (most recent call last):
[rank0]:   File "/env/lib/python3.11/site-packages/axolotl/train.py", line 1, in train
[rank0]:     trainer.train()
[rank0]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB
"""
REFUSED = """\
Traceback (most recent call last):
  File "/env/lib/python3.11/site-packages/axolotl/utils/config/__init__.py", line 1, in validate_config
    AxolotlConfigWCapabilities(
pydantic_core._pydantic_core.ValidationError: 1 validation error for AxolotlConfigWCapabilities
  Value error, bf16 requested, but AMP is not supported on this GPU [type=value_error, input_value={}, input_type=dict]
    For further information visit https://errors.pydantic.dev/2.12/v/value_error
"""
FIELD = """\
pydantic_core._pydantic_core.ValidationError: 2 validation errors for AxolotlInputConfig
micro_batch_size
  Input should be a valid integer, unable to parse string as an integer [type=int_parsing, input_value='x']
    For further information visit https://errors.pydantic.dev/2.12/v/int_parsing
datasets.0.SFTDataset.path
  Field required [type=missing, input_value={}, input_type=dict]
    For further information visit https://errors.pydantic.dev/2.12/v/missing
"""
CHAINED = """\
Traceback (most recent call last):
  File "a.py", line 1, in <module>
KeyError: 'messages'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "b.py", line 1, in <module>
ValueError: the dataset has no column `messages`
"""


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("", None),
        ("step 1\nWarning: RuntimeError may follow\nall is well\n", None),
        (TRACEBACK, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."),
        (TRACEBACK + TORCHRUN.format(code=1, why=NO_TRACEBACK), "torch.OutOfMemoryError: CUDA out of memory."),
        (TORCHRUN.format(code=1, why=NO_TRACEBACK), None),
        (
            TORCHRUN.format(code=-9, why="Signal 9 (SIGKILL) received by PID 124"),
            "a process was ended by SIGKILL, as the system does when memory runs short",
        ),
        (TORCHRUN.format(code=-11, why="Signal 11 (SIGSEGV) received by PID 124"), "a process was ended by SIGSEGV"),
        (
            TRACEBACK + TORCHRUN.format(code=-15, why="Signal 15 (SIGTERM) received by PID 124"),
            "torch.OutOfMemoryError: CUDA out of memory.",
        ),
        (REFUSED, "Axolotl refuses the config: bf16 requested, but AMP is not supported on this GPU"),
        (
            FIELD,
            "Axolotl refuses the config: `micro_batch_size`: Input should be a valid integer, unable to parse string "
            "as an integer",
        ),
        (REFUSED.replace("\n", "\n[rank0]: "), "Axolotl refuses the config: bf16 requested, but AMP is not supported"),
        (CHAINED, "ValueError: the dataset has no column `messages`"),
        ("Traceback (most recent call last):\nAssertionError\n", "AssertionError"),
        (REFUSED + CHAINED, "ValueError: the dataset has no column `messages`"),
    ],
)  # fmt: skip
def test_the_engines_own_last_error(log: str, said: str | None) -> None:
    found = failure(log)
    if said is None:
        assert found is None
    else:
        assert found is not None
        assert found.startswith(said)
        assert "\n" not in found
        assert "[type=" not in found


def test_a_reward_models_folder_is_taken_for_no_module(bench: Bench) -> None:
    """Axolotl imports what stands before the last dot, and looks for a folder only where that module is not found."""
    folder = bench.project.root / "scorer"
    folder.mkdir()
    text = "recipe: 1\nkind: rlhf\ntitle: t\nbase_model: meta-llama/Llama-2-13b-hf\nrl: grpo\nlearning_rate: 1e-6\n"
    text += "datasets: [{path: x}]\ntrl: {num_generations: 2, reward_funcs: [scorer, rewards.brevity]}\n"
    ours, theirs = config_of(bench, text)["trl"]["reward_funcs"]
    assert theirs == "rewards.brevity"
    assert ours == f"{bench.project.root}/./scorer"
    module = ".".join(ours.split(".")[:-1])
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(module)


def test_a_model_from_scratch_is_divided_only_where_it_is_loaded(bench: Bench) -> None:
    """Axolotl's `reinit_weights` goes past what transformers divides weights with: they are written first."""
    recipe = recipe_of(bench, SCRATCH + "tensor_parallel_size: 2\nseed: 7\n")
    made = context(recipe)
    assert made["config"]["reinit_weights"] is False
    assert made["init_seed"] == 7
    assert made["config"]["plugins"][-1] == "tensor_parallel.TensorParallelPlugin"
    assert {"tensor_parallel.py", "random_weights.py"} <= set(jobs(recipe))
    assert [step.name for step in steps(recipe)] == ["init", "train"]
    loaded = recipe_of(bench, HEADER + BODY.replace("adapter: lora\n", "") + "tensor_parallel_size: 2\n")
    assert context(loaded)["init_seed"] is None
    assert "random_weights.py" not in jobs(loaded)


def test_fsdp_divides_the_rest_its_own_way(bench: Bench) -> None:
    recipe = recipe_of(bench, SCRATCH + "tensor_parallel_size: 2\nfsdp_version: 2\nfsdp_config: {}\nbox: 8xh100\n")
    assert "tensor_parallel.py" not in jobs(recipe)
    assert "random_weights.py" in jobs(recipe)
    assert context(recipe)["config"]["reinit_weights"] is False


@pytest.mark.parametrize("key", ["ddp: true", "tensor_parallel_size: 2", "deepspeed: zero1"])
def test_two_cpu_ranks_for_what_takes_two(key: str, bench: Bench) -> None:
    assert ranks(recipe_of(bench, SCRATCH + key + "\n", "smoke")) == 2
    assert ranks(recipe_of(bench, SCRATCH, "smoke")) == 1
