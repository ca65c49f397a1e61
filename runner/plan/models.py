"""Facts about models: data/models/*.yaml and any local config.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from runner.plan.boxes import read_facts
from runner.project import shipped


@dataclass(frozen=True, slots=True)
class Model:
    """A model by its transformers config.

    `hub` is its name on the hub, `gated` says whether its files need an accepted licence and a token, `config` holds
    the architecture (`model_type`, `hidden_size`, ...) with transformers' own key names.
    """

    name: str
    hub: str
    gated: bool
    config: dict[str, Any]

    @property
    def model_type(self) -> str:
        return str(self.config.get("model_type", ""))

    def count(self, *keys: str) -> int | None:
        """The first of `keys` that the config gives as a whole number; configs name the same size differently."""
        for key in keys:
            value = self.config.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
        return None

    @property
    def hidden_size(self) -> int:
        """Width of the model; 0 where its config does not say."""
        return self.count("hidden_size", "n_embd", "d_model") or 0

    @property
    def max_positions(self) -> int | None:
        """Tokens the model was trained for, where its config says so."""
        return self.count("max_position_embeddings", "n_positions")

    @property
    def experts(self) -> int:
        """Experts per layer; 0 for a dense model."""
        return self.count("num_local_experts", "num_experts", "n_routed_experts") or 0


def from_config(config: dict[str, Any], name: str = "") -> Model:
    return Model(name, "", False, config)


@cache
def catalogue() -> dict[str, Model]:
    """Every model we ship facts for, by our name and by its hub name."""
    found: dict[str, Model] = {}
    for file in sorted((shipped("data") / "models").glob("*.yaml")):
        given = read_facts(file)
        hubs = given["hub"] if isinstance(given["hub"], list) else [given["hub"]]
        for hub in hubs:
            model = Model(file.stem, hub, bool(given.get("gated", False)), given["config"])
            found[hub] = model
        found[file.stem] = Model(file.stem, hubs[0], bool(given.get("gated", False)), given["config"])
    return found


def find_model(name: str, root: Path | None = None) -> Model | None:
    """Facts about `base_model: name`: a catalogue name, a hub name, or a local directory with a config.json.

    Relative directories are looked for below `root`. None where nothing is known without the network.
    """
    known = catalogue().get(name)
    if known:
        return known
    folder = (root or Path.cwd()) / name
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    return Model(name, "", False, config) if isinstance(config, dict) else None
