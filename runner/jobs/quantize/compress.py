"""llm-compressor: a scheme and a method -> modifiers, run over the model in one pass of calibration."""

from typing import Any

import torch

from .problem import Problem
from .rows import texts


def compress(model: Any, tokenizer: Any, config: dict[str, Any], report: Any) -> None:
    """Changes the model in place. `report(done, layers)` is called after each part of it."""
    from llmcompressor import oneshot

    if not torch.accelerator.is_available():
        _keep_unpinned()
    recipe = [*modifiers(config), _progress(model, report)]
    more: dict[str, Any] = {}
    if config["calibrated"]:
        dataset = _calibration(tokenizer, config)
        more = {
            "dataset": dataset,
            "num_calibration_samples": len(dataset),
            "max_seq_length": config["max_seq_length"],
            "shuffle_calibration_samples": False,  # they were drawn already, by the recipe's seed
        }
    oneshot(model=model, processor=tokenizer, recipe=recipe, pipeline=_pipeline(config), **more)


def modifiers(config: dict[str, Any]) -> list[Any]:
    """llm-compressor's recipe: what is done to the model, in order."""
    return [*_transforms(config), _quantizer(config)]


def _pipeline(config: dict[str, Any]) -> str:
    """Layer after layer, so that one GPU holds one layer; all modifiers together, as they were meant to work."""
    return "sequential" if config["calibrated"] else "datafree"


def _calibration(tokenizer: Any, config: dict[str, Any]) -> Any:
    from datasets import Dataset

    wanted, longest = config["num_calibration_samples"], config["max_seq_length"]
    found = texts(config["calibration"], tokenizer, wanted, config["seed"])
    if len(found) < wanted:
        print(f"quantize: {len(found)} texts for calibration, {wanted} were wanted", flush=True)
    templated = bool(config["calibration"].get("field_messages"))  # which has its special tokens in it
    rows = [tokenizer(t, truncation=True, max_length=longest, add_special_tokens=not templated) for t in found]
    rows = [row for row in rows if len(row["input_ids"]) > 1]
    if not rows:
        raise Problem("no text for calibration is longer than one token")
    return Dataset.from_list([{"input_ids": r["input_ids"], "attention_mask": r["attention_mask"]} for r in rows])


def _transforms(config: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    if config.get("smoothing_strength") is not None:
        from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier

        found.append(SmoothQuantModifier(smoothing_strength=config["smoothing_strength"]))
    if config["method"] == "awq":
        from llmcompressor.modifiers.transform.awq import AWQModifier

        found.append(AWQModifier(duo_scaling=config["duo_scaling"], n_grid=config["n_grid"]))
    return found


def _quantizer(config: dict[str, Any]) -> Any:
    from compressed_tensors.quantization.quant_scheme import preset_name_to_scheme
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier

    scheme = preset_name_to_scheme(config["scheme"], targets=["Linear"])
    if config.get("group_size"):
        scheme.weights.group_size = config["group_size"]
    groups = {"config_groups": {"group_0": scheme}, "ignore": config["ignore"]}
    if config["method"] == "gptq":
        return GPTQModifier(
            **groups,
            dampening_frac=config["dampening_frac"],
            block_size=config["block_size"],
            actorder=config["actorder"],
        )
    return QuantizationModifier(**groups)


def _progress(model: Any, report: Any) -> Any:
    from llmcompressor.modifiers import Modifier
    from pydantic import PrivateAttr

    layers = getattr(model.config, "num_hidden_layers", 1)

    class Progress(Modifier):  # type: ignore[misc]
        """Changes nothing."""

        _done: int = PrivateAttr(default=0)

        def on_initialize(self, state: Any, **kwargs: Any) -> bool:
            return True

        def on_finalize(self, state: Any, **kwargs: Any) -> bool:
            return True

        def on_sequential_epoch_end(self, state: Any, event: Any, **kwargs: Any) -> None:
            self._done += 1
            report(min(self._done, layers), layers)

    return Progress()


def _keep_unpinned() -> None:
    """AWQ pins what it caches so that a GPU gets it faster; without a GPU torch refuses to."""
    from llmcompressor.pipelines.cache import IntermediatesCache

    IntermediatesCache.pin_memory = lambda self, batch_index, input_names=None: None
