"""`runner ps`: the endpoints of this user, as their processes tell it."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import click

from runner.cli.progress import duration
from runner.launch.endpoints import Endpoint, endpoints

COLUMNS = ("endpoint", "profile", "status", "url", "model", "up", "pid")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(as_json: bool) -> None:
    """List endpoints that run, in all projects, and those that failed or were killed until `runner stop` is told of
    them. What their files say is believed only as far as the processes are there."""
    found = list(endpoints())
    if as_json:
        click.echo(json.dumps([as_data(e) for e in found], indent=1))
        return
    if not found:
        click.echo("no endpoints")
        return
    rows = [COLUMNS, *(_row(e) for e in found)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    for row, endpoint in zip(rows, (None, *found), strict=True):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if endpoint is not None and not endpoint.alive:
            click.echo(f"  = {endpoint.error}")
            left = f"{len(endpoint.pids)} processes are left; " if endpoint.pids else ""
            click.echo(f"  = {left}`runner stop {endpoint.recipe}` clears it away")


def as_data(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "recipe": endpoint.recipe,
        "profile": endpoint.profile,
        "status": endpoint.status,
        "url": endpoint.url,
        "model": endpoint.state.get("model"),
        "run": str(endpoint.run),
        "pids": list(endpoint.pids),
        "replicas": endpoint.state.get("replicas", []),
        "error": endpoint.error or None,
    }


def _row(e: Endpoint) -> tuple[str, ...]:
    up, pid = ("", "") if not e.alive else (_up(e.state.get("started")), str(e.pids[0]))
    return e.recipe, e.profile, e.status, e.url, str(e.state.get("model") or ""), up, pid


def _up(started: Any) -> str:
    try:
        return duration((datetime.now(timezone.utc) - datetime.fromisoformat(str(started))).total_seconds())
    except ValueError:
        return ""
