"""Rules about the model that is trained from scratch."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.rules import Facts, rule

_CONFIGS = "https://huggingface.co/docs/transformers/main_classes/configuration"
# (width, heads) by the names that families have for them
_WIDTHS = (
    ("hidden_size", "num_attention_heads"),
    ("n_embd", "n_head"),
    ("d_model", "encoder_attention_heads"),
    ("d_model", "decoder_attention_heads"),
)
_PLACES = ("n_positions", "max_position_embeddings")
_ENCODER_DECODERS = ("t5", "mt5", "umt5", "longt5", "bart", "mbart", "marian", "pegasus", "blenderbot", "m2m_100")
_ENCODERS = ("bert", "roberta", "electra", "distilbert", "albert", "deberta", "deberta-v2", "modernbert")
_DECODERS = ("gpt2", "llama", "mistral", "qwen2", "qwen3", "gpt_neox", "opt", "phi", "gemma", "gemma2", "mixtral")
# kind -> families without such a head, and one that has it
_MISFITS = {
    "causal-lm": (_ENCODER_DECODERS, "gpt2"),
    "masked-lm": ((*_ENCODER_DECODERS, *_DECODERS), "bert"),
    "seq2seq": ((*_ENCODERS, *_DECODERS), "t5"),
}


@rule("R710", "a model of another kind", source="https://huggingface.co/docs/transformers/model_doc/auto")
def family(facts: Facts) -> Iterator[Diagnostic]:
    """Masked words need a model that looks both ways, answers one with an encoder and a decoder; transformers has no
    such head for other families, and ends when the model is made.
    """
    given = facts.get("architecture.model_type")
    wrong, example = _MISFITS.get(facts.kind, ((), ""))
    # BART and its like have heads of all three sorts
    if given in wrong and not (given in ("bart", "mbart", "pegasus", "marian") and facts.kind == "causal-lm"):
        yield facts.report(
            "R710",
            "architecture.model_type",
            f"`{given}` is no model for kind `{facts.kind}`",
            help=f"set `model_type: {example}` with its own sizes, or change `kind`",
        )


@rule("R711", "a width that its heads don't divide", source=_CONFIGS)
def heads(facts: Facts) -> Iterator[Diagnostic]:
    """Each head takes an equal part of the width; transformers ends when the first layer is made. T5 is free of this,
    since it says the width of a head by itself.
    """
    if facts.has("architecture.head_dim") or facts.has("architecture.d_kv"):
        return
    for width, count in _WIDTHS:
        wide, many = facts.get(f"architecture.{width}"), facts.get(f"architecture.{count}")
        if isinstance(wide, int) and isinstance(many, int) and many > 0 and wide % many:
            yield facts.report(
                "R711",
                f"architecture.{count}",
                f"`{width}: {wide}` is no multiple of `{count}: {many}`",
                help=f"set `{width}: {(wide // many + 1) * many}`",
            )
            return


@rule("R712", "rows longer than the model takes", source=_CONFIGS)
def places(facts: Facts) -> Iterator[Diagnostic]:
    """A model with learned places, or a table of sinusoids, has as many as its config says: a longer row reads beyond
    the table, which is an index error on a CPU and an assertion without a place on a GPU.
    """
    if facts.get("architecture.model_type") not in ("gpt2", "marian", "bart", "mbart", "opt", *_ENCODERS):
        return
    for name in _PLACES:
        most = facts.get(f"architecture.{name}")
        for key in ("sequence_len", "finetune.sequence_len"):
            wanted = facts.get(key)
            if isinstance(most, int) and isinstance(wanted, int) and wanted > most:
                yield facts.report(
                    "R712",
                    key,
                    f"`sequence_len: {wanted}` is more than the model's {most} places",
                    help=f"set `sequence_len: {most}` or `architecture.{name}: {wanted}`",
                )


@rule("R713", "shares of masked tokens above one", source="https://arxiv.org/abs/1810.04805")
def shares(facts: Facts) -> Iterator[Diagnostic]:
    """Of the tokens that are to be told again, `mask_replace_prob` are masked and `random_replace_prob` become another
    one; what is left stays as it was. transformers refuses shares that add up to more than one.
    """
    masked, changed = facts.get("mask_replace_prob", 0.8), facts.get("random_replace_prob", 0.1)
    if masked + changed > 1 and "mask_replace_prob" not in facts.refused:
        key = "random_replace_prob" if facts.has("random_replace_prob") else "mask_replace_prob"
        yield facts.report(
            "R713",
            key,
            f"`mask_replace_prob: {masked}` and `random_replace_prob: {changed}` are more than all",
            help=f"set `random_replace_prob: {max(0.0, round(1 - masked, 4))}`",
        )
