"""A step of launch.sh: `quantize` makes the checkpoint, `gate` holds it against the model that it was made from."""

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from . import loading, records
from .gate import MADE, OUTPUT, gate
from .problem import Problem

CONFIG = "quantize.yaml"
BITSANDBYTES = ("nf4", "int8")


def quantize(config: dict[str, Any]) -> None:
    """The checkpoint, whole or not at all, and what it took to make it."""
    if OUTPUT.is_dir() and MADE.is_file():
        print("quantize: the checkpoint is there already", flush=True)
        return
    started = time.monotonic()
    draft = OUTPUT.with_name(".model")
    for folder in (draft, OUTPUT):
        shutil.rmtree(folder, ignore_errors=True)
    tokenizer = loading.tokenizer_of(config["model"])
    model, count = _made(config, tokenizer)
    model.save_pretrained(draft)
    tokenizer.save_pretrained(draft)
    seconds, size = time.monotonic() - started, loading.weight_bytes(draft)
    made = {
        "scheme": config["scheme"],
        "method": config["method"],
        "group_size": config.get("group_size"),
        "model": config["model"],
        "parameters": count,
        "bytes": size,
        "bits_per_weight": size * 8 / count,
        "seconds": seconds,
        "peak_gib": loading.peak_gib(),
        "peak_rss_gib": records.rss_gib(),
    }
    records.write_json(MADE, made)
    draft.rename(OUTPUT)
    records.tell(
        scheme=config["scheme"], quantize_seconds=seconds, bytes=size, bits_per_weight=made["bits_per_weight"],
        peak_gib=made["peak_gib"], peak_rss_gib=made["peak_rss_gib"],
    )  # fmt: skip
    print(f"quantize: {size / loading.GIB:.3f} GiB, {made['bits_per_weight']:.2f} bits a weight", flush=True)


def _made(config: dict[str, Any], tokenizer: Any) -> tuple[Any, int]:
    """The quantized model, and how many parameters the whole one has."""
    if config["scheme"] in BITSANDBYTES:
        from .bits import load_quantized

        model = load_quantized(config)
        return model, _count(config["model"])
    from .compress import compress

    model = loading.load(config["model"], dtype=config["dtype"])
    if getattr(model.config, "quantization_config", None) is not None:
        raise Problem(f"`{config['model']}` is quantized already", "quantize the model that it was made from")
    count = loading.parameters(model)
    compress(model, tokenizer, config, lambda done, layers: records.tell(step=done, max_steps=layers))
    return model, count


def _count(name: str) -> int:
    """Without loading a weight."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        return loading.parameters(AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(name)))


def main() -> int:
    config = yaml.safe_load(Path(CONFIG).read_text())
    try:
        if sys.argv[1] == "quantize":
            quantize(config)
        else:
            gate(config, json.loads(MADE.read_text()))
    except Problem as problem:
        print(problem.line(), flush=True)
        return 1
    finally:
        records.measure()
    return 0


if __name__ == "__main__":
    sys.exit(main())
