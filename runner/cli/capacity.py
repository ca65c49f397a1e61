"""`runner capacity`: what a box can serve of a model."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from typing import Any

import click

from runner.cli import completing
from runner.cli.output import print_diagnostics, wants_colour
from runner.diagnostics import Diagnostic
from runner.facts.boxes import Box
from runner.facts.models import Model, catalogue, find_model
from runner.plan.serving.layout import for_throughput, layouts
from runner.plan.serving.make import plan_serving
from runner.plan.serving.settings import CACHE_DTYPES, DTYPES, GPU_MEMORY_UTILIZATION, METHODS, Settings, method_of
from runner.plan.serving.types import ServingPlan, to_json
from runner.project import find_project
from runner.recipe.box_file import find_box
from runner.recipe.check import DEFAULT_BOX
from runner.report.ink import Ink
from runner.report.serving_text import comparison, page

SIZES = (
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "max_model_len",
    "max_num_seqs",
    "max_num_batched_tokens",
)


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    """vLLM's arguments, by its own names."""
    options = [
        click.option("--quantization", type=completing.Word([name for name in METHODS if name])),
        click.option("--dtype", type=completing.Word(list(DTYPES)), default="auto"),
        click.option("--kv-cache-dtype", type=completing.Word(list(CACHE_DTYPES)), default="auto"),
        *(click.option("--" + name.replace("_", "-"), type=click.IntRange(1), metavar="N") for name in SIZES),
        click.option(
            "--gpu-memory-utilization",
            type=click.FloatRange(0, 1, min_open=True),
            default=GPU_MEMORY_UTILIZATION,
            show_default=True,
        ),
        click.option("--enable-prefix-caching/--no-enable-prefix-caching", default=True),
        click.option("--enforce-eager", is_flag=True),
        click.option("--input-len", type=click.IntRange(1), metavar="N", help="Tokens of a typical prompt.  [1024]"),
        click.option("--output-len", type=click.IntRange(1), metavar="N", help="And of its answer.  [256]"),
        click.option(
            "--shared-prefix-len", type=click.IntRange(0), default=0, metavar="N", help="What all prompts share."
        ),
        click.option("--request-rate", type=click.FloatRange(0, min_open=True), metavar="N", help="Per second."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@click.command()
@click.argument("model")
@click.option(
    "--box",
    "box_name",
    metavar="NAME|PATH",
    shell_complete=completing.boxes,
    default=DEFAULT_BOX,
    show_default=True,
    help="The machine.",
)
@_options
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(model: str, box_name: str, as_json: bool, **given: Any) -> None:
    """Say what a box can serve of MODEL: does it fit, how much KV cache is left, how fast it answers how many.

    MODEL is a name of our catalogue or the hub, or a folder with a config.json. Without a tensor parallel size the
    layout that carries most tokens is shown, beside the others. Exit code 0 when it fits, 1 when it does not.
    """
    told: list[Diagnostic] = []
    found, box = _model(model), find_box(box_name, find_project().root, told)
    print_diagnostics(told)
    sized = given["tensor_parallel_size"] or (given["pipeline_parallel_size"] or 1) > 1
    given["quantization"] = given["quantization"] or method_of(found.config)
    settings = Settings(**{key: value for key, value in given.items() if value is not None})
    plans = _plans(found, box, settings, model, several=not sized)
    plan = for_throughput(plans)
    if as_json:
        click.echo(json.dumps(to_json(plan), indent=1))
    else:
        ink = Ink(wants_colour(sys.stdout), min(100, shutil.get_terminal_size((100, 24)).columns))
        lines = page(plan, ink) + (["", *comparison(plans, ink)] if len(plans) > 1 else [])
        click.echo("\n".join(lines))
    if plan.fits == "no":
        click.get_current_context().exit(1)


def _plans(found: Model, box: Box, settings: Settings, name: str, several: bool) -> list[ServingPlan]:
    try:
        if several:
            return layouts(found.architecture, box, settings, name)
        return [plan_serving(found.architecture, box, settings, name)]
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _model(name: str) -> Model:
    found = find_model(name)
    if found is None:
        import difflib

        close = difflib.get_close_matches(name, list(catalogue()), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else " Give a folder with its config.json."
        raise click.UsageError(f"nothing is known about the model {name!r} without the network.{hint}")
    return found
