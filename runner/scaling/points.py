"""Runs to fit a law to: their sizes, tokens, FLOPs and losses, each with the place it was read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runner.diagnostics import Span, shown_path
from runner.scaling.laws import Array, Inputs

# of training, forward and backward, per parameter and token: Kaplan et al. 2020, section 2.1
FLOPS_PER_TOKEN = 6.0


@dataclass(frozen=True, slots=True)
class Points:
    """One entry per run. `unique` is how many different tokens it saw; the tokens themselves where nothing is said."""

    params: Array
    tokens: Array
    flops: Array
    loss: Array
    unique: Array
    places: tuple[Span, ...]

    def __len__(self) -> int:
        return len(self.loss)

    def take(self, chosen: Array) -> Points:
        index = np.arange(len(self))[chosen]
        parts = (self.params, self.tokens, self.flops, self.loss, self.unique)
        params, tokens, flops, loss, unique = (part[index] for part in parts)
        return Points(params, tokens, flops, loss, unique, tuple(self.places[i] for i in index))

    def inputs(self) -> Inputs:
        """Logarithms, centred at the geometric means of parameters and tokens."""
        n, d = np.log(self.params), np.log(self.tokens)
        log_n0, log_d0 = float(n.mean()), float(d.mean())
        unique = np.log(np.minimum(self.unique, self.tokens))
        return Inputs(n - log_n0, d - log_d0, unique - log_d0, np.log(self.loss), log_n0, log_d0)

    def place(self, index: int) -> str:
        """`runs.csv:12`."""
        span = self.places[index]
        return f"{shown_path(span.file)}:{span.line}" if span.line else shown_path(span.file)


def at(params: Array, tokens: Array, like: Inputs, unique: Array | None = None) -> Inputs:
    """Sizes to predict the loss of, at the centre of the runs that a law was fitted to."""
    n, d = np.log(params) - like.log_n0, np.log(tokens) - like.log_d0
    seen = d if unique is None else np.minimum(np.log(unique) - like.log_d0, d)
    return Inputs(n, d, seen, np.zeros_like(n), like.log_n0, like.log_d0)


def joined(parts: Sequence[Points]) -> Points:
    """Runs of several sources, in their order."""
    columns = ("params", "tokens", "flops", "loss", "unique")
    arrays = (np.concatenate([getattr(part, column) for part in parts]) for column in columns)
    params, tokens, flops, loss, unique = arrays
    return Points(params, tokens, flops, loss, unique, tuple(span for part in parts for span in part.places))


def budgets(flops: Array, within: float = 1.2) -> list[Array]:
    """Runs of about equal FLOPs together, smallest budget first: a budget ends where the next run needs over `within`
    times the FLOPs of its first."""
    order = np.argsort(flops, kind="stable")
    groups: list[list[int]] = []
    for i in order:
        if groups and flops[i] <= flops[groups[-1][0]] * within:
            groups[-1].append(int(i))
        else:
            groups.append([int(i)])
    return [np.array(group) for group in groups]
