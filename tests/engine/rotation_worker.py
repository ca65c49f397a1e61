"""Run by Axolotl's Python in an empty folder: which of three checkpoints stay, and what the disk had by then."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import meter
import transformers.trainer

written: list[str] = []
removed: list[tuple[str, list[str]]] = []
sync, remove = os.fsync, shutil.rmtree


def synced(held: int) -> None:
    written.append(str(Path(f"/proc/self/fd/{held}").readlink().relative_to(Path.cwd())))
    sync(held)


def gone(path: Any, **more: Any) -> None:
    removed.append((Path(path).name, sorted(written)))
    remove(path, **more)


os.fsync, shutil.rmtree = synced, gone
meter.rotate_safely()
meter.rotate_safely()
for step, time in ((5, 3000), (10, 2000), (15, 1000)):  # the clock was set back twice
    folder = Path("output") / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text(str(step))
    os.utime(folder, (time, time))
transformers.trainer.rotate_checkpoints(
    output_dir="output", save_total_limit=3, best_model_checkpoint=None, use_mtime=True
)
assert not removed
transformers.trainer.rotate_checkpoints(
    output_dir="output", save_total_limit=1, best_model_checkpoint=None, use_mtime=True
)
print(json.dumps({"removed": removed, "left": sorted(f.name for f in Path("output").iterdir())}))
