"""For the tests of kind `rag`'s ingest: a small folder of every format, rag.json, and how to ask rag_worker.py."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
JOBS = HERE.parents[1] / "runner/jobs"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
ENV = {**os.environ, "PYTHONPATH": str(JOBS), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
GUIDE = """# Guide

Everything about the zebra, which is striped.

## Install

Run the installer twice.

```
# not a heading
```

## Use

Press the red button.

### Twice

Press it twice.
"""
PAGE = """<html><head><title>A page</title><style>p {color: red}</style></head><body><nav>Menu</nav>
<h1>Bread</h1><p>Flour &amp; water.</p>
<h2>Oven</h2><p>Hot, <b>very</b> hot.<script>alert(1)</script></p></body></html>"""
CODE = '''"""A module."""

import os


# about the parrot
def parrot(loud):
    """Says what it hears."""
    return loud


class Cage:
    """Holds a parrot."""

    def open(self):
        return True
'''


class Worker:
    """Of the rag environment, one for the module: each question one line, each answer one."""

    def __init__(self, python: Path) -> None:
        self.python = python
        self._process = subprocess.Popen(
            [python, HERE / "rag_worker.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENV
        )

    def ask(self, do: str, **how: Any) -> Any:
        answer = self.raw(do, **how)
        assert "ok" in answer, answer
        return answer["ok"]

    def raw(self, do: str, **how: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **how}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def rag(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.python, "-m", "rag", *map(str, arguments)], env=ENV, capture_output=True, text=True, timeout=300
        )

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)


def written(folder: Path, cache: Path, **changed: Any) -> Path:
    """rag.json, with the schema's defaults where it says nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "name": "phase5/test",
        "cache": str(cache),
        "sources": [{"path": "docs", "meta": {"team": "zoo"}}],
        "chunking": {"splitter": "auto", "chunk_size": 64, "chunk_overlap": 8, "parent_size": None},
        "embedding": {"model": MODEL, "batch_size": 64, "max_length": 256, "normalize": True},
        "store": {"kind": "postgres", "url": None},
        "retrieval": {"bm25": {"stemmer": "english"}},
    }
    (folder / "rag.json").write_text(json.dumps({**values, **changed}))
    return folder / "rag.json"


def pdf(*pages: str) -> bytes:
    """A PDF with a line of text on each page."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>"]
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode())
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    for n, text in enumerate(pages):
        stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
        font = "/Resources << /Font << /F1 3 0 R >> >>"
        objects.append(f"<< /Type /Page /Parent 2 0 R {font} /Contents {5 + 2 * n} 0 R >>".encode())
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    out, places = b"%PDF-1.4\n", []
    for n, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (n, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size, start = len(objects) + 1, len(out)
    return out + b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (
        size,
        table,
        size,
        start,
    )


def fill(docs: Path) -> None:
    """Files of every format; four of them are broken."""
    (docs / "deep/er").mkdir(parents=True)
    (docs / "guide.md").write_text(GUIDE)
    (docs / "page.html").write_text(PAGE)
    (docs / "deep/er/birds.py").write_text(CODE)
    (docs / "paper.pdf").write_bytes(pdf("Whales are mammals.", "Sharks are fishes."))
    (docs / "notes.txt").write_text("\n".join(f"Note {n}: the badger digs hole number {n} today." for n in range(60)))
    rows = [{"_id": "b1", "title": "Moss", "text": "Moss grows on the north side.", "metadata": {"lang": "en"}}]
    rows += [{"_id": "b2", "title": "Fern", "text": "Ferns uncurl.", "metadata": {"lang": "de"}}]
    (docs / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n{broken\n")
    (docs / "latin.txt").write_bytes(b"caf\xe9")
    (docs / "half.pdf").write_bytes(pdf("Cut off.")[:60])
    (docs / "picture.dat").write_bytes(b"\x89\x00\x01\x02" * 50)
