"""`runner env`: the engine environments in the cache."""

from __future__ import annotations

import json
from typing import Any

import click

from runner.cli.completing import Word
from runner.engines.environment import Kept, ensure, environment, environments, locked_engines, remove


@click.group()
def command() -> None:
    """Engine environments: list, build, remove.

    They are kept in RUNNER_CACHE (by default ~/.cache/llm-recipes) and shared by every clone.
    """


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_command(as_json: bool) -> None:
    """What is in the cache, and what is yet to be built."""
    kept = environments()
    there = {k.path for k in kept}
    absent = [e for e in locked_engines() if environment(e).path not in there]
    if as_json:
        click.echo(
            json.dumps([_data(k) for k in kept] + [{"engine": e, "state": "not built"} for e in absent], indent=1)
        )
        return
    rows = [(k.engine, state(k), f"{k.bytes / 1e9:.1f} GB", str(k.path)) for k in kept]
    rows += [(e, "not built", "", f"made on first use, or by `runner env build {e}`") for e in absent]
    widths = [max(len(row[i]) for row in rows) for i in range(3)] if rows else []
    for row in rows:
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row[:3], widths, strict=True)) + "  " + row[3])


def state(kept: Kept) -> str:
    if kept.holder:
        return "being built"
    if not kept.current:
        return "stale"
    return "ready" if kept.ready else "unfinished"


def _data(kept: Kept) -> dict[str, Any]:
    return {
        "engine": kept.engine,
        "state": state(kept),
        "path": str(kept.path),
        "bytes": kept.bytes,
        "built": kept.built or None,
        "holder": kept.holder or None,
    }


@command.command("path")
@click.argument("engine", type=Word(locked_engines()))
def path_command(engine: str) -> None:
    """Where the environment of an engine is, or will be."""
    click.echo(str(environment(engine).path))


@command.command("build")
@click.argument("engine", type=Word(locked_engines()))
def build_command(engine: str) -> None:
    """Build the environment of ENGINE, or go on where an earlier attempt stopped."""
    from runner.cli.progress import build_view

    env = environment(engine)
    if env.ready:
        click.echo(f"{engine}: ready in {env.path}")
        return
    with build_view(env) as report:
        ensure(env, report)
    record = env.record()
    click.echo(f"{engine}: built in {record['seconds']:.0f} s, {record['bytes'] / 1e9:.1f} GB, in {env.path}")


@command.command("remove")
@click.argument("names", nargs=-1, metavar="[ENGINE]...")
@click.option("--stale", is_flag=True, help="Every environment that no lock of this clone asks for any more.")
def remove_command(names: tuple[str, ...], stale: bool) -> None:
    """Delete environments: those of the engines named, or the stale ones. What is needed again is built again."""
    kept = environments()
    if not names and not stale:
        raise click.UsageError("name an engine, or give --stale")
    unknown = [n for n in names if n not in {k.engine for k in kept}]
    if unknown:
        raise click.UsageError(f"no environment of {', '.join(unknown)} in the cache; `runner env list` shows what is")
    chosen = [k for k in kept if k.engine in names or (stale and not k.current)]
    for each in chosen:
        remove(each)
        click.echo(f"removed {each.path} ({each.bytes / 1e9:.1f} GB)")
    if not chosen:
        click.echo("nothing stale")
