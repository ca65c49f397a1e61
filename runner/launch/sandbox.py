"""Whether this machine can hold code that a model wrote: asked before the model is loaded, told where it can't."""

from __future__ import annotations

import subprocess

from runner.diagnostics import Diagnostic
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe

# the namespaces that runner/jobs/evaluation/execute.py asks for
NAMESPACES = ("--user", "--map-root-user", "--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--mount-proc")


def refuse_sandbox(recipe: Recipe) -> None:
    """Raises Refused (R949) where the recipe runs generated code and there is no sandbox for it."""
    if recipe.kind != "eval":
        return
    from runner.engines.lm_eval import code_tasks

    tasks = code_tasks(recipe)
    if not tasks or (why := no_sandbox()) is None:
        return
    allow = recipe.doc.keys.get("allow")
    raise Refused(
        Diagnostic(
            "R949",
            f"there is no sandbox here for the code of {', '.join(f'`{task}`' for task in tasks)}",
            allow.key if allow is not None else recipe.doc.root.span,
            notes=(f"unshare: {why}",),
            help="let users have namespaces, or take these tasks out; `runner explain R949` says more",
        )
    )


def no_sandbox() -> str | None:
    """Why not, in a line; None where the namespaces can be had."""
    try:
        done = subprocess.run(["unshare", *NAMESPACES, "true"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["refused"])[-1]
