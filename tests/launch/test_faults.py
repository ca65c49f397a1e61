"""What happens to a run's own files: records, links, locks, clocks and disks. Nothing that was done may be lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from runner import record
from runner.launch.supervise import execute, prepare
from runner.metrics import gone_through
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe
from runner.record import (
    RECORD,
    final_metrics,
    latest,
    new_run_dir,
    newest_run,
    profile_dir,
    read_run,
    runs,
    write_json,
)
from tests.conftest import ROOT, Bench
from tests.launch.test_checkpoints import trainer
from tests.launch.test_supervise import recipe_of

# fails at first, and then goes on to its end
TWICE = """\
echo "from $(ls output 2> /dev/null | tail -n 1)" >> told
[ -e once ] || { touch once; exit 1; }
mkdir -p output
echo '{}' > output/adapter_config.json
"""


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RUNNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("runner.launch.supervise.render", lambda recipe: {"launch.sh": TWICE})


def go(bench: Bench, recipe: Recipe) -> Path:
    return execute(bench.project, recipe, prepare(bench.project, recipe), lambda progress: None).run


@pytest.mark.fault("run.json is corrupted", "the run, which goes on from its checkpoint")
@pytest.mark.fault("run.json is lost", "the run, which goes on from its checkpoint")
@pytest.mark.parametrize("text", ["", '{"status": "fai', "[]", None])
def test_a_run_whose_record_is_lost_goes_on(bench: Bench, text: str | None) -> None:
    recipe = recipe_of(bench)
    run = go(bench, recipe)
    trainer(run, 5)
    if text is None:
        (run / RECORD).unlink()
    else:
        (run / RECORD).write_text(text)
    assert go(bench, recipe) == run
    assert (run / "told").read_text().splitlines()[-1] == "from checkpoint-5"
    found = read_run(run)
    assert found is not None
    assert found.status == "finished"


@pytest.mark.fault("power lost while run.json was written", "the record as it was before")
def test_a_half_written_record_is_not_seen(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_json(tmp_path / RECORD, {"status": "running"})

    def lost(number: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(record.os, "fsync", lost)
    with pytest.raises(OSError, match="No space left"):
        write_json(tmp_path / RECORD, {"status": "finished"})
    assert json.loads((tmp_path / RECORD).read_text()) == {"status": "running"}
    assert [p.name for p in tmp_path.iterdir() if "json" in p.name] == [RECORD], "nothing half written takes room"


@pytest.mark.fault("the link `latest` is lost", "the newest finished run of the recipe as it is written")
def test_without_its_link_the_newest_finished_run_is_found(bench: Bench) -> None:
    recipe = recipe_of(bench)
    go(bench, recipe)
    run = go(bench, recipe)
    assert latest(bench.project, "r", "full") == run
    (run.parent / "latest").unlink()
    assert latest(bench.project, "r", "full") == run
    trial = new_run_dir(bench.project, "r", "full")
    write_json(trial / RECORD, {"status": "finished", "as_written": False})
    assert latest(bench.project, "r", "full") == run, "a trial with --set never stands in for it"


class Yesterday(datetime):
    @classmethod
    def now(cls, tz: object = None) -> datetime:
        return datetime(2001, 1, 1, 12, tzinfo=timezone.utc)


@pytest.mark.fault("the clock is set back between two runs", "their order; the newest is still the newest")
def test_a_clock_that_was_set_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    first = new_run_dir(bench.project, "r", "full")
    monkeypatch.setattr(record, "datetime", Yesterday)
    later = [new_run_dir(bench.project, "r", "full") for _ in range(11)]
    for run in (first, *later):
        write_json(run / RECORD, {"status": "failed"})
    assert [r.path for r in runs(bench.project, "r", "full")] == [*reversed(later), first], "ten comes after nine"
    newest = newest_run(bench.project, "r", "full")
    assert newest is not None
    assert newest.path == later[-1]


@pytest.mark.fault("a run dies after its newest checkpoint", "no step counts twice; the dead one's reports stay")
def test_the_curve_goes_on_where_the_checkpoint_was(tmp_path: Path) -> None:
    rows = [{"event": "begin", "step": 0}, *({"step": n, "loss": 9.0 - n} for n in (1, 2, 3, 4))]
    rows += [{"event": "begin", "step": 2}, {"step": 3, "loss": 1.25}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [(r["step"], r["loss"]) for r in gone_through(rows) if "loss" in r] == [(1, 8.0), (2, 7.0), (3, 1.25)]
    found = final_metrics(tmp_path)
    assert (found["step"], found["loss"], found["first_loss"]) == (3, 1.25, 8.0)
    later = [*rows, {"event": "begin", "finetune/step": 0}, {"finetune/step": 1, "finetune/loss": 0.5}]
    assert len(gone_through(later)) == len(gone_through(rows)) + 2, "a later stage counts its own steps"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB; where none can be mounted, what follows is done without one."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)]
    mounted = subprocess.run(mount, capture_output=True).returncode == 0
    yield place
    if mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


def limited(bench: Bench, place: Path) -> bool:
    """Whether artifacts/ lies on the small disk."""
    bench.project.artifacts.symlink_to(place)
    return os.path.ismount(place)


FILLS = """\
if [ -e once ]; then mkdir -p output; echo '{}' > output/adapter_config.json; exit 0; fi
touch once
dd if=/dev/zero of=filler bs=1k count=2000 2> dd.log
echo "OSError: [Errno 28] No space left on device"
exit 1
"""


@pytest.mark.fault("the disk of artifacts/ fills while the engine runs", "the record as it was; the run goes on later")
def test_a_full_disk(bench: Bench, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not limited(bench, small_disk):
        pytest.skip("no file system can be mounted here")
    monkeypatch.setattr("runner.launch.supervise.render", lambda recipe: {"launch.sh": FILLS})
    recipe = recipe_of(bench)
    with pytest.raises(Refused) as caught:
        go(bench, recipe)
    (told,) = caught.value.diagnostics
    assert told.code == "R412"
    assert "No space left on device" in told.message
    (run,) = runs(bench.project, "r", "full")
    assert run.status == "running", "the record as it was: whole"
    (run.path / "filler").unlink()
    assert go(bench, recipe) == run.path
    assert runs(bench.project, "r", "full")[0].status == "finished"


@pytest.mark.fault("a write of run.json runs into a limit of its size", "the record that was there")
def test_a_write_that_ends_half_way(tmp_path: Path) -> None:
    """As a quota does it, and needs no rights."""
    write_json(tmp_path / RECORD, {"status": "running"})
    code = (
        "import resource, sys; from pathlib import Path; from runner.record import write_json\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "write_json(Path(sys.argv[1]), {'status': 'finished', 'values': 'x' * 9000})\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / RECORD)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert "File too large" in done.stderr
    assert json.loads((tmp_path / RECORD).read_text()) == {"status": "running"}
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.fault("artifacts/ is read-only", "told before an engine starts")
def test_a_read_only_folder(bench: Bench, small_disk: Path) -> None:
    if not limited(bench, small_disk):
        pytest.skip("no file system can be mounted here")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(Refused) as caught:
        go(bench, recipe_of(bench))
    (told,) = caught.value.diagnostics
    assert (told.code, told.message) == ("R412", "can't write to the artifacts folder: Read-only file system")


@pytest.mark.fault("killed between a run's folder and its record", "the folder, which is taken up again")
def test_killed_before_the_first_record(bench: Bench) -> None:
    recipe = recipe_of(bench)
    run = go(bench, recipe)
    for name in (RECORD, "log.txt"):
        (run / name).unlink()
    shutil.rmtree(run / "output", ignore_errors=True)
    assert go(bench, recipe) == run
    assert profile_dir(bench.project, "r", "full") / "latest" == run.parent / "latest"
