"""A number of parameters -> the Llama-shaped model that comes nearest to it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from runner.facts.families import architecture_of

# Width / layers. Kaplan et al. 2020, figure 5: from 30 to 200 the loss hardly depends on it. Released models (GPT-3,
# Llama, Qwen) go from about 64 when small to 128 at 7 billion parameters and beyond.
_NARROW, _WIDE = 64.0, 128.0
_NARROW_AT, _WIDE_AT = 1e8, 7e9
_MOST_ASPECT, _LEAST_ASPECT = 220.0, 16.0
_BIG_HEADS_AT = 2048  # width from which heads have 128 features, below it 64, as in Llama 3 and Qwen
_SMALL_STEP = 64
_TIED_SHARE = 0.2  # of the parameters in input embeddings from which the output takes the same matrix
_MOST_LAYERS = 160
_WIDEST = 32768
# of the recipe's own architecture, whatever its family
_KEPT = (
    "vocab_size",
    "max_position_embeddings",
    "rms_norm_eps",
    "rope_theta",
    "rope_parameters",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)
_MLP = 8 / 3  # of the width: a gated MLP with the weights of a plain one of 4 (Shazeer 2020; Touvron et al. 2023)


@dataclass(frozen=True, slots=True)
class Shape:
    """`config` is the recipe's `architecture:`; `parameters` is exact."""

    config: dict[str, Any]
    parameters: int

    @property
    def aspect(self) -> float:
        return float(self.config["hidden_size"] / self.config["num_hidden_layers"])


def nearest(params: float, base: dict[str, Any]) -> Shape | None:
    """The shape with about `params` parameters, embeddings included, and a usual ratio of width to depth. `base` gives
    vocabulary, positions and special tokens. None where its embeddings alone are larger, or no model is that large."""
    best: tuple[float, Shape] | None = None
    wanted = _aspect(params)
    for hidden in _widths():
        for shape in _near(params, hidden, base):
            off = abs(math.log(shape.parameters / params))
            bent = abs(math.log(shape.aspect / wanted))
            if not _LEAST_ASPECT <= shape.aspect <= _MOST_ASPECT:
                continue
            score = off + 0.06 * bent
            if best is None or score < best[0]:
                best = score, shape
    if best is None or abs(math.log(best[1].parameters / params)) > 0.25:
        return None
    return best[1]


def _aspect(params: float) -> float:
    place = math.log(params / _NARROW_AT) / math.log(_WIDE_AT / _NARROW_AT)
    return float(_NARROW * (_WIDE / _NARROW) ** min(1.0, max(0.0, place)))


def _widths() -> Iterator[int]:
    hidden = _SMALL_STEP
    while hidden <= _WIDEST:
        yield hidden
        hidden += _SMALL_STEP if hidden < 1024 else 128 if hidden < 4096 else 256 if hidden < 8192 else 512


def _near(params: float, hidden: int, base: dict[str, Any]) -> Iterator[Shape]:
    """Of one width, the depths just below and above the parameters asked for."""
    vocab = int(base.get("vocab_size", 0))
    tied = vocab * hidden > _TIED_SHARE * params
    outside = (1 if tied else 2) * vocab * hidden
    one = _shaped(hidden, 1, tied, base)
    layer = one.parameters - outside
    if params <= outside + 0.5 * layer:
        return
    exact = (params - outside) / layer
    for layers in {max(1, math.floor(exact)), max(1, math.ceil(exact))}:
        if layers <= _MOST_LAYERS:
            yield _shaped(hidden, layers, tied, base)


def _shaped(hidden: int, layers: int, tied: bool, base: dict[str, Any]) -> Shape:
    head = 128 if hidden >= _BIG_HEADS_AT and hidden % 128 == 0 else 64
    heads = hidden // head
    step = 256 if hidden >= 1024 else 64
    kept = {key: base[key] for key in _KEPT if base.get(key) is not None}
    config = {
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": math.ceil(_MLP * hidden / step) * step,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": _groups(heads),
        "tie_word_embeddings": tied,
        **kept,
    }
    return Shape(config, architecture_of(config).parameters)


def _groups(heads: int) -> int:
    """Heads of keys and values: 8 as in Llama 3 where they divide the queries' and are fewer, else all."""
    return 8 if heads > 16 and heads % 8 == 0 else heads
