"""Whole checkpoints and torn ones, in every layout that our engines leave. torch.save writes a zip, as is made here."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.launch.checkpoints import (
    checkpoints,
    newest_whole,
    put_aside,
    remove_replaced,
    torn_file,
)

Damage = Callable[[Path], object]


def safetensors(file: Path, numbers: int = 64) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    header = json.dumps({"w": {"dtype": "F32", "shape": [numbers], "data_offsets": [0, 4 * numbers]}}).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4 * numbers))


def saved(file: Path) -> None:
    """As torch.save lays it out: records one after another, uncompressed, and the directory last."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{file.stem}/data.pkl", b"\x80\x02}q\x00.")
        archive.writestr(f"{file.stem}/data/0", bytes(4096))


def trainer(run: Path, step: int, *, weights: str = "model.safetensors") -> Path:
    folder = run / "output" / f"checkpoint-{step}"
    safetensors(folder / weights)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
        saved(folder / name)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step, "log_history": []}))
    return folder


def sharded(run: Path, step: int, ranks: int = 2) -> Path:
    """ZeRO-3 of a trainer: the weights lie in DeepSpeed's folder."""
    folder = trainer(run, step)
    (folder / "optimizer.pt").unlink()
    for rank in range(ranks):
        saved(folder / f"global_step{step}" / f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt")
        saved(folder / f"global_step{step}" / f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
    (folder / "latest").write_text(f"global_step{step}")
    return folder


def pipeline(run: Path, step: int) -> Path:
    (run / "output").mkdir(parents=True, exist_ok=True)
    (run / "pipeline.json").write_text("{}")
    folder = run / "output" / f"checkpoint-{step}"
    for name in ("layer_00-model_00-model_states.pt", "layer_01-model_00-model_states.pt"):
        saved(folder / name)
    for stage in range(2):
        saved(folder / f"mp_rank_{stage:02}_model_states.pt")
        saved(folder / f"zero_pp_rank_0_mp_rank_{stage:02}_optim_states.pt")
    (run / "output" / "latest").write_text(folder.name)
    return folder


def cut(name: str, keep: int | None = None) -> Damage:
    """The file as a full disk or a kill leaves it."""

    def damage(folder: Path) -> None:
        file = folder / name
        os.truncate(file, file.stat().st_size // 2 if keep is None else keep)

    return damage


def without(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


MADE = {"trainer": trainer, "sharded": sharded, "pipeline": pipeline}


@pytest.mark.parametrize("layout", MADE)
def test_whole_ones_are_whole(tmp_path: Path, layout: str) -> None:
    for step in (5, 10):
        MADE[layout](tmp_path, step)
    assert [(c.step, c.torn) for c in checkpoints(tmp_path)] == [(10, ""), (5, "")]
    assert put_aside(tmp_path) == []
    best = newest_whole(tmp_path)
    assert best is not None
    assert best.step == 10


@pytest.mark.fault(
    "power lost while a checkpoint was written: files cut off or empty", "the checkpoint before it; the torn one stays"
)
@pytest.mark.fault(
    "killed before a checkpoint was whole: a file is not there", "the checkpoint before it; the torn one stays"
)
@pytest.mark.fault("a rank's part of a sharded checkpoint is lost", "the checkpoint before it, of all ranks")
@pytest.mark.fault("a pipeline's checkpoint that `latest` does not name yet", "the one that it names")
@pytest.mark.parametrize(
    ("layout", "damage", "said"),
    [
        ("trainer", cut("model.safetensors"), "164 of 328 bytes"),
        ("trainer", cut("model.safetensors", 0), "0 bytes, cut off within its header"),
        ("trainer", cut("model.safetensors", 20), "cut off within its header"),
        ("trainer", cut("optimizer.pt"), "optimizer.pt: "),
        ("trainer", cut("rng_state.pth", 0), "rng_state.pth: 0 bytes"),
        ("trainer", cut("scheduler.pt"), "cut off before its directory"),
        ("trainer", cut("trainer_state.json"), "trainer_state.json can't be read"),
        ("trainer", without("trainer_state.json"), "trainer_state.json is not there"),
        ("trainer", without("model.safetensors"), "it has no weights"),
        ("trainer", without("optimizer.pt"), "it has no optimizer"),
        ("trainer", without("scheduler.pt"), "it has no scheduler"),
        ("trainer", without("rng_state.pth"), "it has no state of random numbers"),
        ("trainer", without("training_args.bin"), "no training_args.bin, which the one before has"),
        ("sharded", without("latest"), "`latest` names no folder of it"),
        ("sharded", lambda f: shutil.rmtree(f / "global_step10"), "it has no optimizer"),
        (
            "sharded",
            without("global_step10/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt"),
            "the optim states of rank 1, 0 are not there",
        ),
        ("sharded", cut("global_step10/zero_pp_rank_0_mp_rank_00_model_states.pt"), "cut off before its directory"),
        ("pipeline", lambda f: (f.parent / "latest").write_text("checkpoint-5"), "it was not finished"),
        ("pipeline", without("mp_rank_01_model_states.pt"), "no mp_rank_01_model_states.pt, which the one before has"),
        ("pipeline", without("layer_01-model_00-model_states.pt"), "no layer_01"),
        ("pipeline", cut("layer_00-model_00-model_states.pt"), "cut off before its directory"),
    ],
)
def test_a_torn_one_is_kept_aside_and_the_one_before_it_taken(
    tmp_path: Path, layout: str, damage: Damage, said: str
) -> None:
    MADE[layout](tmp_path, 5)
    folder = MADE[layout](tmp_path, 10)
    damage(folder)
    told = put_aside(tmp_path)
    assert said in told[0]
    assert "kept as torn-checkpoint-10" in told[0]
    assert (folder.parent / "torn-checkpoint-10").is_dir(), "never deleted without being replaced"
    best = newest_whole(tmp_path)
    assert best is not None
    assert best.step == 5
    assert put_aside(tmp_path) == [], "once is enough"
    if layout == "pipeline":
        assert (tmp_path / "output" / "latest").read_text() == "checkpoint-5", "which is what its trainer goes by"


@pytest.mark.fault(
    "a torn checkpoint while no newer one is there", "it is removed only when a whole one has replaced it"
)
def test_a_torn_one_goes_when_a_newer_whole_one_has_replaced_it(tmp_path: Path) -> None:
    trainer(tmp_path, 5)
    without("optimizer.pt")(trainer(tmp_path, 10))
    put_aside(tmp_path)
    aside = tmp_path / "output" / "torn-checkpoint-10"
    assert remove_replaced(tmp_path, checkpoints(tmp_path)) == []
    assert aside.is_dir()
    trainer(tmp_path, 10)
    assert put_aside(tmp_path) == ["output/torn-checkpoint-10 is removed: checkpoint-10 has replaced it"]
    assert not aside.exists()


def test_one_torn_twice_is_kept_twice(tmp_path: Path) -> None:
    for _ in range(2):
        without("optimizer.pt")(trainer(tmp_path, 10))
        put_aside(tmp_path)
    assert sorted(p.name for p in (tmp_path / "output").iterdir()) == ["torn-checkpoint-10", "torn-checkpoint-10-2"]
    assert newest_whole(tmp_path) is None


def test_weights_alone_are_enough_where_the_recipe_saves_no_more(tmp_path: Path) -> None:
    folder = trainer(tmp_path, 5, weights="adapter_model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        (folder / name).unlink()
    assert [c.torn for c in checkpoints(tmp_path)] == ["it has no optimizer"]
    assert [c.torn for c in checkpoints(tmp_path, weights_only=True)] == [""]


def test_shards_that_an_index_names_are_there(tmp_path: Path) -> None:
    folder = trainer(tmp_path, 5, weights="model-00001-of-00002.safetensors")
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    assert [c.torn for c in checkpoints(tmp_path)] == ["model-00002-of-00002.safetensors is not there"]
    safetensors(folder / "model-00002-of-00002.safetensors")
    assert [c.torn for c in checkpoints(tmp_path)] == [""]


@pytest.mark.fault(
    "power lost just after the end: the finished model is cut off", "made again from its last checkpoint"
)
def test_a_torn_model_of_a_stage_that_was_done_is_made_again(tmp_path: Path) -> None:
    """Power that went just after the end: the file is there, and its content is not."""
    trainer(tmp_path, 5)
    safetensors(tmp_path / "output" / "model.safetensors")
    (tmp_path / "output" / "trainer_state.json").write_text("{}")
    assert put_aside(tmp_path) == []
    cut("model.safetensors")(tmp_path / "output")
    assert put_aside(tmp_path) == ["output/model.safetensors is torn: this stage ends again from its newest checkpoint"]
    assert not (tmp_path / "output" / "trainer_state.json").exists()
    assert newest_whole(tmp_path) is not None


def test_no_checkpoint_at_all(tmp_path: Path) -> None:
    assert put_aside(tmp_path) == []
    (tmp_path / "output" / "checkpoint-best").mkdir(parents=True)
    assert checkpoints(tmp_path) == []


def test_what_a_file_says_of_its_length(tmp_path: Path) -> None:
    (tmp_path / "long.safetensors").write_bytes((10**12).to_bytes(8, "little") + b"{}")
    assert torn_file(tmp_path / "long.safetensors") == "10 bytes, cut off within its header"
    (tmp_path / "odd.safetensors").write_bytes((2).to_bytes(8, "little") + b"[]")
    assert torn_file(tmp_path / "odd.safetensors") == "its header can't be read"
    (tmp_path / "note.txt").write_text("")
    assert torn_file(tmp_path / "note.txt") == ""
