"""transformers' Trainer, less what it does again in every step though the answer never changes."""

import gc
from typing import Any

from transformers.trainer import Trainer


class LeanTrainer(Trainer):  # type: ignore[misc]
    """For models whose step takes milliseconds. Profiled with nanoGPT's CPU example: counting the parameters for the
    floating point operations of each step went through all modules; the garbage collector through all that was
    imported."""

    per_token: int | None = None

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Kaplan's 6 N D, as transformers has it, with N counted once."""
        if self.per_token is None:
            self.per_token = 6 * self.model.num_parameters(exclude_embeddings=True)
            gc.collect()
            gc.freeze()  # what is there after the first step stays
        return self.per_token * int(inputs[self.model.main_input_name].numel())

    def train(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().train(*args, **kwargs)
        finally:
            gc.unfreeze()
