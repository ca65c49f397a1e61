"""What a model is made of: every weight with its place, from a transformers config."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

# where a parameter belongs; the components that a plan's breakdown and `--json` name
Part = Literal["embedding", "position", "attention", "mlp", "experts", "router", "norm", "head", "projector"]


@dataclass(frozen=True, slots=True)
class Weight:
    """One module's parameters, `copies` times over in its layer (or once, outside the layers).

    `rows` x `cols` is the matrix (output x input features); `bias` counts further parameters, a bias vector mostly.
    A vector (a norm, a learned scale) is `rows` x 1. `linear` says that PEFT and bitsandbytes see a linear layer:
    LoRA can adapt it, 4-bit loading quantizes it. Mixtral's experts in transformers 5 are stacked 3-D parameters, which
    neither sees. `active` is the share of the copies that one token passes through (experts per token / experts).
    `tied` weights are another's memory and count nothing.
    """

    name: str
    part: Part
    rows: int
    cols: int = 1
    bias: int = 0
    copies: int = 1
    linear: bool = False
    active: float = 1.0
    tied: bool = False

    @property
    def matrix(self) -> int:
        """Parameters that a matrix product multiplies with."""
        return self.rows * self.cols * self.copies

    @property
    def parameters(self) -> int:
        return 0 if self.tied else (self.rows * self.cols + self.bias) * self.copies


@dataclass(frozen=True, slots=True)
class Stack:
    """Equal layers one after the other: the decoder, an encoder, or a vision tower.

    Widths in features: `hidden` of the residual stream, `inner` of the MLP (of one expert), `heads` x `head_dim` of
    the queries, `kv_heads` x `head_dim` of keys and values. `norm` and `activation` name the kinds, on which the
    memory that is saved for backward depends; `parallel` blocks feed attention and MLP from one norm (NeoX, Falcon).
    """

    name: Literal["decoder", "encoder", "vision"]
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    inner: int
    weights: tuple[Weight, ...]
    gated: bool = False
    norm: Literal["rms", "layer"] = "layer"
    activation: str = "gelu"
    rotary: float = 0.0  # share of each head that is rotated
    parallel: bool = False
    experts: int = 0
    experts_per_token: int = 0
    window: int | None = None  # tokens that attention looks back, where it is sliding

    @property
    def parameters(self) -> int:
        """Of all layers together."""
        return self.layers * self.layer_parameters

    @property
    def layer_parameters(self) -> int:
        return sum(w.parameters for w in self.weights)

    def unshared(self, ways: int) -> str:
        """Which heads so many GPUs can't serve together, "" where they can.

        Each takes an equal number of attention heads, and of heads of keys and values an equal number or a copy of one
        (vLLM's config/model.py, verify_with_parallel_config, and its QKVParallelLinear).
        """
        if self.heads % ways:
            return f"{self.heads} attention heads"
        if self.kv_heads % ways and ways % self.kv_heads:
            return f"{self.kv_heads} heads of keys and values"
        return ""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A whole model: its stacks, and the weights outside them (embeddings, final norm, head).

    `vocab` is the width of the logits, 0 where the model makes none (a BERT encoder without a head makes none).
    `known` is False where the family is not one we count exactly, and the figures assume a Llama of those sizes.
    """

    model_type: str
    stacks: tuple[Stack, ...]
    outer: tuple[Weight, ...]
    vocab: int
    max_positions: int | None
    tied: bool
    known: bool = True
    # features of an image token grid, for models that see: patches per image after the projector
    image_tokens: int = 0
    notes: tuple[str, ...] = field(default=())

    @property
    def decoder(self) -> Stack:
        """The stack that makes tokens; the only one of most models (BERT's is its encoder)."""
        return next((s for s in self.stacks if s.name == "decoder"), self.stacks[0])

    def weights(self) -> Iterator[tuple[Weight, int]]:
        """Every weight with how many layers hold it."""
        for stack in self.stacks:
            for weight in stack.weights:
                yield weight, stack.layers
        for weight in self.outer:
            yield weight, 1

    @property
    def parameters(self) -> int:
        return sum(w.parameters * n for w, n in self.weights())

    @property
    def active_parameters(self) -> int:
        """Parameters that one token passes through: all but the experts it is not sent to."""
        return round(sum(w.parameters * n * w.active for w, n in self.weights()))

    def components(self) -> dict[str, int]:
        """Parameters per part, in the order of `Part`; a vision tower's weights count under `vision`."""
        found: dict[str, int] = {}
        for stack in self.stacks:
            for weight in stack.weights:
                part = "vision" if stack.name == "vision" else weight.part
                found[part] = found.get(part, 0) + weight.parameters * stack.layers
        for weight in self.outer:
            found[weight.part] = found.get(weight.part, 0) + weight.parameters
        return {part: count for part, count in found.items() if count}
