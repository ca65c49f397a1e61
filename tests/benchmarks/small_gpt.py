"""nanoGPT's CPU example on our Trainer path against a plain PyTorch loop: tokens/s side by side, and what both learn.

    RUNNER_PYTHON=.venv/bin/python $ENV/bin/python -m tests.benchmarks.small_gpt [--compile] [--steps 2000] [--unfused]

Both have the same model (transformers' GPT2), weights, data, batch, optimizer and schedule. They take turns every 25
steps in one process, so that whatever else the machine does slows both; the ratio is that of the median turns. Ours is
the stage that `runner run phase1/gpt-nano` runs, with its rendered settings and all of its callbacks. The text is the
standard library's, a token per byte.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
TURN = 25
BYTES = 1_115_394  # of tiny Shakespeare
SPECIAL = 3  # ByT5's bytes begin after padding, end and unknown
BATCH, BLOCK, VOCAB = 12, 64, 384


def write_shards(folder: Path) -> None:
    text = b""
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        text += file.read_bytes()
        if len(text) >= BYTES:
            break
    tokens = (np.frombuffer(text[:BYTES], np.uint8) + SPECIAL).astype("<u2")
    cut = len(tokens) * 9 // 10
    splits = {}
    for name, part in (("train", tokens[:cut]), ("validation", tokens[cut:])):
        (folder / name).mkdir(parents=True)
        part.tofile(folder / name / "0.ds")
        file = {"path": f"{name}/0.ds", "tokens": len(part), "documents": 1, "sha256": ""}
        splits[name] = {"documents": 1, "tokens": len(part), "files": [file]}
    manifest = {"format": 1, "token_bytes": 2, "vocab_size": VOCAB, "eos_token_id": 1, "splits": splits}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def render(folder: Path, shards: Path, sets: list[str]) -> None:
    """What `runner run phase1/gpt-nano` would execute, on these shards."""
    sets = [f"prepared={shards}", "tokenizer_config=null", *sets]
    command = [os.environ.get("RUNNER_PYTHON", "python3"), "-m", "runner", "render", "phase1/gpt-nano"]
    command += [word for each in sets for word in ("--set", each)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "RUNNER_PROJECT": str(ROOT)}
    subprocess.run([*command, "--out", str(folder)], check=True, env=env, stdout=subprocess.DEVNULL)


class PlainLoop:
    """The loop that one would write: random blocks, forward, loss, backward, clip, step."""

    def __init__(self, model: Any, shards: Path, settings: dict[str, Any], fused: bool) -> None:
        import torch

        self.torch, self.settings = torch, settings
        self.data = {name: np.memmap(shards / name / "0.ds", "<u2", "r") for name in ("train", "validation")}
        decay = [p for p in model.parameters() if p.dim() >= 2]
        rest = [p for p in model.parameters() if p.dim() < 2]
        groups = [{"params": decay, "weight_decay": settings["weight_decay"]}, {"params": rest, "weight_decay": 0.0}]
        betas = (0.9, settings["adam_beta2"])
        self.optimizer = torch.optim.AdamW(groups, lr=settings["learning_rate"], betas=betas, fused=fused or None)
        self.whole = model
        self.model = torch.compile(model) if settings.get("torch_compile") else model
        self.done, self.draw = 0, np.random.default_rng(0)

    def learning_rate(self) -> float:
        peak, low = self.settings["learning_rate"], self.settings["lr_scheduler_kwargs"]["min_lr"]
        warmup, last = self.settings["warmup_steps"], self.settings["max_steps"]
        if self.done < warmup:
            return peak * self.done / warmup
        share = (self.done - warmup) / (last - warmup)
        return low + 0.5 * (1 + math.cos(math.pi * share)) * (peak - low)

    def batch(self, split: str, starts: Any) -> tuple[Any, Any]:
        rows = np.stack([self.data[split][s : s + BLOCK + 1] for s in starts]).astype(np.int64)
        rows = self.torch.from_numpy(rows)
        return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()

    def loss(self, x: Any, y: Any) -> Any:
        logits = self.model(input_ids=x, use_cache=False).logits
        return self.torch.nn.functional.cross_entropy(logits.view(-1, logits.size(-1)), y.view(-1))

    def take(self, steps: int) -> float:
        """Seconds."""
        self.model.train()
        begun = time.perf_counter()
        for _ in range(steps):
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate()
            loss = self.loss(*self.batch("train", self.draw.integers(0, len(self.data["train"]) - BLOCK - 1, BATCH)))
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings["max_grad_norm"])
            self.optimizer.step()
            self.done += 1
        loss.item()
        return time.perf_counter() - begun

    def validate(self) -> float:
        count = (len(self.data["validation"]) - 1) // BLOCK
        self.model.eval()
        total = 0.0
        with self.torch.no_grad():
            for at in range(0, count, 64):
                starts = [i * BLOCK for i in range(at, min(count, at + 64))]
                total += float(self.loss(*self.batch("validation", starts))) * len(starts)
        return total / count


def turns(plain: PlainLoop, every: int) -> Any:
    """A callback under which the Trainer and the plain loop take turns; `ours` and `theirs` are seconds of each."""
    from transformers import TrainerCallback

    class Turns(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.ours: list[float] = []
            self.theirs: list[float] = []

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.begun = time.perf_counter()

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step and state.global_step % every == 0 and state.global_step > every * len(self.ours):
                self.end()

        def end(self) -> None:
            self.ours.append(time.perf_counter() - self.begun)
            self.theirs.append(plain.take(every))
            self.begun = time.perf_counter()

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.end()

    return Turns()


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--steps", type=int, default=2000)
    options.add_argument("--compile", action="store_true")
    options.add_argument("--unfused", action="store_true", help="the plain loop's AdamW as torch makes it by default")
    options.add_argument("--set", action="append", default=[], help="of the recipe, such as architecture.n_layer=1")
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    work = Path(tempfile.mkdtemp(prefix="small-gpt-"))
    write_shards(work / "shards")
    # evaluation and checkpoints are no part of a step: they would stand in our turns alone
    sets = [f"max_steps={given.steps}", "eval_strategy=no", "eval_steps=null", "save_strategy=no", "save_steps=null"]
    render(work / "run", work / "shards", [*sets, *given.set, *(["torch_compile=true"] if given.compile else [])])
    os.chdir(work / "run")
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    sys.path.insert(0, "jobs")
    from trainer import startup
    from trainer.settings import read_settings

    settings = read_settings(Path("trainer.yaml"))
    startup.hide(startup.unused(settings))
    import torch
    from trainer import stage
    from transformers import GPT2Config, GPT2LMHeadModel, set_seed

    set_seed(settings.arguments["seed"])
    architecture = {k: v for k, v in settings.own["architecture"].items() if k != "model_type"}
    plain = PlainLoop(
        GPT2LMHeadModel(GPT2Config(**architecture)), work / "shards", settings.arguments, not given.unfused
    )
    look = turns(plain, TURN)
    assert stage.run(settings, look) == 0
    rows = [json.loads(line) for line in Path("metrics.jsonl").read_text().splitlines()]
    ours = next(row["eval_loss"] for row in reversed(rows) if "eval_loss" in row)
    theirs = plain.validate()
    speeds = [TURN * BATCH * BLOCK / statistics.median(seconds[1:]) for seconds in (look.ours, look.theirs)]
    ratios = sorted(b / a for a, b in zip(look.ours[1:], look.theirs[1:], strict=True))
    found = {
        "compile": given.compile,
        "plain_optimizer": "default" if given.unfused else "fused",
        "threads": torch.get_num_threads(),
        "steps": given.steps,
        "tokens_per_s": {"trainer": round(speeds[0]), "plain": round(speeds[1])},
        "ratio": round(speeds[0] / speeds[1], 3),
        "ratio_of_turns": {
            "median": round(statistics.median(ratios), 3),
            "least": round(ratios[0], 3),
            "most": round(ratios[-1], 3),
        },
        "validation_loss": {"trainer": round(ours, 4), "plain": round(theirs, 4)},
        "first_turn_s": {"trainer": round(look.ours[0], 2), "plain": round(look.theirs[0], 2)},
    }
    print(json.dumps(found, indent=None if given.json else 1))


if __name__ == "__main__":
    main()
