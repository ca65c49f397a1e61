"""`runner doctor`: what this machine has, and what it lacks for a recipe."""

from __future__ import annotations

import json
import platform
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from runner.cli import completing
from runner.cli.common import box_option, chosen_box, profile_option
from runner.cli.output import print_diagnostics, wants_colour
from runner.diagnostics import Diagnostic, Span, shown_path, sort_diagnostics, to_json
from runner.engines.environment import environment, environments, locked_engines
from runner.facts.boxes import Box, box_names
from runner.launch.fitness import check_machine, check_token
from runner.launch.slurm import refuse_slurm
from runner.machine import Machine, check_driver, probe
from runner.project import Project, find_project
from runner.recipe.box_file import FOLDER, box_text, unknown_gpu
from runner.recipe.check import box_of
from runner.recipe.compose import compose
from runner.recipe.document import Document
from runner.recipe.load import Refused
from runner.recipe.naming import find_recipe

OK, MISSING, WARNING = "ok", "missing", "warning"
# below this much memory and disk a smoke run or a first environment gets tight
LOW_RAM_GIB = 4.0
LOW_DISK_GIB = 10.0


@dataclass(frozen=True, slots=True)
class Line:
    """One finding: a mark, what it is about, what was found."""

    group: str
    mark: str
    name: str
    text: str


@click.command()
@click.argument("recipe", required=False, metavar="[RECIPE]", shell_complete=completing.recipes)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--quiet", "-q", is_flag=True, help="Only what this machine lacks for RECIPE.")
@click.option(
    "--write-box",
    "box_path",
    is_flag=False,
    flag_value="",
    metavar="[PATH]",
    help="Write a box file for this machine: to PATH, to stdout (`-`), or to boxes/HOSTNAME.yaml.",
)
@click.option("--force", is_flag=True, help="With --write-box: overwrite.")
@click.option("--gpu", is_flag=True, help="Time an all-reduce over all GPUs: do they reach each other, how fast.")
@click.option("--cpu-ranks", type=click.IntRange(0, 8), default=0, hidden=True, help="Processes in the GPUs' stead.")
@profile_option
@box_option
@click.pass_context
def command(
    ctx: click.Context,
    recipe: str | None,
    as_json: bool,
    quiet: bool,
    box_path: str | None,
    force: bool,
    gpu: bool,
    cpu_ranks: int,
    profile: str,
    box_name: str | None,
) -> None:
    """Say what this machine has; with RECIPE, also what it lacks for the box that the recipe is meant for.

    Exit code 0, or 1 when a recipe is named and this machine does not meet its box, or its GPUs don't reach each other.
    """
    project = find_project()
    if gpu:
        from runner.cli.doctor_gpu import check_gpus

        if lame := check_gpus(probe(project.root), cpu_ranks, as_json):
            print_diagnostics([] if as_json else [lame])
            ctx.exit(1)
        return
    if box_path is not None:
        if recipe:
            raise click.UsageError("--write-box is about this machine, not about a recipe: give one of them.")
        write_box(project, box_path, force)
        return
    doc = compose(project, find_recipe(project, recipe)) if recipe else None
    if profile == "smoke" and quiet:
        return  # a smoke run fits any machine that can hold its engine
    box = chosen_box(box_name, project)
    machine = probe(project.root)
    found = sort_diagnostics(_lacking(machine, doc, box) if doc else check_driver(machine))
    if as_json:
        click.echo(json.dumps(as_data(machine, doc, found), indent=1))
    else:
        if not quiet:
            print_lines(findings(machine))
            if found or doc:
                click.echo()
        print_diagnostics(found)
        if doc is not None and not found and not quiet:
            click.echo(f"this machine meets the box of {doc.name} ({(box or box_of(doc)).name})")
    if doc is not None and any(d.is_error for d in found):
        ctx.exit(1)


def _lacking(machine: Machine, doc: Document, box: Box | None) -> list[Diagnostic]:
    """Of a cluster nothing is known here but whether its commands are."""
    box = box or box_of(doc)
    if box.scheduler is None:
        return check_machine(machine, doc, box)
    if box.scheduler.type == "slurm":
        try:
            refuse_slurm()
        except Refused as refused:
            return refused.diagnostics
    return check_token(machine, doc)


def write_box(project: Project, path: str, force: bool) -> None:
    """A box file for this machine at `path`: `-` is stdout, none the project's boxes/. Raises Refused (R019)."""
    if path not in ("", "-") and not path.endswith((".yaml", ".yml")):
        raise click.UsageError(f"--write-box: `{path}` is no PATH of a box file, which ends in .yaml; `-` is stdout.")
    machine = probe(project.root)
    if path == "-":
        click.echo(box_text(machine), nl=False)
    else:
        file = Path(path) if path else project.root / FOLDER / f"{_hostname()}.yaml"
        shown = shown_path(str(file))
        if file.exists() and not force:
            help = "`--force` overwrites it, or name another PATH"
            raise Refused(Diagnostic("R019", f"`{shown}` exists already", Span(str(file)), help=help))
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(box_text(machine), encoding="utf-8")
        except OSError as error:
            raise Refused(Diagnostic("R019", f"can't write `{shown}`: {error.strerror}", Span(str(file)))) from None
        click.echo(f"wrote {shown}")
    if gpu := unknown_gpu(machine):
        click.echo(f"note: there are no facts about `{gpu}`; fill in `bf16_tflops` and `memory_gb_s`", err=True)


def _hostname() -> str:
    """Fit for a file's name, and no shipped box's, which would be found in its stead."""
    name = re.sub(r"[^a-z0-9]+", "-", platform.node().partition(".")[0].lower()).strip("-") or "this-machine"
    return f"{name}-box" if name in box_names() else name


def as_data(machine: Machine, doc: Document | None, found: list[Diagnostic]) -> dict[str, Any]:
    return {
        "machine": asdict(machine),
        "environments": [
            {
                "engine": engine,
                "ready": environment(engine).ready,
                "path": str(environment(engine).path),
                "versions": environment(engine).versions(),
            }
            for engine in locked_engines()
        ],
        "recipe": doc.name if doc else None,
        "box": box_of(doc).name if doc else None,
        "meets_box": not any(d.is_error for d in found) if doc else None,
        "diagnostics": [to_json(d) for d in found],
    }


def findings(machine: Machine) -> list[Line]:
    return [*_machine(machine), *_gpus(machine), *_tools(machine), *_accounts(machine), *_environments()]


def _machine(m: Machine) -> list[Line]:
    ram = WARNING if m.ram_available_gib < LOW_RAM_GIB else OK
    disk = WARNING if m.disk_free_gib < LOW_DISK_GIB else OK
    return [
        Line("machine", OK, "system", m.system),
        Line("machine", OK, "python", m.python),
        Line("machine", OK, "cores", str(m.cores)),
        Line("machine", ram, "memory", f"{m.ram_gib:.1f} GiB, {m.ram_available_gib:.1f} GiB available"),
        Line("machine", disk, "disk", f"{m.disk_free_gib:.0f} GiB free at {m.disk}"),
    ]


def _gpus(m: Machine) -> list[Line]:
    lines = [Line("gpus", WARNING, "nvidia", note) for note in m.notes]
    if not m.gpus:
        return lines or [Line("gpus", MISSING, "nvidia", "no GPU; every recipe runs in small with PROFILE=smoke")]
    for index, g in enumerate(m.gpus):
        text = f"{g.name}, {g.memory_gib:.1f} GiB ({g.free_gib:.1f} GiB free), {g.compute_capability or 'unknown'}"
        lines.append(Line("gpus", OK, f"gpu {index}", text))
    cuda = f", CUDA up to {m.driver_cuda}" if m.driver_cuda else ""
    lines.append(Line("gpus", WARNING if check_driver(m) else OK, "driver", m.driver + cuda))
    if len(m.gpus) > 1:
        text = f"{m.nvlink} links per GPU" if m.nvlink else "none active; GPUs talk over PCIe, several times slower"
        lines.append(Line("gpus", OK if m.nvlink else WARNING, "nvlink", text))
    return lines


def _tools(m: Machine) -> list[Line]:
    """Compilers are needed only where DeepSpeed offloads the optimizer; nvcc only beside a GPU."""
    nvcc = f"{m.nvcc} ({m.nvcc_version or 'unknown version'})" if m.nvcc else ""
    rows = (("c++", m.cxx), ("nvcc", nvcc), ("CUDA_HOME", m.cuda_home), ("ninja", m.ninja))
    return [
        Line("tools", OK if found else MISSING, name, found or "only optimizer offload needs it")
        for name, found in rows
    ]


def _accounts(m: Machine) -> list[Line]:
    if m.tokens:
        return [Line("tokens", OK, name, "present") for name in m.tokens]
    return [Line("tokens", MISSING, "HF_TOKEN", "gated models can't be downloaded")]


def _environments() -> list[Line]:
    lines = []
    for engine in locked_engines():
        env = environment(engine)
        version = env.versions().get(engine, "")
        text = (
            f"{version} in {env.path}".lstrip()
            if env.ready
            else f"made on first use, or by `runner env build {engine}`"
        )
        lines.append(Line("environments", OK if env.ready else MISSING, engine, text))
    stale = [kept for kept in environments() if not kept.current]
    if stale:
        size = sum(kept.bytes for kept in stale) / 1e9
        text = f"{len(stale)} of older locks, {size:.1f} GB; `runner env remove --stale` deletes them"
        lines.append(Line("environments", WARNING, "stale", text))
    return lines


def print_lines(lines: list[Line]) -> None:
    """Grouped and aligned; words instead of colours where nobody sees them."""
    width = max(len(line.name) for line in lines)
    draw = _styled() if wants_colour(sys.stdout) else _plain
    group = ""
    for line in lines:
        if line.group != group:
            group = line.group
            click.echo(group)
        draw(line, width)


def _plain(line: Line, width: int) -> None:
    click.echo(f"  {line.mark:<7}  {line.name:<{width}}  {line.text}")


def _styled() -> Any:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    utf8 = (sys.stdout.encoding or "").lower().startswith("utf")
    signs = {OK: ("✓", "green"), MISSING: ("-", "dim"), WARNING: ("!", "yellow")}

    def draw(line: Line, width: int) -> None:
        sign, style = signs[line.mark]
        mark = sign if utf8 else line.mark
        console.print(Text.assemble("  ", (mark, style), f"  {line.name:<{width}}  {line.text}"), soft_wrap=True)

    return draw
