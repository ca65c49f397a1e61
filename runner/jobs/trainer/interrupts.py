"""SIGINT, SIGTERM, or a file that a scheduler's job makes: the trainer saves a checkpoint after the step at hand.

After a signal it ends, too. Ranks hear of either at different moments, and must stop after the same step: where there
are several they agree on it, by the largest of what each has heard.
"""

import signal
from pathlib import Path
from typing import Any

import torch
from transformers.trainer_callback import TrainerCallback

# in the output folder, by Axolotl's name for it, whose callback of the same purpose saves and goes on
REQUEST = "axolotl_checkpoint.save"
SAVE = -1


class Interrupts(TrainerCallback):  # type: ignore[misc]
    """`asked` is the number of the signal that came, 0 before."""

    def __init__(self) -> None:
        self.asked = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.ask)

    def ask(self, number: int, frame: Any) -> None:
        self.asked = number

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        request = Path(args.output_dir) / REQUEST
        wanted = agreed(self.asked or (SAVE if state.is_world_process_zero and request.exists() else 0), args.device)
        if wanted:
            control.should_save = True
            if state.is_world_process_zero:
                request.unlink(missing_ok=True)
        if wanted > 0:
            self.asked = wanted
            control.should_training_stop = True

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)


def agreed(heard: int, device: Any) -> int:
    """What all ranks go by: a signal's number where any heard one, else SAVE where that was asked for, else 0."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return heard
    each = torch.tensor([max(heard, 0), int(heard == SAVE)], device=device)
    torch.distributed.all_reduce(each, op=torch.distributed.ReduceOp.MAX)
    signalled, save = each.tolist()
    return int(signalled) or (SAVE if save else 0)
