"""`runner serve`: check, render, start the servers, say how they are asked, follow them, drain."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import time
from pathlib import Path

import click

from runner.cli.common import causes, profile_option, set_option
from runner.cli.output import print_diagnostics
from runner.cli.progress import build_view
from runner.cli.serve_view import ServeView
from runner.cli.served import open_to_serve
from runner.diagnostics import shown_path
from runner.engines import load_engine
from runner.engines.environment import ensure, environment
from runner.facts.servers import KEY, WILDCARDS
from runner.launch.endpoints import Endpoint, endpoints, look
from runner.launch.exposure import check_endpoint
from runner.launch.local import asked_to_stop
from runner.launch.serving import finish, spec_of, start, wait_ready
from runner.launch.supervise import refuse_machine
from runner.launch.tied import ask_to_stop, last_line
from runner.machine import probe
from runner.plan.reading import Unplannable
from runner.plan.serving.recipe import plan_recipe, refuse_unfit_endpoint
from runner.project import find_project
from runner.provenance.locked import refuse_stale_lock
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe, refuse_missing
from runner.record import LOG
from runner.render import render

FOLLOW_S = 0.25


@click.command()
@click.argument("name", metavar="NAME")
@profile_option
@set_option
@click.option("--detach", "-d", is_flag=True, help="Return once it is ready; `runner stop NAME` ends it.")
@click.option("--anyway", is_flag=True, help="Start even where the plan says that it can't fit.")
@click.pass_context
def command(ctx: click.Context, name: str, profile: str, sets: tuple[str, ...], detach: bool, anyway: bool) -> None:
    """Serve a recipe's model with OpenAI's interface: a recipe of recipes/serve by its short name, or whatever another
    recipe left. Ready means that it has generated a token.

    Ctrl-C and SIGTERM let requests under way come to their end, and then leave nothing behind. Exit code 4 when the
    servers failed.
    """
    project = find_project()
    recipe, warnings = open_to_serve(project, name, profile, sets)
    print_diagnostics(warnings)
    refuse_missing(recipe)
    refuse_stale_lock(project, recipe, sets=bool(sets))
    refuse_machine(project, recipe)
    if not anyway:
        refuse_unfit_endpoint(recipe)
    files = render(recipe)
    machine = probe(project.root) if recipe.box.gpus else None
    if found := check_endpoint(recipe, spec_of(files), machine, endpoints()):
        raise Refused(*found)
    env = environment(load_engine(recipe.engine).ENVIRONMENT)
    if not env.ready:
        with build_view(env) as report:
            ensure(env, report)
    _tell_capacity(recipe)
    with asked_to_stop() as asked:
        run, process = start(project, recipe, files, detached=detach)
        with ServeView(f"{recipe.name} ({profile})", run) as view:
            endpoint = wait_ready(run, process, lambda: _pass_on(process, asked, view))
            if endpoint.alive and not asked:
                with view.aside():
                    _tell_ready(endpoint, spec_of(files))
                if detach:
                    return
                view.opened()
            while process.poll() is None:
                _pass_on(process, asked, view)
                time.sleep(FOLLOW_S)
        _tell_end(ctx, finish(run, process), bool(asked), endpoint.alive)


def _pass_on(process: subprocess.Popen[bytes], asked: list[float], view: ServeView) -> None:
    """Our wish to stop, each time that it is uttered; and a look at how it goes."""
    if len(asked) > view.asked:
        view.asked = len(asked)
        ask_to_stop(process)
    view.look()


def _tell_capacity(recipe: Recipe) -> None:
    """What the KV cache will hold, where the model and the box's GPUs are known."""
    if not recipe.box.gpus:
        return
    try:
        plan = plan_recipe(recipe)
    except (Unplannable, ValueError):
        return
    s, c = plan.settings, plan.cache
    length = s["input_len"] + s["output_len"]
    click.echo(
        f"{plan.replicas} x tensor parallel {s['tensor_parallel_size']}: KV cache of {c.tokens.value:,.0f} tokens each,"
        f" {c.typical_sequences:,} requests of {length:,}; longest context {c.longest:,}"
    )


def _tell_ready(endpoint: Endpoint, spec: dict[str, object]) -> None:
    url, model = endpoint.url, str(spec["model"])
    click.echo(f"ready after {endpoint.state['ready_after_s']:.1f} s")
    click.echo(f"  url    {url}/v1")
    if spec["host"] in WILDCARDS:
        click.echo(f"         http://{platform.node()}:{spec['port']}/v1 from other machines")
    click.echo(f"  model  {model}")
    click.echo(f"  run    {shown_path(str(endpoint.run))}")
    click.echo("\n" + _curl(url, model, key_words(spec)[0]))
    click.echo("\n" + _snippet(url, model, key_words(spec)[1]) + "\n")


def key_words(spec: dict[str, object]) -> tuple[str, str]:
    """How a shell and a Python program come by the key; empty where there is none. Never the key itself."""
    if os.environ.get(KEY):
        return f"${KEY}", f'os.environ["{KEY}"]'
    if spec["key_file"]:
        file = str(Path(str(spec["key_file"])).expanduser())
        return f"$(cat {shlex.quote(file)})", f"open({file!r}).read().strip()"
    return "", ""


def _curl(url: str, model: str, key: str) -> str:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello"}]})
    words = [f"curl {shlex.quote(url + '/v1/chat/completions')} -H 'Content-Type: application/json'"]
    words += [f'-H "Authorization: Bearer {key}"'] if key else []
    return " ".join([*words, "-d", shlex.quote(body)])


def _snippet(url: str, model: str, key: str) -> str:
    lines = ["import os\n"] if "environ" in key else []
    lines += [
        "from openai import OpenAI\n",
        f"client = OpenAI(base_url={json.dumps(url + '/v1')}, api_key={key or json.dumps('none')})",
        f"answer = client.chat.completions.create(model={json.dumps(model)}, "
        'messages=[{"role": "user", "content": "Hello"}])',
        "print(answer.choices[0].message.content)",
    ]
    return "\n".join(lines)


def _tell_end(ctx: click.Context, ended: Endpoint, asked: bool, was_ready: bool) -> None:
    left = look(ended.run).pids
    if ended.status == "stopped" or (asked and not ended.error):
        click.echo(f"{ended.recipe}: stopped, {len(left) or 'no'} processes left")
        if not was_ready:
            ctx.exit(130)
        return
    error = ended.error if ended.state.get("error") else last_line(ended.run / LOG) or ended.error
    click.echo(f"error: {ended.recipe}: the servers failed", err=True)
    click.echo(f"  = {error.removeprefix('error: ')}", err=True)
    for words in causes(ended.run):
        click.echo(f"  = {words}", err=True)
    click.echo(f"  = log: {shown_path(str(ended.run))}/{LOG}, and one for each server beside it", err=True)
    click.echo(f"  = `runner why {ended.recipe}` shows it again, with the lines of the log", err=True)
    ctx.exit(4)
