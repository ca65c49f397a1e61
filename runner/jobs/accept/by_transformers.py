"""trainer.yaml and finetune.yaml -> what TrainingArguments and the architecture's own config class say of them."""

from pathlib import Path
from typing import Any

from accept.answers import answer_all, problems_of
from trainer import own_model
from trainer.settings import Settings, read_settings
from transformers import AutoConfig, TrainingArguments

# these ask the hardware, which is not here
HARDWARE = ("bf16", "fp16", "tf32")


def check(case: dict[str, Any], folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    found = []
    for stage in ("trainer.yaml", "finetune.yaml"):
        if (folder / stage).exists():
            found += _check_stage(read_settings(folder / stage), "finetune." if stage == "finetune.yaml" else "")
    return found, []


def _check_stage(settings: Settings, prefix: str) -> list[dict[str, Any]]:
    given = {k: v for k, v in settings.arguments.items() if k not in HARDWARE}
    try:
        TrainingArguments(**{**given, "use_cpu": True, "output_dir": "./output"})
    except Exception as error:
        return _at(prefix, problems_of("transformers", error, list(given)), list(given))
    own_model.register(settings)
    if "architecture" in settings.own:
        config = dict(settings.own["architecture"])
        try:
            AutoConfig.for_model(config.pop("model_type"), **config)
        except Exception as error:
            return _at("architecture.", problems_of("transformers", error, list(config)), list(config))
    return []


def _at(prefix: str, problems: list[dict[str, Any]], given: list[str]) -> list[dict[str, Any]]:
    return [{**each, "keys": [f"{prefix}{k}" for k in each["keys"]] + each["keys"]} for each in problems]


if __name__ == "__main__":
    answer_all(check)
