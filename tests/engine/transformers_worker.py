"""Loads checkpoints in transformers, one after the other, and lets each answer; prints `{folder: answer}` as JSON.

Runs in llm-compressor's environment: `transformers_worker.py FOLDER ...`.
"""

import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

ASKED = [{"role": "user", "content": "The dog is black. What colour is the dog?"}]


def answer(folder: str) -> str:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()
    asked = tokenizer.apply_chat_template(ASKED, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.inference_mode():
        tokens = model.generate(**asked, max_new_tokens=12, do_sample=False)
    return str(tokenizer.decode(tokens[0, asked["input_ids"].shape[1] :], skip_special_tokens=True))


if __name__ == "__main__":
    print(json.dumps({folder: answer(folder) for folder in sys.argv[1:]}))
