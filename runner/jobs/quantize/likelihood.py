"""How likely a model finds held-out text: the nll of each of its windows, and how fast the model decodes."""

import time
from typing import Any

import torch

from .problem import Problem
from .rows import answers, texts

# greedy tokens that are timed, after as many that are not
DECODED = 32


def samples(tokenizer: Any, config: dict[str, Any]) -> list[tuple[list[int], int]]:
    """Tokens, and from which one on they count: answers of conversations, or windows of texts laid end to end."""
    source, length, most = config["held_out"], config["held_out_length"], config["held_out_windows"]
    if source.get("field_messages"):
        found = [(ids[:length], start) for ids, start in answers(source, tokenizer, None) if start < length - 1]
        if not found:
            raise Problem(f"no answer of `{source['path']}` begins within {length} tokens")
        return found[:most]
    return windows(tokenizer, texts(source, tokenizer, None, None), length)[:most]


def windows(tokenizer: Any, found: list[str], length: int) -> list[tuple[list[int], int]]:
    """Of `length` tokens, each with the begin token in front; the last, shorter one only where it is the only one."""
    flat: list[int] = tokenizer("\n\n".join(found), add_special_tokens=False, verbose=False)["input_ids"]
    begin = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
    inner = length - len(begin)
    cut = [begin + flat[at : at + inner] for at in range(0, len(flat), inner)]
    return [(each, 1) for each in cut if len(each) == length] or [(cut[0], 1)]


@torch.inference_mode()
def nll(model: Any, found: list[tuple[list[int], int]]) -> list[float]:
    """Summed over the tokens of each sample that count [samples], in nats."""
    place = model.get_input_embeddings().weight.device
    sums = []
    for ids, start in found:
        tokens = torch.tensor([ids], device=place)
        logits = model(input_ids=tokens, use_cache=False).logits[0, start - 1 : -1]
        wanted = tokens[0, start:].to(logits.device)
        # a piece at a time: 32-bit logits of a whole window are large
        parts = zip(logits.split(512), wanted.split(512), strict=True)
        sums.append(sum(torch.nn.functional.cross_entropy(a.float(), b, reduction="sum").item() for a, b in parts))
    return sums


@torch.inference_mode()
def decode_tokens_per_s(model: Any, prompt: list[int]) -> float:
    """Of one greedy sequence in transformers on this device: its kernels are not those of a serving engine."""
    place = model.get_input_embeddings().weight.device
    tokens = torch.tensor([prompt], device=place)
    mask = torch.ones_like(tokens)
    how = {"attention_mask": mask, "do_sample": False, "min_new_tokens": DECODED, "max_new_tokens": DECODED}
    taken = 0.0
    for _ in range(2):
        started = time.perf_counter()
        model.generate(tokens, pad_token_id=0, **how)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken = time.perf_counter() - started
    return DECODED / taken
