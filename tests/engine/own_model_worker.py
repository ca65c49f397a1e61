"""Loads a folder whose class is saved in it, as anybody would, and says what it is and how it goes on; prints JSON.

Runs in Axolotl's environment: `own_model_worker.py FOLDER PROMPT`.
"""

import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

TOKENS = 12


def main(folder: str, prompt: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, dtype=torch.float32).eval()
    asked = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        said = model.generate(**asked, max_new_tokens=TOKENS, do_sample=False)[0, asked["input_ids"].shape[1] :]
        ids = torch.randint(5, 2000, (1, 48), generator=torch.Generator().manual_seed(1))
        other = ids.clone()
        other[0, 30:] = 7
        ahead = (model(ids).logits - model(other).logits)[0, :30].abs().max()
    found = {
        "class": type(model).__name__,
        "blocks": type(model.model.layers[0]).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "looks_ahead": float(ahead),
        "said": tokenizer.decode(said, skip_special_tokens=True),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
