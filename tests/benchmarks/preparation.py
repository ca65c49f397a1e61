"""Tokens per second per core of data preparation, beside `datasets.map` with the same tokenizer on the same text.

`python -m tests.benchmarks.preparation` runs each in turn, several times, in datatrove's environment, and compares the
least processor time of each; it fails where ours is slower. Wall time is shown too: it says more on an idle machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from runner.engines import jobs_dir
from runner.engines.environment import ensure, environment

ROUNDS = 4
# in the environment: a tokenizer and documents first, then one way of making tokens for each name it is given
PROGRAM = """
import json, os, resource, sys, time
from pathlib import Path
from datatrove.data import Document
from datatrove.pipeline.tokens import DocumentTokenizer
from loguru import logger
from prepare import stdlib
from prepare.tokens import Tokenize
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
import datasets

logger.remove()
datasets.disable_progress_bars()
folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
texts = [t for name, file in stdlib.modules()[:150] for _, t in stdlib.documents(name, file) if t.strip()]
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
alphabet = pre_tokenizers.ByteLevel.alphabet()
tokenizer.train_from_iterator(texts[:3000], trainers.BpeTrainer(
    vocab_size=8192, special_tokens=["<s>", "</s>"], show_progress=False, initial_alphabet=alphabet))
file = str(folder / "tokenizer.json")
tokenizer.save(file)
rows = datasets.Dataset.from_dict({"text": texts})

def ours(into, kind=Tokenize, **more):
    step = kind(str(into), file, eos_token="</s>", save_final_metadata=False, **more)
    list(step.run((Document(t, str(i)) for i, t in enumerate(texts)), 0, 1) or ())
    return sum(f.stat().st_size for f in into.glob("*.ds")) // 2

def mapped(into):
    tok = Tokenizer.from_file(file)
    end = [("</s>", tok.token_to_id("</s>"))]
    tok.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=end)
    made = rows.map(lambda b: {"ids": [e.ids for e in tok.encode_batch(b["text"])]}, batched=True, batch_size=1000,
                    remove_columns=["text"], cache_file_name=str(into / "mapped.arrow"))
    return sum(map(len, made.with_format("arrow")["ids"].to_pylist())) if into.name.endswith("-0") else None

WAYS = {
    "prepare": lambda into: ours(into, seed=1, batch_size=1000),
    "prepare, not shuffled": lambda into: ours(into, seed=1, batch_size=1000, shuffle_documents=False),
    "datatrove as it comes": lambda into: ours(into, DocumentTokenizer, seed=1),
    "datasets.map": mapped,
}
for n in range(rounds):
    for name, way in WAYS.items():
        into = folder / f"{name.replace(' ', '-')}-{n}"
        into.mkdir()
        began, cpu = time.perf_counter(), time.process_time()
        tokens = way(into)
        print("BENCH " + json.dumps({"way": name, "tokens": tokens, "wall_s": time.perf_counter() - began,
                                     "cpu_s": time.process_time() - cpu}), flush=True)
"""


def measure(rounds: int = ROUNDS) -> dict[str, dict[str, float]]:
    """Way -> tokens, and the least wall and processor seconds. `datasets.map` counts its tokens in the first round,
    whose time is left out."""
    env = environment("datatrove")
    ensure(env, lambda progress: None)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [env.python, "-c", PROGRAM, folder, str(rounds + 1)],
            env={
                **os.environ,
                "PYTHONPATH": str(jobs_dir()),
                "TOKENIZERS_PARALLELISM": "false",
                "OMP_NUM_THREADS": "1",
                "HF_HUB_OFFLINE": "1",
                "HF_HOME": str(Path(folder) / "cache"),
            },
            capture_output=True,
            text=True,
            check=False,
        )
    rows = [json.loads(line[6:]) for line in done.stdout.splitlines() if line.startswith("BENCH ")]
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, dict[str, float]] = {}
    for way in dict.fromkeys(row["way"] for row in rows):
        first, *rest = [row for row in rows if row["way"] == way]
        found[way] = {"tokens": first["tokens"], **{k: min(r[k] for r in rest) for k in ("wall_s", "cpu_s")}}
    return found


def main() -> None:
    found = measure()
    counts = [way["tokens"] for way in found.values()]
    # not one and the same: text that spells a special token stays text in ours
    assert max(counts) - min(counts) < max(counts) / 10_000, counts
    base = found["datasets.map"]
    for name, way in found.items():
        speed = {k: way["tokens"] / way[k] for k in ("cpu_s", "wall_s")}
        ratio = base["cpu_s"] / way["cpu_s"]
        print(
            f"{name:<24} {speed['cpu_s']:>11,.0f} tokens/s of a core, {speed['wall_s']:>11,.0f} by the clock, "
            f"{ratio:5.2f} times datasets.map"
        )
    if found["prepare"]["cpu_s"] > base["cpu_s"]:
        sys.exit("preparation is slower than datasets.map")


if __name__ == "__main__":
    main()
