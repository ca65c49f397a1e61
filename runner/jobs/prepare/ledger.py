"""What the stages of a step counted, as entries of the manifest; and what is refused on the strength of it."""

from collections.abc import Iterator

from .executor import stage_counts
from .manifest import Entry, refuse_empty, refuse_missing_split
from .stages import DOCUMENTS, Config, document_steps, documents_of, filters, splits_of

Counts = dict[str, float]


def entries(config: Config, last: str = DOCUMENTS[-1]) -> list[Entry]:
    """What was counted in each step that leaves documents, in their order, up to `last`."""
    return list(_entries(config, DOCUMENTS[: DOCUMENTS.index(last) + 1]))


def _entries(config: Config, steps: tuple[str, ...]) -> Iterator[Entry]:
    tasks = config["tasks"]
    counts = stage_counts("read", tasks)
    reader, passed = counts[0], counts[1]
    removed = {k.removeprefix("removed_"): int(v) for k, v in reader.items() if k.startswith("removed_") and v}
    size = int(passed.get("bytes", 0))
    cut = int(reader.get("pieces_more", 0))
    documents = int(passed.get("documents", 0))
    # of rows that give no document no text is counted: bytes of the source are those of its documents
    yield Entry("read", int(reader.get("rows", 0)), documents, size, size, removed, cut)
    for i, (name, _) in enumerate(filters(config)):
        yield _entry(name, counts[1 + 2 * i], counts[2 + 2 * i], counts[3 + 2 * i])
    for step, stage in (
        ("exact_dedup", "exact_filter"),
        ("minhash_dedup", "minhash_filter"),
        ("decontaminate", "decontamination_filter"),
    ):
        if step in config["steps"] and step in steps:
            counts = stage_counts(stage, tasks)
            yield _entry(step, counts[1], counts[2], counts[3], reason="duplicate" if "dedup" in step else "")


def _entry(
    step: str, given: dict[str, float], filtered: dict[str, float], passed: dict[str, float], reason: str = ""
) -> Entry:
    """A filter's removals by the reasons that it gives; what it gives none for goes by `reason`, or `removed`."""
    told = {k.removeprefix("dropped_"): int(v) for k, v in filtered.items() if k.startswith("dropped_") and v}
    told |= {k: int(v) for k, v in filtered.items() if k.startswith("contaminated_") and v}
    if step == "decontaminate":
        told.pop("contaminated", None)
    rest = int(filtered.get("dropped", 0)) - sum(told.values())
    removed = {**told, **({reason or "removed": rest} if rest else {})}
    return Entry(
        step,
        int(given.get("documents", 0)),
        int(passed.get("documents", 0)),
        int(given.get("bytes", 0)),
        int(passed.get("bytes", 0)),
        removed,
    )


def refuse_nothing(step: str, config: Config) -> None:
    """Raises Problem where a step has left no document, or the last of them none for a split."""
    found = entries(config, step)
    refuse_empty(found)
    if step == document_steps(config)[-1]:
        there = {folder.name for folder in documents_of(step).iterdir()}
        refuse_missing_split(there, splits_of(config), found[-1].documents_out)
