"""Facts about models: data/models/*.yaml and any local config.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

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

    @property
    def hidden_size(self) -> int:
        return int(self.config.get("hidden_size") or self.config.get("n_embd") or self.config.get("d_model") or 0)

    @property
    def max_positions(self) -> int | None:
        """Tokens the model was trained for, where its config says so."""
        found = self.config.get("max_position_embeddings") or self.config.get("n_positions")
        return int(found) if found else None

    @property
    def experts(self) -> int:
        """Experts per layer; 0 for a dense model."""
        return int(self.config.get("num_local_experts") or self.config.get("num_experts") or 0)


def from_config(config: dict[str, Any], name: str = "") -> Model:
    return Model(name, "", False, config)


@cache
def catalogue() -> dict[str, Model]:
    """Every model we ship facts for, by our name and by its hub name."""
    found: dict[str, Model] = {}
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for file in sorted((shipped("data") / "models").glob("*.yaml")):
        given = yaml.load(file.read_text(), Loader=loader)
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
