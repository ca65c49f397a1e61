"""Each step's stages: datatrove pipelines, with the counts to read from them when they are through."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from datatrove.pipeline.decont.n_grams import NGramsDecontFilter
from datatrove.pipeline.dedup import (
    ExactDedupFilter,
    ExactDedupSignature,
    ExactFindDedups,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.exact_dedup import ExactDedupConfig
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    LanguageFilter,
)

from . import decontaminate, tokenizer
from .sources import Reader
from .split import SPLITS
from .steps import Assign, Length, Stored, Tally, content, writer
from .tokens import CountTokens, Tokenize

Config = dict[str, Any]
# steps that leave documents, in their order
DOCUMENTS = ("read", "exact_dedup", "minhash_dedup", "decontaminate")


@dataclass(frozen=True, slots=True)
class Stage:
    """`make` gives a fresh pipeline; `tasks` of it are run."""

    name: str
    tasks: int
    make: Callable[[], list[Any]]


def stages_of(step: str, config: Config) -> list[Stage]:
    """In the order in which they must run; none for `finish`, which is no pipeline."""
    made: dict[str, Callable[[Config], list[Stage]]] = {
        "read": _read,
        "exact_dedup": _exact,
        "minhash_dedup": _minhash,
        "decontaminate": _decontaminate,
        "tokenizer": _tokenizer,
        "tokenize": _tokenize,
    }
    return made[step](config) if step in made else []


def documents_of(step: str) -> Path:
    return Path("work") / "documents" / step


def last_documents(config: Config) -> Path:
    """Where the documents that are to be tokenized lie, a folder for each split."""
    return documents_of(document_steps(config)[-1])


def document_steps(config: Config) -> list[str]:
    return [step for step in DOCUMENTS if step in config["steps"]]


def previous(step: str, config: Config) -> Path:
    """The documents that a step starts from."""
    steps = document_steps(config)
    return documents_of(steps[steps.index(step) - 1])


def _out(step: str, config: Config) -> list[Any]:
    """The end of a pipeline that leaves documents; the last one's are sorted by split."""
    if step != document_steps(config)[-1]:
        return [writer(str(documents_of(step)))]
    assign = Assign(config["seed"], config["validation_fraction"])
    return [assign, writer(str(documents_of(step)), by_split=True)]


def _removed(name: str, config: Config) -> Any:
    return writer(f"removed/{name}") if config["keep_removed"] else None


def filters(config: Config) -> list[tuple[str, Any]]:
    """In FineWeb's order: language, repetition, quality by Gopher, C4 and FineWeb; lengths go first, they cost nothing.

    A filter's own keys are passed to it as they stand.
    """

    def given(key: str) -> dict[str, Any] | None:
        value = config[key]
        return None if not value else dict(value) if isinstance(value, dict) else {}

    found: list[tuple[str, Any]] = []
    if config["min_doc_chars"] or config["max_doc_chars"]:
        length = Length(config["min_doc_chars"], config["max_doc_chars"], _removed("length", config))
        found.append(("length", length))
    if config["languages"]:
        language = LanguageFilter(config["languages"], config["language_threshold"], _removed("languages", config))
        found.append(("languages", language))
    for key, kind in (
        ("gopher_repetition", GopherRepetitionFilter),
        ("gopher_quality", GopherQualityFilter),
        ("c4_quality", C4QualityFilter),
        ("fineweb_quality", FineWebQualityFilter),
    ):
        if (options := given(key)) is not None:
            made = kind(**options, language=config["language"], exclusion_writer=_removed(key, config))
            found.append((key, made))
    return found


def _read(config: Config) -> list[Stage]:
    def make() -> list[Any]:
        steps: list[Any] = [Reader(config, "set_aside"), Tally("read")]
        for name, each in filters(config):
            steps += [each, Tally(name)]
        return steps + _out("read", config)

    return [Stage("read", config["tasks"], make)]


def _exact(config: Config) -> list[Stage]:
    tasks, before = config["tasks"], str(previous("exact_dedup", config))
    settings = ExactDedupConfig(content_getter=content)
    folder = "work/exact_dedup"
    return [
        Stage(
            "exact_signatures",
            tasks,
            lambda: [Stored(before), ExactDedupSignature(f"{folder}/signatures", settings, finder_workers=tasks)],
        ),
        Stage("exact_find", tasks, lambda: [ExactFindDedups(f"{folder}/signatures", f"{folder}/duplicates", settings)]),
        Stage(
            "exact_filter",
            tasks,
            lambda: [
                Stored(before),
                Tally("in"),
                ExactDedupFilter(f"{folder}/duplicates", settings, _removed("exact_dedup", config)),
                Tally("out"),
                *_out("exact_dedup", config),
            ],
        ),
    ]


def _minhash(config: Config) -> list[Stage]:
    tasks, before = config["tasks"], str(previous("minhash_dedup", config))
    options = config["minhash_dedup"] if isinstance(config["minhash_dedup"], dict) else {}
    settings = MinhashConfig(seed=config["seed"], **options)
    folder = "work/minhash_dedup"
    return [
        Stage(
            "minhash_signatures",
            tasks,
            lambda: [
                Stored(before),
                MinhashDedupSignature(f"{folder}/signatures", settings, language=config["language"]),
            ],
        ),
        Stage(
            "minhash_buckets",
            settings.num_buckets,
            lambda: [MinhashDedupBuckets(f"{folder}/signatures", f"{folder}/buckets", config=settings)],
        ),
        Stage("minhash_cluster", 1, lambda: [MinhashDedupCluster(f"{folder}/buckets", f"{folder}/remove", settings)]),
        Stage(
            "minhash_filter",
            tasks,
            lambda: [
                Stored(before),
                Tally("in"),
                MinhashDedupFilter(f"{folder}/remove", _removed("minhash_dedup", config)),
                Tally("out"),
                *_out("minhash_dedup", config),
            ],
        ),
    ]


def _decontaminate(config: Config) -> list[Stage]:
    before = str(previous("decontaminate", config))

    def index(data: Any, rank: int, world_size: int) -> None:
        decontaminate.build_index(config)

    def make() -> list[Any]:
        settings = decontaminate.ngram_config(config)
        removed = _removed("decontaminate", config)
        filter_ = NGramsDecontFilter(decontaminate.FOLDER, settings, removed, language=config["language"])
        return [Stored(before), Tally("in"), filter_, Tally("out"), *_out("decontaminate", config)]

    return [
        Stage("decontamination_index", 1, lambda: [index]),
        Stage("decontamination_filter", config["tasks"], make),
    ]


def _tokenizer(config: Config) -> list[Stage]:
    def make(data: Any, rank: int, world_size: int) -> None:
        tokenizer.make(config, last_documents(config) / SPLITS[0], config["tasks"])

    return [Stage("tokenizer", 1, lambda: [make])]


def splits_of(config: Config) -> tuple[str, ...]:
    return SPLITS if config["validation_fraction"] else SPLITS[:1]


def _tokenize(config: Config) -> list[Stage]:
    def make(split: str) -> list[Any]:
        eos, _ = tokenizer.eos_of(tokenizer.FOLDER, config["eos_token"])
        return [
            Stored(str(last_documents(config) / split)),
            Tokenize(
                f"work/tokens/{split}",
                str(tokenizer.FOLDER / "tokenizer.json"),
                eos_token=eos,
                batch_size=config["batch_size"],
                max_tokens_per_file=config["max_tokens_per_file"],
                seed=config["seed"],
                shuffle_documents=config["shuffle_documents"],
                save_final_metadata=False,
            ),
        ]

    def count(name: str) -> list[Any]:
        eos, _ = tokenizer.eos_of(tokenizer.FOLDER, config["eos_token"])
        counter = CountTokens(str(tokenizer.FOLDER / "tokenizer.json"), eos, config["batch_size"])
        return [Stored(f"removed/{name}"), counter]

    found = [Stage(f"tokenize_{split}", config["tasks"], partial(make, split)) for split in splits_of(config)]
    names = removing(config) if config["keep_removed"] else []
    return found + [Stage(f"count_{name}", config["tasks"], partial(count, name)) for name in names]


def removing(config: Config) -> list[str]:
    """The steps that may remove a document which was read, by the names that the manifest has for them."""
    return [name for name, _ in filters(config)] + [s for s in DOCUMENTS[1:] if s in config["steps"]]
