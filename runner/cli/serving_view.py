"""`runner capacity`: what a box can serve of a model: memory, KV cache, and speed against concurrency."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import click

from runner.cli.output import wants_colour
from runner.facts.boxes import Box
from runner.facts.models import Model, catalogue, find_model
from runner.plan.serving.layout import for_latency, for_throughput, layouts
from runner.plan.serving.make import plan_serving
from runner.plan.serving.settings import CACHE_DTYPES, DTYPES, GPU_MEMORY_UTILIZATION, METHODS, Settings, method_of
from runner.plan.serving.types import Point, ServingPlan, to_json
from runner.plan.types import Estimate
from runner.project import find_project
from runner.recipe.box_file import find_box
from runner.recipe.check import DEFAULT_BOX
from runner.report.ink import Ink
from runner.report.plan_text import bar

PARTS = {
    "weights": ("W", "weights"),
    "runtime": ("R", "CUDA, NCCL and kernels"),
    "activations": ("A", "activations of the profile run"),
    "graphs": ("G", "set aside for CUDA graphs"),
    "cache": ("K", "KV cache"),
}
COLUMNS = ("requests", "first token", "all at once", "per token", "tokens/s", "nine in ten", "$/M tokens")
NAMES = 38  # columns of the first column
SIZES = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "max_model_len", "max_num_seqs",
         "max_num_batched_tokens")  # fmt: skip


def page(plan: ServingPlan, ink: Ink) -> list[str]:
    """Lines, without line ends: the verdict, what fills a GPU, what the cache holds, speed against concurrency."""
    lines = [f"fits: {ink.paint(plan.fits, plan.fits)}, {plan.verdict}"]
    lines += [f"help: {plan.help}"] if plan.help else []
    lines += [*_about(plan), "", *_memory(plan, ink), "", *_cache(plan, ink)]
    if plan.points:
        lines += ["", *_speed(plan, ink)]
    lines += [*_rate(plan, ink), *_prefix(plan, ink)]
    if plan.notes:
        lines += ["", ink.paint("notes", "bold")]
        for note in plan.notes:
            lines += textwrap.wrap(note, ink.width, initial_indent="  - ", subsequent_indent="    ")
    return lines


def _title(name: str, ink: Ink) -> str:
    return ink.paint(f"{name:<{NAMES}}", "bold")


def _about(plan: ServingPlan) -> Iterator[str]:
    s = plan.settings
    ways = [f"tensor parallel {s['tensor_parallel_size']}"] if s["tensor_parallel_size"] > 1 else []
    ways += [f"{s['pipeline_parallel_size']} pipeline stages"] if s["pipeline_parallel_size"] > 1 else []
    ways += [f"{plan.replicas} replica" + ("s" if plan.replicas > 1 else "")]
    weights = "16-bit weights" if s["quantization"] == "none" else f"{s['quantization']} weights"
    size = f"{plan.parameters / 1e9:.1f} B parameters"
    size += f", {plan.active_parameters / 1e9:.1f} B per token" if plan.active_parameters < plan.parameters else ""
    yield f"{plan.model} ({size}) on {plan.box}: {weights}, {', '.join(ways)}"


def _memory(plan: ServingPlan, ink: Ink) -> Iterator[str]:
    m = plan.memory
    share = f"{plan.settings['gpu_memory_utilization']:g} of {m.capacity_gib:.1f} GiB"
    yield f"{_title('memory of a GPU', ink)}{m.usable_gib:.1f} GiB for vLLM ({share})"
    taken = [(max(0.0, size), (i, PARTS[name][0])) for i, (name, size) in enumerate(m.breakdown.items())]
    yield from bar(taken, m.capacity_gib, ink)
    for i, (name, size) in enumerate(m.breakdown.items()):
        letter, words = PARTS[name]
        words = "missing" if size < 0 else words
        yield f"  {ink.part(i, letter)} {words:<{NAMES - 4}}{abs(size):8.2f} GiB"


def _cache(plan: ServingPlan, ink: Ink) -> Iterator[str]:
    c, s = plan.cache, plan.settings
    tokens = f"{c.tokens.value:,.0f} tokens ({c.tokens.low:,.0f} to {c.tokens.high:,.0f})"
    yield f"{_title('KV cache of a replica', ink)}{tokens}"
    length = s["input_len"] + s["output_len"]
    for name, value in (
        ("per token and GPU", f"{c.kib_per_token:,.4g} KiB"),
        (f"of {s['max_model_len']:,} tokens (max_model_len)", f"{c.max_concurrency:,.2f}x"),
        (f"of {length:,} ({s['input_len']:,} in, {s['output_len']:,} out)", f"{c.typical_sequences:,} requests"),
        ("longest max_model_len", f"{c.longest:,}"),
    ):
        yield f"  {name:<{NAMES - 2}}{value}"


def _speed(plan: ServingPlan, ink: Ink) -> Iterator[str]:
    yield ink.paint(f"requests under way on the box ({plan.gpus} GPUs)", "bold")
    yield "".join(f"{name:>13}" for name in COLUMNS[: 7 if plan.price_usd_per_hour else 6])
    for point in plan.points:
        yield _row(point)


def _row(point: Point) -> str:
    if point.tokens_per_s is None:
        return f"{point.concurrency:>13}  {point.why}"
    cells = [f"{point.concurrency}", *map(_time, (point.first_token_ms, point.burst_ms, point.per_token_ms))]
    cells += [f"{point.tokens_per_s.value:,.0f}", f"{point.tokens_per_s.low:,.0f}-{point.tokens_per_s.high:,.0f}"]
    cells += [f"{point.usd_per_million_tokens:.2f}"] if point.usd_per_million_tokens is not None else []
    return "".join(f"{cell:>13}" for cell in cells)


def _time(ms: Estimate | None) -> str:
    if ms is None:
        return ""
    return f"{ms.value / 1000:.1f} s" if ms.value >= 1000 else f"{ms.value:.3g} ms"


def _rate(plan: ServingPlan, ink: Ink) -> Iterator[str]:
    if plan.rate is None:
        return
    at = plan.rate
    yield ""
    yield f"{_title(f'at {at.requests_per_s:g} requests per second', ink)}{at.why}"
    if at.point is not None:
        yield f"  {'requests under way':<{NAMES - 2}}{at.point.concurrency}"
        times = f"{_time(at.point.first_token_ms)}, {_time(at.point.per_token_ms)}"
        yield f"  {'first token, per token':<{NAMES - 2}}{times}"
        yield f"  {'most that is answered':<{NAMES - 2}}{at.capacity:.3g} requests per second"


def _prefix(plan: ServingPlan, ink: Ink) -> Iterator[str]:
    if plan.prefix is None:
        return
    p = plan.prefix
    yield ""
    yield f"{_title('prefix cache', ink)}{p.tokens:,} tokens that all requests share"
    saved = f"{p.saved_gib:.2f} GiB; {p.sequences_without} -> {p.sequences} requests"
    yield f"  {'cache saved per replica':<{NAMES - 2}}{saved}"
    yield f"  {'first token':<{NAMES - 2}}{p.first_token_without_ms:.3g} -> {p.first_token_ms:.3g} ms"


def comparison(plans: list[ServingPlan], ink: Ink) -> Iterator[str]:
    """A line for each layout: where one request is answered fastest, and where most tokens come out."""
    yield f"{_title('layouts', ink)}{'one request':>14}{'at most':>20}"
    fast, broad = for_latency(plans), for_throughput(plans)
    for plan in plans:
        name = f"{plan.replicas} x tensor parallel {plan.settings['tensor_parallel_size']}"
        peak, one = plan.peak, plan.points[0] if plan.points else None
        if peak is None or peak.tokens_per_s is None or one is None:
            yield f"  {name:<{NAMES - 2}}{plan.verdict if plan.fits == 'no' else 'holds no request of this length'}"
            continue
        marks = [words for found, words in ((fast, "latency"), (broad, "throughput")) if found is plan]
        best = f"  best for {' and '.join(marks)}" if marks else ""
        yield f"  {name:<{NAMES - 2}}{_time(one.per_token_ms):>14}{peak.tokens_per_s.value:>14,.0f} tok/s{best}"


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    """vLLM's arguments, by its own names."""
    options = [
        click.option("--quantization", type=click.Choice([name for name in METHODS if name])),
        click.option("--dtype", type=click.Choice(list(DTYPES)), default="auto"),
        click.option("--kv-cache-dtype", type=click.Choice(list(CACHE_DTYPES)), default="auto"),
        *(click.option("--" + name.replace("_", "-"), type=click.IntRange(1), metavar="N") for name in SIZES),
        click.option(
            "--gpu-memory-utilization",
            type=click.FloatRange(0, 1, min_open=True),
            default=GPU_MEMORY_UTILIZATION,
            show_default=True,
        ),
        click.option("--enable-prefix-caching/--no-enable-prefix-caching", default=True),
        click.option("--enforce-eager", is_flag=True),
        click.option("--input-len", type=click.IntRange(1), default=1024, show_default=True, help="Of a request."),
        click.option("--output-len", type=click.IntRange(1), default=256, show_default=True),
        click.option("--shared-prefix-len", type=click.IntRange(0), default=0, help="Of it, what all requests share."),
        click.option("--request-rate", type=click.FloatRange(0, min_open=True), help="Per second, of the whole box."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@click.command()
@click.argument("model")
@click.option("--box", "box_name", metavar="NAME|PATH", default=DEFAULT_BOX, show_default=True, help="The machine.")
@_options
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(model: str, box_name: str, as_json: bool, **given: Any) -> None:
    """Say what a box can serve of MODEL: does it fit, how much KV cache is left, how fast it answers how many.

    MODEL is a name of our catalogue or the hub, or a folder with a config.json. Without a tensor parallel size the
    layout that carries most tokens is shown, beside the others. Exit code 0 when it fits, 1 when it does not.
    """
    root = find_project().root
    found, box = _model(model), find_box(box_name, root)
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
