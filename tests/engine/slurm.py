"""A Slurm cluster of this machine alone: its daemons by hand, two nodes on one host, gone when the test is."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BINARIES = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")


def missing() -> list[str]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    return [name for name in BINARIES if shutil.which(name, path=path) is None]


@contextmanager
def cluster(folder: Path, nodes: int = 2) -> Iterator[dict[str, str]]:
    """Yields the environment in which `sbatch` and the like talk to it."""
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    env = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin", "SLURM_CONF": str(folder / "slurm.conf")}
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    (folder / "slurm.conf").write_text(config(folder, nodes))
    for name in ("state", *(f"spool-n{n}" for n in range(1, nodes + 1))):
        (folder / name).mkdir()
    started: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> None:
        log = (folder / f"{command[0]}-{len(started)}.log").open("wb")
        started.append(subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True))

    try:
        kept = {"socket": "munge.sock", "key-file": "munge.key", "pid-file": "munged.pid", "seed-file": "munged.seed",
                "log-file": "munged.log"}  # fmt: skip
        start("munged", "--foreground", "--force", *(f"--{option}={folder}/{name}" for option, name in kept.items()))
        _until(lambda: (folder / "munge.sock").exists())
        start("slurmctld", "-D", "-f", env["SLURM_CONF"])
        for n in range(1, nodes + 1):
            start("slurmd", "-D", "-N", f"n{n}", "-f", env["SLURM_CONF"])
        _until(lambda: _idle(env) == nodes)
        yield env
    finally:
        for process in reversed(started):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def config(folder: Path, nodes: int) -> str:
    user = os.environ.get("USER") or "root"
    lines = [
        "ClusterName=here",
        f"SlurmctldHost={socket.gethostname()}(127.0.0.1)",
        f"SlurmUser={user}",
        f"SlurmdUser={user}",
        f"SlurmctldPort={_free_port()}",
        f"AuthInfo=socket={folder}/munge.sock,cred_expire=5",  # how long a job waits that is queued again
        f"StateSaveLocation={folder}/state",
        f"SlurmdSpoolDir={folder}/spool-%n",
        f"SlurmctldPidFile={folder}/slurmctld.pid",
        f"SlurmdPidFile={folder}/slurmd-%n.pid",
        "SlurmdParameters=config_overrides",
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core",
        "JobCompType=jobcomp/filetxt",
        f"JobCompLoc={folder}/done.txt",
        "ReturnToService=2",
        "MpiDefault=none",
        "SlurmdTimeout=10",
        "KillWait=5",
    ]
    names = ",".join(f"n{n}" for n in range(1, nodes + 1))
    lines += [f"NodeName=n{n} NodeAddr=127.0.0.1 Port={_free_port()} CPUs=1 State=UNKNOWN" for n in range(1, nodes + 1)]
    return "\n".join([*lines, f"PartitionName=main Nodes={names} Default=YES MaxTime=INFINITE State=UP", ""])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _idle(env: dict[str, str]) -> int:
    done = subprocess.run(["sinfo", "-h", "-t", "idle", "-o", "%D"], env=env, capture_output=True, text=True)
    return sum(int(word) for word in done.stdout.split() if word.isdecimal())


def _until(there: object, seconds: float = 30) -> None:
    assert callable(there)
    deadline = time.monotonic() + seconds
    while not there():
        if time.monotonic() > deadline:
            raise TimeoutError("the cluster did not start")
        time.sleep(0.2)
