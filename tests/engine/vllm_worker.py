"""Loads checkpoints in vLLM, one after the other in one process, and lets each answer; prints `{folder: answer}`.

Runs in vLLM's environment: `vllm_worker.py FOLDER ...`.
"""

import json
import sys

from vllm import LLM, SamplingParams

ASKED = [{"role": "user", "content": "The dog is black. What colour is the dog?"}]


def answer(folder: str) -> str:
    engine = LLM(model=folder, dtype="bfloat16", enforce_eager=True, max_model_len=128, max_num_seqs=4)
    found = engine.chat(ASKED, SamplingParams(temperature=0, max_tokens=12), use_tqdm=False)
    return str(found[0].outputs[0].text)


if __name__ == "__main__":
    print(json.dumps({folder: answer(folder) for folder in sys.argv[1:]}))
