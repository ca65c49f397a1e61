"""`runner rag`: check, find the newest index of a recipe, start its service, say how it is asked, follow it, drain."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any

import click
from filelock import FileLock, Timeout

from runner.cli.common import causes, open_recipe, profile_option, recipe_argument
from runner.cli.output import print_diagnostics
from runner.cli.progress import build_view, duration
from runner.cli.serve import FOLLOW_S, key_words
from runner.diagnostics import Diagnostic, shown_path
from runner.engines import environments_of
from runner.engines.environment import ensure, environment
from runner.launch.answering import (
    LOG,
    finish,
    ingested,
    is_current,
    is_served,
    service_spec,
    start,
    url_of,
    wait_ready,
)
from runner.launch.endpoints import Endpoint, endpoints
from runner.launch.exposure import check_endpoint
from runner.launch.local import asked_to_stop
from runner.launch.supervise import refuse_machine
from runner.launch.tied import ask_to_stop
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe, refuse_missing
from runner.render import render

KIND = "rag"


@click.command()
@recipe_argument
@profile_option
@click.option("--host", help="Where it listens, rather than at the recipe's `service.host`.")
@click.option("--port", type=click.IntRange(1, 65535), help="Rather than the recipe's `service.port`.")
@click.option("--detach", "-d", is_flag=True, help="Return once it is ready; `runner stop R` ends it.")
@click.pass_context
def command(ctx: click.Context, recipe: str, profile: str, host: str | None, port: int | None, detach: bool) -> None:
    """Answer questions from what a recipe of kind rag has ingested: OpenAI's interface, and a chat page in the browser.

    The recipe's language model is served for it where the recipe has `generator.serve`. Ctrl-C and SIGTERM let answers
    under way come to their end, and then leave nothing behind. Exit code 4 when it failed.
    """
    project, opened, warnings = open_recipe(recipe, profile)
    print_diagnostics(warnings)
    _refuse_other(opened)
    refuse_missing(opened)
    refuse_machine(project, opened)
    run = ingested(project, opened)
    spec = service_spec(run, host, port)
    if found := check_endpoint(opened, spec, None, endpoints(), f"--port {spec['replicas'][0]['port'] + 1}"):
        raise Refused(*found)
    for env in map(environment, environments_of(opened)):
        if not env.ready:
            with build_view(env) as report:
                ensure(env, report)
    if not is_current(run, opened, render(opened)):
        click.echo(
            f"warning: `{opened.name}` has changed since its index was made; `make recipe` brings it up to date",
            err=True,
        )
    try:
        with FileLock(run / ".service.lock").acquire(blocking=False):
            if is_served(run):
                raise _served_already(opened, run)
            _serve(ctx, run, opened, spec, detach)
    except Timeout:
        raise _served_already(opened, run) from None


def _refuse_other(recipe: Recipe) -> None:
    """Raises Refused (R341)."""
    if recipe.kind != KIND:
        message = f"`{recipe.name}` is of kind {recipe.kind}, and has no documents to answer from"
        help = "name a recipe of kind rag; `runner list` shows them"
        raise Refused(Diagnostic("R341", message, recipe.doc.keys["kind"].span, help=help))


def _served_already(recipe: Recipe, run: Path) -> Refused:
    return Refused(
        Diagnostic(
            "R342",
            f"`{recipe.name}` ({recipe.profile}) is being served already",
            recipe.doc.keys["kind"].span,
            help=f"`runner stop {recipe.name}` ends that one; its log is {shown_path(str(run))}/{LOG}",
        )
    )


class _View:
    """What is said while it starts and drains, each thing once. `asked` is added to by signals."""

    def __init__(self, title: str, asked: list[float]) -> None:
        self.title, self.asked, self.passed_on = title, asked, 0
        self.missing = ""

    def follow(self, process: subprocess.Popen[bytes], missing: str = "") -> None:
        if missing not in ("", self.missing):
            self.missing = missing
            click.echo(f"{self.title}: waiting: {missing}", err=True)
        if len(self.asked) > self.passed_on:
            self.passed_on = len(self.asked)
            click.echo(f"{self.title}: draining", err=True)
            ask_to_stop(process)


def _serve(ctx: click.Context, run: Path, recipe: Recipe, spec: dict[str, Any], detach: bool) -> None:
    title, began, url = f"{recipe.name} ({recipe.profile})", time.monotonic(), url_of(spec)
    click.echo(f"{title}: starting; log: {shown_path(str(run))}/{LOG}", err=True)
    with asked_to_stop() as asked:
        view = _View(title, asked)
        process = start(run, recipe, spec, detached=detach)
        ready = wait_ready(url, process, lambda missing: view.follow(process, missing))
        if ready and not asked:
            click.echo(f"ready after {duration(time.monotonic() - began)}")
            _tell_ready(url, run, spec)
            if detach:
                click.echo(f"`runner stop {recipe.name}` lets answers under way come to their end", err=True)
                return
            click.echo("serving; Ctrl-C lets answers under way come to their end", err=True)
        while process.poll() is None:
            view.follow(process)
            time.sleep(FOLLOW_S)
        _tell_end(ctx, run, title, finish(run, process, asked=bool(asked)))


def _tell_ready(url: str, run: Path, spec: dict[str, Any]) -> None:
    config = json.loads((run / "rag.json").read_text())
    shell, _ = key_words(spec)
    if config["service"]["page"] and config.get("generator"):
        click.echo(f"  page   {url}/")
    click.echo(f"  url    {url}/v1")
    path = "chat/completions" if config.get("generator") else "retrieve"
    asked: dict[str, Any] = {"query": "..."}
    if config.get("generator"):
        asked = {"model": config["name"], "messages": [{"role": "user", "content": "..."}]}
    words = [f"curl {shlex.quote(f'{url}/v1/{path}')} -H 'Content-Type: application/json'"]
    words += [f'-H "Authorization: Bearer {shell}"'] if shell else []
    click.echo("  " + " ".join([*words, "-d", shlex.quote(json.dumps(asked))]))


def _tell_end(ctx: click.Context, run: Path, title: str, ended: Endpoint) -> None:
    if ended.status == "stopped":
        click.echo(f"{title}: stopped, {len(ended.pids) or 'no'} processes left")
        return
    click.echo(f"error: {title}: the service failed", err=True)
    click.echo(f"  = {ended.error}", err=True)
    for words in causes(ended.run):
        click.echo(f"  = {words}", err=True)
    click.echo(f"  = log: {shown_path(str(run))}/{LOG}", err=True)
    ctx.exit(4)
