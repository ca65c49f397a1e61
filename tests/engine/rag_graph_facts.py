"""LanceDB with a graph over its vectors, in the rag environment: `rag_graph_facts.py FOLDER` prints what it finds.

The graph is built from 20,000 passages on; here from 1,000, so that it is a matter of seconds.
"""

import json
import sys
from pathlib import Path

import numpy as np
from rag.config import Config
from rag.index import open_index
from rag.stores import lancedb
from rag.types import Change, Document, Passage

lancedb.INDEXED_FROM = 1000
COUNT, DIMENSION, K = 1500, 384, 10

folder = Path(sys.argv[1])
rng = np.random.default_rng(0)
# as sentences lie: near one another along few directions, not evenly over the sphere
themes = rng.normal(size=(150, 16)) @ rng.normal(size=(16, DIMENSION)) + 0.5 * rng.normal(size=(150, DIMENSION))


def drawn(count: int) -> np.ndarray:
    made = (
        themes[rng.integers(0, 150, count)] + themes[rng.integers(0, 150, count)] + rng.normal(size=(count, DIMENSION))
    )
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def change(n: int) -> Change:
    name = f"d{n}"
    passage = Passage(name, name, 0, name, 0, len(name), 1, 1, 1)
    return Change(Document(name, name, name, name, "text/plain", name), (passage,), vectors[n][None])


vectors, asked = drawn(COUNT), drawn(30)
embedding = {"model": "sentence-transformers/all-MiniLM-L6-v2", "max_length": 256}
store = open_index(Config("graph", folder, folder, [], {}, embedding, {"kind": "lancedb", "url": None}, {}))
store.apply([change(n) for n in range(COUNT)])
store.settle()
graphs = [index.index_type for index in store._table.list_indices() if index.name == "vector_idx"]
near = 0
for vector in asked:
    nearest = {f"d{n}" for n in np.argsort(-(vectors @ vector))[:K]}
    near += len(nearest & {id_ for id_, _ in store.dense(vector, K)})
store.apply([], ["d7"])
store.settle()
left = [id_ for id_, _ in store.dense(vectors[7], K)]
store.apply([change(7)])  # not in the graph until it is next settled
back = store.dense(vectors[7], 1)[0][0]
print(json.dumps({"graphs": graphs, "recall": near / (K * len(asked)), "left": left, "back": back}))
