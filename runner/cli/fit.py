"""`runner fit`: a scaling law from runs, with what is known of it and what is not."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli import completing
from runner.cli.bar import over, working
from runner.cli.common import profile_option
from runner.cli.output import wants_colour
from runner.diagnostics import Diagnostic, Span, shown_path
from runner.project import find_project
from runner.recipe.load import Refused
from runner.report.ink import Ink

if TYPE_CHECKING:
    from runner.scaling.fit import Settings
    from runner.scaling.points import Points
    from runner.scaling.types import Fit

LAWS = ("chinchilla", "kaplan", "isoflop", "data-constrained", "envelope")


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--law", type=completing.Word([*LAWS, "all"]), default="chinchilla", show_default=True, help="What to fit."
)
@click.option("--compare", is_flag=True, help="All laws, by their error on the largest budgets. As --law all.")
@click.option(
    "--method",
    type=completing.Word(["fast", "many-start"]),
    default="fast",
    show_default=True,
    help="Chinchilla's law by variable projection, or by L-BFGS from 4,500 starts as it was published.",
)
@click.option(
    "--bootstraps", type=click.IntRange(0, 100_000), default=500, show_default=True, metavar="N", help="For intervals."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Of the bootstrap.")
@click.option(
    "--outliers",
    type=completing.Word(["auto", "keep", "drop"]),
    default="auto",
    show_default=True,
    help="All are named. `auto` leaves out those that no noise explains, `drop` all, `keep` none.",
)
@click.option(
    "--holdout",
    type=click.FloatRange(0, 0.8),
    default=0.2,
    show_default=True,
    metavar="SHARE",
    help="Share of the runs, those with most FLOPs, to be foretold from the rest. 0 for none.",
)
@click.option(
    "--delta",
    type=click.FloatRange(0, 1, min_open=True),
    default=1e-3,
    show_default=True,
    help="Of Huber's loss, in log loss.",
)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Write fit.json and the plots there.")
@profile_option
@click.option("--json", "as_json", is_flag=True, help="As JSON; schemas/fit.schema.json describes it.")
def command(
    sources: tuple[str, ...],
    law: str,
    compare: bool,
    method: str,
    bootstraps: int,
    seed: int,
    outliers: str,
    holdout: float,
    delta: float,
    out: Path | None,
    profile: str,
    as_json: bool,
) -> None:
    """Fit a scaling law to runs.

    SOURCE is a CSV file with columns `params,tokens,flops,loss` (tokens or flops may be missing: flops are 6 x params x
    tokens), the recipe of a sweep that has run, or the folder of a run. Several are put together. Intervals hold for
    all of a law's parameters at once in 95 of 100 samples.
    """
    from runner.scaling.fit import Settings, fit
    from runner.scaling.sources import read_sources

    law = "all" if compare else law
    if method == "many-start" and law != "chinchilla":
        raise click.UsageError("--method many-start goes with --law chinchilla")
    points = read_sources(find_project(), sources, profile, law)
    settings = Settings(law, method, bootstraps, seed, delta, outliers, holdout)
    if law == "all":
        _compare(points, settings, sources, out, as_json)
        return
    with working(f"fitting, {bootstraps} bootstraps"):
        found = fit(points, settings)
    _show(found, sources, out, as_json)


def _show(found: Fit, sources: tuple[str, ...], out: Path | None, as_json: bool) -> None:
    from dataclasses import replace

    from runner.report.scaling_text import page
    from runner.scaling.as_json import dump, to_json

    found = replace(found, sources=sources)
    written = _write(found, out) if out is not None else []
    if as_json:
        click.echo(dump(to_json(found)))
    else:
        click.echo("\n".join(page(found, ink())))
    for file in written:
        click.echo(f"wrote {shown_path(str(file))}", err=True)


def _compare(points: Points, settings: Settings, sources: tuple[str, ...], out: Path | None, as_json: bool) -> None:
    """Every law that these runs can be fitted with, on the same split."""
    from dataclasses import replace

    from runner.report.scaling_text import comparison
    from runner.scaling.as_json import dump, to_json
    from runner.scaling.fit import fit

    found: list[tuple[str, Fit | None, str]] = []
    for law in over(LAWS, "fitting"):
        if law == "data-constrained" and not (points.unique < points.tokens * 0.99).any():
            found.append((law, None, "no run repeats its data (column `unique_tokens`)"))
            continue
        try:
            found.append((law, replace(fit(points, replace(settings, law=law)), sources=sources), ""))
        except Refused as refused:
            found.append((law, None, refused.diagnostics[0].message))
    found.sort(key=lambda row: _rank(row[1]))
    if out is not None:
        for law, one, _ in found:
            if one is not None:
                _write(one, out / law)
        click.echo(f"wrote {shown_path(str(out))}", err=True)
    if as_json:
        laws = {law: to_json(one) if one is not None else {"law": law, "why": why} for law, one, why in found}
        click.echo(dump({"format": 1, "best": found[0][0], "laws": laws}))
    else:
        click.echo("\n".join(comparison(found, ink())))


def _rank(found: Fit | None) -> tuple[int, float]:
    if found is None:
        return 2, 0.0
    h = found.heldout
    if h is None or h.rmse_log is None:
        return 1, h.best_rmse_log if h is not None and h.best_rmse_log is not None else 0.0
    return 0, h.rmse_log


def _write(found: Fit, out: Path) -> list[Path]:
    from runner.report.scaling_plots import draw
    from runner.scaling.as_json import dump, to_json

    try:
        out.mkdir(parents=True, exist_ok=True)
        file = out / "fit.json"
        file.write_text(dump(to_json(found)) + "\n", encoding="utf-8")
        return [file, *draw(found, out)]
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise Refused(
            Diagnostic("R806", "the fit can't be written", Span(str(out)), notes=(why,), help="name another `--out`")
        ) from None


def ink() -> Ink:
    if not wants_colour(sys.stdout):
        return Ink(width=100)
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    return Ink(colour=unicode, width=max(80, min(110, shutil.get_terminal_size().columns)))
