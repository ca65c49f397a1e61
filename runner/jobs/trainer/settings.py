"""A rendered stage file -> Settings: the job's own keys apart from those of TrainingArguments."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# What the job reads itself; all other keys of the file are TrainingArguments' own.
OWN = frozenset(
    {
        "objective", "part", "architecture", "model_code", "base_model", "tokenizer_config", "prepared", "datasets",
        "test_datasets", "val_set_size", "sequence_len", "mlm_probability", "mask_replace_prob", "random_replace_prob",
        "noise_density", "mean_noise_span_length", "generation", "vision", "context",
    }
)  # fmt: skip


class BadSettings(Exception):
    """Settings or data that can't be trained on; the message says what is wrong and what helps."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`own` keys are the job's, `arguments` TrainingArguments' own. `part` is empty for the first stage of a run."""

    own: dict[str, Any]
    arguments: dict[str, Any]

    @property
    def objective(self) -> str:
        return str(self.own["objective"])

    @property
    def part(self) -> str:
        return str(self.own.get("part", ""))

    @property
    def from_hub(self) -> bool:
        """Whether the `datasets` library is needed: for what is no local JSON or text file."""
        listed = [*self.own.get("datasets", ()), *self.own.get("test_datasets", ())]
        return any("path" in item and local_file(item) is None for item in listed)


def local_file(item: dict[str, Any]) -> Path | None:
    """The JSON-lines or text file that a dataset names; None where it is another format, or the hub's."""
    path = Path(str(item.get("path", "")))
    return path if path.suffix in (".jsonl", ".txt") and path.is_absolute() else None


def read_settings(file: Path) -> Settings:
    given = yaml.safe_load(file.read_text(encoding="utf-8"))
    own = {key: value for key, value in given.items() if key in OWN}
    return Settings(own, {key: value for key, value in given.items() if key not in OWN})
