"""`runner curve`: loss curves of runs, each beside what its recipe expects."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli import completing
from runner.cli.common import profile_option
from runner.diagnostics import Diagnostic, Span, shown_path
from runner.project import Project, find_project
from runner.recipe.compose import compose
from runner.recipe.load import Refused
from runner.recipe.naming import find_recipe
from runner.record import runs
from runner.report.curves import Curve, curve_of, draw_curves

FOLDER = "curves"


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="RECIPE|PHASE...", shell_complete=completing.recipes)
@profile_option
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write here, as PNG and SVG.")
def command(names: tuple[str, ...], profile: str, out: Path | None) -> None:
    """Draw the newest run of each recipe, or of every recipe of a phase: training and validation loss against steps,
    and the recipe's `expect`. Prints how far each expectation was met."""
    project = find_project()
    curves = [curve for name in names for curve in _curves(project, name, profile)]
    if not curves:
        raise Refused(
            Diagnostic(
                "R410",
                f"nothing of {', '.join(f'`{name}`' for name in names)} has run in profile `{profile}` yet",
                Span("<command line>"),
                help=f"make recipe R={names[0]} PROFILE={profile}",
            )
        )
    title = ", ".join(names) if len(names) < 4 else f"{len(curves)} runs"
    place = names[0].replace("/", "-") if len(names) == 1 else "curves"
    target = out or project.artifacts / FOLDER / f"{place}-{profile}.png"
    for row in _table(curves):
        click.echo(row)
    for file in draw_curves(curves, f"{title} ({profile})", target):
        click.echo(shown_path(str(file)))


def _curves(project: Project, name: str, profile: str) -> list[Curve]:
    """Of a recipe its own; of a phase, a folder of recipes, those of all that ran."""
    phase = (project.recipes / name).resolve()
    inside = phase.is_dir() and phase.is_relative_to(project.recipes.resolve())
    files = [f for f in project.all_recipes() if f.resolve().is_relative_to(phase)] if inside else []
    found = []
    for file in files or [find_recipe(project, name)]:
        doc = compose(project, file, profile=profile)
        newest = next((r for r in runs(project, doc.name, profile) if (r.path / "metrics.jsonl").is_file()), None)
        if newest is None:
            continue
        # what a recipe expects is of the recipe as written, unless a profile says what it expects itself
        told = doc.root if profile == "full" else doc.wishes
        node = told.child("expect") if told is not None else None
        curve = curve_of(doc.name, newest.path, node.plain() if node is not None else {})
        if curve.points or not inside:  # of a phase, what has a curve
            found.append(curve)
    return found


def _table(curves: list[Curve]) -> list[str]:
    rows = [(curve.name, *row) for curve in curves for row in curve.compared()]
    if not rows:
        return []
    width = max(len(row[0]) for row in rows)
    lines = [f"{'recipe':<{width}}  {'metric':<12} {'step':>8} {'expected':>9} {'measured':>9} {'difference':>11}"]
    for name, metric, step, wanted, got in rows:
        measured = f"{got:9.4g} {got - wanted:+11.3g}" if got is not None else f"{'-':>9} {'-':>11}"
        lines.append(f"{name:<{width}}  {metric:<12} {step:>8,.0f} {wanted:>9.4g} {measured}")
    return lines
