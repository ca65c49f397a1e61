"""A transformers config read with its class's own defaults: numbers, switches and words, or a plain ValueError."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST = 10**15


class Sizes:
    """What a config says, or its class where it is silent.

    `defaults` are those of the config class in transformers 5.16. `aliases` are the class's `attribute_map`: other
    names for its keys, which win over the keys themselves as they do there.
    """

    def __init__(
        self, config: Mapping[str, Any], defaults: Mapping[str, Any], aliases: Mapping[str, str] | None = None
    ) -> None:
        renamed = {ours: config[theirs] for theirs, ours in (aliases or {}).items() if theirs in config}
        self.values = {**defaults, **config, **renamed}
        self.defaults = defaults

    def number(self, key: str, null: int | None = None, least: int = 1) -> int:
        """A count; `null` is what nothing, or an explicit null, stands for, where that isn't the class's default."""
        value = self.values.get(key)
        if value is None:
            value = null if null is not None else self.defaults.get(key)
        if value is None:
            raise ValueError(f"the model's config gives no `{key}`")
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"`{key}` of the model's config is {value!r}, not a whole number")
        if value < least:
            raise ValueError(f"`{key}` of the model's config is {value}, less than {least}")
        if value > MOST:
            raise ValueError(f"`{key}` of the model's config is larger than any model's")
        return value

    def optional(self, key: str) -> int | None:
        """A count that may be missing."""
        return None if self.values.get(key) is None else self.number(key)

    def flag(self, key: str) -> bool:
        value = self.values.get(key)
        if value is None:
            value = self.defaults.get(key, False)
        if not isinstance(value, bool):
            raise ValueError(f"`{key}` of the model's config is {value!r}, not true or false")
        return value

    def word(self, key: str) -> str:
        value = self.values.get(key)
        if value is None:
            value = self.defaults.get(key, "")
        if not isinstance(value, str):
            raise ValueError(f"`{key}` of the model's config is {value!r}, not a name")
        return value

    def share(self, key: str) -> float:
        """A part of a whole. Newer configs keep those of rotary embeddings inside `rope_parameters`."""
        inside = self.values.get("rope_parameters")
        value = self.values.get(key)
        if isinstance(inside, Mapping) and inside.get("partial_rotary_factor") is not None:
            value = inside["partial_rotary_factor"]
        if value is None:
            value = self.defaults.get(key, 1.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
            raise ValueError(f"`{key}` of the model's config is {value!r}, not a share between 0 and 1")
        return float(value)

    def inside(self, key: str) -> Mapping[str, Any] | None:
        """A config within the config."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, Mapping):
            raise ValueError(f"`{key}` of the model's config is {value!r}, not a config")
        return value


@dataclass(frozen=True, slots=True)
class Shape:
    """Widths of attention: `heads` x `head_dim` queries, `kv_heads` x `head_dim` keys and values, in features."""

    hidden: int
    heads: int
    kv_heads: int
    head_dim: int

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} attention heads can't share {self.kv_heads} heads of keys and values")

    @property
    def queries(self) -> int:
        return self.heads * self.head_dim

    @property
    def keys(self) -> int:
        return self.kv_heads * self.head_dim


def shape_of(
    sizes: Sizes, hidden: str = "hidden_size", heads: str = "num_attention_heads", kv: str = "", head_dim: str = ""
) -> Shape:
    """The shape by the names a config gives its parts; without `kv` every head has its own keys and values."""
    wide, many = sizes.number(hidden), sizes.number(heads)
    dim = sizes.optional(head_dim) if head_dim else None
    if dim is None:
        if wide % many:
            raise ValueError(f"a width of {wide} can't be split into {many} attention heads")
        dim = wide // many
    return Shape(wide, many, sizes.number(kv, null=many) if kv else many, dim)
