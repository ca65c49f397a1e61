"""vLLM's command lines -> what its own parser and config check say of them.

A case says `servers`: `argv`, as in endpoint.json, and the transformers `config` of its model, null where the model is
another run's: then the arguments alone are looked at. The model is a folder with that config and a small tokenizer. The
platform is a processor, so that what only a GPU could refuse is not refused.
"""

import contextlib
import io
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

os.environ.update(
    HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", VLLM_NO_USAGE_STATS="1", DO_NOT_TRACK="1", VLLM_LOGGING_LEVEL="ERROR"
)

from accept.answers import answer_all, named, problem, problems_of
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as TALKING
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as SEEING
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

PARSER = make_arg_parser(FlexibleArgumentParser())
BY = "vLLM"


def write_model(folder: Path, config: dict[str, Any]) -> None:
    kind = config["model_type"]
    made = {"architectures": [TALKING.get(kind) or SEEING[kind]], **config}
    (folder / "config.json").write_text(json.dumps(made))
    words = Tokenizer(models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2}, unk_token="<unk>"))  # noqa: S106
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>").save_pretrained(folder)  # noqa: S106


def check(case: dict[str, Any], folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    found: dict[str, dict[str, Any]] = {}
    for server in case["servers"]:
        for each in _check_server(server):
            found.setdefault(each["said"], each)
    return list(found.values()), []


def _check_server(server: dict[str, Any]) -> list[dict[str, Any]]:
    program, command, _, *rest = server["argv"]
    assert (program, command) == ("vllm", "serve")
    known = [word[2:].replace("-", "_") for word in rest if word.startswith("--")]
    known += [key.removeprefix("no_") for key in known]
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as work, contextlib.redirect_stderr(said):
        if server["config"] is not None:
            write_model(Path(work), server["config"])
        try:
            arguments = PARSER.parse_args(["--model", work, *rest])
        except SystemExit:
            last = said.getvalue().strip().splitlines()[-1]
            words = re.sub(r"^.*?error: ", "", last)
            return [problem(BY, words, named(words, known))]
        arguments.model_tag = None
        if server["config"] is None:
            return []
        try:
            AsyncEngineArgs.from_cli_args(arguments).create_engine_config()
        except Exception as error:
            return problems_of(BY, error, known)
    return []


if __name__ == "__main__":
    answer_all(check)
