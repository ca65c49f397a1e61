"""Rules about tokens that a recipe names and the tokenizer that is to have them."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.load import printable
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.axolotl.chat_templates import tokenizer_of

_LOADER = "https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/loaders/tokenizer.py"
_MORE = "additional_special_tokens"
# Axolotl asks for trained embeddings of tokens that were more than two before
_PIECES = 2
# what embeddings are called in families that do not say embed_tokens and lm_head (Axolotl: loaders/utils.py)
_EMBEDDINGS = {
    "gpt_neox": ("embed_in", "embed_out"),
    "falcon": ("word_embeddings", "lm_head"),
    "nemotron_h": ("embeddings", "lm_head"),
}


@rule("R858", "special tokens that an adapter can't learn", source=_LOADER)
def special_tokens(facts: Facts) -> Iterator[Diagnostic]:
    """A special token that the tokenizer lacks gets a new row in both embeddings, with random numbers, and LoRA leaves
    embeddings as they are. Axolotl refuses such an `eos_token` until `lora_modules_to_save` names the embeddings;
    `additional_special_tokens` it adds without a word, and they stay random. Padding is never learned, so that a new
    `pad_token` is no harm.
    """
    tokenizer = tokenizer_of(facts)
    given = facts.get("special_tokens")
    if tokenizer is None or not isinstance(given, dict) or not facts.has("adapter") or facts.refused & {"adapter"}:
        return
    names = _EMBEDDINGS.get(facts.model.model_type if facts.model else "", ("embed_tokens", "lm_head"))
    saved = facts.get("lora_modules_to_save", [])
    if set(names) <= set(saved if isinstance(saved, list) else ()) or "lora_modules_to_save" in facts.refused:
        return
    for key, value in given.items():
        for token in value if isinstance(value, list) else [value]:
            new = isinstance(token, str) and len(token) > _PIECES and tokenizer.has(token) is False
            if new and key != "pad_token":
                yield facts.report(
                    "R858",
                    f"special_tokens.{key}",
                    f"the tokenizer has no token `{printable(token, 40)}`, and an adapter does not train a new one",
                    label="it would be added without a word, and stay random" if key == _MORE else "",
                    help=f"add `lora_modules_to_save: [{', '.join(names)}]`, or name a token that the tokenizer has",
                )
                break


@rule("R859", "a reward read before the end of an answer", source=_LOADER, severity="warning")
def reward_padding(facts: Facts) -> Iterator[Diagnostic]:
    """A reward model's score is read at the last token that is not padding. A tokenizer that pads with its end token or
    has nothing to pad with, for which Axolotl takes the end token, hides the end of each answer: the score is read one
    token early, and servers that read at the very last token return another one.
    """
    tokenizer = tokenizer_of(facts)
    if tokenizer is None or not facts.has("reward_model") or facts.has("special_tokens.pad_token"):
        return
    eos = facts.get("special_tokens.eos_token") or tokenizer.special("eos_token")
    pad = tokenizer.special("pad_token") or eos
    if eos and pad == eos:
        spare = next((t for t in (tokenizer.special("unk_token"), "<pad>", "<unk>") if t and t != eos), None)
        yield facts.report(
            "R859",
            "special_tokens" if facts.has("special_tokens") else "reward_model",
            f"the tokenizer pads with its end token, `{printable(eos, 40)}`",
            label="the end of an answer looks like padding",
            help=f'set `special_tokens: {{pad_token: "{printable(spare, 40)}"}}`, or another token that it has'
            if spare and tokenizer.has(spare)
            else "name another token that the tokenizer has as `special_tokens.pad_token`",
            severity="warning",
        )
