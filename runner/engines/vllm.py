"""Kind `serve`: the servers of a recipe behind one address; vLLM's own environment, whichever server it is."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from runner.engines import Step, jobs_dir
from runner.engines.serving import endpoint_spec
from runner.recipe.resolve import Recipe

ENVIRONMENT = "vllm"
ENDPOINT = "endpoint.json"
PACKAGE = "endpoint"


def server_of(recipe: Recipe) -> str:
    return str(recipe.values.get("engine") or "vllm")


def jobs(recipe: Recipe) -> tuple[str, ...]:
    package = sorted(f"{PACKAGE}/{file.name}" for file in (jobs_dir() / PACKAGE).glob("*.py"))
    return (*(("build_tiny.py",) if recipe.tiny is not None else ()), *package)


def steps(recipe: Recipe) -> tuple[Step, ...]:
    build = [Step("build", "a tiny model of the same architecture")] if recipe.tiny is not None else []
    return (*build, Step("serve", "start the servers, wait until they answer, go on until stopped"))


def context(recipe: Recipe) -> dict[str, Any]:
    spec = endpoint(recipe)
    server = server_of(recipe)
    return {
        "endpoint": spec,
        "server": server,
        # found on the PATH; in vLLM's environment only vLLM is
        "command": spec["replicas"][0]["argv"][0],
        "bare": server == "vllm",
        "cpu": recipe.box.gpus == 0,
        "threads": 0,  # each server has its own
        "online": recipe.profile != "smoke",
        "tiny": asdict(recipe.tiny) if recipe.tiny is not None else None,  # the spec that jobs/build_tiny.py reads
    }


def endpoint(recipe: Recipe) -> dict[str, Any]:
    """What endpoint.json holds; how the GPUs are laid out was chosen before (runner/plan/serving/recipe.py)."""
    return endpoint_spec(
        recipe.values, engine=server_of(recipe), box=recipe.box, profile=recipe.profile, name=recipe.name
    )


# vLLM puts the process, the level, the time and the place before what a server raised
_PLACE = r"(?:\(\w+ pid=\d+\) )*(?:[A-Z]+ [\d-]+ [\d:]+ \[[^\]]+\] )?"
_ERROR = re.compile(_PLACE + r"(?P<said>[A-Za-z_][\w.]*(?:Error|Exception): .+)")
_SAID = re.compile(r"(?:\S+: )?error: (?P<what>.+)")


def failure(log: str) -> str | None:
    """What the endpoint's own program said in its one line; else the last Python exception of a server."""
    said = raised = None
    for line in log.splitlines():
        if match := _SAID.fullmatch(line.strip()):
            said = match["what"]
        elif match := _ERROR.fullmatch(line.strip()):
            raised = match["said"]
    return said or raised
