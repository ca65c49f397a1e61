"""What the plan says of runs on this machine, beside what the engine did: every step, and host RAM within 25%."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from runner.project import shipped
from runner.record import read_metrics, read_run
from tests.conftest import recipes_of
from tests.engine.conftest import Smoke
from tests.engine.stand_ins import each, nightly

RECIPES = [name for engine in ("axolotl", "transformers", "deepspeed_pipeline") for name in recipes_of(engine)]
CHAT = shipped("data") / "smoke" / "chat.jsonl"


def max_steps(run: Path) -> int:
    """As the trainer reports it."""
    rows, _ = read_metrics(run)
    return next(int(row["max_steps"]) for row in rows if "max_steps" in row)


@pytest.mark.parametrize("recipe", each(RECIPES))
def test_every_smoke_run_is_as_planned(smoked: Smoke, recipe: str) -> None:
    run = smoked.run(recipe)
    said, found = run.record["predicted"], run.record["measured"]
    assert said["time.steps"] == found["time.steps"] == max_steps(run.path)
    # what trains is planned: a server that a later step of the run starts has a plan of its own
    ram = max(found["host.ranks_gib"]) if (run.path / "endpoint.json").exists() else found["host.ram_gib"]
    # of the smallest, what the libraries take differs by as much as 0.2 GiB
    assert abs(said["host.ram_gib"] - ram) < max(0.25 * ram, 0.2)
    assert abs(said["disk.gib"] / found["disk.gib"] - 1) < 0.15
    ranks = re.search(r"--nproc_per_node (\d+)", (run.path / "launch.sh").read_text())
    assert len(found["host.ranks_gib"]) == (int(ranks[1]) if ranks else 1)
    assert found["speed.step_s"] > 0
    assert found["speed.tokens_per_s_per_gpu"] > 0
    assert "memory.peak_gib" not in found, "there is no GPU"


def test_ranks_tell_what_they_went_through(smoked: Smoke) -> None:
    run = smoked.run("phase2/zero3-13b").path
    ranks = [json.loads((run / f"measured/rank-{n}.json").read_text()) for n in (0, 1)]
    assert [r["rank"] for r in ranks] == [0, 1]
    assert all(r["steps"] == 40 for r in ranks)
    # 40 steps of two samples of about 38 tokens
    assert all(40 * 2 * 34 < r["tokens"] < 40 * 2 * 46 for r in ranks)
    assert all(0.8 < r["filled"] <= 1 for r in ranks)
    rows, _ = read_metrics(run)
    peaks = [row["peak_rss_gib"] for row in rows if "peak_rss_gib" in row]
    assert peaks == sorted(peaks), "a peak never falls"


# What is run besides the default smoke runs: by its data's length rather than by `max_steps`. Nothing is saved.
QUIET = ("max_steps=null", "eval_steps=null", "save_steps=null", "save_strategy=no")
CHATS = f"path: {CHAT}, ds_type: json, type: chat_template, field_messages: messages"
MORE: list[tuple[str, dict[str, Any], int]] = [
    ("phase4/lora-13b", {"num_epochs": 1, "merge": "false"}, 95),
    # packed; the number of bins depends on the order, which is drawn
    ("phase4/lora-13b", {"num_epochs": 1.5, "merge": "false", "sample_packing": "true"}, 46),
    ("phase2/zero2-13b", {"num_epochs": 1, "gradient_accumulation_steps": 3}, 32),
    ("phase4/dpo-13b", {"num_epochs": 0.25, "merge": "false"}, 24),
    ("phase4/rlhf-13b", {"num_epochs": 0.1, "merge": "false"}, 20),
    # a slice of which whatever is longer than 40 tokens is dropped, and a count held out
    (
        "phase4/sft-13b",
        {
            "num_epochs": 2,
            "merge": "false",
            "val_set_size": 7,
            "sequence_len": 40,
            "datasets": f'[{{{CHATS}, split: "train[10%:60%]"}}]',
        },
        0,
    ),
    # two datasets, a shard of one of them
    (
        "phase4/qlora-13b",
        {
            "num_epochs": 1,
            "merge": "false",
            "datasets": f"[{{{CHATS}}}, {{{CHATS}, shards: 7, shards_idx: 0}}]",
        },
        109,
    ),
]


# packing, and a slice with a count held out, are where plans go wrong; the others are for the night
SOON = (1, 5)


@pytest.mark.parametrize(
    ("recipe", "sets", "steps"),
    [pytest.param(*more, id=f"{more[0]}-{i}", marks=() if i in SOON else nightly) for i, more in enumerate(MORE)],
)
def test_steps_follow_from_the_data(smoked: Smoke, recipe: str, sets: dict[str, Any], steps: int) -> None:
    given = [*QUIET, *(f"{key}={value}" for key, value in sets.items())]
    before = set((smoked.project.artifacts / recipe / "smoke").glob("2*"))
    done = smoked.call("run", recipe, "--profile", "smoke", *(word for g in given for word in ("--set", g)))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "predicted/measured: " in done.stdout.splitlines()[-1]
    (made,) = set((smoked.project.artifacts / recipe / "smoke").glob("2*")) - before
    run = read_run(made)
    assert run is not None
    assert run.record["predicted"]["time.steps"] == max_steps(made)
    assert max_steps(made) == run.record["metrics"]["step"]
    if steps:
        assert max_steps(made) == steps


@nightly
def test_texts_are_cut_as_the_engine_cuts_them(smoked: Smoke) -> None:
    texts = (smoked.project.artifacts / ".smoke/text/stdlib.jsonl").read_text().splitlines()[:60]
    file = smoked.project.root / "texts.jsonl"
    file.write_text("\n".join(texts))
    data = f"datasets=[{{path: {file}, ds_type: json, type: completion, field: text}}]"
    sets = {"num_epochs": 0.5, "pretraining_dataset": "null", "streaming": "null", data.split("=")[0]: data[9:]}
    test_steps_follow_from_the_data(smoked, "phase5/moe-mixtral-small", sets, 0)


COUNT = """
import json, sys
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
chats = [json.loads(line)["messages"] for line in open(sys.argv[2])]
print(json.dumps([len(tokenizer(tokenizer.apply_chat_template(c, tokenize=False))["input_ids"]) for c in chats]))
"""


def test_tokens_are_counted_as_the_tokenizer_does(smoked: Smoke, axolotl: Any) -> None:
    import subprocess

    from runner.plan.tokens import counter_for, sequences

    folder = smoked.run("phase4/lora-13b").path / "output" / "merged"
    done = subprocess.run([axolotl.python, "-c", COUNT, str(folder), str(CHAT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    counter = counter_for(folder, False)
    assert counter.exact
    ours = [sequences(json.loads(line), counter)[0] for line in CHAT.read_text().splitlines()]
    assert ours == json.loads(done.stdout.splitlines()[-1])


def test_a_probe_measures_and_leaves_no_weights(smoked: Smoke) -> None:
    before = smoked.run("phase4/kto-13b").id
    done = smoked.call("probe", "phase4/kto-13b", "--profile", "smoke", "--steps", "6", "--json", "--write")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["measured"]["speed.step_s"] > 0
    assert abs(told["predicted"]["host.ram_gib"] / told["measured"]["host.ram_gib"] - 1) < 0.25
    (run,) = (smoked.project.artifacts / ".probes/phase4/kto-13b/smoke").glob("2*")
    assert not (run / "output").exists()
    assert smoked.run("phase4/kto-13b").id == before
    table = (smoked.project.root / "data/measured/cpu.csv").read_text().splitlines()
    assert len(table) == 2
