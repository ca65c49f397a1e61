"""How DeepSpeed divides a model's layers among the stages of a pipeline."""

from __future__ import annotations

from collections.abc import Sequence

from runner.facts.architecture import Architecture


def bounds(architecture: Architecture, stages: int, method: str) -> list[int]:
    """First item of each stage and the end, of embedding, decoder layers, final norm and head, as DeepSpeed's
    PipelineModule divides them (runtime/pipe/module.py, _partition_layers)."""
    layers, decoder = architecture.decoder.layers, architecture.decoder.layer_parameters
    table = sum(w.rows * w.cols for w in architecture.outer if w.part == "embedding")
    head = sum(w.rows * w.cols for w in architecture.outer if w.part == "head")
    if method == "uniform":
        return uniform(layers + 3, stages)
    if method == "type:decoder":
        return balanced([0, *[1] * layers, 0, 0], stages)
    norm = sum(w.parameters for w in architecture.outer if w.part == "norm")
    return balanced([table, *[decoder] * layers, norm, head or table], stages)


def uniform(items: int, parts: int) -> list[int]:
    """runtime/utils.py, partition_uniform: the first parts get one more where they don't come out even."""
    if items <= parts:
        return [min(part, items) for part in range(parts + 1)]
    size, more = divmod(items, parts)
    return [part * size + min(part, more) for part in range(parts + 1)]


def balanced(weights: Sequence[int], parts: int) -> list[int]:
    """runtime/utils.py, partition_balanced: the smallest difference between the heaviest part and the lightest."""
    count, never = len(weights), float("inf")
    if count <= parts:
        return uniform(count, parts)
    sums = [0]
    for weight in weights:
        sums.append(sums[-1] + weight)
    # of the first i items in j parts: (cost, heaviest, lightest, where the last part starts)
    best = {(0, 0): (never, 0.0, never, 0)}
    empty = (never, never, never, 0)
    for i in range(1, count + 1):
        for j in range(1, min(i, parts) + 1):
            found = empty
            for k in range(i):
                _, heaviest, lightest, _ = best.get((k, j - 1), empty)
                last = sums[i] - sums[k]
                high, low = max(heaviest, last), min(lightest, last)
                if found[0] >= high - low:
                    found = (high - low, high, low, k)
            best[i, j] = found
    ends = [count]
    for j in range(parts, 0, -1):
        ends.append(best[ends[-1], j][3])
    return ends[::-1]
