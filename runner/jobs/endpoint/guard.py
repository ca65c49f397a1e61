"""Outlives a supervisor that is killed, for as long as it takes to end what that has started.

It reads the ids of sessions from a pipe whose other end only the supervisor holds. When the pipe closes without the
word `done`, the supervisor is gone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from . import processes


class Guard:
    def __init__(self) -> None:
        inside, self.pipe = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "endpoint.guard", str(inside), processes.mark()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(inside,),
            # it must be found neither by the mark that it looks for nor by that of the run
            env={k: v for k, v in os.environ.items() if k not in (processes.MARK, "RUNNER_RUN")}
            | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])},
        )
        os.close(inside)

    def tell(self, word: object) -> None:
        os.write(self.pipe, f"{word}\n".encode())

    def close(self) -> None:
        self.tell("done")
        os.close(self.pipe)
        self.process.wait()


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with os.fdopen(int(sys.argv[1]), "r") as pipe:
        words = pipe.read().split()
    if "done" not in words:
        processes.end([int(word) for word in words], sys.argv[2])


if __name__ == "__main__":
    main()
