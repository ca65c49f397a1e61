"""32 answers streamed at a time from the RAG service, for a minute: `python -m tests.benchmarks.rag_streams [SECONDS]`.

No stream may fail, and the service's memory may not grow: its resident size after a warm-up beside that at the end. The
model is the tests' tiny one, so that the time of an answer is mostly the service's own.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.engine.serving import answer
from tests.engine.test_rag_serve import NAME, SAID, Town, make_town

WARM_S = 15
GROWTH_MIB = 32


def resident_mib(town: Town) -> float:
    """Of `python -m rag serve`, which is one process."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if b"rag" in words and b"serve" in words and Path(str((entry / "cwd").readlink())) == town.folder:
                pages = int((entry / "statm").read_text().split()[1])
                if b"endpoint" not in words:
                    return pages * 4096 / 2**20
        except OSError:
            continue
    raise SystemExit("the service is not there")


def main(seconds: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        town = make_town(Path(folder), [], "null")
        done = town.call("run", NAME)
        if done.returncode != 0:
            raise SystemExit(done.stdout + done.stderr)
        service = town.start()
        assert service.stdout is not None
        while "curl" not in (line := service.stdout.readline()):
            if not line:
                raise SystemExit((town.folder / "serve.log").read_text()[-2000:])
        try:
            town.asked("minute", WARM_S)
            sizes: list[float] = [resident_mib(town)]
            stopped = threading.Event()

            def sample() -> None:
                while not stopped.wait(1.0):
                    sizes.append(resident_mib(town))

            sampler = threading.Thread(target=sample, daemon=True)
            sampler.start()
            found = answer(town.client("minute", seconds))
            stopped.set()
            sampler.join()
            time.sleep(2)
            sizes.append(resident_mib(town))
        finally:
            service.send_signal(signal.SIGTERM)
            service.communicate(timeout=120)
    failed = {said: count for said, count in found["said"].items() if said != SAID}
    growth = sizes[-1] - sizes[0]
    print(
        f"{found['said'].get(SAID, 0)} answers in {seconds} s, {sum(failed.values())} failed; seconds "
        f"{json.dumps(found['seconds'])}; resident {sizes[0]:.0f} MiB after {WARM_S} s, at most {max(sizes):.0f}, "
        f"{sizes[-1]:.0f} at the end ({growth:+.1f})"
    )
    if failed:
        print(json.dumps(failed))
    return int(bool(failed) or growth > GROWTH_MIB)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 60))
