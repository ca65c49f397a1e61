"""Plans made by hand, with figures that are easy to follow through."""

from __future__ import annotations

from dataclasses import replace

from runner.plan.types import Cost, Estimate, Length, Memory, Plan, Speed, Store


def near(value: float, share: float = 0.1) -> Estimate:
    return Estimate(value, value * (1 - share), value * (1 + share))


FITTING = Plan(
    recipe="phase4/lora-13b",
    kind="finetune",
    profile="full",
    box="2xh100",
    gpus=2,
    model="llama-2-13b",
    parameters=13_015_864_320,
    active_parameters=13_015_864_320,
    trained_parameters=125_173_760,
    components={"embeddings": 163_840_000, "attention": 4_194_304_000, "mlp": 8_493_465_600, "head": 164_254_720},
    global_batch=64,
    step_tokens=131_072,
    memory=Memory(
        peak=near(60.0, 0.025),
        reserved=near(66.0, 0.06),
        capacity_gib=79.1,
        phase="backward-last",
        breakdown={"weights": 24.25, "activations": 22.75, "layer": 12.0, "optimizer": 0.97, "workspace": 0.03},
        moments={"loss": 52.0, "backward-last": 60.0, "step": 26.5},
    ),
    host=Store(near(55.0), {"gathered for saving": 48.5, "processes": 6.5}, 442.0),
    disk=Store(near(110.0), {"checkpoints": 85.0, "download": 25.0}, 2000.0),
    fits="yes",
    speed=Speed(
        tokens_per_s_per_gpu=near(3200.0, 0.15),
        step_s=near(20.48, 0.15),
        mfu=0.31,
        hfu=0.42,
        breakdown={"matmul": 14.0, "attention": 3.0, "elementwise": 3.0, "optimizer": 0.48},
    ),
    length=Length(steps=2430, tokens=318_504_960, samples=51_760, why="data/smoke has 51,760 samples"),
    cost=Cost(near(13.8, 0.15), near(82.8, 0.15), near(19.0, 0.15), 6.0),
    notes=("the vision tower is frozen and counted once",),
)
TOO_LARGE = replace(
    FITTING,
    fits="no",
    memory=replace(
        FITTING.memory,
        peak=near(101.0, 0.025),
        reserved=near(108.0, 0.06),
        breakdown={"weights": 24.25, "activations": 64.75, "layer": 12.0},
        moments={"loss": 90.0, "backward-last": 101.0, "step": 26.5},
    ),
)
ON_CPU = replace(
    FITTING,
    profile="smoke",
    box="cpu",
    gpus=0,
    memory=Memory(near(0.0), near(0.0), 0.0, "", {}, {}),
    host=Store(near(1.4), {"processes": 1.099, "weights": 0.3, "layer": 0.001}, 4.0),
    speed=None,
    cost=Cost(None, None, None, 0.0),
    length=Length(None, None, None, "the data is on the hub and its size is not known here"),
)
