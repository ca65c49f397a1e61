"""Merges a reward model's adapter into its base with PEFT: `merge_reward.py merge.yaml ADAPTER OUT`.

Axolotl 0.19's own merge can't: going through the base's files shard by shard it never meets the trained score head,
which is in none of them, and writes a causal model whose reward would be random; its legacy way sets generation options
that a classifier does not have.
"""

import sys
from pathlib import Path

import torch
import yaml
from peft import AutoPeftModelForSequenceClassification
from transformers import AutoTokenizer


def main() -> None:
    config = yaml.safe_load(Path(sys.argv[1]).read_text())
    adapter, out = sys.argv[2:4]
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    model = AutoPeftModelForSequenceClassification.from_pretrained(
        adapter,
        num_labels=config["num_labels"],
        dtype=torch.bfloat16 if config.get("bf16") else torch.float32,
        device_map="auto" if torch.cuda.is_available() else "cpu",
    )
    merged = model.merge_and_unload()
    merged.config.pad_token_id = tokenizer.pad_token_id  # a classifier finds a sequence's last token by it
    merged.save_pretrained(out)
    tokenizer.save_pretrained(out)
    print(f"merged {adapter} into {out}")


if __name__ == "__main__":
    main()
