"""A causal language model as a row of layers for DeepSpeed's PipelineModule, made of transformers' own modules.

Every layer takes hidden states and gives hidden states. Each is made from the seed and its own number, so that the
weights do not depend on how many stages there are.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from deepspeed.pipe import LayerSpec, TiedLayerSpec
from torch import nn
from transformers import AutoModelForCausalLM

TIED = "embedding"


class Maker:
    """Makes any one layer of a model without the others: its class from an empty model, its weights from `seed`."""

    def __init__(self, config: Any, seed: int) -> None:
        with torch.device("meta"):
            self.empty = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        self.config, self.seed = config, seed

    def make(self, number: int, build: Any) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * 100_003 + number)
            made: nn.Module = build()
            made.apply(self.empty._init_weights)
        return made


class Positions:
    """Rotary positions of a block of data, computed once for all layers of a stage. No module: converted to 16 bits
    along with one, the frequencies would no longer tell far positions apart."""

    def __init__(self, maker: Maker) -> None:
        self.rotary = type(maker.empty.model.rotary_emb)(maker.config)
        self.kept: tuple[Any, ...] = ()

    def of(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Position ids [1, length], and the pair (cos, sin) in the precision of `hidden`."""
        if not self.kept or self.kept[0].shape[1] != hidden.shape[1]:
            ids = torch.arange(hidden.shape[1], device=hidden.device)[None]
            self.kept = (ids, self.rotary(hidden.detach(), ids))
        return self.kept  # type: ignore[return-value]


class Embedding(nn.Module):
    prefix = "model.embed_tokens."

    def __init__(self, maker: Maker) -> None:
        super().__init__()
        c = maker.config
        self.inner = maker.make(0, lambda: nn.Embedding(c.vocab_size, c.hidden_size, c.pad_token_id))

    @property
    def weight(self) -> torch.Tensor:
        return self.inner.weight  # type: ignore[return-value]

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.inner(ids)


class Decoder(nn.Module):
    """One layer with positions of its own. Without a mask sdpa and flash attention are causal by themselves, and a
    block of data is full, so that there is no padding to hide."""

    def __init__(self, maker: Maker, positions: Positions, layer: int) -> None:
        super().__init__()
        self.prefix = f"model.layers.{layer}."
        empty = maker.empty.model
        self.inner = maker.make(1 + layer, lambda: type(empty.layers[layer])(maker.config, layer))
        self.positions = positions

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        ids, turned = self.positions.of(hidden)
        out = self.inner(hidden, position_embeddings=turned, position_ids=ids)
        return out[0] if isinstance(out, tuple) else out


class Norm(nn.Module):
    prefix = "model.norm."

    def __init__(self, maker: Maker) -> None:
        super().__init__()
        c = maker.config
        self.inner = type(maker.empty.model.norm)(c.hidden_size, eps=c.rms_norm_eps)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.inner(hidden)


class Head(nn.Module):
    prefix = "lm_head."

    def __init__(self, maker: Maker) -> None:
        super().__init__()
        c = maker.config
        self.inner = maker.make(1 + c.num_hidden_layers, lambda: nn.Linear(c.hidden_size, c.vocab_size, bias=False))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.inner(hidden)


def tied_head(embedding: Embedding, hidden: torch.Tensor) -> torch.Tensor:
    return nn.functional.linear(hidden, embedding.weight)


def loss_of(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Labels are those of the next token already: a block of data comes with one token more than it is long."""
    return nn.functional.cross_entropy(logits.float().flatten(0, 1), labels.flatten())


def layers_of(config: Any, seed: int) -> list[LayerSpec]:
    maker = Maker(config, seed)
    positions = Positions(maker)
    middle = [LayerSpec(Decoder, maker, positions, n) for n in range(config.num_hidden_layers)]
    if config.tie_word_embeddings:
        tied = partial(TiedLayerSpec, TIED, Embedding, maker, tied_weight_attr="inner.weight")
        return [tied(), *middle, LayerSpec(Norm, maker), tied(forward_fn=tied_head)]
    return [LayerSpec(Embedding, maker), *middle, LayerSpec(Norm, maker), LayerSpec(Head, maker)]
