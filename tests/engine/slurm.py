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
from dataclasses import dataclass, field
from pathlib import Path

BINARIES = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")


def missing() -> list[str]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    return [name for name in BINARIES if shutil.which(name, path=path) is None]


@dataclass
class Cluster:
    """`env` is the environment in which `sbatch` and the like talk to it; `daemons` its processes by name."""

    folder: Path
    env: dict[str, str]
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.daemons[name] = subprocess.Popen(command, env=self.env, stdout=log, stderr=log, start_new_session=True)

    def start_node(self, name: str) -> None:
        self.start(name, "slurmd", "-D", "-N", name, "-f", self.env["SLURM_CONF"])

    def end(self, name: str) -> None:
        process = self.daemons.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def lose_node(self, name: str) -> int:
        """As when its power is cut: the daemon and all that a job has there are gone at once. How many those were.

        Have a spare one. To one that comes back within a minute slurmctld sends once more what it missed, an order to
        end the job among it, which would end the one started anew; real clusters wait longer (`cred_expire`)."""
        self.end(name)
        lost = on_node(name, self.env["SLURM_CONF"])
        for pid in {parent_of(pid) for pid in lost if named(parent_of(pid)).startswith("slurmstepd")} | lost:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(lost)

    def states(self) -> list[str]:
        done = subprocess.run(["sinfo", "-hN", "-o", "%T"], env=self.env, capture_output=True, text=True)
        return done.stdout.split()


def on_node(name: str, config: str) -> set[int]:
    """Processes of jobs on a node of this cluster, by what Slurm puts into their environment."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            words = set(entry.read_bytes().split(b"\0"))
            if {f"SLURMD_NODENAME={name}".encode(), f"SLURM_CONF={config}".encode()} <= words:
                found.add(int(entry.parent.name))
    return found


def parent_of(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def named(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return ""


@contextmanager
def cluster(folder: Path, nodes: int = 2) -> Iterator[dict[str, str]]:
    """Yields the environment in which `sbatch` and the like talk to it."""
    with started(folder, nodes) as found:
        yield found.env


@contextmanager
def started(folder: Path, nodes: int = 2) -> Iterator[Cluster]:
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    env = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin", "SLURM_CONF": str(folder / "slurm.conf")}
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    (folder / "slurm.conf").write_text(config(folder, nodes))
    for name in ("state", *(f"spool-n{n}" for n in range(1, nodes + 1))):
        (folder / name).mkdir()
    here = Cluster(folder, env)
    try:
        kept = {"socket": "munge.sock", "key-file": "munge.key", "pid-file": "munged.pid", "seed-file": "munged.seed",
                "log-file": "munged.log"}  # fmt: skip
        options = [f"--{option}={folder}/{name}" for option, name in kept.items()]
        here.start("munged", "munged", "--foreground", "--force", *options)
        _until(lambda: (folder / "munge.sock").exists())
        here.start("slurmctld", "slurmctld", "-D", "-f", env["SLURM_CONF"])
        for n in range(1, nodes + 1):
            here.start_node(f"n{n}")
        _until(lambda: here.states() == ["idle"] * nodes)
        yield here
    finally:
        for name in reversed(list(here.daemons)):
            here.end(name)
        for pid in {pid for n in range(1, nodes + 1) for pid in on_node(f"n{n}", env["SLURM_CONF"])}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


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


def _until(there: object, seconds: float = 30) -> None:
    assert callable(there)
    deadline = time.monotonic() + seconds
    while not there():
        if time.monotonic() > deadline:
            raise TimeoutError("the cluster did not start")
        time.sleep(0.2)
