"""Where a run starts: on this machine, or on others through a scheduler; and whether it can."""

from __future__ import annotations

import os
from dataclasses import replace

from runner.diagnostics import Diagnostic, Span
from runner.engines.nodes import nodes_of
from runner.facts.boxes import Box
from runner.launch import slurm
from runner.machine import several_nodes
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe

# SkyPilot sets it in every process of a task
IN_TASK = "SKYPILOT_NODE_RANK"


def refuse_elsewhere(recipe: Recipe) -> None:
    """Raises Refused: R314 for several nodes that nobody starts processes on, R343 without Slurm's commands, R346 for a
    machine that is yet to be had, R347 for a sweep."""
    box, scheduler = recipe.box, recipe.box.scheduler
    if scheduler is not None or box.nodes > 1:
        refuse_sweep(recipe, box)
    if scheduler is None and nodes_of(recipe) > 1:
        raise Refused(several_nodes(box, recipe.name))
    if box.submits:
        slurm.refuse_slurm()
    if scheduler is not None and scheduler.type == "sky" and IN_TASK not in os.environ:
        help = f"`runner render {recipe.name} --box {box.name} --out DIR`, then `sky launch DIR/task.sky.yaml`"
        raise Refused(Diagnostic("R346", f"`{box.name}` is for SkyPilot to find", Span("<command line>"), help=help))


def refuse_sweep(recipe: Recipe, box: Box) -> None:
    """Raises Refused (R347) for a sweep: each of its children has a box of its own."""
    if recipe.children:
        kind = replace(recipe.doc.keys["kind"].span)
        help = "name a box in its `base`; `scheduler: slurm` in the sweep makes an array of its children"
        raise Refused(Diagnostic("R347", f"a sweep does not run on `{box.name}` as a whole", kind, help=help))
