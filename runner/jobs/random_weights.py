"""Writes a model's first weights beside its config.json; `random_weights.py FOLDER SEED`.

For tensor parallelism, which transformers sets up while it loads weights: a model that Axolotl makes anew
(`reinit_weights`) stays whole on every rank. A folder that has weights is left as it is.
"""

import os
import sys
import tempfile
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM


def main() -> None:
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    if any(folder.glob("model*.safetensors")):
        return
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32)
    with tempfile.TemporaryDirectory(prefix=".weights-", dir=folder.resolve().parent) as made:
        model.save_pretrained(made)
        # the index last: without it the parts are no model
        for file in sorted(Path(made).glob("model*"), key=lambda f: f.suffix == ".json"):
            os.replace(file, folder / file.name)  # noqa: PTH105 - over what a killed run left


if __name__ == "__main__":
    main()
