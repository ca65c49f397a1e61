"""`runner doctor --gpu`: a timed all-reduce over all GPUs, and what to switch where it hangs or comes out wrong."""

from __future__ import annotations

import json

import click

from runner.diagnostics import Diagnostic, to_json
from runner.launch.all_reduce import AROUND, Reduced, all_reduce, diagnose, ready_environment
from runner.machine import HERE, Machine
from runner.recipe.load import Refused


def check_gpus(machine: Machine, cpu_ranks: int, as_json: bool) -> Diagnostic | None:
    """`cpu_ranks` processes stand in for GPUs, so that a machine without any can try the way. Raises Refused (R301)
    where no environment with torch is built."""
    ranks = cpu_ranks or len(machine.gpus)
    if ranks < 2:
        what = "there is no GPU" if not machine.gpus else "there is one GPU, which needs no other"
        click.echo(json.dumps({"ranks": ranks}) if as_json else what)
        return None
    env = ready_environment()
    if env is None:
        help = "`runner env build vllm` builds one"
        raise Refused(Diagnostic("R301", "no engine environment with torch is built", HERE, help=help))
    variables = {"CUDA_VISIBLE_DEVICES": ""} if cpu_ranks else {}
    done, around = all_reduce(env, ranks, variables), None
    if done.error and not cpu_ranks:
        around = all_reduce(env, ranks, {AROUND: "1"})
    found = diagnose(done, around) if done.error else None
    if as_json:
        data = {**done.result, "seconds": round(done.seconds, 1), "diagnostics": [to_json(found)] if found else []}
        click.echo(json.dumps(data, indent=1))
    elif not done.error:
        _tell(done, machine)
    return found


def _tell(done: Reduced, machine: Machine) -> None:
    r = done.result
    peers = [ok for row in r["peers"] for ok in row]
    way = "processes on this CPU" if not peers else "GPUs, directly" if all(peers) else "GPUs, through host memory"
    click.echo(f"all-reduce over {r['ranks']} {way} ({r['backend']})")
    for row in r["sizes"]:
        click.echo(f"  {row['mib']:>7g} MiB  {row['us']:>10,.1f} us  {row['gb_s']:>8.2f} GB/s")
    if machine.nvlink and peers:
        click.echo(f"  over NVLink, {machine.nvlink} links per GPU")
