"""A run's record -> the card of a model that it left: README.md, with metadata in the hub's format at its head."""

from __future__ import annotations

import re
from typing import Any

from runner.provenance.card_metadata import base_of, metadata
from runner.provenance.lineage import ancestors
from runner.provenance.snapshot import FOLDER, RECIPE
from runner.record import Run, read_metrics
from runner.redact import redact
from runner.render import to_yaml

# lines of the training table, evenly spaced, the first and the last among them
ROWS = 20
_COLUMNS = ("step", "epoch", "loss", "eval_loss", "rewards/margins", "reward", "grad_norm", "learning_rate")
_PLAIN = re.compile(r"([\\`*_{}\[\]()<>#+!|~&])")


def card_text(run: Run, output: dict[str, Any]) -> str:
    """All that stands in it is escaped for where it stands: titles, names and values come from whoever wrote the
    recipe, and the hub shows Markdown with HTML."""
    record = run.record
    parts = [
        f"---\n{to_yaml(metadata(run, output))}---\n\n# {plain(record['title'])}\n",
        _opening(run, output),
        _section("Training", _curve(run)),
        _section("Predicted and measured", _beside(record)),
        _section("Made from", _origins(run)),
        _section("Reproduce", _reproduce(run, output)),
        _section("Recipe", _recipe(run)),
        _section("Versions", _versions(record)),
    ]
    return redact("\n".join(part for part in parts if part))


def plain(text: Any) -> str:
    """One line of text that Markdown and HTML leave as it is."""
    return _PLAIN.sub(r"\\\1", " ".join("".join(c if c.isprintable() else " " for c in str(text)).split()))


def code(text: Any) -> str:
    """Text as a code span: its fence is longer than any run of backticks in it."""
    shown = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split()).replace("|", "&#124;")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    return f"{fence} {shown} {fence}" if len(fence) > 1 or not shown else f"`{shown}`"


def fenced(text: str, language: str = "") -> str:
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def table(head: list[str], rows: list[list[Any]]) -> str:
    """Cells are Markdown already."""
    numbers = ["---:" if all(_is_plain_number(row[i]) for row in rows) else "---" for i in range(len(head))]
    lines = [head, numbers, *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _is_plain_number(cell: Any) -> bool:
    return not str(cell) or bool(re.fullmatch(r"-?[\d,.]+(e[-+]\d+)?|nan|-?inf", str(cell)))


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}\n" if body else ""


def _opening(run: Run, output: dict[str, Any]) -> str:
    record = run.record
    base = base_of(run)
    came = f"Made from {code(base)}" if base else "Made"
    smoke = ""
    if record["profile"] == "smoke":
        smoke = (
            "\n> This is a **smoke** run: a tiny stand-in model and a few rows of data show that the pipeline works. "
            "Its weights are good for nothing else.\n"
        )
    return (
        f"{came} by recipe {code(record['recipe'])} (kind {code(record['kind'])}, profile {code(record['profile'])}) "
        f"of llm-recipes, on box {code(record['box'])}, {str(record['started'])[:10]}. This is its output "
        f"{code(output['name'])}, of type {code(output['type'])}.\n{smoke}"
    )


def _curve(run: Run) -> str:
    rows, _ = read_metrics(run.path)
    merged: dict[int, dict[str, Any]] = {}
    for row in rows:
        if "step" in row and any(c in row for c in _COLUMNS[2:]):
            merged.setdefault(int(row["step"]), {}).update({k: v for k, v in row.items() if k in _COLUMNS})
    steps = sorted(merged)
    if not steps:
        return ""
    last = len(steps) - 1
    chosen = sorted({round(i * last / (ROWS - 1)) for i in range(ROWS)}) if last >= ROWS else list(range(last + 1))
    shown = [c for c in _COLUMNS if any(c in merged[steps[i]] for i in chosen)]
    body = [[_number(merged[steps[i]].get(c)) for c in shown] for i in chosen]
    left = f"\n\n{len(chosen)} of {len(steps)} reports; all are in the run's {code('metrics.jsonl')}."
    return table(shown, body) + (left if len(chosen) < len(steps) else "")


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return plain(value) if value is not None else ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _beside(record: dict[str, Any]) -> str:
    said, found = record.get("predicted", {}), record.get("measured", {})
    rows = [
        [code(name), _number(said[name]), _number(found[name])]
        for name in sorted(said)
        if isinstance(said[name], (int, float)) and isinstance(found.get(name), (int, float))
    ]
    return table(["figure", "predicted before the run", "measured"], rows) if rows else ""


def _origins(run: Run) -> str:
    lines = []
    for each in run.record.get("hub", []):
        at = f", commit {code(each['commit'])}" if each.get("commit") else ", commit not known"
        lines.append(f"- {each['type']} {code(each['name'])}{at}")
    lines += [f"- local {code(i['path'])}, SHA-256 {code(i['sha256'])}" for i in run.record.get("inputs", [])]
    for depth, source in ancestors(run):
        gone = "" if source.run is not None else " (no longer there)"
        outputs = ", ".join(code(name) for name in source.recorded.get("outputs", {}))
        lines.append(
            f"{'  ' * (depth - 1)}- run {code(source.id)} of {code(source.recipe)}{gone}"
            + (f", which left {outputs}" if outputs else "")
        )
    return "\n".join(lines)


def _reproduce(run: Run, output: dict[str, Any]) -> str:
    record = run.record
    facts = [
        ["run", code(record["run"])],
        ["identity of what ran", code(record.get("identity", record.get("fingerprint", "")))],
        [f"hash of this {plain(output['type'])}'s files", code(output["sha256"])],
        ["environment", ", ".join(code(e["folder"]) for e in record.get("environments", []))],
        ["seeds", ", ".join(f"{code(k)} {code(v)}" for k, v in record.get("seeds", {}).items()) or "the engine's own"],
    ]
    call = f"runner reproduce {record['recipe']}/{record['profile']}/{record['run']}"
    return (
        f"{table(['', ''], facts)}\n\nThe run's directory holds all that ran, and runs by itself:\n\n"
        f"{fenced(f'{call}    # again, and compared', 'bash')}"
    )


def _recipe(run: Run) -> str:
    """As it was composed for the run; of an earlier runner's run, the values alone."""
    file = run.path / FOLDER / RECIPE
    if file.is_file():
        return fenced(file.read_text(encoding="utf-8"), "yaml")
    return fenced(to_yaml(run.record.get("values", {})), "yaml")


def _versions(record: dict[str, Any]) -> str:
    rows = [[code(name), code(v)] for name, v in sorted(record["engine"].get("versions", {}).items())]
    return table(["package", "version"], [*rows, ["`runner`", code(record["runner"])]])
