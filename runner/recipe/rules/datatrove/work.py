"""Rules about how the work is divided, and where it is done."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.rules import Facts, rule

_EXECUTORS = "https://github.com/huggingface/datatrove#executors"


@rule("R604", "more workers than cores", source=_EXECUTORS, severity="warning")
def too_many_workers(facts: Facts) -> Iterator[Diagnostic]:
    """Filters, deduplication and tokenization keep a core busy for each worker. More of them than there are cores are
    not faster, and each holds memory of its own: a batch of documents, a tokenizer, the signatures it sorts.
    """
    workers, cores = facts.get("workers"), facts.box.cores
    if isinstance(workers, int) and cores and workers > cores and facts.get("executor", "local") == "local":
        yield facts.report(
            "R604",
            "workers",
            f"{workers} workers share the {cores} cores of box `{facts.box.name}`",
            label="more than there are cores",
            help=f"set `workers: {cores}`, or leave it out",
            severity="warning",
        )


@rule("R605", "workers without work", source=_EXECUTORS, severity="warning")
def idle_workers(facts: Facts) -> Iterator[Diagnostic]:
    """Work is dealt out in tasks, and a worker takes one at a time. With fewer tasks than workers some never get one;
    with several for each, a slow one keeps nobody waiting, and less is done again after an interruption.
    """
    workers, tasks = facts.get("workers"), facts.get("tasks")
    if isinstance(workers, int) and isinstance(tasks, int) and tasks < workers:
        yield facts.report(
            "R605",
            "tasks",
            f"{tasks} tasks keep {workers - tasks} of {workers} workers without work",
            label="fewer than workers",
            help=f"set `tasks: {2 * workers}`, or leave it out",
            severity="warning",
        )


@rule("R606", "Slurm's keys and Slurm", source=_EXECUTORS)
def slurm(facts: Facts) -> Iterator[Diagnostic]:
    """Jobs of a Slurm cluster are put into a partition, which no default can guess. Keys about such jobs mean nothing
    where the work is done by processes of this machine.
    """
    if facts.get("executor") == "slurm":
        if facts.lacks("slurm_partition"):
            yield facts.report(
                "R606",
                "executor",
                "`executor: slurm` needs `slurm_partition`",
                help="add `slurm_partition: NAME`; `sinfo -s` lists those of the cluster",
            )
        return
    for key in ("slurm_partition", "slurm_time", "slurm_mem_per_cpu_gb"):
        if facts.has(key) and "executor" not in facts.refused:
            yield facts.report(
                "R606",
                key,
                f"`{key}` is for `executor: slurm`, and the work is done on this machine",
                label="nothing reads it",
                help=f"remove `{key}`, or set `executor: slurm`",
            )
