"""lm-evaluation-harness, on a model that it loads or on one that is served; a served judge may follow."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runner.engines import Step, jobs_dir
from runner.engines.axolotl import failure as traceback_in
from runner.engines.serving import HOST, endpoint_spec, own_port
from runner.recipe.lm_eval_tasks import spelt_out
from runner.recipe.local_tasks import runs_code
from runner.recipe.resolve import Recipe

ENVIRONMENT = "llmcompressor"
# where a model is served; its own environment, since the two can't live in one
SERVER = "vllm"
RESULTS, GENERATED = "results", "generated"
# keys that lm-eval takes as they stand
_SAME = (
    "num_fewshot", "limit", "batch_size", "max_batch_size", "gen_kwargs", "apply_chat_template",
    "fewshot_as_multiturn", "system_instruction", "include_path", "trust_remote_code",
)  # fmt: skip


def also(recipe: Recipe) -> tuple[str, ...]:
    return (SERVER,) if serves(recipe) or judge_serves(recipe) else ()


def serves(recipe: Recipe) -> bool:
    return recipe.values.get("serve") is not None


def judge_serves(recipe: Recipe) -> bool:
    return "serve" in (recipe.values.get("judge") or {})


def code_tasks(recipe: Recipe) -> list[str]:
    """Those whose answers are programs that are run; they are generated first, and run apart, without a network."""
    folder = recipe.values.get("include_path")
    return [name for name in spelt_out(recipe.values["tasks"]) if runs_code(name, Path(folder) if folder else None)]


def plain_tasks(recipe: Recipe) -> list[str]:
    code = code_tasks(recipe)
    return [name for name in spelt_out(recipe.values["tasks"]) if name not in code]


def jobs(recipe: Recipe) -> tuple[str, ...]:
    packages = [
        "evaluation",
        *(["judge"] if recipe.values.get("judge") else []),
        *(["endpoint"] if also(recipe) else []),
    ]
    found = [f"{name}/{file.name}" for name in packages for file in sorted((jobs_dir() / name).glob("*.py"))]
    return (*(("build_tiny.py",) if recipe.tiny is not None else ()), *found)


def steps(recipe: Recipe) -> tuple[Step, ...]:
    found = [Step("build", "a tiny model of the same architecture")] if recipe.tiny is not None else []
    where = " of a server that is started for it" if serves(recipe) else ""
    found.append(Step("evaluate", ", ".join(spelt_out(recipe.values["tasks"])) + where))
    if code := code_tasks(recipe):
        found.append(Step("execute", f"programs of {', '.join(code)}, in a sandbox without a network"))
    if judge := recipe.values.get("judge"):
        found.append(Step("judge", f"answers to {', '.join(judge['tasks'])}, each pair in both orders"))
    return (*found, Step("summarise", "one table of all scores"))


def context(recipe: Recipe) -> dict[str, Any]:
    served = _served(recipe)
    judge, judge_spec = _judge(recipe)
    plain, code = plain_tasks(recipe), code_tasks(recipe)
    return {
        "config": _config(recipe, served, plain, RESULTS) if plain else None,
        "code": {**_config(recipe, served, code, GENERATED), "predict_only": True} if code else None,
        "served": served,
        "judge": judge,
        "judge_served": judge_spec,
        "cpu": recipe.box.gpus == 0,
        "online": recipe.profile != "smoke",
        "tiny": asdict(recipe.tiny) if recipe.tiny is not None else None,
    }


def _config(recipe: Recipe, served: dict[str, Any] | None, tasks: list[str], folder: str) -> dict[str, Any]:
    """A file for `lm_eval run --config`; the output path ends in .json so that results and samples lie side by side."""
    values = recipe.values
    model, arguments = _model(recipe, served)
    config: dict[str, Any] = {"model": model, "model_args": {**arguments, **(values.get("model_args") or {})}}
    config["tasks"] = tasks
    config |= {key: values[key] for key in _SAME if key in values}
    if "batch_size" in config:
        config["batch_size"] = str(config["batch_size"])
    if "seed" in values:
        config["seed"] = [values["seed"]] * 4
    if model == "hf":
        config["device"] = "cpu" if recipe.box.gpus == 0 else "cuda"
    # answers are kept as they come: run again, an interrupted run asks only for what is missing
    return {**config, "use_cache": f"./cache/{folder}", "log_samples": True, "output_path": f"./{folder}/lm_eval.json"}


def _model(recipe: Recipe, served: dict[str, Any] | None) -> tuple[str, dict[str, Any]]:
    """lm-eval's name for how a model is reached, and its arguments."""
    values = recipe.values
    adapters = values.get("lora_modules") or ()
    tokenizer = values.get("tokenizer")
    if served is None and "endpoint" not in values:
        found = {"pretrained": values.get("model"), "tokenizer": tokenizer}
        found["peft"] = values.get("peft") or (adapters[0]["path"] if adapters else None)
        return "hf", {key: value for key, value in found.items() if value is not None}
    api = str(values.get("api") or "completions")
    address = f"http://{HOST}:{served['port']}/v1" if served is not None else str(values["endpoint"]).rstrip("/")
    found = {
        "model": served["model"] if served is not None else values.get("model"),
        "base_url": f"{address}/{api.replace('-', '/')}",
        "num_concurrent": values.get("num_concurrent") or 16,
        "max_retries": 3,
    }
    if api == "completions":
        # prompts go as numbers, so that server and lm-eval mean the same tokens
        found |= {"tokenizer": tokenizer or values.get("model"), "tokenizer_backend": "huggingface"}
        longest = (values.get("serve") or {}).get("max_model_len")
        found |= {"max_length": longest} if longest else {}
    return f"local-{api}", {key: value for key, value in found.items() if value is not None}


def _served(recipe: Recipe) -> dict[str, Any] | None:
    """endpoint.json of `serve`: the recipe's model, an adapter beside its base where it is one."""
    if not serves(recipe):
        return None
    kept = ("model", "tokenizer", "lora_modules", "max_lora_rank")
    values = {key: recipe.values[key] for key in kept if key in recipe.values} | recipe.values["serve"]
    if peft := recipe.values.get("peft"):
        name = str(values.get("served_model_name") or recipe.name.rpartition("/")[2])
        values["lora_modules"] = [{"name": name, "path": peft}]
    return _endpoint(recipe, values, "model")


def _endpoint(recipe: Recipe, values: dict[str, Any], part: str) -> dict[str, Any]:
    values = {"port": own_port(recipe.name, recipe.profile, part), **values}
    return endpoint_spec(values, engine=SERVER, box=recipe.box, profile=recipe.profile, name=recipe.name)


def _judge(recipe: Recipe) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """judge.json, and endpoint.json of a judge that is served for the run."""
    given = recipe.values.get("judge")
    if not given:
        return None, None
    spec = _endpoint(recipe, given["serve"], "judge") if "serve" in given else None
    config = {key: value for key, value in given.items() if key not in ("serve", "endpoint")}
    config["tasks"] = spelt_out(given["tasks"])
    config["model"] = spec["model"] if spec is not None else given.get("model")
    config["endpoint"] = f"http://{HOST}:{spec['port']}/v1" if spec is not None else given.get("endpoint")
    config["seed"] = recipe.values.get("seed", 0)
    return config, spec


_SAID = re.compile(r"(?:evaluation: |judge: )?error: (?P<what>.+)")


def failure(log: str) -> str | None:
    """What a job of ours or the endpoint said in its one line; else the last Python exception."""
    said = [match["what"] for line in log.splitlines() if (match := _SAID.fullmatch(line.strip()))]
    return said[-1] if said else traceback_in(log)
