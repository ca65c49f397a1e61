"""The quality gate: the model before and after, on the same text and the same questions; a bad one is set aside.

Leaves `output/table/`: `gate.json`, and the same as `table.json`, `table.md` and `table.csv`.

    {"format": 1, "scheme": "W4A16", "method": "gptq", "group_size": 128, "model": "...", "device": "NVIDIA H100 ...",
     "parameters": 13015864320, "bytes": 7253..., "bytes_before": 26031..., "bits_per_weight": 4.46,
     "seconds": 912.1, "peak_gib": 6.1, "peak_rss_gib": 31.0,       what quantizing took; peak_gib of a GPU, or null
     "memory_gib": {"before": 24.2, "after": 6.8},                  as loaded by transformers, which may unpack it
     "perplexity": {"before": 5.1, "after": 5.2, "tokens": 339802, RECOVERY},
     "task": null | {"before": 0.71, "after": 0.70, RECOVERY,
                     "tasks": {NAME: {"metric": "acc", "before": 0.71, "after": 0.70, "samples": 1000}}},
     "decode_tokens_per_s": {"before": 31.0, "after": 22.0, "in": "transformers", "batch_size": 1},
     "passed": true, "verdict": "..."}

RECOVERY is `recovery` (null: nothing to lose), `interval` [low, high] of 95%, `least` that the recipe wants,
`samples`, `decided` (`least` is not within the interval) and `passed`.
"""

import time
from math import exp
from pathlib import Path
from typing import Any

from . import likelihood, loading, records, tasks
from .problem import Problem
from .recovery import Recovery, of_tasks, of_text, sentence
from .table import write_table

OUTPUT = Path("output/model")
REJECTED = Path("rejected/model")
MADE = Path("work/quantized.json")
TABLE = Path("output/table")
# tokens that come before those whose speed is measured
PROMPT = 128


def gate(config: dict[str, Any], made: dict[str, Any]) -> None:
    """Raises Problem where less is left than the recipe wants."""
    started = time.monotonic()
    tokenizer = loading.tokenizer_of(config["model"])
    cut = likelihood.samples(tokenizer, config)
    seen = {}
    for name, folder in (("before", config["model"]), ("after", str(OUTPUT.absolute()))):
        print(f"quantize: {name}: {folder}", flush=True)
        seen[name] = _look(folder, tokenizer, cut, config)
        loading.release()
    before, after = seen["before"], seen["after"]
    sizes = [len(ids) - start for ids, start in cut]
    text = of_text(before["nll"], after["nll"], sizes, config["gate"]["perplexity"], config["seed"])
    found = {
        "format": 1,
        **made,
        "device": loading.device_name(),
        "bytes_before": before["bytes"],
        "memory_gib": {name: each["memory_gib"] for name, each in seen.items()},
        "perplexity": {
            **{name: exp(min(700.0, sum(each["nll"]) / sum(sizes))) for name, each in seen.items()},
            "tokens": sum(sizes),
            **text.as_json(),
        },
        "task": None,
        "decode_tokens_per_s": {name: each["decode_tokens_per_s"] for name, each in seen.items()}
        | {"in": "transformers", "batch_size": 1},
    }
    judged = {"perplexity": text}
    if config["tasks"]:
        found["task"], judged["task"] = _task(before["scores"], after["scores"], config)
    _conclude(found, judged, time.monotonic() - started)


def _look(folder: str, tokenizer: Any, cut: list[tuple[list[int], int]], config: dict[str, Any]) -> dict[str, Any]:
    model = loading.load(folder, place=loading.everywhere())
    return {
        "bytes": sum(each.numel() * each.element_size() for each in model.parameters()),
        "memory_gib": model.get_memory_footprint() / loading.GIB,
        "nll": likelihood.nll(model, cut),
        "decode_tokens_per_s": likelihood.decode_tokens_per_s(model, cut[0][0][:PROMPT]),
        "scores": tasks.scores(model, tokenizer, config) if config["tasks"] else {},
    }


def _task(before: dict[str, Any], after: dict[str, Any], config: dict[str, Any]) -> tuple[dict[str, Any], Recovery]:
    names, pairs = list(before), {}
    for name in names:
        (metric, was), (_, now) = before[name], after[name]
        if was.keys() != now.keys():
            raise Problem(f"`{name}` asked other questions after quantizing than before")
        pairs[name] = (metric, list(was.values()), [now[key] for key in was])
    judged = of_tasks(
        [pairs[n][1] for n in names], [pairs[n][2] for n in names], config["gate"]["task"], config["seed"]
    )
    each = {
        name: {"metric": m, "before": sum(a) / len(a), "after": sum(b) / len(b), "samples": len(a)}
        for name, (m, a, b) in pairs.items()
    }
    means = {when: sum(row[when] for row in each.values()) / len(each) for when in ("before", "after")}
    return {**means, "tasks": each, **judged.as_json()}, judged


def _conclude(found: dict[str, Any], judged: dict[str, Recovery], seconds: float) -> None:
    said = [sentence(what, each) for what, each in judged.items()]
    bad = [sentence(what, each) for what, each in judged.items() if not each.passed]
    found |= {"passed": not bad, "verdict": "; ".join(said)}
    write_table(TABLE, found)
    for line in said:
        print(f"quantize: {line}", flush=True)
    task, text = found["task"] or {}, found["perplexity"]
    decided = all(each.decided for each in judged.values())
    records.tell(
        headline=f"{found['scheme']}: {found['bits_per_weight']:.2f} bits a weight, perplexity {text['before']:.3f} -> "
        f"{text['after']:.3f}, recovery {text['recovery']:.3f}{'' if decided else ' (too few samples to be sure)'}",
        recovery=text["recovery"],
        perplexity_before=text["before"],
        perplexity_after=text["after"],
        task_recovery=task.get("recovery"),
        task_before=task.get("before"),
        task_after=task.get("after"),
        decided=decided,
        gate_seconds=seconds,
        quantize_runtime=found["seconds"] + seconds,
    )
    if bad:
        _set_aside()
        raise Problem(f"the gate is not passed: {'; '.join(bad)}", f"the checkpoint was set aside in {REJECTED}")


def _set_aside() -> None:
    """Out of what the recipe leaves: nothing may take it for a model that passed."""
    import shutil

    REJECTED.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(REJECTED, ignore_errors=True)
    OUTPUT.rename(REJECTED)
