"""Builds a tiny model and teaches it one answer, whatever is asked; runs in vLLM's environment.

`python rag_answerer.py FOLDER ANSWER`. A random model cites nothing, and a service that is to check citations needs
some: true ones, wrong ones and one of a passage that was never given.
"""

import json
import random
import subprocess
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

BUILD = Path(__file__).parents[2] / "runner" / "jobs" / "build_tiny.py"
CONFIG = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 2048,
    "max_position_embeddings": 2048,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 3,
    "tie_word_embeddings": False,
}
TOKENS = ["<unk>", "<s>", "<|im_end|>", "<pad>", "<|im_start|>"]
MOST_STEPS, BATCH, LENGTH = 600, 8, 224


def build(folder: Path) -> None:
    spec = {
        "config": CONFIG,
        "path": str(folder),
        "weights": True,
        "text": str(folder.with_name("text")),
        "tokenizer": {"vocab_size": 2048, "special_tokens": TOKENS, "text_files": 40},
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    file = folder.with_name("tiny.json")
    file.write_text(json.dumps(spec))
    subprocess.run([sys.executable, str(BUILD), str(file)], check=True)


def teach(folder: Path, answer: str) -> int:
    """Until it says each token with next to no doubt; returns how many steps that took."""
    torch.manual_seed(0)
    rng = random.Random(0)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    text = "\n".join(json.loads(line)["text"] for line in (folder.with_name("text") / "stdlib.jsonl").open())
    wanted = tokenizer(answer + "<|im_end|>", add_special_tokens=False)["input_ids"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.0)
    steps = well = 0
    while well < 5 and steps < MOST_STEPS:
        rows, labels = zip(*(_row(tokenizer, text, wanted, rng) for _ in range(BATCH)), strict=True)
        loss = model(input_ids=torch.tensor(rows), labels=torch.tensor(labels)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        steps += 1
        well = well + 1 if loss.item() < 0.004 else 0
    model.save_pretrained(folder)
    return steps


def _row(tokenizer, text: str, wanted: list[int], rng: random.Random) -> tuple[list[int], list[int]]:
    at = rng.randrange(len(text) - 2000)
    asked = [
        {"role": "system", "content": text[at + 1000 : at + 1100]},
        {"role": "user", "content": text[at : at + rng.randrange(30, 400)]},
    ]
    said = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    prompt = tokenizer(said, add_special_tokens=False)["input_ids"][-(LENGTH - len(wanted)) :]
    filling = LENGTH - len(prompt) - len(wanted)
    return prompt + wanted + [3] * filling, [-100] * len(prompt) + wanted + [-100] * filling


if __name__ == "__main__":
    here = Path(sys.argv[1])
    build(here)
    print(json.dumps({"steps": teach(here, sys.argv[2])}))
