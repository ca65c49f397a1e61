"""An Axolotl plugin that makes `tensor_parallel_size` train, save and go on without FSDP; on CPU ranks too.

transformers leaves what it does not divide (norms, embeddings) plain tensors beside DTensors. With Axolotl 0.19,
accelerate 1.13 and transformers 5.16 the two meet where nobody expects them: clipping and the optimizer put them into
one fused call, which torch refuses; saving gathers on rank 0 alone and waits for ever; and rank 0's part of the
optimizer's states would be every rank's after a restart. Under FSDP2 accelerate makes all of them DTensors, and none
of this is needed.
"""

import os
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.parallelism_config import ParallelismConfig
from axolotl.integrations.base import BasePlugin
from safetensors.torch import load_file
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm
from transformers import TrainerCallback

WEIGHTS = "model*.safetensors"
SCHEDULER = "scheduler.pt"


def optimizer_file(checkpoint: str) -> Path:
    return Path(checkpoint) / f"optimizer-{os.environ['RANK']}.pt"


class TensorParallelPlugin(BasePlugin):  # type: ignore[misc]
    def post_trainer_create(self, cfg: Any, trainer: Any) -> None:
        divided = any(isinstance(p, DTensor) for p in trainer.model.parameters())
        if not divided:
            raise RuntimeError(
                "tensor_parallel_size is set and no weight was divided: every rank holds the whole model"
            )
        trainer.accelerator.clip_grad_norm_ = partial(clip, trainer.accelerator)
        trainer.create_optimizer = partial(in_groups_of_a_kind, trainer.create_optimizer)
        trainer.save_model = partial(save_model, trainer)
        trainer._save_optimizer_and_scheduler = partial(save_states, trainer)
        trainer._load_optimizer_and_scheduler = partial(load_states, trainer)
        trainer._load_from_checkpoint = partial(load_weights, trainer)
        # rank 0 writes what all have gathered, and has nobody to wait for
        trainer.model.barrier_after_gathered_checkpoint_save = lambda distributed_config: None
        trainer.add_callback(GatherAtTheEnd())


@torch.no_grad()
def clip(accelerator: Any, parameters: Any, max_norm: float, norm_type: float = 2.0) -> torch.Tensor:
    """As torch.nn.utils.clip_grad_norm_, over divided and whole gradients together."""
    accelerator.unscale_gradients()
    grads = [p.grad for p in parameters if p.grad is not None]
    divided = [g for g in grads if isinstance(g, DTensor)]
    whole = [g for g in grads if not isinstance(g, DTensor)]
    norms = [get_total_norm(divided, norm_type).full_tensor()] if divided else []
    norms += [get_total_norm(whole, norm_type)] if whole else []
    total = torch.linalg.vector_norm(torch.stack(norms), norm_type)
    share = torch.clamp(max_norm / (total + 1e-6), max=1.0)
    for grad in (*(g.to_local() for g in divided), *whole):
        grad.mul_(share)
    return total


def in_groups_of_a_kind(create: Any, *given: Any, **named: Any) -> Any:
    """The optimizer goes through its groups one by one, so that each may hold only one kind of tensor."""
    optimizer = create(*given, **named)
    groups = []
    for group in optimizer.param_groups:
        for kind in (True, False):
            found = [p for p in group["params"] if isinstance(p, DTensor) == kind]
            groups += [{**group, "params": found}] if found else []
    optimizer.param_groups[:] = groups
    return optimizer


def gathered(model: Any) -> dict[str, torch.Tensor]:
    """Whole weights in RAM, on rank 0; every rank has to ask."""
    found = {}
    for name, value in model.state_dict().items():
        whole = value.full_tensor() if isinstance(value, DTensor) else value
        if os.environ["RANK"] == "0":
            found[name] = whole.detach().cpu().contiguous()
    return found


def save_model(trainer: Any, output_dir: str | None = None, _internal_call: bool = False) -> None:
    state = gathered(trainer.model)
    if trainer.args.should_save:
        trainer._save(output_dir or trainer.args.output_dir, state_dict=state)


class GatherAtTheEnd(TrainerCallback):  # type: ignore[misc]
    """Axolotl's last save is rank 0's alone: it is given what all ranks gathered before."""

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        model = kwargs["model"]
        model.save_pretrained = partial(model.save_pretrained, state_dict=gathered(model))


def save_states(trainer: Any, output_dir: str) -> None:
    Path(output_dir).mkdir(parents=True, exist_ok=True)
    states = trainer.optimizer.state_dict()
    states["state"] = {
        number: {k: v.to_local() if isinstance(v, DTensor) else v for k, v in entry.items()}
        for number, entry in states["state"].items()
    }
    torch.save(states, optimizer_file(output_dir))
    if trainer.args.should_save:
        torch.save(trainer.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER)


def load_states(trainer: Any, checkpoint: str | None) -> None:
    if checkpoint is None or not optimizer_file(checkpoint).is_file():
        return
    states = torch.load(optimizer_file(checkpoint), map_location="cpu", weights_only=True)
    parameters = [p for group in trainer.optimizer.param_groups for p in group["params"]]
    for number, entry in states["state"].items():
        entry.update({k: like(parameters[number], v) for k, v in entry.items() if torch.is_tensor(v) and v.dim()})
    trainer.optimizer.load_state_dict(states)
    trainer.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / SCHEDULER, weights_only=True))


def like(parameter: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    """`part` of a tensor that is divided as the parameter is."""
    if not isinstance(parameter, DTensor):
        return part
    part = part.to(parameter.to_local().device)
    return DTensor.from_local(
        part, parameter.device_mesh, parameter.placements, shape=parameter.shape, stride=parameter.stride()
    )


def load_weights(trainer: Any, checkpoint: str, model: Any = None) -> None:
    state: dict[str, torch.Tensor] = {}
    for file in sorted(Path(checkpoint).glob(WEIGHTS)):
        state |= load_file(file)
    set_model_state_dict(model or trainer.model, state, options=StateDictOptions(full_state_dict=True))


def _mesh_of_cpus() -> None:
    """Axolotl asks for a mesh of CUDA devices by name, and accelerate takes CPU ranks for no mesh at all."""
    build, validate, multi = (
        ParallelismConfig.build_device_mesh,
        ParallelismConfig._validate_accelerator,
        Accelerator.multi_device,
    )

    def of_cpus(self: Any, device_type: str) -> Any:
        return build(self, "cpu")

    def accepted(self: Any, accelerator: Any) -> None:
        Accelerator.multi_device = property(lambda each: each.use_distributed)
        try:
            validate(self, accelerator)
        finally:
            Accelerator.multi_device = multi

    ParallelismConfig.build_device_mesh = of_cpus
    ParallelismConfig._validate_accelerator = accepted


if "LOCAL_RANK" in os.environ and not torch.cuda.is_available():
    _mesh_of_cpus()
