"""The tokenizer of a stage, with the special tokens that its objective needs, and a config that agrees with it."""

from pathlib import Path
from typing import Any

from .settings import BadSettings, Settings

OWN = "tokenizer"
SPECIAL = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def load_tokenizer(settings: Settings, texts: Any = None) -> Any:
    """The recipe's; without one, a byte-level BPE as large as the model's vocabulary, trained on `texts()`, which is
    kept in the run. Raises BadSettings where it has no tokens for padding and the end."""
    from transformers import AutoTokenizer

    given = settings.own.get("tokenizer_config")
    if given is None and not (Path(OWN) / "tokenizer.json").is_file():
        train_tokenizer(texts(), int(settings.own["architecture"]["vocab_size"])).save_pretrained(OWN)
    tokenizer = AutoTokenizer.from_pretrained(given or OWN)
    if tokenizer.pad_token_id is None or tokenizer.eos_token_id is None:
        raise BadSettings(f"the tokenizer {given} lacks tokens for padding or the end")
    return tokenizer


def train_tokenizer(texts: Any, vocab_size: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL)


def room(tokenizer: Any, vocab_size: int) -> None:
    """Raises BadSettings where the model has too few embeddings for the tokens that there are."""
    if len(tokenizer) > vocab_size:
        raise BadSettings(
            f"{len(tokenizer):,} tokens with those that the objective adds, and the model has {vocab_size:,} "
            f"embeddings: set architecture.vocab_size to at least {len(tokenizer)}"
        )


def new_config(settings: Settings, tokenizer: Any = None) -> Any:
    """`architecture` as a config of transformers; its special tokens are the tokenizer's, whatever it says."""
    from transformers.models.auto.configuration_auto import AutoConfig

    given = dict(settings.own["architecture"])
    kind = given.pop("model_type")
    if tokenizer is not None:
        given |= {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
        if tokenizer.bos_token_id is not None:
            given["bos_token_id"] = tokenizer.bos_token_id
    config = AutoConfig.for_model(kind, **given)
    if tokenizer is not None and config.is_encoder_decoder:
        # before the model is made, which copies them for generation; a class's defaults are another model's tokens
        config.decoder_start_token_id = given.get("decoder_start_token_id", tokenizer.pad_token_id)
        if getattr(config, "forced_eos_token_id", None) is not None:
            config.forced_eos_token_id = tokenizer.eos_token_id
    if tokenizer is not None:
        room(tokenizer, config.vocab_size)
    return config
