"""Runs in datatrove's environment: prepares one corpus after another, so that a property test need not start anew.

Each line of stdin names a run directory with prepare.json; each line of stdout gives its documents again, decoded from
the shards, by split.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
from datatrove.io import DataFolder
from prepare.__main__ import _begin, _finish, _run
from prepare.problem import Problem
from tokenizers import Tokenizer


def decoded() -> dict[str, list[str]]:
    tokenizer = Tokenizer.from_file("output/tokenizer/tokenizer.json")
    dataset = Path("output/dataset")
    manifest = json.loads((dataset / "manifest.json").read_text())
    found: dict[str, list[str]] = {}
    for split, told in manifest["splits"].items():
        texts = found.setdefault(split, [])
        for file in told["files"]:
            tokens = np.fromfile(dataset / file["path"], dtype=f"<u{manifest['token_bytes']}")
            start = 0
            for end in np.fromfile(dataset / file["index"], dtype="<u8"):
                *ids, last = tokens[start : int(end)].tolist()
                assert last == manifest["eos_token_id"]
                texts.append(tokenizer.decode(ids, skip_special_tokens=False))
                start = int(end)
    return found


def main() -> None:
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        os.chdir(line.strip())
        DataFolder.clear_instance_cache()  # fsspec keeps folders by their relative names
        config = json.loads(Path("prepare.json").read_text())
        try:
            _begin(config)
            for step in config["steps"]:
                if step == "finish":
                    _finish(config)
                else:
                    _run(step, config)
            answer = {"texts": decoded()}
        except Problem as problem:
            answer = {"problem": str(problem)}
        print(json.dumps(answer), file=out, flush=True)


main()
