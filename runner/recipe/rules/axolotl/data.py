"""Rules about where training data comes from."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.artifacts import REFERENCE
from runner.recipe.rules import Facts, rule

_VALIDATION = "https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/schemas/validation.py"
# the first that is given is what a run trains on
SOURCES = ("prepared", "pretraining_dataset", "datasets")
_SFT = "https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/data/sft.py"


@rule("R190", "no training data", source=_VALIDATION)
def no_data(facts: Facts) -> Iterator[Diagnostic]:
    """A recipe names what to train on: `datasets`, tokenized when training starts; `pretraining_dataset`, streamed; or
    `prepared`, the shards that a `prepare` recipe left.
    """
    if all(facts.lacks(key) for key in SOURCES):
        yield facts.report("R190", "kind", "the recipe names no training data", help="add `datasets`")


@rule("R191", "two sources of training data", source=_SFT, severity="warning")
def two_sources(facts: Facts) -> Iterator[Diagnostic]:
    """With `pretraining_dataset` Axolotl streams that and never looks at `datasets`; with `prepared` it is handed the
    shards, and looks at neither.
    """
    given = [key for key in SOURCES if facts.has(key)]
    for key in given[1:]:
        yield facts.report(
            "R191",
            key,
            f"`{key}` is ignored beside `{given[0]}`",
            help="remove one of the two",
            severity="warning",
        )


@rule("R192", "streaming without an end", source=_VALIDATION)
def streaming_needs_steps(facts: Facts) -> Iterator[Diagnostic]:
    """Nobody knows how long a stream is before it has been read, so neither the run's length nor the learning rate
    schedule can be worked out from it. Axolotl wants `max_steps`.
    """
    key = next((k for k in ("pretraining_dataset", "streaming") if facts.has(k)), None)
    if key and facts.lacks("max_steps"):
        yield facts.report(
            "R192",
            key,
            f"`{key}` needs `max_steps`",
            label="a stream has no length",
            help="add `max_steps`",
        )


@rule("R193", "a validation split that can't be made", source=_VALIDATION)
def no_split(facts: Facts) -> Iterator[Diagnostic]:
    """`val_set_size` cuts evaluation rows out of the training data. A stream can't be cut, and beside `test_datasets`
    it would be a second evaluation set; Axolotl refuses both. A count of rows it hands on as `7.0`, which datasets
    takes for a fraction; supervised training turns it into a whole number first, preference training does not.
    """
    if not facts.has("val_set_size"):
        return
    size = facts.get("val_set_size")
    if facts.has("rl") and isinstance(size, (int, float)) and size > 1:
        yield facts.report(
            "R193",
            "val_set_size",
            f"`val_set_size` can't be a number of rows with `rl: {facts.get('rl')}`",
            label="Axolotl passes it on as a fraction",
            help="give it as a share of the rows, `val_set_size: 0.02`",
        )
    streams = ("pretraining_dataset", "streaming")
    other = next((k for k in ("prepared", *streams, "test_datasets") if facts.has(k)), None)
    if other:
        spare = " and name evaluation data in `test_datasets`" if other in streams else ""
        spare = "; the split was made when the data was prepared" if other == "prepared" else spare
        yield facts.report(
            "R193",
            "val_set_size",
            f"`val_set_size` does not work with `{other}`",
            help=f"remove `val_set_size`{spare}",
        )


@rule(
    "R194",
    "deduplication that can't happen",
    source="https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/schemas/config.py",
)
def no_deduplication(facts: Facts) -> Iterator[Diagnostic]:
    """Exact deduplication is a step of preparing a dataset. Streamed data and data that is not prepared never pass
    through it, and Axolotl refuses to pretend.
    """
    keys = ("prepared", "streaming", "pretraining_dataset", "skip_prepare_dataset")
    other = next((k for k in keys if facts.has(k)), None)
    if facts.has("dataset_exact_deduplication") and other:
        yield facts.report(
            "R194",
            "dataset_exact_deduplication",
            f"`dataset_exact_deduplication` does not work with `{other}`",
            help="remove `dataset_exact_deduplication`",
        )


@rule(
    "R158",
    "what prepared shards have no room for",
    source="https://github.com/huggingface/datatrove/blob/main/src/datatrove/pipeline/tokens/tokenizer.py",
)
def prepared_rows(facts: Facts) -> Iterator[Diagnostic]:
    """Prepared shards are documents end to end, cut into rows of exactly `sequence_len` tokens and read where they lie.
    There is nothing left to pack, and nothing to stream; evaluation data are the shards' own validation split.
    """
    if not facts.has("prepared"):
        return
    why = {
        "sample_packing": "every row is full already",
        "eval_sample_packing": "every row is full already",
        "streaming": "shards are read from where they lie",
        "test_datasets": "the shards have a validation split of their own",
    }
    for key, reason in why.items():
        if facts.has(key):
            yield facts.report(
                "R158", key, f"`{key}` does not work with `prepared`", label=reason, help=f"remove `{key}`"
            )


@rule(
    "R159",
    "a tokenizer that the shards were not made with",
    source="https://github.com/huggingface/datatrove/blob/main/src/datatrove/pipeline/tokens/tokenizer.py",
)
def prepared_tokenizer(facts: Facts) -> Iterator[Diagnostic]:
    """Shards are numbers, and only the tokenizer that made them knows what they mean. A preparation leaves that
    tokenizer beside them. Another one is saved with the model without a word, and everything it generates is noise.
    """
    match = REFERENCE.fullmatch(str(facts.get("prepared") or ""))
    if match is None or not facts.has("tokenizer_config"):
        return
    wanted = f"${{needs.{match['alias']}.tokenizer}}"
    if facts.get("tokenizer_config") != wanted:
        yield facts.report(
            "R159",
            "tokenizer_config",
            "`tokenizer_config` is not the tokenizer that `prepared` was made with",
            help=f"set `tokenizer_config: {wanted}`",
        )
