"""`runner sample`: let a trained model speak."""

from __future__ import annotations

import sys

import click

from runner.cli.common import profile_option, recipe_argument
from runner.cli.progress import build_view
from runner.diagnostics import Diagnostic, Span
from runner.engines.environment import OWN, ensure, environment
from runner.launch.sample import sample, speaking
from runner.project import find_project
from runner.provenance.find import has_not_run
from runner.recipe.load import Refused
from runner.recipe.naming import find_recipe
from runner.record import latest, read_run


@click.command()
@recipe_argument
@profile_option
@click.option("--prompt", "prompts", multiple=True, help="What to go on from; may be given several times.")
@click.option("--max-new-tokens", type=click.IntRange(min=1), default=100, show_default=True)
@click.option(
    "--temperature", type=click.FloatRange(min=0), default=0.8, show_default=True, help="0 takes the likeliest."
)
@click.option("--top-k", type=click.IntRange(min=0), default=50, show_default=True)
@click.option("--top-p", type=click.FloatRange(min=0, max=1, min_open=True), default=1.0, show_default=True)
@click.option("--samples", type=click.IntRange(min=1), default=1, show_default=True, help="So many of each prompt.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.pass_context
def command(
    ctx: click.Context,
    recipe: str,
    profile: str,
    prompts: tuple[str, ...],
    max_new_tokens: int,
    temperature: float,
    top_k: int,
    top_p: float,
    samples: int,
    seed: int,
) -> None:
    """Sample from what the newest finished run of a recipe left: a language model goes on from the prompt, an
    encoder-decoder answers it, a masked model fills its gaps."""
    project = find_project()
    name = project.recipe_name(find_recipe(project, recipe))
    path = latest(project, name, profile)
    run = read_run(path) if path else None
    if run is None:
        raise has_not_run(name, profile)
    model = speaking(run)
    if model is None:
        message = f"`{name}` leaves no model to sample from"
        raise Refused(Diagnostic("R410", message, Span("<command line>"), help="name a recipe that trains one"))
    engine = str(run.record.get("engine", {}).get("environment", "")).rpartition("-")[0] or "axolotl"
    env = environment(engine if engine != OWN else "axolotl")
    if not env.ready:
        with build_view(env) as report:
            ensure(env, report)
    request = {
        "prompts": list(prompts) or [""],
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "samples": samples,
        "seed": seed,
    }
    sys.stdout.flush()
    code, said = sample(env, model, request, online=profile != "smoke")
    if code != 0:
        last = next((line for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
        click.echo(f"error: {name}: {last.removeprefix('sample: error: ')}", err=True)
        ctx.exit(4)
