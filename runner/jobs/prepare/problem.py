"""What went wrong, for a person: one line that names it, and one that says how to mend it."""

import errno
from pathlib import Path

AGAIN = "run it again; it goes on where it stopped"


class Problem(Exception):
    """`str()` of it names what and where; `help` says how to mend it."""

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.help = help

    def __reduce__(self):  # through a pipe between processes
        return (Problem, (str(self), self.help))

    def lines(self) -> str:
        return f"error: {self}" + (f"; {self.help}" if self.help else "")


def from_os(error: OSError, doing: str) -> "Problem | None":
    """A full disk and a file that may not be written or read, in words; None for what only a programmer understands."""
    where = f" {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Problem(
            f"the disk is full while {doing}{where or f' in {Path.cwd()}'}", f"free some space, then {AGAIN}"
        )
    if error.errno == errno.EFBIG:
        return Problem(
            f"a file may not grow further while {doing}{where}",
            f"raise the limit on a file's size (`ulimit -f`), or set `tasks` higher for smaller files; then {AGAIN}",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Problem(f"not allowed while {doing}{where}: {error.strerror}", f"mend its permissions, then {AGAIN}")
    return None
