"""Runs in vLLM's environment: asks vLLM's own parser and config check about rendered command lines.

`accept_vllm.py CASES.json` reads `[{"name", "argv", "config"}]`: a replica's argv, and the transformers config of its
model. It prints one line each: `ACCEPT {"name": ..., "error": null}` or what vLLM said. Nothing is loaded and nothing
downloaded: the model is a folder with that config and a small tokenizer. The platform is a processor, so that what only
a GPU could refuse is not refused.
"""

import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.update(
    HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", VLLM_NO_USAGE_STATS="1", DO_NOT_TRACK="1", VLLM_LOGGING_LEVEL="ERROR"
)


def write_model(folder: Path, config: dict[str, Any]) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as TALKING
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as SEEING

    kind = config["model_type"]
    made = {"architectures": [TALKING.get(kind) or SEEING[kind]], **config}
    (folder / "config.json").write_text(json.dumps(made))
    words = Tokenizer(models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2}, unk_token="<unk>"))  # noqa: S106
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>").save_pretrained(folder)  # noqa: S106


def check(case: dict[str, Any], parser: Any) -> str | None:
    from vllm.engine.arg_utils import AsyncEngineArgs

    said = io.StringIO()
    with tempfile.TemporaryDirectory() as work, contextlib.redirect_stderr(said):
        write_model(Path(work), case["config"])
        program, command, _, *rest = case["argv"]
        assert (program, command) == ("vllm", "serve")
        try:
            arguments = parser.parse_args(["--model", work, *rest])
            arguments.model_tag = None
        except SystemExit:
            return f"parser: {said.getvalue().strip().splitlines()[-1]}"
        try:
            AsyncEngineArgs.from_cli_args(arguments).create_engine_config()
        except Exception as error:
            return f"config: {type(error).__name__}: {error}"
    return None


def main() -> None:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = make_arg_parser(FlexibleArgumentParser())
    for case in json.loads(Path(sys.argv[1]).read_text()):
        print("ACCEPT " + json.dumps({"name": case["name"], "error": check(case, parser)}), flush=True)


if __name__ == "__main__":
    main()
