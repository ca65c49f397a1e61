"""SIGINT and SIGTERM: the trainer saves a checkpoint after the step at hand, and ends."""

import signal
from typing import Any

from transformers.trainer_callback import TrainerCallback


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
        if self.asked:
            control.should_save = control.should_training_stop = True

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
