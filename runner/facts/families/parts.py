"""What models are built of: linear layers, norms, attention and MLPs, named as the modules that PEFT targets."""

from __future__ import annotations

from typing import Literal

from runner.facts.architecture import Architecture, Part, Stack, Weight
from runner.facts.families.sizes import Shape, Sizes


def linear(name: str, part: Part, rows: int, cols: int, bias: bool = False) -> Weight:
    """`rows` output and `cols` input features."""
    return Weight(name, part, rows, cols, bias=rows if bias else 0, linear=True)


def norm(name: str, width: int, bias: bool = False, copies: int = 1) -> Weight:
    return Weight(name, "norm", width, bias=width if bias else 0, copies=copies)


def norms(width: int, *names: str, bias: bool = False) -> tuple[Weight, ...]:
    return tuple(norm(name, width, bias) for name in names)


def table(name: str, entries: int, width: int, part: Part = "embedding") -> Weight:
    """One vector for each token, place or type."""
    return Weight(name, part, entries, width)


def head(name: str, vocab: int, width: int, tied: bool, bias: bool = False) -> tuple[Weight, ...]:
    """The layer that makes logits. Tying shares the matrix; a bias stays the head's own."""
    matrix = Weight(name, "head", vocab, width, linear=True, tied=tied)
    return (matrix, Weight(name, "head", vocab)) if bias else (matrix,)


def attention(
    shape: Shape, names: str = "q_proj k_proj v_proj o_proj", bias: bool = False, out_bias: bool = False
) -> tuple[Weight, ...]:
    """Separate projections of queries, keys and values, and the one out."""
    q, k, v, out = names.split()
    return (
        linear(q, "attention", shape.queries, shape.hidden, bias),
        linear(k, "attention", shape.keys, shape.hidden, bias),
        linear(v, "attention", shape.keys, shape.hidden, bias),
        linear(out, "attention", shape.hidden, shape.queries, out_bias),
    )


def fused_attention(shape: Shape, names: str, bias: bool = False) -> tuple[Weight, ...]:
    """Queries, keys and values from one projection, and the one out."""
    qkv, out = names.split()
    return (
        linear(qkv, "attention", shape.queries + 2 * shape.keys, shape.hidden, bias),
        linear(out, "attention", shape.hidden, shape.queries, bias),
    )


def gated_mlp(
    hidden: int, inner: int, names: str = "gate_proj up_proj down_proj", bias: bool = False
) -> tuple[Weight, ...]:
    gate, up, down = names.split()
    return (
        linear(gate, "mlp", inner, hidden, bias),
        linear(up, "mlp", inner, hidden, bias),
        linear(down, "mlp", hidden, inner, bias),
    )


def plain_mlp(hidden: int, inner: int, names: str, bias: bool = True) -> tuple[Weight, ...]:
    up, down = names.split()
    return linear(up, "mlp", inner, hidden, bias), linear(down, "mlp", hidden, inner, bias)


def stack_of(
    shape: Shape,
    layers: int,
    inner: int,
    weights: tuple[Weight, ...],
    activation: str,
    name: Literal["decoder", "encoder", "vision"] = "decoder",
) -> Stack:
    """Equal layers of this shape: LayerNorms, a plain MLP and no rotation until replaced."""
    return Stack(
        name=name,
        layers=layers,
        hidden=shape.hidden,
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        inner=inner,
        weights=weights,
        activation=activation,
    )


def decoder_model(
    sizes: Sizes,
    stacks: tuple[Stack, ...],
    around: tuple[Weight, ...],
    embed: str = "embed_tokens",
    positions: str = "max_position_embeddings",
    bias: bool = False,
    notes: tuple[str, ...] = (),
) -> Architecture:
    """A decoder between the embedding of its tokens and its head, with what else is `around` its layers.

    `positions` is the key that says how many tokens it was made for, empty where nothing does; `bias` is the head's.
    """
    vocab, hidden, tied = sizes.number("vocab_size"), stacks[0].hidden, sizes.flag("tie_word_embeddings")
    return Architecture(
        model_type=sizes.word("model_type"),
        stacks=stacks,
        outer=(table(embed, vocab, hidden), *around, *head("lm_head", vocab, hidden, tied, bias)),
        vocab=vocab,
        max_positions=sizes.optional(positions) if positions else None,
        tied=tied,
        notes=notes,
    )
