"""What `runner run` adds to the launch.sh that it renders: `python -m tests.benchmarks.overhead`.

The same smoke recipe, alternately by `runner run --force` and by `bash launch.sh` in a copy of the folder; the goal is
under 2% or one second.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECIPE = "phase4/lora-13b"
ROUNDS = 3


def timed(command: list[str], cwd: Path, env: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=cwd, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    runner = str(Path(sys.executable).parent / "runner")
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "project"
        shutil.copytree(ROOT / "recipes", project / "recipes")
        env = {**os.environ, "RUNNER_PROJECT": str(project)}
        run = [runner, "run", RECIPE, "--profile", "smoke", "--force"]
        timed(run, project, env)  # builds the environment and the tiny model, and warms the disk
        source = (project / "artifacts" / RECIPE / "smoke" / "latest").resolve()
        ours, bare = [], []
        for i in range(ROUNDS):
            ours.append(timed(run, project, env))
            folder = Path(scratch) / f"bare{i}"
            shutil.copytree(source, folder, ignore=shutil.ignore_patterns("output", "prepared", "*.jsonl", "log.txt"))
            bare.append(timed(["bash", "launch.sh"], folder, env))
        added = statistics.median(ours) - statistics.median(bare)
        print(f"launch.sh by hand  {statistics.median(bare):6.2f}s  {[round(b, 2) for b in bare]}")
        print(f"runner run         {statistics.median(ours):6.2f}s  {[round(o, 2) for o in ours]}")
        print(f"added              {added:6.2f}s  ({100 * added / statistics.median(bare):.1f}%)")


if __name__ == "__main__":
    main()
