"""What is rendered: whole golden folders, and values that can't leave the place they were written to.

`UPDATE_EXPECTED=1 pytest tests/test_render.py` writes the golden folders anew: read the diff before keeping it. Every
kind has `tests/golden/<kind>/`, of the recipe that its launch.sh names, and at first of the first recipe there is; a
folder `<kind>-smoke` beside it holds the same in smoke.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError

from runner import __version__
from runner.engines import load_engine
from runner.plan.serving.recipe import laid_out
from runner.project import Project
from runner.recipe.compose import PROFILES, compose
from runner.recipe.kinds import kind_names
from runner.recipe.resolve import Recipe, resolve
from runner.render import comment, jinja, quote, render, to_json, to_yaml
from tests.conftest import ROOT

# engine -> the file that it reads what it shall do from, and what that is in the context
CONFIGS = {
    "axolotl": ("axolotl.yaml", "config"),
    "datatrove": ("prepare.json", "config"),
    "deepspeed_pipeline": ("pipeline.json", "pipeline"),
    "transformers": ("trainer.yaml", "config"),
    "tokenizers": ("tokenizers.yaml", "config"),
    "vllm_bench": ("bench.json", "bench"),
    "vllm": ("endpoint.json", "endpoint"),
    "llmcompressor": ("quantize.yaml", "config"),
    "lm_eval": ("lm_eval.yaml", "config"),
    "comparison": ("compare.json", "config"),
    "rag": ("rag.json", "config"),
}
GOLDEN = ROOT / "tests" / "golden"
PROJECT = Project(ROOT)
FILES = {PROJECT.recipe_name(f): f for f in PROJECT.all_recipes()}


def resolved(name: str, profile: str = "full", *sets: str) -> Recipe:
    doc = compose(PROJECT, FILES[name], profile=profile, sets=sets)
    return resolve(PROJECT, doc, profile, lambda recipe, profile: None)


def rendered(name: str, profile: str) -> dict[str, str]:
    """Less what depends on this machine, and less the jobs, which are copies."""
    files = {}
    for file, text in render(resolved(name, profile)).items():
        if not file.startswith("jobs/"):
            text = re.sub(r"envs/(\w+)-[0-9a-f]{12}", r"envs/\1-HASH", text.replace(str(ROOT), "/project"))
            files[file] = text.replace(f"runner {__version__}", "runner VERSION")
    return files


def golden_cases() -> dict[str, tuple[str, str]]:
    """folder below tests/golden -> (recipe, profile)."""
    found = {}
    for kind in kind_names():
        recipe = min(n for n, f in FILES.items() if f"\nkind: {kind}\n" in f.read_text())
        launch = GOLDEN / kind / "launch.sh"
        if launch.exists() and (named := re.search(r"^# (\S+), profile full", launch.read_text(), re.MULTILINE)):
            recipe = named[1]
        found[kind] = (recipe, "full")
        if (GOLDEN / f"{kind}-smoke").is_dir():
            found[f"{kind}-smoke"] = (recipe, "smoke")
    return found


@pytest.mark.parametrize(("folder", "case"), golden_cases().items(), ids=golden_cases())
def test_golden(folder: str, case: tuple[str, str]) -> None:
    files = rendered(*case)
    kept = GOLDEN / folder
    if os.environ.get("UPDATE_EXPECTED"):
        if kept.exists():
            shutil.rmtree(kept)
        for name, text in files.items():
            (kept / name).parent.mkdir(parents=True, exist_ok=True)
            (kept / name).write_text(text)
    assert files == {str(p.relative_to(kept)): p.read_text() for p in kept.rglob("*") if p.is_file()}


def test_golden_covers_both_profiles() -> None:
    assert {profile for _, profile in golden_cases().values()} == set(PROFILES)


@pytest.fixture(scope="module")
def everything() -> dict[tuple[str, str], dict[str, str]]:
    return {(name, profile): render(resolved(name, profile)) for name in FILES for profile in PROFILES}


def test_every_launcher_is_bash(everything: dict[tuple[str, str], dict[str, str]]) -> None:
    for case, files in everything.items():
        done = subprocess.run(["bash", "-n"], input=files["launch.sh"], text=True, capture_output=True)
        assert (done.returncode, done.stderr) == (0, ""), case


def test_every_config_reads_back_as_what_was_meant(everything: dict[tuple[str, str], dict[str, str]]) -> None:
    for (name, profile), files in everything.items():
        recipe = resolved(name, profile)
        if recipe.children:
            continue  # each is a recipe, and goes through here by itself when it runs
        file, key = CONFIGS[recipe.engine]
        config = load_engine(recipe.engine).context(laid_out(recipe))[key]
        read = yaml.safe_load(files[file])
        assert exactly(read) == exactly(config), (name, profile)
        for file, text in files.items():
            if file.endswith(".json"):
                assert json.dumps(json.loads(text), allow_nan=False)


def exactly(value: Any) -> str:
    """With types: 1, 1.0, True and "1" are all different."""
    return repr(value)


@pytest.mark.slow
def test_no_smoke_file_asks_for_the_network_or_a_gpu(everything: dict[tuple[str, str], dict[str, str]]) -> None:
    for (name, profile), files in everything.items():
        if resolved(name, profile).children or resolved(name, profile).kind == "compare":  # which loads no engine
            assert profile != "smoke" or resolved(name, profile).box.gpus == 0
            continue
        offline = "HF_HUB_OFFLINE=1" in files["launch.sh"]
        cpu = "CUDA_VISIBLE_DEVICES=\n" in files["launch.sh"]
        assert offline == (profile == "smoke"), (name, profile)
        assert cpu == (resolved(name, profile).box.gpus == 0), (name, profile)
        assert cpu or profile != "smoke", name


def test_a_shell_word_stays_one(tmp_path: Path) -> None:
    hostile = [
        "a b",
        "$(touch hit)",
        "`touch hit`",
        "'; touch hit; '",
        '"x"',
        "a\nb",
        "",
        "-rf",
        "{{ x }}",
        "é",
        "\\",
        "*",
    ]
    script = "printf '%s\\0' " + " ".join(map(quote, hostile))
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == hostile
    assert list(tmp_path.iterdir()) == []


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
WORDS = [
    "no",
    "on",
    "null",
    "~",
    "1:30",
    "1e-5",
    "5e-7",
    "0o14",
    "012",
    "0x1f",
    "2024-01-01",
    "=",
    "<<",
    "*a",
    "&a",
    "!x",
]
WORDS += [
    "# c",
    "a: b",
    "- a",
    "{{ x }}",
    "{% raw %}",
    "%YAML 1.1",
    "---",
    "...",
    "a\nb",
    " a ",
    "\t",
    "\x85",
    "\ufeff",
    "",
]


@pytest.mark.parametrize("value", [*WORDS, 5e-7, 1e-5, 1e16, 1e22, -1e-300, 1.0, 0.1, True, None, 10**30], ids=repr)
def test_a_value_survives_the_engines_yaml_reader(value: Any) -> None:
    assert exactly(yaml.safe_load(to_yaml({"key": value, "list": [value]}))) == exactly({"key": value, "list": [value]})


@settings(max_examples=200, deadline=2000)
@given(st.dictionaries(st.text(min_size=1), SCALARS | st.lists(SCALARS, max_size=3), max_size=4))
def test_any_values_survive(values: dict[str, Any]) -> None:
    assert exactly(yaml.safe_load(to_yaml(values))) == exactly(values)
    assert exactly(json.loads(to_json(values))) == exactly(values)


@settings(max_examples=200, deadline=2000)
@given(st.text(max_size=80))
def test_a_comment_is_one_line_of_readable_text(text: str) -> None:
    line = comment(text)
    assert line.isprintable()
    assert yaml.safe_load(f"# {line}\na: 1\n") == {"a": 1}


QLORA = resolved("phase4/dpo-13b")
PLAIN = render(QLORA)


@settings(max_examples=100, deadline=2000)
@given(
    st.text(max_size=60)
    | st.sampled_from(["x\n}$(touch hit)\n", "'\"`id`\\", "{{ 7*7 }} {% if %}", "\u2028rm", "*/ #"]),
)
def test_a_title_can_do_nothing(title: str) -> None:
    files = render(replace(QLORA, title=title))
    for name in ("launch.sh", "axolotl.yaml"):
        changed = [
            line for line, was in zip(files[name].split("\n"), PLAIN[name].split("\n"), strict=True) if line != was
        ]
        assert len(changed) <= 1
        assert all(line.startswith("# ") or line == "#" for line in changed)
    assert exactly(yaml.safe_load(files["axolotl.yaml"])) == exactly(yaml.safe_load(PLAIN["axolotl.yaml"]))


@settings(max_examples=100, deadline=2000)
@given(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=60))
def test_a_path_can_do_nothing(path: str) -> None:
    files = render(replace(QLORA, values={**QLORA.values, "base_model": f"/{path}", "wandb_name": path}))
    before, found, after = files["launch.sh"].partition(f"ln -sfn {shlex.quote(f'/{path}')} base\n")
    assert found
    assert PLAIN["launch.sh"].startswith(before)
    assert PLAIN["launch.sh"].endswith(after)
    assert yaml.safe_load(files["axolotl.yaml"])["wandb_name"] == path


def test_a_misspelt_variable_is_an_error() -> None:
    for source in (
        "{{ recpie }}",
        "{{ recipe.titel }}",
        "{% if recpie %}x{% endif %}",
        "{% for x in recpie %}{% endfor %}",
    ):
        with pytest.raises(UndefinedError):
            jinja().from_string(source).render(recipe=QLORA)


def test_what_ends_well_when_interrupted_is_not_merged(tmp_path: Path) -> None:
    """Axolotl saves the model on Ctrl-C and exits 0; launch.sh must not take that for a finished training."""
    files = render(resolved("phase4/sft-13b"))
    python = tmp_path / "env/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/bash\ntrap "exit 0" INT\necho "$*" >> calls\nfor i in {1..300}; do sleep 0.1; done\n')
    python.chmod(0o755)
    (tmp_path / "launch.sh").write_text(files["launch.sh"])
    process = subprocess.Popen(
        ["bash", str(tmp_path / "launch.sh")],
        env={**os.environ, "RUNNER_ENV": str(tmp_path / "env")},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    calls = tmp_path / "calls"
    deadline = time.monotonic() + 20
    while not (calls.exists() and calls.read_text().endswith("\n")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "=== merge" not in out
    assert len(calls.read_text().splitlines()) == 1
