"""What a recipe learns from: rows and tokens of each dataset, from local files, our facts, or cards in the cache."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from runner.facts.models import hub_cache
from runner.facts.read import read_facts
from runner.facts.rows import Rows, Uncountable, count_rows, data_type, first_rows
from runner.plan.tokens import counter_for, sequences
from runner.project import shipped
from runner.recipe.local_paths import entry_paths
from runner.recipe.resolve import Recipe

# text of a local file that is read for lengths: a few milliseconds
_SAMPLE_BYTES = 200_000
GIB = 2**30
# rows that are made where a recipe does not say how many
GENERATED = 1000
_PART = re.compile(r"(?P<name>[\w.-]+)(?:\[(?P<slice>[^\]]*)\])?")


class Unsized(Exception):
    """The size of a dataset isn't known without the network; the message names it and says what helps."""


@dataclass(frozen=True, slots=True)
class Source:
    """A dataset as a recipe uses it. `lengths` are the tokens of a row's sequences, of the first rows or (where
    `whole`) of all; `mean` tokens of a row where only that is known; `gib` what it takes on disk besides a local file.
    `note` says how the figures were come by where they are not counted."""

    name: str
    rows: int
    mean: float | None
    lengths: tuple[tuple[int, ...], ...] = ()
    whole: bool = False
    gib: float = 0.0
    note: str = ""

    @property
    def shown(self) -> str:
        return Path(self.name).name if self.name.startswith("/") else self.name


def read_in_place(recipe: Recipe) -> bool:
    """Prepared shards and streams: nothing is downloaded whole, tokenized first or copied."""
    streams = recipe.values.get("pretraining_dataset") or recipe.values.get("streaming")
    return bool(recipe.prepared or streams)


def sources(recipe: Recipe, key: str = "datasets") -> list[Source]:
    """Every dataset that `key` lists, in order. Raises Unsized for the first whose size is not known."""
    reader = (_tokenizer_folder(recipe), recipe.profile == "smoke")
    listed = recipe.values.get(key) or []
    items = listed if isinstance(listed, list) else [listed]
    return [_source(each, reader) for item in items for each in _expanded(item)]


def _expanded(item: Any) -> Iterator[dict[str, Any]]:
    """A list of names is a dataset for each (Axolotl's datasets_with_name_generator)."""
    entry = dict(item) if isinstance(item, Mapping) else {"path": str(item)}
    names = entry.get("name")
    yield from ({**entry, "name": n} for n in names) if isinstance(names, list) else [entry]


def _tokenizer_folder(recipe: Recipe) -> Path | None:
    named = [recipe.tiny.path if recipe.tiny else None, recipe.values.get("tokenizer_config")]
    named.append(recipe.values.get("base_model"))
    return next((Path(n) for n in named if isinstance(n, str) and n.startswith("/") and Path(n).is_dir()), None)


def _source(entry: dict[str, Any], reader: _Reader) -> Source:
    if "generate" in entry:  # made by the run itself, as many as it says (runner/jobs/trainer/generated.py)
        return Source(str(entry["generate"]), int(entry.get("rows") or GENERATED), None)
    name = str(entry.get("path") or "")
    files = local_files(entry)
    found = _from_files(name, entry, files, reader) if files else _from_facts(name, entry)
    shards = entry.get("shards")
    if isinstance(shards, int) and shards > 1:
        # of rows that were shuffled first; the first `rows % shards` of datasets' shard() hold one more
        mine = found.rows // shards + (int(entry.get("shards_idx") or 0) < found.rows % shards)
        return Source(name, mine, found.mean, found.lengths, False, found.gib, found.note)
    return found


def local_files(entry: Mapping[str, Any]) -> list[Path]:
    """The files of data that an entry names or that lie in the folders it names; none of a dataset of the hub."""
    found: list[Path] = []
    listed = {**entry, "path": None} if entry.get("data_files") else entry
    for path in (Path(name) for name in entry_paths(listed) if name.startswith("/")):
        if path.is_dir():
            kinds = ("*.parquet", "*.jsonl", "*.json", "*.csv", "*.txt", "*.arrow")
            found += sorted(f for kind in kinds for f in path.rglob(kind) if f.name not in _ABOUT)
        elif path.is_file():
            found.append(path)
    return found


# what `save_to_disk` leaves beside the data
_ABOUT = ("dataset_info.json", "state.json", "dataset_dict.json")


def _from_files(name: str, entry: Mapping[str, Any], files: list[Path], reader: _Reader) -> Source:
    field = str(entry.get("field") or entry.get("text_column") or "text")
    total, exact = 0, True
    lengths: list[tuple[int, ...]] = []
    for file in files:
        try:
            stat = file.stat()
            read = _read(
                file, stat.st_mtime_ns, stat.st_size, data_type(str(file), entry.get("ds_type")), field, reader
            )
        except (OSError, Uncountable) as error:
            raise Unsized(f"{error}; set `max_steps`") from None
        total, exact = total + read[0].count, exact and read[0].exact
        lengths += read[1]
    ranges = sliced(str(entry.get("split") or ""), {}, total) or []
    rows = sum(map(len, ranges))
    if known := exact and len(lengths) == total:
        lengths = [lengths[i] for part in ranges for i in part]
    whole = known and counter_for(*reader).exact
    mean = sum(map(sum, lengths)) / len(lengths) if lengths else None
    note = "" if exact else f"rows of `{Path(name).name}` are counted on its first part"
    return Source(name, rows, mean, tuple(lengths), whole, note=note)


# a tokenizer's folder, and whether the smoke profile's stands in where there is none
_Reader = tuple[Path | None, bool]


@lru_cache(maxsize=256)
def _read(
    file: Path, changed: int, size: int, kind: str, field: str, reader: _Reader
) -> tuple[Rows, list[tuple[int, ...]]]:
    """Rows of a file and the lengths of its first ones, once for as long as it stays as it is."""
    counter = counter_for(*reader)
    rows = count_rows(file, kind)
    return rows, [tuple(sequences(r, counter, field)) for r in first_rows(file, kind, _SAMPLE_BYTES)]


@cache
def _facts() -> dict[str, Any]:
    return read_facts(shipped("data") / "datasets.yaml")


def _from_facts(name: str, entry: Mapping[str, Any]) -> Source:
    known = _facts().get(name)
    config = str(entry.get("name") or "")
    if known is not None:
        of_config = known.get("configs", {}).get(config or next(iter(known.get("configs", {})), ""), known)
        facts = {**known, **of_config}
        ranges = sliced(str(entry.get("split") or "train"), facts.get("rows", {}), None)
        if ranges is not None:
            streamed = bool(facts.get("streamed"))
            note = f"tokens are estimated: {facts['tokens']:,} in a row of `{name}`"
            return Source(
                name, sum(map(len, ranges)), facts["tokens"], gib=0.0 if streamed else facts.get("gib", 0.0), note=note
            )
    splits = _card(name, config)
    ranges = sliced(str(entry.get("split") or "train"), splits, None)
    if ranges is None:
        raise Unsized(
            f"the size of `{name}` is not known without the network; set `max_steps`, or download its card once: "
            f"`hf download --repo-type dataset {name} README.md`"
        )
    return Source(name, sum(map(len, ranges)), None, note=f"rows of `{name}` are those of its card")


def sliced(split: str, rows: Mapping[str, int], total: int | None) -> list[range] | None:
    """The rows that `train`, `train[:500]`, `train[10%:20%]` or a sum of such takes; None where a split is not among
    `rows`. `total` stands for every split of a file.

    Percentages are rounded as datasets does (arrow_reader.py, _pct_to_abs_closest).
    """
    found = []
    for part in (split or "train").split("+"):
        match = _PART.fullmatch(part.strip())
        count = total if total is not None else rows.get(match["name"]) if match else None
        if count is None:
            return None
        found.append(_slice(match["slice"] if match else None, count))
    return found


def _slice(text: str | None, count: int) -> range:
    if not text or ":" not in text:
        return range(count)
    first, last = (_bound(side, count) for side in text.split(":", 1))
    first, last = (0 if first is None else first), (count if last is None else last)
    first, last = (max(count + n, 0) if n < 0 else min(n, count) for n in (first, last))
    return range(first, max(first, last))


def _bound(text: str, count: int) -> int | None:
    text = text.strip()
    try:
        return None if not text else round(float(text[:-1]) * count / 100) if text.endswith("%") else int(text)
    except ValueError:
        return None


def _card(name: str, config: str) -> dict[str, int]:
    """Rows by split, from the card of a dataset that was downloaded before."""
    folder = hub_cache() / f"datasets--{name.replace('/', '--')}" / "snapshots"
    for card in sorted(folder.glob("*/README.md")):
        try:
            front = card.read_text(errors="replace").split("---\n", 2)[1]
        except (OSError, IndexError):
            continue
        if found := _splits(front, config):
            return found
    return {}


def _splits(front: str, config: str) -> dict[str, int]:
    import yaml

    try:
        given = yaml.load(front, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - safe ones
    except yaml.YAMLError:
        return {}
    listed = given.get("dataset_info") if isinstance(given, dict) else None
    for info in listed if isinstance(listed, list) else [listed]:
        if isinstance(info, dict) and (not config or info.get("config_name") in (None, config)):
            splits = info.get("splits")
            if isinstance(splits, list):
                return {str(s["name"]): int(s["num_examples"]) for s in splits if "num_examples" in s}
    return {}
