"""Data preparation for real: counts, interruption, and what it says when something is wrong."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runner.engines.datatrove import failure
from runner.engines.environment import Environment, ensure, environment
from runner.jobs.shards import BadShards, Shards, corrupted
from runner.project import Project
from runner.recipe.compose import compose
from runner.recipe.resolve import resolve
from runner.record import write_files
from runner.render import render
from tests.conftest import ROOT, recipes_of
from tests.engine.preparing import Prepared, corpus, prepare, said, sentences
from tests.engine.stand_ins import nightly

TOKENIZER = "vocab_size: 300\nvalidation_fraction: 0.2\nworkers: 2\ntasks: 3\nseed: 7\n"
WHOLE = "exact_dedup: true\nminhash_dedup: true\nkeep_removed: true\ngopher_quality: {min_doc_words: 5}\n" + TOKENIZER
Make = Callable[[str], Prepared]


@pytest.fixture(scope="session")
def datatrove() -> Environment:
    """datatrove's environment, built on first need as for any user."""
    env = environment("datatrove")
    ensure(env, lambda progress: None)
    return env


@pytest.fixture
def make(datatrove: Environment, tmp_path: Path) -> Make:
    return lambda keys: prepare(datatrove, tmp_path, keys)


def documents() -> list[str]:
    """300 texts: 240 of their own, 40 that are copies, 20 that differ from another in a word."""
    own = [sentences(i, 3 + i % 40) for i in range(240)]
    near = [text.replace(text.split()[4], "zebra", 1) for text in own[100:120] if len(text) > 600]
    copies = [own[i] for i in range(40)]
    return own + copies + near


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return corpus(tmp_path / "corpus", documents())


def test_every_document_is_accounted_for(make: Make, source: Path) -> None:
    held_out = source.parent / "held_out.jsonl"
    held_out.write_text(json.dumps({"question": "who", "answer": sentences(3, 6)}) + "\n")
    run = make(f"source: {source}\n{WHOLE}decontaminate:\n  - {{path: {held_out}}}\n")
    done = run.launch()
    assert done.returncode == 0, done.stderr
    steps = {step["step"]: step for step in run.manifest["steps"]}
    assert list(steps) == ["read", "gopher_quality", "exact_dedup", "minhash_dedup", "decontaminate"]
    assert steps["read"]["documents_in"] == len(documents())
    assert steps["exact_dedup"]["removed"] == {"duplicate": 40}
    assert 10 <= steps["minhash_dedup"]["removed"]["duplicate"] <= 20
    assert steps["decontaminate"]["removed"] == {"contaminated_00-held_out.jsonl": 1}
    for step in steps.values():
        assert step["documents_in"] == step["documents_out"] + sum(step["removed"].values())
        kept = sum(1 for f in (run.path / "removed" / step["step"]).glob("*.jsonl") for _ in f.open())
        assert kept == sum(step["removed"].values())
    splits = run.manifest["splits"]
    assert steps["decontaminate"]["documents_out"] == sum(s["documents"] for s in splits.values())
    assert steps["decontaminate"]["tokens_out"] == sum(s["tokens"] for s in splits.values())
    assert steps["exact_dedup"]["tokens_in"] > steps["exact_dedup"]["tokens_out"] > 0
    assert corrupted(run.path / "output/dataset") == []
    for split in ("train", "validation"):
        shards = Shards(run.path / "output/dataset", split, 64)
        assert len(shards) * 64 + shards.left_over == splits[split]["tokens"]


@pytest.mark.fault("data preparation killed at any moment, again and again", "byte for byte what one run leaves")
def test_a_killed_run_goes_on_and_leaves_the_same_bytes(make: Make, source: Path) -> None:
    keys = f"source: {source}\n{WHOLE}"
    whole = make(keys)
    assert whole.launch().returncode == 0
    again = make(keys)
    killed = 0
    for attempt in range(60):
        process = again.start()
        try:
            process.wait(timeout=0.5 + 0.5 * attempt)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
            continue
        assert process.returncode == 0, (again.path / "log.txt").read_text()
        break
    assert killed >= 5
    assert again.files() == whole.files()
    for name in ("removed", "set_aside"):
        assert kept(again, name) == kept(whole, name)


def kept(run: Prepared, folder: str) -> dict[str, bytes]:
    return {str(f.relative_to(run.path)): f.read_bytes() for f in (run.path / folder).rglob("*.jsonl")}


@nightly
@pytest.mark.fault("a worker of data preparation is killed", "what the others did; told by name")
def test_a_killed_worker_is_named_and_the_rest_goes_on(make: Make, source: Path) -> None:
    keys = f"source: {source}\n{WHOLE}"
    whole = make(keys)
    assert whole.launch().returncode == 0
    run = make(keys)
    process = run.start()
    victim = None
    while victim is None and process.poll() is None:
        victim = a_worker(process.pid)
        time.sleep(0.01)
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    assert process.wait(timeout=60) == 1
    told = failure((run.path / "log.txt").read_text())
    assert told is not None
    assert "was killed (SIGKILL)" in told
    assert "goes on where it stopped" in told
    assert run.launch().returncode == 0
    assert run.files() == whole.files()


def a_worker(session: int) -> int | None:
    """A process that a `python -m prepare` of this session has forked."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(words[3]) == session:
            parents[int(stat.parent.name)] = int(words[1])
    return next((pid for pid, parent in parents.items() if parents.get(parent) == session and pid != session), None)


@nightly
def test_the_number_of_workers_changes_nothing(make: Make, source: Path) -> None:
    one = make(f"source: {source}\n{WHOLE}".replace("workers: 2", "workers: 1"))
    two = make(f"source: {source}\n{WHOLE}")
    assert one.launch().returncode == two.launch().returncode == 0
    assert one.files() == two.files()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("min_doc_chars: 1000000\n", ["nothing is left: `length` removed 300 of 300", "too_short", "loosen `length`"]),
        ("text_key: body\n", [".jsonl:1: no column `body`", "`id`, `text`", "set `text_key`"]),
        ("vocab_size: 60000\n", ["a vocabulary of 60,000 is too large for this text", "set `vocab_size:"]),
        ("validation_fraction: 0.00001\n", ["no document fell into the split `validation`"]),
        ("glob_pattern: '*.csv'\n", ["no data files in it", ".jsonl"]),
    ],
)
def test_what_a_person_can_get_wrong(make: Make, source: Path, keys: str, words: list[str]) -> None:
    own = keys.split(":")[0]
    base = "".join(line + "\n" for line in TOKENIZER.splitlines() if not line.startswith(own))
    told = said(make(f"source: {source}\n{base}{keys}").launch())
    for word in words:
        assert word in told


def test_an_empty_source(make: Make, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    told = said(make(f"source: {tmp_path}/empty.jsonl\n{TOKENIZER}").launch())
    assert told.startswith("the source is empty")


def test_a_broken_line_is_named_or_set_aside(make: Make, source: Path) -> None:
    file = source / "part-1.jsonl"
    lines = file.read_text().splitlines()
    lines[6] = lines[6][:40]
    file.write_text("\n".join(lines) + "\n")
    told = said(make(f"source: {source}\n{TOKENIZER}").launch())
    assert f"{file}:7: not JSON" in told
    assert "on_error: set_aside" in told
    run = make(f"source: {source}\non_error: set_aside\n{TOKENIZER}")
    assert run.launch().returncode == 0
    assert run.manifest["steps"][0]["removed"] == {"unreadable": 1}
    [reason] = run.manifest["source"]["set_aside"]
    assert reason.startswith(f"{file}:7: not JSON")


PARQUET = """
import json, sys, pyarrow as pa, pyarrow.parquet as pq
rows = [json.loads(line) for line in open(sys.argv[1])]
pq.write_table(pa.Table.from_pylist(rows), sys.argv[2], row_group_size=40)
"""


def as_parquet(env: Environment, source: Path, target: Path) -> None:
    subprocess.run([env.python, "-c", PARQUET, str(source), str(target)], check=True)


def test_a_torn_table_and_a_torn_archive_are_named(make: Make, datatrove: Environment, source: Path) -> None:
    table = source.parent / "table.parquet"
    as_parquet(datatrove, source / "part-0.jsonl", table)
    whole = make(f"source: {table}\n{TOKENIZER}")
    assert whole.launch().returncode == 0
    assert whole.manifest["steps"][0]["documents_in"] == 100
    data = bytearray(table.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4000] = b"\0" * 4000
    table.write_bytes(data)
    assert f"{table}: corrupted after row" in said(make(f"source: {table}\n{TOKENIZER}").launch())
    archive = source.parent / "torn.jsonl.gz"
    archive.write_bytes(gzip.compress((source / "part-0.jsonl").read_bytes())[:-2000])
    assert f"{archive}: cut short or corrupted" in said(make(f"source: {archive}\n{TOKENIZER}").launch())


@pytest.mark.fault("the disk fills while data are prepared", "told; the next run goes on")
def test_a_full_disk_is_named_and_the_run_goes_on(make: Make, source: Path) -> None:
    """A limit on a file's size stands in where no small file system can be mounted: both end a write half way."""
    keys = f"source: {source}\n{TOKENIZER}"
    whole = make(keys)
    assert whole.launch().returncode == 0
    run = make(keys)
    small = run.path.parent / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", small], capture_output=True).returncode == 0:
        try:
            (run.path / "work").symlink_to(small)
            told = said(run.launch())
        finally:
            (run.path / "work").unlink(missing_ok=True)
            subprocess.run(["umount", small], check=True)
        assert "the disk is full while `read` wrote" in told
        assert "free some space" in told
    told = said(run.launch("ulimit -f 40"))
    assert "a file may not grow further" in told
    assert run.launch().returncode == 0
    assert run.files() == whole.files()


def test_the_hub_out_of_reach(make: Make) -> None:
    told = said(make(f"source: nobody/nothing-here\n{TOKENIZER}").launch())
    assert told.startswith("nobody/nothing-here: the hub can't be reached")
    told = said(make("source: stdlib\nlimit: 40\ntokenizer: nobody/no-tokenizer\ntasks: 2\n").launch())
    assert told.startswith("nobody/no-tokenizer: the hub can't be reached")


@nightly
def test_a_dataset_as_the_hub_has_it(make: Make, datatrove: Environment, source: Path) -> None:
    """`datasets` reads a folder by the same code that reads the hub; what changes is where the files come from."""
    folder = source.parent / "owner" / "set" / "data"
    folder.mkdir(parents=True)
    for i in range(3):
        as_parquet(datatrove, source / f"part-{i}.jsonl", folder / f"train-0000{i}-of-00003.parquet")
    run = make(f"source: {folder.parent}\n{TOKENIZER}")
    for streaming in (True, False):
        config = json.loads((run.path / "prepare.json").read_text())
        config |= {"source_kind": "hub", "streaming": streaming, "split": "train"}
        (run.path / "prepare.json").write_text(json.dumps(config))
        done = run.launch(HF_HOME=str(source.parent / "cache"))
        assert done.returncode == 0, done.stdout + done.stderr
        assert run.manifest["steps"][0]["documents_in"] == len(documents())
    config |= {"split": "dev"}
    (run.path / "prepare.json").write_text(json.dumps(config))
    told = said(run.launch(HF_HOME=str(source.parent / "cache")))
    assert "no split `dev`" in told
    assert "train" in told


def test_text_can_not_forge_a_special_token(make: Make, tmp_path: Path) -> None:
    texts = [f"before <pad> and </s> after {i} " * 9 for i in range(60)]
    run = make(f"source: {corpus(tmp_path / 'forged', texts)}\n{TOKENIZER}")
    assert run.launch().returncode == 0
    for split, told in run.manifest["splits"].items():
        shards = Shards(run.path / "output/dataset", split, 1)
        ids = shards.read(0, shards.tokens)
        assert int((ids == run.manifest["eos_token_id"]).sum()) == told["documents"]
        assert not np.isin(ids, [0, 1, 3]).any()


def test_a_shard_that_was_damaged_later_is_found(make: Make, source: Path) -> None:
    run = make(f"source: {source}\n{TOKENIZER}")
    assert run.launch().returncode == 0
    dataset = run.path / "output/dataset"
    shard = dataset / "train/00001.ds"
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)
    assert corrupted(dataset) == ["train/00001.ds"]
    shard.write_bytes(data[:-2])
    with pytest.raises(BadShards, match=r"train/00001\.ds: has .* bytes, .* were written"):
        Shards(dataset, "train", 16)


def test_the_jobs_read_no_default_of_their_own(make: Make, source: Path) -> None:
    """prepare.json says all, so that it can be read and changed by hand."""
    config = json.loads((make(f"source: {source}\n{TOKENIZER}").path / "prepare.json").read_text())
    import re

    for file in (ROOT / "runner/jobs/prepare").glob("*.py"):
        for key in re.findall(r'config\["(\w+)"\]', file.read_text()):
            assert key in config, (file.name, key)


LOADED = """
import json, sys
from transformers import AutoTokenizer
t = AutoTokenizer.from_pretrained(sys.argv[1])
print("IDS", json.dumps([len(t), t.unk_token_id, t.bos_token_id, t.eos_token_id, t.pad_token_id]))
print("TEXT", json.dumps(t.decode(t("def f(x):\\n    return x  # ok")["input_ids"])))
"""


@nightly
def test_its_tokenizer_loads_in_transformers_and_can_be_taken_again(
    make: Make, source: Path, axolotl: Environment
) -> None:
    first = make(f"source: {source}\n{TOKENIZER}")
    assert first.launch().returncode == 0
    again = make(
        f"source: {source}\ntokenizer: {first.path}/output/tokenizer\nvalidation_fraction: 0.2\ntasks: 3\nseed: 7\n"
    )
    assert again.launch().returncode == 0
    assert {n: b for n, b in again.files().items() if n.endswith(".ds")} == {
        n: b for n, b in first.files().items() if n.endswith(".ds")
    }
    for run in (first, again):
        done = subprocess.run(
            [axolotl.python, "-c", LOADED, run.path / "output/tokenizer"],
            env={**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        said_of = dict(line.split(" ", 1) for line in done.stdout.splitlines() if line.startswith(("IDS", "TEXT")))
        assert json.loads(said_of["IDS"]) == [300, 0, 1, 2, 3]
        assert json.loads(said_of["TEXT"]) == "def f(x):\n    return x  # ok"


SLURM = """
import json
from pathlib import Path
from prepare.executor import slurm_executor
from prepare.stages import stages_of
config = json.loads(Path("prepare.json").read_text())
for step in config["steps"]:
    for stage in [] if step == "tokenize" else stages_of(step, config):
        made = slurm_executor(stage.name, stage.make(), stage.tasks, 2, config, f"work/logs/{stage.name}")
        print(made.get_launch_file_contents(made.get_sbatch_args(stage.tasks), "launch_pickled_pipeline x"))
"""


@nightly
def test_slurm_is_rendered_and_accepted_by_datatrove(make: Make, source: Path, datatrove: Environment) -> None:
    """Its executor takes every stage and writes the script that it would submit; no cluster has run it."""
    run = make(f"source: {source}\n{WHOLE}executor: slurm\nslurm_partition: cpu\nslurm_time: '02:00:00'\n")
    done = subprocess.run(
        [datatrove.python, "-c", SLURM],
        cwd=run.path,
        env=run.variables(PYTHONPATH=str(run.path / "jobs")),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("#SBATCH --partition=cpu") == 9
    assert "#SBATCH --time=02:00:00" in done.stdout
    assert "#SBATCH --array=0-2%2" in done.stdout
    # it is not there, or knows no cluster
    assert "`sbatch`" in said(run.launch(SLURM_CONF="/nowhere/slurm.conf"))


ACCEPT = """
import json, sys
from pathlib import Path
from prepare.stages import stages_of
config = json.loads(Path("prepare.json").read_text())
made = [stage.make() for step in config["steps"] if step != "tokenize" for stage in stages_of(step, config)]
print("ACCEPTED", len(made))
"""


@pytest.mark.parametrize("name", recipes_of("datatrove"))
def test_every_full_recipe_is_accepted_by_datatrove(datatrove: Environment, tmp_path: Path, name: str) -> None:
    """Its constructors take every filter and its options; what is tokenized is known only when there is a tokenizer."""
    project = Project(ROOT)
    recipe = resolve(project, compose(project, project.recipe_file(name)), "full", lambda name, profile: None)
    write_files(tmp_path, render(recipe))
    done = subprocess.run(
        [datatrove.python, "-c", ACCEPT],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "jobs"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith("ACCEPTED"), done.stderr
