"""lm-eval's own command on each config file, in one process: importing it takes longer than many a task."""

import logging
import os
import sys
from pathlib import Path

from . import Problem


def ask(configs: list[str]) -> None:
    _take_key()
    # lm-eval's modules of code tasks run a test of two fixed lines when they are loaded, and refuse without this;
    # what a model wrote is run by `execute` alone
    os.environ["HF_ALLOW_CODE_EVAL"] = "1"
    from lm_eval.__main__ import cli_evaluate

    logging.getLogger("httpx").setLevel(logging.WARNING)
    for config in configs:
        Path("cache").mkdir(exist_ok=True)
        unsafe = ["--confirm_run_unsafe_code"] if "predict_only: true" in Path(config).read_text() else []
        sys.argv = ["lm_eval", "run", "--config", config, *unsafe]
        print(f"asking: {' '.join(sys.argv)}", flush=True)
        try:
            cli_evaluate()
        except SystemExit as end:
            if end.code not in (None, 0):
                raise
        except ValueError as error:
            raise Problem(str(error)) from error


def _take_key() -> None:
    """lm-eval takes an endpoint's key from OPENAI_API_KEY; ours is ENDPOINT_KEY or RUNNER_API_KEY. Any will do where
    the endpoint wants none."""
    key = os.environ.get("ENDPOINT_KEY") or os.environ.get("RUNNER_API_KEY")
    if key:
        os.environ["OPENAI_API_KEY"] = key
