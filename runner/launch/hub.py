"""Repositories of the hub -> their commits, asked through the huggingface_hub of an engine's environment."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence

from runner.engines import jobs_dir
from runner.engines.environment import Environment
from runner.provenance.hub import COMMIT, Repo

TIMEOUT_S = 120.0


def ask_hub(env: Environment, repos: Sequence[Repo]) -> list[tuple[str | None, str]]:
    """For each the commit that its `wanted` names now, or None and why not. The library brings the token, the endpoint
    (`HF_ENDPOINT`) and the proxies that a download would use."""
    if not env.ready:
        return [(None, f"the `{env.engine}` environment, whose huggingface_hub would ask, is not built")] * len(repos)
    asked = [{"type": repo.type, "name": repo.name, "revision": repo.wanted} for repo in repos]
    try:
        done = subprocess.run(
            [env.python, "-I", str(jobs_dir() / "hub_commits.py")],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        answers = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return [(None, f"the hub could not be asked: {type(error).__name__}")] * len(repos)
    return [
        (answer["commit"], "") if COMMIT.fullmatch(str(answer.get("commit"))) else (None, str(answer.get("error")))
        for answer in answers
    ]
