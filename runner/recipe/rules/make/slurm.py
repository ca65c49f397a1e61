"""Rule about what a sweep may tell Slurm."""

from __future__ import annotations

import re
from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.load import printable
from runner.recipe.naming import nearest_word
from runner.recipe.rules import Facts, rule

# what a job may ask for: none names a file, a command or another user
OPTIONS = [
    "account", "begin", "comment", "constraint", "core-spec", "cores-per-socket", "cpu-freq", "cpus-per-gpu",
    "cpus-per-task", "deadline", "delay-boot", "dependency", "distribution", "exclude", "exclusive", "gpu-bind",
    "gpu-freq", "gpus", "gpus-per-node", "gpus-per-socket", "gpus-per-task", "gres", "gres-flags", "hint", "hold",
    "licenses", "mail-type", "mail-user", "mem", "mem-bind", "mem-per-cpu", "mem-per-gpu", "mincpus", "network",
    "nice", "no-requeue", "nodelist", "nodes", "ntasks-per-core", "ntasks-per-node", "overcommit", "partition",
    "power", "prefer", "priority", "qos", "reboot", "requeue", "reservation", "signal", "sockets-per-node",
    "spread-job", "switches", "threads-per-core", "time", "time-min", "tmp", "wait-all-nodes",
]  # fmt: skip
_VALUE = re.compile(r"[\w.,:;+@%/=&|*()\[\]-]*", re.ASCII)
_OURS = ("array", "output", "error", "input", "chdir", "job-name", "ntasks", "open-mode", "export", "wrap")


@rule("R840", "an option that no job may be given", source="https://slurm.schedmd.com/sbatch.html")
def options(facts: Facts) -> Iterator[Diagnostic]:
    """Options under `slurm` become `#SBATCH` lines. They say what a job asks of the cluster: a partition, a time,
    memory. Those that name files, commands or users are not among them, and the runner sets where children write. A
    value is one word, since Slurm would read a second as another option.
    """
    given = facts.get("slurm")
    for key, value in given.items() if isinstance(given, dict) else ():
        shown = printable(str(key), 40)
        if key not in OPTIONS:
            close = nearest_word(str(key), OPTIONS) if key not in _OURS else None
            yield facts.report(
                "R840",
                f"slurm.{key}" if "." not in str(key) else "slurm",
                f"`slurm` takes no `{shown}`",
                label=f"did you mean `{close}`?" if close else "",
                note="the runner sets it" if key in _OURS else "",
                help=f"rename it to `{close}`" if close else "remove it",
            )
        elif not _VALUE.fullmatch(str(value)):
            yield facts.report(
                "R840", f"slurm.{key}", f"`{shown}` must be one word", help="write it without blanks, quotes and `$`"
            )
