"""`python -m rag counts rag.json` -> what each part of the index holds, as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from .config import read_config
from .index import open_index
from .types import Problem


def main(argv: list[str]) -> int:
    if len(argv) != 1:
        raise Problem("usage: python -m rag counts rag.json")
    store = open_index(read_config(Path(argv[0])))
    try:
        print(json.dumps(asdict(store.counts())))
    finally:
        store.close()
    return 0
