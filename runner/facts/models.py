"""Facts about models: data/models/*.yaml, any local config.json, and those that the hub's cache already holds."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from runner.facts.architecture import Architecture
from runner.facts.families import architecture_of
from runner.facts.read import read_facts
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
    def architecture(self) -> Architecture:
        """What the model is made of. Raises ValueError, with a plain message, where the config's sizes are nonsense."""
        return architecture_of(self.config)

    def count(self, *keys: str) -> int | None:
        """The first of `keys` that the config gives as a whole number; configs name the same size differently.

        A model that sees keeps those of its language model in a config within the config.
        """
        text = self.config.get("text_config")
        for config in (self.config, text if isinstance(text, dict) else {}):
            for key in keys:
                value = config.get(key)
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
        return self.count("max_position_embeddings", "n_positions", "max_seq_len")

    @property
    def experts(self) -> int:
        """Experts per layer; 0 for a dense model."""
        return self.count("num_local_experts", "num_experts", "n_routed_experts") or 0


def from_config(config: dict[str, Any], name: str = "") -> Model:
    return Model(name, "", False, config)


@cache
def catalogue() -> dict[str, Model]:
    """Every model we ship facts for, by our name and by each of its hub names. A file holds the models of a family."""
    ours: dict[str, Model] = {}
    found: dict[str, Model] = {}
    for file in sorted((shipped("data") / "models").glob("*.yaml")):
        for name, given in read_facts(file).items():
            hubs = given["hub"] if isinstance(given["hub"], list) else [given["hub"]]
            gated = bool(given.get("gated", False))
            found |= {hub: Model(name, hub, gated, given["config"]) for hub in hubs}
            ours[name] = Model(name, hubs[0], gated, given["config"])
    return found | ours


def find_model(name: str, root: Path | None = None) -> Model | None:
    """Facts about `base_model: name`: a name of the catalogue or the hub, a folder with a config.json, or that file.

    Relative paths are looked for below `root`; hub names in the catalogue, then in the hub's cache on this machine.
    None where nothing is known without the network.
    """
    known = catalogue().get(name)
    if known:
        return known
    path = (root or Path.cwd()) / name
    config = _read_config(path if path.suffix == ".json" else path / "config.json")
    if config is not None:
        return Model(name, "", False, config)
    config = _cached_config(name)
    return Model(name, name, False, config) if config is not None else None


def _read_config(file: Path) -> dict[str, Any] | None:
    try:
        config = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return config if isinstance(config, dict) else None


def hub_cache() -> Path:
    """Where huggingface_hub keeps what it has downloaded."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    chosen = os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or home) / "hub"
    return Path(chosen).expanduser()


def cached_snapshots(name: str, file: str = "") -> list[Path]:
    """Folders of a repository's revisions that were downloaded before and have `file`: by its age, oldest first, and
    the revision `main` after all others."""
    folder = hub_cache() / f"models--{name.replace('/', '--')}"
    try:
        revision = (folder / "refs" / "main").read_text().strip()
    except (OSError, ValueError):
        revision = ""
    try:
        found = [each for each in (folder / "snapshots").iterdir() if (each / file).exists()]
        return sorted(found, key=lambda each: (each.name == revision, (each / file).stat().st_mtime))
    except (OSError, ValueError):
        return []


def _cached_config(name: str) -> dict[str, Any] | None:
    """The config of a model that was downloaded before: of the revision `main` if that was, or else the newest."""
    files = [folder / "config.json" for folder in cached_snapshots(name, "config.json")]
    return next((config for file in reversed(files) if (config := _read_config(file)) is not None), None)
