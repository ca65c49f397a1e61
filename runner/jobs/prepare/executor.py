"""Runs one stage's tasks: each in a process that can't outlive us, or as a Slurm array that is waited for."""

import ctypes
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from datatrove.executor.local import LocalPipelineExecutor
from datatrove.executor.slurm import SlurmPipelineExecutor
from loguru import logger

from .problem import AGAIN, Problem, from_os

Done = Callable[[int], None]
_PR_SET_PDEATHSIG = 1
SLURM_POLL_S = 10.0


def run_stage(
    name: str, make: Callable[[], list[Any]], tasks: int, workers: int, config: dict[str, Any], done: Done
) -> None:
    """Every task that an earlier attempt has not completed. `make` gives the pipeline; `done` is told how many tasks
    are completed, each time there is one more. Raises Problem."""
    logs = f"work/logs/{name}"
    logger.remove()  # a task still logs into its own file
    if config["executor"] == "slurm" and tasks > 1:
        _slurm(name, make(), tasks, workers, config, logs, done)
    else:
        _Watched(make(), tasks, workers, logs, name, done).run()


class _Watched(LocalPipelineExecutor):
    """datatrove's local executor waits for ever for a worker that was killed, as multiprocessing's pool does. This one
    forks a process for each task, and sees how each of them ends."""

    def __init__(self, pipeline: list[Any], tasks: int, workers: int, logs: str, stage: str, done: Done) -> None:
        super().__init__(pipeline, tasks=tasks, workers=workers, logging_dir=logs)
        self.stage, self.done = stage, done

    def run(self) -> None:
        waiting = self.get_incomplete_ranks()
        if not waiting:
            return
        context = multiprocessing.get_context("fork")
        running: dict[Any, tuple[int, Any]] = {}
        completed = self.tasks - len(waiting)
        try:
            while waiting or running:
                while waiting and len(running) < self.workers:
                    rank = waiting.pop(0)
                    here, there = context.Pipe(duplex=False)
                    process = context.Process(target=self._task, args=(rank, there, os.getpid()))
                    process.start()
                    there.close()
                    running[process.sentinel] = (rank, (process, here))
                for sentinel in wait(list(running)):
                    rank, (process, here) = running.pop(sentinel)
                    process.join()
                    said = _said(here)
                    if said is not None:
                        raise said
                    if process.exitcode != 0:
                        raise self._died(rank, process.exitcode)
                    completed += 1
                    self.done(completed)
        finally:
            for _, (process, _) in running.values():
                process.kill()
                process.join()

    def _task(self, rank: int, pipe: Any, parent: int) -> None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
        # datatrove logs a task's every word and traceback to stderr as well as to its own file
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - for as long as the process lives
        try:
            self._run_for_rank(rank, local_rank=1)
        except Problem as problem:
            pipe.send(problem)
        except MemoryError:
            pipe.send(Problem(f"task {rank} of `{self.stage}` ran out of memory", f"set `workers` lower, then {AGAIN}"))
        except Exception as error:
            known = from_os(error, f"`{self.stage}` wrote") if isinstance(error, OSError) else None
            pipe.send(known or self._unknown(rank, error))

    def _unknown(self, rank: int, error: Exception) -> Problem:
        log = Path("work/logs") / self.stage / "logs" / f"task_{rank:05d}.log"
        words = " ".join(str(error).split())[:200]
        return Problem(f"task {rank} of `{self.stage}` failed: {type(error).__name__}: {words}", f"see {log}")

    def _died(self, rank: int, code: int) -> Problem:
        if code == -signal.SIGKILL:
            how = "was killed (SIGKILL), as the system does when memory runs short"
            return Problem(f"task {rank} of `{self.stage}` {how}", f"set `workers` lower if memory was short; {AGAIN}")
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return Problem(f"task {rank} of `{self.stage}` {how}", AGAIN)


def _said(pipe: Any) -> Problem | None:
    """What a task that has ended left in its pipe; one that was killed may have closed it in the middle of a word."""
    try:
        return pipe.recv() if pipe.poll() else None
    except EOFError:
        return None


def slurm_executor(
    name: str, pipeline: list[Any], tasks: int, workers: int, config: dict[str, Any], logs: str
) -> SlurmPipelineExecutor:
    """datatrove's own; its jobs need this run's folder and the engine's environment on every node."""
    paths = os.pathsep.join(p for p in sys.path if p)
    return SlurmPipelineExecutor(
        pipeline,
        tasks=tasks,
        workers=workers,
        time=config["slurm_time"],
        partition=config["slurm_partition"],
        mem_per_cpu_gb=config["slurm_mem_per_cpu_gb"],
        job_name=f"prepare-{name}",
        qos=None,
        env_command=f"cd '{Path.cwd()}'; export PATH='{Path(sys.executable).parent}':$PATH PYTHONPATH='{paths}'",
        logging_dir=str(Path(logs).resolve()),
        mail_user=None,
        requeue=True,
    )


def _slurm(
    name: str, pipeline: list[Any], tasks: int, workers: int, config: dict[str, Any], logs: str, done: Done
) -> None:
    executor = slurm_executor(name, pipeline, tasks, workers, config, logs)
    try:
        executor.run()
    except FileNotFoundError:
        raise Problem(
            "no `sbatch` on this machine", "run it on a login node of the cluster, or set `executor: local`"
        ) from None
    except subprocess.CalledProcessError:
        help = "what it said stands above; mend the slurm_ keys, or set `executor: local`"
        raise Problem(f"`sbatch` refused the jobs of `{name}`", help) from None
    last = -1
    while left := len(executor.get_incomplete_ranks(skip_completed=True)):
        if tasks - left != last:
            last = tasks - left
            done(last)
        queued = subprocess.run(
            ["squeue", "-h", "-j", str(executor.job_id)], capture_output=True, text=True, check=False
        )
        if not queued.stdout.strip() and executor.get_incomplete_ranks(skip_completed=True):
            raise Problem(f"{left} tasks of `{name}` did not finish in Slurm", f"see {logs}/slurm_logs; {AGAIN}")
        time.sleep(SLURM_POLL_S)
    done(tasks)


def stage_counts(name: str, tasks: int) -> list[dict[str, float]]:
    """What datatrove counted in each step of a completed stage, summed over its tasks, whichever attempt did them."""
    total: list[dict[str, float]] = []
    for rank in range(tasks):
        rows = json.loads((Path("work/logs") / name / "stats" / f"{rank:05d}.json").read_text())
        for i, row in enumerate(rows):
            if i == len(total):
                total.append({})
            for key, value in row["stats"].items():
                total[i][key] = total[i].get(key, 0) + (value["total"] if isinstance(value, dict) else value)
    return total
