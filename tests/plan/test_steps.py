"""Steps, tokens and samples. That real runs take as many is tests/engine/test_measured.py's to show."""

from __future__ import annotations

import base64
import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from runner.facts import rows
from runner.facts.read import read_facts
from runner.facts.rows import Uncountable, count_rows, first_rows
from runner.plan.datasets import Unsized, sliced, sources
from runner.plan.packing import TYPICAL_FILL, batches, fill
from runner.plan.reading import read_workload
from runner.plan.steps import length_of
from runner.plan.tokens import counter_for, sequences
from runner.plan.types import Length
from runner.project import shipped
from runner.recipe.compose import compose
from runner.recipe.resolve import Recipe, resolve
from tests.conftest import HEADER, Bench

CHAT = {"messages": [{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "A test of length."}]}
BASE = """\
base_model: meta-llama/Llama-2-13b-hf
box: 1xh100
adapter: lora
lora_target_linear: true
sequence_len: 512
micro_batch_size: 4
gradient_accumulation_steps: 1
learning_rate: 1e-4
bf16: true
"""


def lines(file: Path, count: int, row: dict[str, Any] | None = None) -> Path:
    file.write_text("".join(json.dumps(row or CHAT) + "\n" for _ in range(count)))
    return file


def recipe(bench: Bench, text: str, header: str = HEADER, profile: str = "full") -> Recipe:
    doc = compose(bench.project, bench.write("r", header + text), profile=profile)
    return resolve(bench.project, doc, profile, lambda name, profile: None)


def length(bench: Bench, text: str, header: str = HEADER) -> Length:
    found = recipe(bench, text, header)
    return length_of(found, read_workload(found))


def data(file: str, **more: Any) -> str:
    entry = {"path": file, "ds_type": "json", "type": "chat_template"} | more
    return f"datasets: [{json.dumps(entry)}]\n"


@pytest.fixture
def chat(bench: Bench) -> str:
    lines(bench.project.root / "chat.jsonl", 400)
    return BASE + data("chat.jsonl")


@pytest.mark.parametrize(
    ("keys", "steps", "samples"),
    [
        ("num_epochs: 1", 100, 400),
        ("", 100, 400),  # Axolotl's default is one epoch
        ("num_epochs: 3", 300, 1200),
        ("num_epochs: 0.5", 50, 200),
        ("num_epochs: 1\nval_set_size: 0.05", 95, 380),
        ("num_epochs: 1\nval_set_size: 0.001", 100, 399),  # a share is rounded up: one sample is held out
        ("num_epochs: 1\nval_set_size: 7", 99, 393),  # 98.25 batches
        ("num_epochs: 1\nmax_steps: 7", 7, 28),
        ("num_epochs: 9\nmax_steps: 500", 500, 2000),
        ("num_epochs: 1\ndataset_shard_num: 3\ndataset_shard_idx: 0", 34, 134),
        ("num_epochs: 1\ndataset_shard_num: 3\ndataset_shard_idx: 2", 34, 133),
    ],
)
def test_epochs_and_what_is_held_out(bench: Bench, chat: str, keys: str, steps: int, samples: int) -> None:
    found = length(bench, chat + keys + "\n")
    assert (found.steps, found.samples) == (steps, samples)
    assert found.tokens is not None
    assert found.tokens < steps * 4 * 512
    assert found.why == ""


def test_accumulation_and_ranks_share_a_step(bench: Bench, chat: str) -> None:
    text = chat.replace("gradient_accumulation_steps: 1", "gradient_accumulation_steps: 3")
    assert length(bench, text).steps == 34  # 400 / 12 = 33.3
    assert length(bench, text.replace("box: 1xh100", "box: 2xh100")).steps == 17
    assert length(bench, text.replace("box: 1xh100", "box: 8xh100")).steps == 5


@pytest.mark.parametrize(
    ("split", "rows_of_400"),
    [
        ("train", 400),
        ("train[:25%]", 100),
        ("train[10%:]", 360),
        ("train[:10]+train[-30:]", 40),
        ("train[390:1000]", 10),
        ("train[300:100]", 0),
        ("train[:33%]", 132),
    ],
)
def test_splits_are_sliced_as_datasets_does(bench: Bench, chat: str, split: str, rows_of_400: int) -> None:
    found = recipe(bench, BASE + data("chat.jsonl", split=split))
    assert [s.rows for s in sources(found)] == [rows_of_400]


def test_slices_of_named_splits() -> None:
    known = {"train_sft": 1000, "test_sft": 10}
    assert sliced("train_sft[:1%]", known, None) == [range(10)]
    assert sliced("train_sft[-5:]+test_sft", known, None) == [range(995, 1000), range(10)]
    assert sliced("train", known, None) is None
    assert sliced("train_sft[oops:]", known, None) == [range(1000)]


def test_several_datasets_and_shards_add_up(bench: Bench, chat: str) -> None:
    lines(bench.project.root / "more.jsonl", 25)
    one = {"path": "chat.jsonl", "ds_type": "json", "type": "chat_template", "shards": 7, "shards_idx": 0}
    two = [one, {"path": "more.jsonl", "ds_type": "json", "type": "chat_template"}]
    found = length(bench, BASE + f"datasets: {json.dumps(two)}\n")
    assert found.samples == 58 + 25  # 400 rows in 7 shards: the first has one more
    assert found.steps == 21


def test_what_is_too_long_is_dropped_or_cut(bench: Bench) -> None:
    long = {"messages": [{"role": "user", "content": "x" * 3000}]}
    text = "".join(json.dumps(CHAT if i % 4 else long) + "\n" for i in range(100))
    (bench.project.root / "mixed.jsonl").write_text(text)
    found = length(bench, BASE + data("mixed.jsonl"))
    assert found.steps == 19
    assert found.why == "about 25% of `mixed.jsonl` is dropped: longer than `sequence_len`"
    assert length(bench, BASE + data("mixed.jsonl") + "excess_length_strategy: truncate\n").steps == 25
    assert length(bench, BASE + data("mixed.jsonl", split="train[:3]")).samples == 2, "the first is too long"


def test_texts_are_cut_into_sequences(bench: Bench) -> None:
    """512 tokens each, at four characters a token: 2 and a bit of each text, with the end."""
    lines(bench.project.root / "text.jsonl", 10, {"text": "word " * 1000})
    found = length(bench, BASE + data("text.jsonl", type="completion", field="text"))
    assert found.samples == 10 * 3
    assert found.steps == 8
    assert found.tokens == 10 * 1251
    lines(bench.project.root / "text.jsonl", 1, {"text": "word " * 100_000})
    found = length(bench, BASE + data("text.jsonl", type="completion", field="text"))
    assert found.samples == 64
    assert "cuts each text" in found.why


def test_packing(bench: Bench, chat: str) -> None:
    packed = chat + "sample_packing: true\npad_to_sequence_len: true\nattn_implementation: flash_attention_2\n"
    found = length(bench, packed)
    assert found.steps is not None
    assert found.tokens == found.steps * 4 * 512, "every sequence is padded"
    (source,) = sources(recipe(bench, packed))
    assert source.mean is not None
    # long rows of micro batch x sequence_len, each filled as well as whole samples allow
    each = 2048 // round(source.mean)
    assert abs(found.steps - 400 / each) <= 1
    # where the attention takes no long rows a batch has one for each sequence, and one that is not full is dropped
    rows_of_one = length(bench, packed.replace("flash_attention_2", "sdpa") + "sdpa_varlen: true\n")
    assert rows_of_one.steps is not None
    assert rows_of_one.steps >= found.steps - 1
    estimated = length(bench, packed + "sample_packing_eff_est: 0.9\n")
    tokens = 400 * source.mean
    assert estimated.steps == int(0.99 * tokens / 0.9 / 512 // 4 - 1)
    fewer = length(bench, packed + "num_epochs: 2\ndataloader_drop_last: true\n")
    assert fewer.steps == found.steps * 2 - 2


def test_first_fit_is_axolotls() -> None:
    # in this order 60 + 40, 50 + 50, 70
    assert batches((60, 50, 40, 70, 50), 100, 1, most_samples=200, in_order=True) == 3
    assert batches((60, 50, 40, 70, 50), 100, 2, most_samples=200, in_order=True) == 1, "the last is not full"
    assert batches((10,) * 10, 100, 1, most_samples=5, in_order=False) == 2
    assert fill((50,) * 10, 100, 200) == 1.0
    assert fill((), 100, 200) == TYPICAL_FILL


PAIR = {
    "prompt": "q",
    "chosen": [{"role": "assistant", "content": "a"}],
    "rejected": [{"role": "assistant", "content": "b"}],
}
GRPO = """\
rl: grpo
trl: {num_generations: 8, max_completion_length: 64, beta: 0.0, use_vllm: false, reward_funcs: [rewards.short]}
"""


@pytest.mark.parametrize(
    ("keys", "steps"),
    [
        ("micro_batch_size: 8\ngradient_accumulation_steps: 1\n", 400),  # one prompt a step
        ("micro_batch_size: 16\ngradient_accumulation_steps: 1\n", 200),
        ("micro_batch_size: 8\ngradient_accumulation_steps: 4\n", 100),  # a generation serves a whole step
        ("micro_batch_size: 24\ngradient_accumulation_steps: 1\n", 133),  # 400 / 3, what is left over is dropped
    ],
)
def test_grpo_repeats_its_prompts(bench: Bench, keys: str, steps: int) -> None:
    lines(bench.project.root / "prompts.jsonl", 400, {"prompt": "Say something short"})
    base = "".join(k + "\n" for k in BASE.splitlines() if "batch_size" not in k and "accumulation" not in k)
    text = base + keys + GRPO + "datasets: [{path: prompts.jsonl, ds_type: json, split: train}]\n"
    header = HEADER.replace("finetune", "rlhf")
    assert length(bench, text, header).steps == steps
    assert length(bench, text + "num_epochs: 0.5\n", header).steps == -(-steps // 2)
    assert length(bench, text.replace("beta: 0.0", "beta: 0.0, num_iterations: 2"), header).steps == steps * 2


def test_pairs_count_once_and_two_sequences(bench: Bench) -> None:
    lines(bench.project.root / "pairs.jsonl", 40, PAIR)
    text = BASE + "rl: dpo\ndatasets: [{path: pairs.jsonl, ds_type: json, type: chat_template.default}]\n"
    found = length(bench, text, HEADER.replace("finetune", "dpo"))
    assert (found.steps, found.samples) == (10, 40)
    (source,) = sources(recipe(bench, text, HEADER.replace("finetune", "dpo")))
    assert {len(row) for row in source.lengths} == {2}


def test_streams_have_no_end(bench: Bench) -> None:
    text = BASE + "pretraining_dataset: [{path: HuggingFaceFW/fineweb-edu, name: sample-10BT, type: pretrain}]\n"
    text = text.replace("adapter: lora\nlora_target_linear: true\n", "")
    header = HEADER.replace("finetune", "pretrain")
    found = length(bench, text, header)
    assert found.steps is None
    assert "max_steps" in found.why
    found = length(bench, text + "max_steps: 100\n", header)
    assert (found.steps, found.tokens, found.samples) == (100, 100 * 4 * 512, None)


def test_unknown_data_says_which_and_what_helps(bench: Bench) -> None:
    text = BASE + "datasets: [{path: someone/unheard-of, type: alpaca}]\n"
    found = length(bench, text)
    assert found.steps is found.tokens is found.samples is None
    assert "`someone/unheard-of`" in found.why
    assert "max_steps" in found.why
    assert length(bench, text + "max_steps: 10\n").steps == 10


def test_known_data_of_the_hub(bench: Bench) -> None:
    found = length(bench, BASE + "datasets: [{path: yahma/alpaca-cleaned, type: alpaca}]\nval_set_size: 0.02\n")
    assert found.samples == 51760 - 1036
    assert found.steps == 12681
    assert "230 in a row" in found.why
    found = length(bench, BASE + "datasets: [{path: openai/gsm8k, name: main, type: alpaca, split: 'train[:50%]'}]\n")
    assert found.samples == 3736  # half of 7,473, rounded to even as Python rounds


def test_a_card_in_the_cache_is_enough(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    card = tmp_path / "hub/datasets--someone--unheard-of/snapshots/abc/README.md"
    card.parent.mkdir(parents=True)
    card.write_text("---\ndataset_info:\n  splits:\n  - name: train\n    num_examples: 1234\n---\n# Card\n")
    found = length(bench, BASE + "datasets: [{path: someone/unheard-of, type: alpaca}]\n")
    assert (found.samples, found.tokens) == (1234, None)
    card.write_text("---\nnot: [closed\n---\n")
    assert length(bench, BASE + "datasets: [{path: someone/unheard-of, type: alpaca}]\n").steps is None


def test_every_dataset_of_our_recipes_is_known() -> None:
    facts = read_facts(shipped("data") / "datasets.yaml")
    for name, known in facts.items():
        for each in known.get("configs", {"": known}).values():
            assert all(isinstance(n, int) and n > 0 for n in each["rows"].values()), name
            assert each["tokens"] > 0, name


# --- counting rows ---


@pytest.mark.parametrize(
    ("name", "text", "kind", "count"),
    [
        ("a.jsonl", "{}\n{}\n", "json", 2),
        ("a.jsonl", "{}\n{}", "json", 2),
        ("a.jsonl", "", "json", 0),
        ("a.json", '[{"a": 1}, {"a": "]"}, {}]', "json", 3),
        ("a.csv", 'a,b\n1,"two\nlines"\n3,4\n', "csv", 2),
        ("a.txt", "one\ntwo\n", "text", 2),
    ],
)
def test_rows(tmp_path: Path, name: str, text: str, kind: str, count: int) -> None:
    file = tmp_path / name
    file.write_text(text)
    assert count_rows(file, kind) == rows.Rows(count)


def test_compressed_rows(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(gzip.compress(b'{"text": "x"}\n' * 30))
    assert count_rows(file, "json").count == 30
    assert len(list(first_rows(file, "json", 10_000))) == 30


# The footer of a file that pyarrow 26 wrote: 317 rows of a struct with a list and a text
FOOTER = """
FQQZfDUAGAZzY2hlbWEVBAA1AhgBYRUEABUEJQIYAXgANQIYAXkVAhUGTDwAAAA1BBgEbGlzdBUCABUAJQIYB2VsZW1lbnQAFQwlAhgBYiUATBwAAAAW
+gQZHBk8JgAcFQQZNQAGEBkoAWEBeBUMFvoEFtguFvwOJooIJggcGAg8AQAAAAAAABgIAAAAAAAAAAAWACgIPAEAAAAAAAAYCAAAAAAAAAAAEREAGSwV
BBUAFQIAFQAVEBUCADwpBhk2AAD6BAAAACYAHBUAGSUGABlIAWEBeQRsaXN0B2VsZW1lbnQVDBb0CRakAxaUASaEDzwYAQEYAQAWACgBARgBABERABkc
FQAVABUCADwpJvoE+gQZVgAAAAD0CQAAACYAHBUMGTUABhAZGAFiFQwW+gQWeBacASbQECaYEBw2ACgBdBgBdBERABksFQQVABUCABUAFRAVAgA8FvoE
GQYZJgD6BAAAABb0Mhb6BCYIFqwRACggcGFycXVldC1jcHAtYXJyb3cgdmVyc2lvbiAyNi4wLjEZPBwAABwAABwAAACgAQAAUEFSMQ==
"""


def test_rows_of_a_parquet_file(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    file.write_bytes(b"PAR1" + b"\0" * 1000 + base64.b64decode(FOOTER))
    assert count_rows(file, "parquet") == rows.Rows(317)
    file.write_bytes(b"PAR1 and no more")
    with pytest.raises(Uncountable):
        count_rows(file, "parquet")


def test_large_files_are_counted_by_their_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "WHOLE_BYTES", dict.fromkeys(rows.WHOLE_BYTES, 1000))
    monkeypatch.setattr(rows, "SAMPLE_BYTES", 50_000)
    monkeypatch.setattr(rows, "_BLOCK", 10_000)
    texts = [json.dumps({"text": f"row {i} " + "x" * (i % 37)}) for i in range(10_000)]
    files = {
        "a.jsonl": ("json", "\n".join(texts).encode()),
        "a.json": ("json", ("[" + ",\n".join(texts) + "]").encode()),
        "a.csv": ("csv", b"a,b\n" + b"one,two\n" * 10_000),
    }
    for name, (kind, content) in files.items():
        (tmp_path / name).write_bytes(content)
        found = count_rows(tmp_path / name, kind)
        assert not found.exact
        assert found.count == pytest.approx(10_000, rel=0.05), name
    noise = random.Random(1)
    monkeypatch.setattr(rows, "SAMPLE_BYTES", 1_500_000)
    packed = b"".join(noise.randbytes(500).hex().encode() + b"\n" for _ in range(5000))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(packed, 1))
    assert count_rows(tmp_path / "a.jsonl.gz", "json").count == pytest.approx(5000, rel=0.25)
    (tmp_path / "list.json.gz").write_bytes(gzip.compress(b"[" + noise.randbytes(2000).hex().encode()))
    with pytest.raises(Uncountable, match="row on each line"):
        count_rows(tmp_path / "list.json.gz", "json")


def test_a_file_that_cannot_be_counted_is_named(bench: Bench) -> None:
    (bench.project.root / "a.parquet").write_text("no parquet")
    found = recipe(bench, BASE + data("a.parquet", ds_type="parquet"))
    with pytest.raises(Unsized, match=r"a\.parquet"):
        sources(found)


# --- counting tokens ---


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """Bytes, `he`, `ll` and `hell`, and two tokens that stand apart."""
    merges = [["h", "e"], ["l", "l"], ["he", "ll"]]
    model = {"type": "BPE", "vocab": {}, "merges": merges}
    added = [{"content": "<|im_start|>"}, {"content": "<|im_end|>"}]
    folder = tmp_path / "model"
    folder.mkdir()
    given = {"model": model, "pre_tokenizer": {"type": "ByteLevel"}, "added_tokens": added}
    (folder / "tokenizer.json").write_text(json.dumps(given))
    template = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"
    (folder / "chat_template.jinja").write_text(template)
    return folder


@pytest.mark.parametrize(
    ("text", "count"),
    [("hell", 1), ("hello", 2), ("helle he", 4), ("", 0), ("<|im_start|>hell<|im_end|>", 3), ("ü", 2), ("a  b", 4)],
)
def test_byte_pairs(tokenizer: Path, text: str, count: int) -> None:
    assert counter_for(tokenizer, False).count(text) == count


def test_conversations_are_counted_as_their_template_writes_them(tokenizer: Path) -> None:
    row = {"messages": [{"role": "user", "content": "hell"}, {"role": "assistant", "content": "hello"}]}
    assert sequences(row, counter_for(tokenizer, False)) == [7]
    assert counter_for(tokenizer, False).exact
    assert not counter_for(None, False).exact


@pytest.mark.parametrize(
    "broken", ["", "{", '{"model": {"type": "Unigram"}}', '{"model": {"type": "BPE", "merges": 3}}']
)
def test_other_tokenizers_are_guessed(tmp_path: Path, broken: str) -> None:
    (tmp_path / "tokenizer.json").write_text(broken)
    counter = counter_for(tmp_path, False)
    assert not counter.exact
    assert counter.count("four" * 10) == 10


SHAPES: list[tuple[dict[str, Any], int]] = [
    ({"prompt": "aaaa", "chosen": "bbbb", "rejected": "cccc"}, 2),
    ({"system": "", "instruction": "aaaa", "completion": "bbbb", "label": True}, 1),
    ({"instruction": "aaaa", "input": "", "output": "bbbb"}, 1),
    ({"conversations": [{"from": "human", "value": "aaaa"}, {"from": "gpt", "value": "bbbb"}]}, 1),
]


@pytest.mark.parametrize(("row", "count"), SHAPES)
def test_rows_of_every_shape(row: dict[str, Any], count: int) -> None:
    found = sequences(row, counter_for(None, False))
    assert len(found) == count
    assert all(n == 2 + 2 * 5 for n in found), "two texts of a token, and what surrounds each"


def test_reading_is_bounded(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", 1000)
    few = list(first_rows(file, "json", 1000))
    assert 5 < len(few) < 20


def test_a_plan_of_local_data_is_quick_the_second_time(bench: Bench, chat: str) -> None:
    """`--fit` asks hundreds of times."""
    import time

    found = recipe(bench, chat + "sample_packing: true\n")
    w = read_workload(found)
    length_of(found, w)
    began = time.perf_counter()
    for _ in range(100):
        length_of(found, w)
    assert time.perf_counter() - began < 0.5
