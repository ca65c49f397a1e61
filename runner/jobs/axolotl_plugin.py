"""An Axolotl plugin: the trainer gets the runner's callbacks (jobs/meter.py), and CPU ranks find each other."""

import math
import os
from pathlib import Path
from typing import Any

import torch
from accelerate.state import PartialState
from axolotl.integrations.base import BasePlugin
from experts import Experts
from meter import Meter, MetricsCallback
from pydantic import BaseModel
from shards import BadShards, Shards
from transformers import TrainerCallback, set_seed

# TrainingArguments' own, which Axolotl passes on
DEFAULT_SEED = 42


class RunnerArgs(BaseModel):  # type: ignore[misc]
    """What Axolotl's config may say to this plugin: the folder of prepared shards to train on, and whether what
    connects a model that sees to its tower begins anew."""

    prepared: str | None = None
    new_projector: bool | None = None


class RunnerPlugin(BasePlugin):  # type: ignore[misc]
    def get_input_args(self) -> str:
        return "axolotl_plugin.RunnerArgs"

    def load_datasets(self, cfg: Any, preprocess: bool = False) -> Any:
        """Prepared shards in place of `datasets`, read where they lie: nothing is tokenized or copied."""
        if not cfg.prepared:
            return None
        from axolotl.common.datasets import TrainDatasetMeta  # as late as Axolotl itself does: it takes seconds

        train = Shards(cfg.prepared, "train", cfg.sequence_len)
        batch = cfg.micro_batch_size * cfg.gradient_accumulation_steps * max(1, int(os.environ.get("WORLD_SIZE", 1)))
        batch //= (cfg.context_parallel_size or 1) * (cfg.tensor_parallel_size or 1)
        if len(train) < batch:
            raise BadShards(
                f"{cfg.prepared}: {train.tokens:,} tokens make {len(train):,} rows of {cfg.sequence_len:,}, and one "
                f"step takes {batch:,}; prepare more text, or lower `sequence_len` or the batch"
            )
        steps = cfg.max_steps or math.ceil(len(train) * (cfg.num_epochs or 1) / batch)
        held = Shards(cfg.prepared, "validation", cfg.sequence_len) if cfg.test_datasets else None
        if held is not None and not len(held):
            raise BadShards(
                f"{cfg.prepared}: the validation split has {held.tokens:,} tokens, less than one row of "
                f"{cfg.sequence_len:,}; prepare it with a larger validation share"
            )
        return TrainDatasetMeta(train, held, steps)

    def pre_model_load(self, cfg: Any) -> None:
        # Axolotl 0.19 leaves seeding to the trainer, which is made later: a new adapter, or a model from scratch, would
        # begin with other random weights each time
        set_seed(DEFAULT_SEED if cfg.seed is None else cfg.seed)
        if cfg.role_boundaries:
            _plain_role_boundaries()

    def post_model_build(self, cfg: Any, model: Any) -> None:
        if cfg.new_projector:
            for name, module in model.named_modules():
                if "multi_modal_projector." in name and hasattr(module, "reset_parameters"):
                    module.reset_parameters()
                    print(f"drawn anew: {name}", flush=True)

    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[TrainerCallback]:
        meter = Meter((cfg.context_parallel_size or 1) * (cfg.tensor_parallel_size or 1))
        meter.watch(trainer)
        report = MetricsCallback(meter)
        experts = Experts(report)
        experts.watch(trainer)
        return [meter, BaseName(), report, experts]


class BaseName(TrainerCallback):  # type: ignore[misc]
    """An adapter names its base; a link inside the run would mean nothing to whoever loads it from elsewhere."""

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        name_base(model)


def name_base(model: Any) -> None:
    model = getattr(model, "module", model)
    for config in getattr(model, "peft_config", {}).values():
        if isinstance(config.target_modules, set):  # which is written in another order each time
            config.target_modules = sorted(config.target_modules)
        base = config.base_model_name_or_path
        if base and Path(base).is_symlink():
            config.base_model_name_or_path = str(Path(base).resolve())


def _plain_role_boundaries() -> None:
    """Axolotl 0.19 asks each of them whether it has `model_dump`, and its own dictionaries have whatever they are asked
    for: it is None, and is called. Plain ones are read as they should be."""
    from axolotl import processing_strategies

    original = processing_strategies._resolve_role_boundary_override

    def resolve(specs: Any, tokenizer: Any) -> Any:
        return original([dict(each) for each in specs], tokenizer)

    processing_strategies._resolve_role_boundary_override = resolve


def _cpu_ranks() -> bool:
    """Started by torchrun on a machine without a GPU: a sharded recipe in smoke."""
    return "LOCAL_RANK" in os.environ and not torch.cuda.is_available()


def _gloo_as_backend() -> None:
    """DeepSpeed on CPU asks Accelerate for a backend that this torch build lacks, and Accelerate then counts one
    process; gloo is in every build."""
    original = PartialState._prepare_backend

    def prepare(self: Any, *args: Any, **kwargs: Any) -> Any:
        backend, kind = original(self, *args, **kwargs)
        return ("gloo" if backend in (None, "ccl", "mpi") else backend), kind

    PartialState._prepare_backend = prepare


def _gather_without_grad() -> None:
    """ZeRO-1 and -2 gather updated weights in place; gloo does that through views, which autograd forbids unless it is
    off. NCCL has no such views, so nothing of the GPU path is hidden by this."""
    from deepspeed.runtime.zero import stage_1_and_2

    stage_1_and_2.all_gather_dp_groups = torch.no_grad()(stage_1_and_2.all_gather_dp_groups)


def _load_on_cpu() -> None:
    """Weights are loaded onto the device of the rank's number, and a CPU has no such device. (ZeRO-3 places them
    itself and takes no map.)"""
    from transformers import modeling_utils
    from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

    original = modeling_utils.check_and_set_device_map

    def check_and_set_device_map(device_map: Any) -> Any:
        return original(None if is_deepspeed_zero3_enabled() else "cpu")

    modeling_utils.check_and_set_device_map = check_and_set_device_map


if _cpu_ranks():
    _load_on_cpu()
    _gloo_as_backend()
    _gather_without_grad()
