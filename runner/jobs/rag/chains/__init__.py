"""The same pipeline through LlamaIndex or LangChain: their splitters, retrievers, prompts and models, around the same
store, so that what a framework costs and changes can be seen in the same table.

llamaindex, langchain   each with `split`, `searching` and `answering`, by which the rest of the pipeline takes them
places                  pieces of a text -> where they lie in it
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..types import Problem

FRAMEWORKS = ("llamaindex", "langchain")


def framework(name: str) -> Any:
    """The module; imported when it is first needed, which takes seconds."""
    if name not in FRAMEWORKS:
        raise Problem(f"no framework {name!r}; there are {', '.join(FRAMEWORKS)}")
    return import_module(f".{name}", __package__)
