"""A run's directory -> everything in it that is no longer what its record says: outputs, files, lineage, record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner.diagnostics import Diagnostic, Span
from runner.provenance.lineage import Source, sources
from runner.provenance.outputs import CARD, combined_hash, describe
from runner.provenance.snapshot import FOLDER
from runner.recipe.artifacts import Output
from runner.record import RECORD, Run, file_hash

MANIFEST = "manifest.json"
STATES = ("running", "finished", "failed", "interrupted", "stopped")
_RECORDED = ("run", "recipe", "kind", "profile", "status", "started", "engine", "values")


def verify(run: Run, *, deep: bool = False) -> list[Diagnostic]:
    """Every difference, as R458 (outputs), R459 (files), R460 (lineage) and R461 (the record itself).

    Upstream runs are looked at through their records; `deep` reads their files too, and every file that a dataset's
    manifest lists.
    """
    found = [*_record(run), *file_differences(run), *_outputs(run, deep)]
    for source in sources(run):
        found += source_differences(run, source)
        if deep and source.run is not None:
            found += verify(source.run, deep=True)
    return list(dict.fromkeys(found))


def _record(run: Run) -> Iterator[Diagnostic]:
    at = Span(str(run.path / RECORD))

    def wrong(message: str) -> Diagnostic:
        return Diagnostic("R461", message, at, help="the record was changed by hand, or moved: trust it no longer")

    missing = [key for key in _RECORDED if key not in run.record]
    if missing:
        yield wrong(f"the record has no {', '.join(f'`{key}`' for key in missing)}")
        return
    if run.record["run"] != run.path.name:
        yield wrong(f"the record is of run `{run.record['run']}`, and lies in `{run.path.name}`")
    if run.status not in STATES:
        yield wrong(f"the record's status `{run.status}` is none")
    if run.status == "finished" and not run.record.get("outputs"):
        yield wrong("the run is recorded as finished, and has no outputs")
    for output in run.record.get("outputs", []):
        if "files" in output and combined_hash(output["files"]) != output.get("sha256"):
            yield wrong(f"the hash of output `{output['name']}` is not that of the files that it lists")


def file_differences(run: Run) -> Iterator[Diagnostic]:
    """The rendered files, what provenance/ keeps, and the models' cards."""
    kept = {f"{FOLDER}/{name}": each for name, each in run.record.get("provenance", {}).items()}
    for name, recorded in {**run.record.get("files", {}), **kept, **run.record.get("cards", {})}.items():
        yield from _compare("R459", run.path / name, recorded, "the run's result no longer says what made it")


def _compare(code: str, file: Path, recorded: str, why: str) -> Iterator[Diagnostic]:
    try:
        now = file_hash(file)
    except OSError:
        yield Diagnostic(code, f"`{file.name}` is gone", Span(str(file)), notes=(why,))
        return
    if now != recorded:
        yield Diagnostic(code, f"`{file.name}` was changed after the run", Span(str(file)), notes=(why,))


def _outputs(run: Run, deep: bool) -> Iterator[Diagnostic]:
    for output in run.record.get("outputs", []):
        yield from output_differences(run, output)
        if deep and output.get("type") == "dataset":
            yield from _manifest(run.path / output["path"])


def output_differences(run: Run, output: dict[str, Any]) -> list[Diagnostic]:
    """What an output's files are now, beside what they were when the run ended."""
    place = run.path / output["path"]
    now, _ = describe([Output(output["name"], output["type"], output["path"])], run.path)
    if not now:
        return [Diagnostic("R458", f"output `{output['name']}` is gone", Span(str(place)), help=_again(run))]
    if "files" not in output:  # recorded before each file was
        same = now[0]["sha256"] == output.get("sha256") or _with_card(place, now[0]) == output.get("sha256")
        message = f"output `{output['name']}` is no longer what the run left"
        return [] if same else [Diagnostic("R458", message, Span(str(place)), help=_again(run))]
    was, is_now = output["files"], now[0]["files"]
    words = {
        **dict.fromkeys(was.keys() - is_now.keys(), "is gone"),
        **dict.fromkeys(is_now.keys() - was.keys(), "was added after the run"),
        **{name: "was changed after the run" for name in was.keys() & is_now.keys() if was[name] != is_now[name]},
    }
    left = f"of output `{output['name']}`"
    return [
        Diagnostic("R458", f"`{name}` {left} {words[name]}", Span(str(place / name)), help=_again(run))
        for name in sorted(words)
    ]


def _with_card(place: Path, now: dict[str, Any]) -> str:
    """The hash as records had it when an engine's own README.md counted."""
    card = place / CARD
    files = {**now["files"], **({card.name: file_hash(card)} if card.is_file() else {})}
    return combined_hash(dict(sorted(files.items())))


def _again(run: Run) -> str:
    return f"`runner reproduce {run.path}` makes it anew, beside this one"


def _manifest(folder: Path) -> Iterator[Diagnostic]:
    """Each file of a prepared dataset by the hash that its manifest gives."""
    try:
        splits = json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("splits", {})
    except (OSError, ValueError, AttributeError):
        return  # told as an output's file
    for split in splits.values():
        for each in split.get("files", []):
            for name, recorded in ((each["path"], each["sha256"]), (each.get("index"), each.get("index_sha256"))):
                if name and recorded:
                    yield from _compare("R458", folder / name, recorded, "its manifest has another hash")


def source_differences(run: Run, source: Source) -> Iterator[Diagnostic]:
    """An upstream run that is gone, or whose outputs are no longer those that were taken."""
    at = Span(str(source.path or run.path))
    named = f"`{source.recipe}` (run {source.id})"
    if source.run is None:
        yield Diagnostic(
            "R460",
            f"upstream {named} is gone",
            at,
            notes=(f"run `{run.id}` took what it left",),
            help="what it left can't be checked any more; keep runs that others stand on (`runner gc` does)",
        )
        return
    if source.run.status != "finished":
        yield Diagnostic("R460", f"upstream {named} is {source.run.status}", at)
    recorded, now = source.recorded, source.run.record
    if recorded.get("identity") and now.get("identity") and recorded["identity"] != now["identity"]:
        yield Diagnostic("R460", f"upstream {named} is another run than the one that was taken", at)
    listed = {output["name"]: output["sha256"] for output in now.get("outputs", [])}
    for name, taken in recorded.get("outputs", {}).items():
        if listed.get(name) != taken:
            yield Diagnostic("R460", f"output `{name}` of upstream {named} is recorded otherwise than it was taken", at)
            continue
        output = next(o for o in now["outputs"] if o["name"] == name)
        if output_differences(source.run, output):
            yield Diagnostic(
                "R460",
                f"output `{name}` of upstream {named} is no longer what was taken",
                Span(str(source.run.path / output["path"])),
                help=f"`runner verify {source.run.path}` names the files",
            )
