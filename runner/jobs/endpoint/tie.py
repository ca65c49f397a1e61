"""Become a command that ends with its parent: `python -I -S tie.py SIGNAL COMMAND ...`; a step before exec.

Linux alone has such a tie; elsewhere the command runs as it is.
"""

import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    parent, number, argv = int(sys.argv[1]), signal.Signals[sys.argv[2]], sys.argv[3:]
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # it has gone before the tie was made
            sys.exit(1)
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - a command of endpoint.json
    except OSError as error:
        print(f"error: can't start {argv[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(127)
