"""A model class of the user's own -> transformers' Auto classes know it, and its file is saved beside its weights."""

import importlib
import sys
import traceback
from pathlib import Path
from typing import Any

from .settings import BadSettings, Settings

# where the renderer puts the file in a run
FOLDER = "model_code"


def register(settings: Settings) -> None:
    """From here on `AutoConfig` and `AutoModelForCausalLM` find the class by its `model_type`. Raises BadSettings where
    the file does not run, or its classes are none of transformers'."""
    code = settings.own.get("model_code")
    if code is None:
        return
    from transformers import PretrainedConfig, PreTrainedModel
    from transformers.models.auto.configuration_auto import AutoConfig
    from transformers.models.auto.modeling_auto import AutoModelForCausalLM

    module = load(Path(str(code["file"])).stem)
    config = named(module, code, "config", PretrainedConfig)
    model = named(module, code, "model", PreTrainedModel)
    try:
        AutoConfig.register(config.model_type, config)
        AutoModelForCausalLM.register(config, model)
    except ValueError as error:  # the name of a family that transformers has, or two classes that don't go together
        raise BadSettings(f"{code['file']}: {error}") from error
    # what makes saving copy the file, and note in config.json which class is what
    config.register_for_auto_class()
    model.register_for_auto_class("AutoModelForCausalLM")
    if "base" in code:
        named(module, code, "base", PreTrainedModel)


def load(stem: str) -> Any:
    sys.path.insert(0, str(Path(FOLDER).resolve()))
    try:
        return importlib.import_module(stem)
    except Exception as error:  # whatever that code does
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}, line {last.lineno}"
        raise BadSettings(f"the model's code does not run: {where}: {type(error).__name__}: {error}") from error


def named(module: Any, code: dict[str, Any], key: str, kind: type) -> Any:
    found = getattr(module, code[key], None)
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise BadSettings(f"{code['file']}: `{code[key]}` is no {kind.__name__} of transformers")
    return found


def note_base(settings: Settings, config: Any) -> None:
    """vLLM builds the class without a head, which transformers does not note in config.json by itself."""
    code = settings.own.get("model_code")
    if code is not None and "base" in code:
        config.auto_map = {"AutoModel": f"{Path(str(code['file'])).stem}.{code['base']}"}
