"""`transformers serve MODEL ...`, whose model list names the model that it serves.

Its own lists what lies in the hub's cache, and fails where there is none.
"""

from __future__ import annotations

import sys
from typing import Any


def main() -> None:
    from transformers.cli.serving.model_manager import ModelManager
    from transformers.cli.transformers import main as transformers

    model = {"id": sys.argv[1], "object": "model", "owned_by": "transformers", "created": 0}

    def only_this(cache_dir: Any = None) -> list[dict[str, Any]]:
        return [model]

    ModelManager.get_gen_models = staticmethod(only_this)
    sys.argv = ["transformers", "serve", *sys.argv[1:]]
    transformers()


if __name__ == "__main__":
    main()
