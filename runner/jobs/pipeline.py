"""Trains a causal language model as stages of a DeepSpeed pipeline; `pipeline.py pipeline.json`, one process per GPU.

Neither the weights nor the order of the data depends on how many stages there are, and so neither does the loss. Run
again in the same folder, training goes on from the newest checkpoint. What is left in `output` is an ordinary
transformers directory; every stage writes its own file of it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import deepspeed
import numpy as np
import torch
import torch.distributed as dist
from deepspeed.pipe import PipelineModule
from meter import flush
from pipeline_layers import Embedding, Maker, layers_of, loss_of
from pipeline_meter import Meter
from safetensors.torch import save_file
from shards import Shards
from torch import nn
from transformers import AutoConfig, AutoTokenizer, get_scheduler

OUTPUT = Path("output")
CHECKPOINT = "checkpoint-"


class Blocks:
    """Which blocks of the data a micro batch has: every epoch in an order of its own, from the seed."""

    def __init__(self, given: dict[str, Any], copies: int, copy: int) -> None:
        self.shards = Shards(given["data"], "train", given["sequence_len"], extra=1)
        if not len(self.shards):
            sys.exit(f"BadShards: {given['data']}: fewer tokens than one block of {given['sequence_len']}")
        self.given, self.copies, self.copy = given, copies, copy
        self.epoch, self.order = -1, np.arange(0)

    def of_step(self, step: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """`(input ids, labels)`, each [micro batch, sequence_len], for every micro batch of a step (from 0)."""
        rows, micros = self.given["micro_batch_size"], self.given["gradient_accumulation_steps"]
        for micro in range(micros):
            first = ((step * micros + micro) * self.copies + self.copy) * rows
            ids = torch.from_numpy(np.stack([self.block(first + row) for row in range(rows)]))
            yield ids[:, :-1].contiguous(), ids[:, 1:].contiguous()

    def block(self, number: int) -> Any:
        epoch, place = divmod(number, len(self.shards))
        if epoch != self.epoch:
            self.epoch = epoch
            self.order = np.random.default_rng([self.given["seed"], epoch]).permutation(len(self.shards))
        return self.shards[int(self.order[place])]["input_ids"]

    def epochs(self, step: int) -> float:
        blocks = self.given["micro_batch_size"] * self.given["gradient_accumulation_steps"] * self.copies
        return round(step * blocks / len(self.shards), 4)


def make_engine(given: dict[str, Any], config: Any) -> Any:
    module = PipelineModule(
        layers_of(config, given["seed"]),
        num_stages=given["stages"],
        loss_fn=loss_of,
        partition_method=given["partition_method"],
        activation_checkpoint_interval=given["activation_checkpoint_interval"],
        activation_checkpoint_func=partial(torch.utils.checkpoint.checkpoint, use_reentrant=False),
        checkpointable_layers=["Decoder"],
    )
    plain = [p for p in module.parameters() if p.dim() > 1]
    scales = [p for p in module.parameters() if p.dim() <= 1]  # norms and biases, which are not decayed
    schedule = given["schedule"]
    engine, *_ = deepspeed.initialize(
        model=module,
        model_parameters=[{"params": plain}, {"params": scales, "weight_decay": 0.0}],
        lr_scheduler=lambda optimizer: get_scheduler(
            schedule["name"],
            optimizer,
            schedule["warmup_steps"],
            given["max_steps"],
            scheduler_specific_kwargs=schedule["settings"],
        ),
        config=json.loads(Path("deepspeed.json").read_text()),
    )
    if not engine.is_last_stage():
        # What comes back from the next stage has been divided by the micro batches already; DeepSpeed 0.18 divides the
        # gradient of every stage's output, once more for each stage (deepspeedai/DeepSpeed issue 8152).
        engine._scale_wrt_gas = False
    return engine


def newest() -> str | None:
    """The checkpoint that DeepSpeed names as the last that was written whole."""
    latest = OUTPUT / "latest"
    return latest.read_text().strip() if latest.is_file() else None


def save_checkpoint(engine: Any, step: int, keep: int | None) -> None:
    engine.save_checkpoint(str(OUTPUT), tag=f"{CHECKPOINT}{step}", client_state={"step": step})
    dist.barrier()
    if dist.get_rank() == 0 and keep:
        found = sorted(OUTPUT.glob(f"{CHECKPOINT}*"), key=lambda f: int(f.name.removeprefix(CHECKPOINT)))
        if found[:-keep]:
            flush(found[-1])  # a loss of power must not take both
        for old in found[:-keep]:
            shutil.rmtree(old, ignore_errors=True)


def save_model(engine: Any, config: Any, tokenizer: str | None) -> None:
    """Each stage its own layers, then rank 0 what joins them. A tied head is the embedding, and written once."""
    stages, stage = engine.num_stages, engine.stage_id
    mine: dict[str, torch.Tensor] = {}
    if engine.grid.get_data_parallel_id() == 0:
        for piece in engine.module.forward_funcs:
            if isinstance(piece, nn.Module) and not (isinstance(piece, Embedding) and stage > 0):
                mine |= {
                    piece.prefix + name: value.detach().cpu().contiguous().clone()
                    for name, value in piece.inner.state_dict().items()
                }
        file = f"model-{stage + 1:05d}-of-{stages:05d}.safetensors"
        save_file(mine, OUTPUT / f"{file}.part", metadata={"format": "pt"})
        (OUTPUT / f"{file}.part").replace(OUTPUT / file)
        placed = dict.fromkeys(mine, file)
    else:
        placed = {}
    size = sum(v.numel() * v.element_size() for v in mine.values())
    every: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(every, (placed, size))
    if dist.get_rank():
        return
    config.architectures = [type(Maker(config, 0).empty).__name__]
    config.dtype = next(iter(mine.values())).dtype  # after the empty model, which says 32 bits
    config.save_pretrained(OUTPUT)
    if tokenizer:
        AutoTokenizer.from_pretrained(tokenizer).save_pretrained(OUTPUT)
    index = {
        "metadata": {"total_size": sum(size for _, size in every)},
        "weight_map": {name: file for placed, _ in every for name, file in sorted(placed.items())},
    }
    (OUTPUT / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


class Asked:
    """Whether anybody asked this run to stop: every rank learns it after the step, and all save together."""

    def __init__(self) -> None:
        self.number = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.note)

    def note(self, number: int, frame: Any) -> None:
        self.number = number

    def by_any(self, device: Any) -> int:
        flag = torch.tensor(self.number, device=device)
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        return int(flag)


def train(given: dict[str, Any], engine: Any) -> int:
    """Exit code: 0, or 128 and the signal that ended it."""
    copies = engine.grid.get_data_parallel_world_size()
    blocks = Blocks(given, copies, engine.grid.get_data_parallel_id())
    meter = Meter(engine, given, blocks.epochs)
    asked, start, most = Asked(), 0, given["max_steps"]
    if tag := newest():
        _, kept = engine.load_checkpoint(str(OUTPUT), tag=tag)
        start = kept["step"]
    meter.event("begin", start)
    for step in range(start, most):
        meter.begin()
        rate = engine.get_lr()[0]
        loss = engine.train_batch(blocks.of_step(step))
        meter.end(step + 1, float(loss), rate)
        stop = asked.by_any(engine.device)
        every = given["save_steps"]
        if stop or (every and (step + 1) % every == 0):
            save_checkpoint(engine, step + 1, given["save_total_limit"])
            meter.event("save", step + 1)
        if stop:
            return 128 + stop
    meter.event("end", most)
    return 0


def main() -> None:
    given = json.loads(Path(sys.argv[1]).read_text())
    OUTPUT.mkdir(exist_ok=True)
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = bool(given["tf32"])
    deepspeed.init_distributed(dist_backend="nccl" if gpu else "gloo")
    config = AutoConfig.from_pretrained("model", attn_implementation=given["attn_implementation"])
    config.use_cache = False
    engine = make_engine(given, config)
    code = train(given, engine)
    if code == 0:
        save_model(engine, config, given["tokenizer"])
    dist.barrier()
    dist.destroy_process_group()
    sys.exit(code)


if __name__ == "__main__":
    main()
