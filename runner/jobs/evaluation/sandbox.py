"""Inside the sandbox's namespaces: runs each program by itself, and says on stdout which came to their end.

`python -I sandbox.py FOLDER < programs.json`, started by execute.py through unshare(1): there is no network, the file
system is read-only but for FOLDER, which becomes a small memory of its own, and processes end with their program.
"""

import ctypes
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

TIMEOUT_S = 3.0  # what HumanEval's and MBPP's own harness gives a program
MEMORY_BYTES = 4 << 30
FILE_BYTES = 16 << 20
PROCESSES = 128
MOUNT_SETATTR, AT_RECURSIVE, MOUNT_ATTR_RDONLY, AT_FDCWD = 442, 0x8000, 0x1, -100
MS_REC, MS_PRIVATE = 0x4000, 1 << 18
# what the program reads is its text, what it can't know is the word that it must end with
RUN = """
import os, sys
text = sys.stdin.read()
word, out = text[:32], os.dup(1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
exec(compile(text[32:], "program", "exec"), {"__name__": "__main__"})
os.write(out, word.encode())
"""


class Attributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


def close(folder: str) -> None:
    """The whole file system read-only, and FOLDER a memory of 64 MiB."""
    libc = ctypes.CDLL(None, use_errno=True)

    def check(code: int, what: str) -> None:
        if code != 0:
            sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")

    check(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "mounts are shared with the machine")
    attributes = Attributes(MOUNT_ATTR_RDONLY, 0, 0, 0)
    size = ctypes.sizeof(attributes)
    code = libc.syscall(MOUNT_SETATTR, AT_FDCWD, b"/", AT_RECURSIVE, ctypes.byref(attributes), size)
    check(code, "the file system can't be made read-only (that takes Linux 5.12)")
    check(libc.mount(b"tmpfs", folder.encode(), b"tmpfs", 0, b"size=64m"), "no memory to write to")


def limit() -> None:
    os.setsid()
    seconds = int(TIMEOUT_S) + 1
    for what, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NPROC, PROCESSES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def passes(program: str, test: str, folder: str) -> bool:
    import secrets

    word = secrets.token_hex(16)
    place = Path(folder) / "work"
    place.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", RUN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=place,
        env={"HOME": str(place), "TMPDIR": str(place), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        preexec_fn=limit,
    )
    try:
        said, _ = process.communicate(f"{word}{program}\n{test}\n".encode(), timeout=TIMEOUT_S)
    except (subprocess.TimeoutExpired, BrokenPipeError):
        said = b""
    end_all()
    process.wait()
    shutil.rmtree(place, ignore_errors=True)
    return said == word.encode()


def end_all() -> None:
    """This is the first process of its namespace, so that all others there are the program's."""
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        return
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        pass


def main() -> None:
    if os.getpid() != 1:
        sys.exit("not the first process of a namespace of its own")
    close(sys.argv[1])
    given = json.load(sys.stdin)
    for program, test in given["programs"]:
        print(given["word"], int(passes(program, test, sys.argv[1])), flush=True)


if __name__ == "__main__":
    main()
