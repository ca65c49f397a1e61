"""How large a model is, counted on the model itself."""

from typing import Any

from torch import nn


def counts(model: Any) -> dict[str, int]:
    """`parameters`, each once however often it is used, and `parameters_non_embedding`: without tables of tokens,
    positions and token types. A head that is tied to a table goes with it; one of its own is counted.

    That is N of Kaplan et al. 2020 (section 2.1) for a model with tied embeddings.
    """
    everything = {p.data_ptr(): p.numel() for p in model.parameters()}
    tables = {m.weight.data_ptr() for m in model.modules() if isinstance(m, nn.Embedding)}
    total = sum(everything.values())
    return {"parameters": total, "parameters_non_embedding": total - sum(everything[at] for at in tables)}
