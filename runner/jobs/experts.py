"""Routers of a mixture of experts, while it trains -> experts.jsonl: what share of the tokens each expert of each layer
got since the last report.

One line for each layer and report:
`{"step": 20, "layer": 0, "shares": [...], "cv": 0.2, "entropy": 0.98, "most": 1.3, "idle": 0, "balance": 1.02}`.
`shares` add up to 1 and are counted where the router chose, so that they are what the experts computed. Of an even load
`cv` (deviation over mean) is 0, `entropy` (of its largest) 1, `most` (largest share over an even one) 1, and `balance`,
Switch Transformer's loss for one layer (Fedus et al. 2021, arXiv:2101.03961, equation 4), 1. `idle` experts got less
than a tenth of an even share. transformers' routers drop no token, so nothing is counted as dropped.

The means over the layers go into metrics.jsonl as `experts/most` and the like.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from meter import MetricsCallback, metrics_file
from transformers.trainer_callback import TrainerCallback

EXPERTS = "experts.jsonl"
IDLE = 0.1
FIGURES = ("most", "cv", "entropy", "idle", "balance")


class Experts(TrainerCallback):  # type: ignore[misc]
    """Counts on every rank, and writes on the first; of a model without routers it does nothing."""

    def __init__(self, report: MetricsCallback) -> None:
        self.report = report
        self.sums: list[torch.Tensor | None] = []

    def watch(self, trainer: Any) -> None:
        for router in routers(trainer.model):
            self.sums.append(None)
            router.register_forward_hook(self._hook(len(self.sums) - 1))
        if self.sums:
            plain_evaluation(trainer)

    def _hook(self, layer: int) -> Any:
        def count(router: Any, inputs: Any, output: Any) -> None:
            if router.training and (found := counted(router, output)) is not None:
                before = self.sums[layer]
                self.sums[layer] = found if before is None else before + found

        return count

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        if "loss" not in (logs or {}) or not any(sums is not None for sums in self.sums):
            return
        lines = [{"layer": layer, **figures(total(sums))} for layer, sums in enumerate(self.sums) if sums is not None]
        self.sums = [None] * len(self.sums)
        if not state.is_world_process_zero:
            return
        with file().open("a") as out:
            out.writelines(json.dumps({"step": state.global_step, **line}) + "\n" for line in lines)
        means = {f"experts/{name}": round(sum(line[name] for line in lines) / len(lines), 5) for name in FIGURES}
        self.report.write(state, means)


def file() -> Path:
    return metrics_file().resolve().parent / EXPERTS


def routers(model: Any) -> Iterator[Any]:
    """In the order of the layers. transformers 5 calls them MixtralTopKRouter, Qwen3MoeTopKRouter and so on."""
    return (module for module in model.modules() if type(module).__name__.endswith("TopKRouter"))


@torch.no_grad()
def counted(router: Any, output: Any) -> torch.Tensor | None:
    """Of each expert the tokens that were sent to it and the sum of its probabilities, 2 x experts; None of a router
    that does not return logits, weights and indices."""
    if not (isinstance(output, tuple) and len(output) == 3 and not output[2].is_floating_point()):
        return None
    logits, _, chosen = output
    tokens = torch.bincount(chosen.flatten(), minlength=logits.shape[-1])
    return torch.stack([tokens.float(), torch.softmax(logits.float(), dim=-1).sum(0)])


def total(sums: torch.Tensor) -> torch.Tensor:
    """Of all ranks, which see different tokens."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(sums)
    return sums


def figures(sums: torch.Tensor) -> dict[str, Any]:
    tokens, probabilities = (row / row.sum() for row in sums.double().cpu())
    count = len(tokens)
    surprise = -sum(share * math.log(share) for share in tokens.tolist() if share > 0)
    return {
        "shares": [round(share, 5) for share in tokens.tolist()],
        "cv": round(float(tokens.std(correction=0)) * count, 5),
        "entropy": round(surprise / math.log(count), 5),
        "most": round(float(tokens.max()) * count, 5),
        "idle": int((tokens < IDLE / count).sum()),
        "balance": round(count * float((tokens * probabilities).sum()), 5),
    }


def plain_evaluation(trainer: Any) -> None:
    """The loss of an evaluation is that of the text alone: transformers adds the balance loss to it as well, so that
    models with and without one could not be compared."""
    evaluate = trainer.evaluate

    def measured(*args: Any, **kwargs: Any) -> Any:
        config = trainer.accelerator.unwrap_model(trainer.model).config
        wanted = config.output_router_logits
        config.output_router_logits = False
        try:
            return evaluate(*args, **kwargs)
        finally:
            config.output_router_logits = wanted

    trainer.evaluate = measured
