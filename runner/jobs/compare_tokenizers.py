"""Trains tokenizers of several algorithms and sizes on the same text, and measures them on several kinds of text.

Runs in Axolotl's environment as `compare_tokenizers.py tokenizers.yaml`; leaves `output/table.json`, `table.csv`,
`table.md`, each tokenizer in a folder of its own, and the one that the recipe keeps in `output/tokenizer`.
"""

import csv
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from trainer.settings import BadSettings
from trainer.sources import column, name_of, rows

OUTPUT = Path("output")
KEPT = "tokenizer"
FIELDS = ("algorithm", "vocab_size", "text", "tokens_per_word", "characters_per_token", "bytes_per_token",
          "unknown_rate", "vocabulary_used", "round_trip", "tokens", "train_s", "encode_mb_per_s")  # fmt: skip
# of GPT-2, of BERT and of SentencePiece in T5
SPECIAL = {
    "byte-bpe": ["<pad>", "<s>", "</s>", "<unk>"],
    "wordpiece": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "unigram": ["<pad>", "</s>", "<unk>"],
}
UNKNOWN = {"wordpiece": "[UNK]", "unigram": "<unk>"}


def byte_bpe(size: int) -> tuple[Tokenizer, Any]:
    """Merges of bytes (Radford et al. 2019): every text has tokens, and comes back as it was."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return tokenizer, trainers.BpeTrainer(
        vocab_size=size, special_tokens=SPECIAL["byte-bpe"], initial_alphabet=alphabet, show_progress=False
    )


def wordpiece(size: int) -> tuple[Tokenizer, Any]:
    """Pieces of words, longest first (Wu et al. 2016), as BERT's, but with capitals kept: spaces are not."""
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN["wordpiece"]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer, trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=SPECIAL["wordpiece"], show_progress=False
    )


def unigram(size: int) -> tuple[Tokenizer, Any]:
    """The likeliest cut under a model of pieces (Kudo 2018), with SentencePiece's marks for spaces, as T5's."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer, trainers.UnigramTrainer(
        vocab_size=size, special_tokens=SPECIAL["unigram"], unk_token=UNKNOWN["unigram"], show_progress=False
    )


ALGORITHMS: dict[str, Callable[[int], tuple[Tokenizer, Any]]] = {
    "byte-bpe": byte_bpe,
    "wordpiece": wordpiece,
    "unigram": unigram,
}


def lines_of(listed: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Kind of text -> its lines, without empty ones."""
    found: dict[str, list[str]] = {}
    for item in listed:
        kept = found.setdefault(item.get("title") or name_of(item), [])
        for row in rows(item):
            kept += [line for line in column(row, item, "field", "text").splitlines() if line.strip()]
            if len(kept) >= item.get("lines", 1 << 62):
                del kept[item["lines"] :]
                break
    empty = [name for name, lines in found.items() if not lines]
    if empty or not found:
        raise BadSettings(f"no text in {', '.join(empty) or 'the datasets'}")
    return found


def measure(tokenizer: Tokenizer, algorithm: str, lines: list[str]) -> dict[str, float]:
    """Of one kind of text. A word is what stands between spaces; `round_trip` is the share of lines that come back
    character by character."""
    begun = time.perf_counter()
    encoded = tokenizer.encode_batch_fast(lines, add_special_tokens=False)
    seconds = time.perf_counter() - begun
    ids = [each.ids for each in encoded]
    tokens = sum(map(len, ids))
    unknown = tokenizer.token_to_id(UNKNOWN.get(algorithm, ""))
    back = tokenizer.decode_batch(ids, skip_special_tokens=False)
    size = sum(len(line.encode()) for line in lines)
    return {
        "tokens_per_word": tokens / sum(len(line.split()) for line in lines),
        "characters_per_token": sum(map(len, lines)) / tokens,
        "bytes_per_token": size / tokens,
        "unknown_rate": sum(row.count(unknown) for row in ids) / tokens if unknown is not None else 0.0,
        "vocabulary_used": len({i for row in ids for i in row}) / tokenizer.get_vocab_size(),
        "round_trip": sum(a == b for a, b in zip(lines, back, strict=True)) / len(lines),
        "tokens": tokens,
        "encode_mb_per_s": size / 1e6 / seconds,
    }


def save(tokenizer: Tokenizer, algorithm: str, folder: Path) -> None:
    """As transformers loads it. Its own save would import torch for a file of ten lines."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"pad": "pad_token", "unk": "unk_token", "s": "bos_token", "/s": "eos_token", "cls": "cls_token",
             "sep": "sep_token", "mask": "mask_token"}  # fmt: skip
    special = {names[token.strip("[]<>").lower()]: token for token in SPECIAL[algorithm]}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")


def write_tables(found: list[dict[str, Any]]) -> None:
    (OUTPUT / "table.json").write_text(json.dumps(found, indent=1) + "\n")
    with (OUTPUT / "table.csv").open("w", newline="") as out:
        table = csv.DictWriter(out, FIELDS, lineterminator="\n")
        table.writeheader()
        table.writerows({key: shown(row[key]) for key in FIELDS} for row in found)
    head = [name.replace("_", " ") for name in FIELDS]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * 3 + "---:|" * (len(head) - 3)]
    lines += ["| " + " | ".join(shown(row[key]) for key in FIELDS) + " |" for row in found]
    (OUTPUT / "table.md").write_text("\n".join(lines) + "\n")


def shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def compare(given: dict[str, Any]) -> list[dict[str, Any]]:
    tests = lines_of(given["test_datasets"])
    apart = {line for lines in tests.values() for line in lines}
    train = [line for lines in lines_of(given["datasets"]).values() for line in lines if line not in apart]
    if not train:
        raise BadSettings("every line to train on is also one to measure on")
    found = []
    for algorithm in given["algorithms"]:
        for size in given["vocab_sizes"]:
            tokenizer, trainer = ALGORITHMS[algorithm](size)
            begun = time.perf_counter()
            tokenizer.train_from_iterator(train, trainer)
            seconds = time.perf_counter() - begun
            save(tokenizer, algorithm, OUTPUT / f"{algorithm}-{size}")
            for text, lines in tests.items():
                told = {"algorithm": algorithm, "vocab_size": size, "text": text, "train_s": seconds}
                found.append(told | measure(tokenizer, algorithm, lines))
            print(f"{algorithm} of {tokenizer.get_vocab_size():,}: {seconds:.1f} s", flush=True)
            report(found, len(given["algorithms"]) * len(given["vocab_sizes"]), len(tests))
    return found


def report(found: list[dict[str, Any]], most: int, texts: int) -> None:
    """A line of metrics for each tokenizer: its figures over all kinds of text, each counting as much."""
    last = found[-texts:]
    name = f"{last[0]['algorithm']}-{last[0]['vocab_size']}"
    means = {key: sum(row[key] for row in last) / texts for key in ("tokens_per_word", "unknown_rate", "round_trip")}
    line = {"step": len(found) // texts, "max_steps": most, "time": time.time()}
    with Path("metrics.jsonl").open("a") as out:
        out.write(json.dumps(line | {f"{key}/{name}": round(value, 4) for key, value in means.items()}) + "\n")


def main() -> int:
    given = yaml.safe_load(Path(sys.argv[1]).read_text())
    OUTPUT.mkdir(exist_ok=True)
    try:
        write_tables(compare(given))
    except BadSettings as error:
        print(f"trainer: error: {error}", file=sys.stderr)
        return 1
    kept = given.get("keep") or f"{given['algorithms'][0]}-{given['vocab_sizes'][-1]}"
    shutil.copytree(OUTPUT / kept, OUTPUT / KEPT, dirs_exist_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
