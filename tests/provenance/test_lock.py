"""`runner lock`: what is pinned where, what is refused when it changes, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.cli.served import open_to_serve
from runner.engines.environment import environment
from runner.project import lock_path
from runner.provenance.hub import repos_of
from runner.provenance.lock import differences, read_lock
from runner.recipe.compose import compose
from runner.recipe.load import Refused
from runner.record import file_hash
from runner.render import render
from tests.cli.conftest import Invoke
from tests.conftest import BODY, HEADER, Bench
from tests.provenance.made import made_run, resolved

MODEL, DATA = "a" * 40, "b" * 40
LOCKED = f"`meta-llama/Llama-2-13b-hf` at `{MODEL}` was locked"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache as huggingface_hub lays it out, with what BODY names."""
    cache = tmp_path / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    download(cache, "models--meta-llama--Llama-2-13b-hf", MODEL)
    download(cache, "datasets--yahma--alpaca-cleaned", DATA)
    return cache


def download(cache: Path, repo: str, commit: str) -> None:
    (cache / repo / "refs").mkdir(parents=True, exist_ok=True)
    (cache / repo / "snapshots" / commit).mkdir(parents=True, exist_ok=True)
    (cache / repo / "refs" / "main").write_text(commit)


def told(bench: Bench, name: str = "r", *, sets: bool = False) -> list[str]:
    recipe = resolved(bench.project, name)
    found = differences(bench.project, recipe, read_lock(recipe.doc.file), sets=sets)
    assert {d.code for d in found} <= {"R450"}
    return [d.message for d in found]


def lock(invoke: Invoke, *more: str) -> str:
    done = invoke("lock", *(more or ("r",)))
    assert done.code == 0, done.err
    return done.out


def test_commits_are_rendered_into_the_engines_config(bench: Bench, hub: Path, invoke: Invoke) -> None:
    bench.write("r")
    assert "revision" not in render(resolved(bench.project, "r"))["axolotl.yaml"]
    lock(invoke)
    config = render(resolved(bench.project, "r"))["axolotl.yaml"]
    assert f"model_revision: {MODEL}" in config
    assert f"  revision: {DATA}" in config
    assert told(bench) == []


def test_the_hub_moving_on_changes_nothing_until_update(bench: Bench, hub: Path, invoke: Invoke) -> None:
    bench.write("r")
    lock(invoke)
    before = lock_path(bench.project.recipe_file("r")).read_text()
    download(hub, "models--meta-llama--Llama-2-13b-hf", "c" * 40)
    assert told(bench) == []
    lock(invoke)
    assert lock_path(bench.project.recipe_file("r")).read_text() == before


def test_locking_twice_writes_the_same_bytes_and_profiles_side_by_side(bench: Bench, hub: Path, invoke: Invoke) -> None:
    bench.write("r")
    lock(invoke)
    full = lock_path(bench.project.recipe_file("r")).read_text()
    lock(invoke, "r", "--profile", "smoke")
    both = lock_path(bench.project.recipe_file("r")).read_text()
    assert full.split("full:")[1] in both
    assert "smoke:" in both
    assert str(bench.project.root) not in both, "a lock is committed: no path of this machine"
    assert invoke("lock", "--check").out == "1 lock holds\n"


@pytest.mark.parametrize(
    ("old", "new", "messages"),
    [
        ("learning_rate: 1e-4", "learning_rate: 5e-5", ["`learning_rate` is `5.0e-05`, and `0.0001` was locked"]),
        ("num_epochs: 1\n", "num_epochs: 1\nseed: 7\n", ["`seed` is `7`, and was not set when it was locked"]),
        ("lora_r: 8\n", "", None),
        (
            "base_model: meta-llama/Llama-2-13b-hf",
            "base_model: huggyllama/llama-30b",
            [f"`base_model` is `huggyllama/llama-30b` at `main`, and {LOCKED}"],
        ),
        (
            "num_epochs: 1\n",
            "num_epochs: 1\nmodel_revision: v2\n",
            [f"`base_model` is `meta-llama/Llama-2-13b-hf` at `v2`, and {LOCKED}"],
        ),
        ("num_epochs: 1\n", "num_epochs: 1   # a comment\n", []),
    ],
)
def test_a_changed_recipe(
    bench: Bench, hub: Path, old: str, new: str, messages: list[str] | None, invoke: Invoke
) -> None:
    bench.write("r")
    lock(invoke)
    bench.write("r", (HEADER + BODY).replace(old, new))
    assert told(bench) == (["`lora_r` is not set, and was `8` when it was locked"] if messages is None else messages)


def test_a_trial_may_change_keys_and_keeps_the_commits(bench: Bench, hub: Path, invoke: Invoke) -> None:
    bench.write("r", HEADER + BODY + "seed: 1\n")
    lock(invoke)
    bench.write("r", HEADER + BODY + "seed: 2\n")
    assert told(bench) == ["`seed` is `2`, and `1` was locked"]
    assert told(bench, sets=True) == []


def test_changed_local_data(bench: Bench, hub: Path, invoke: Invoke) -> None:
    data = bench.project.root / "mine.jsonl"
    data.write_text("{}\n")
    bench.write("r", (HEADER + BODY).replace("path: yahma/alpaca-cleaned", "path: mine.jsonl\n    ds_type: json"))
    lock(invoke)
    data.touch()
    assert told(bench) == []
    data.write_text('{"a": 1}\n')
    assert told(bench) == ["`${project}/mine.jsonl` has changed since it was locked"]


def test_another_environment(bench: Bench, hub: Path, invoke: Invoke) -> None:
    bench.write("r")
    lock(invoke)
    file, now = lock_path(bench.project.recipe_file("r")), environment("axolotl").path.name
    file.write_text(file.read_text().replace(now, "axolotl-0123456789ab"))
    message = f"the `axolotl` environment is `{now}`, and `axolotl-0123456789ab` was locked"
    assert told(bench) == told(bench, sets=True) == [message]
    done = invoke("run", "r")
    assert done.code == 1
    assert f"error[R450]: {message}" in done.err
    assert "`runner lock r`" in done.err
    assert invoke("validate").code == 1
    assert invoke("lock", "--check").code == 1


def test_another_upstream_run(bench: Bench, hub: Path, invoke: Invoke) -> None:
    bench.write("sft", HEADER + BODY + "merge: true\n")
    text = (HEADER + BODY).replace("meta-llama/Llama-2-13b-hf", "${needs.sft.model}")
    bench.write("r", text + "needs: {sft: sft}\n")
    assert "has not run yet, and is not pinned" in lock(invoke)
    made_run(bench.project, "sft")
    assert told(bench) == [], "what was not pinned can't differ"
    lock(invoke)
    made_run(bench.project, "sft")
    assert told(bench) == [], "the same run again, under another name"
    bench.write("sft", HEADER + BODY.replace("1e-4", "2e-4") + "merge: true\n")
    made_run(bench.project, "sft")
    assert told(bench) == ["`sft` is not the run of `sft` that was locked"]


def test_a_commit_that_nobody_knows(bench: Bench, hub: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.write("r", (HEADER + BODY).replace("yahma/alpaca-cleaned", "nobody/knows"))
    monkeypatch.setenv("RUNNER_CACHE", str(hub / "no-environments"))
    done = invoke("lock", "r")
    assert done.code == 1
    assert "error[R452]: the commit of dataset `nobody/knows` is not known" in done.err
    assert not lock_path(bench.project.recipe_file("r")).exists()
    commit = "d" * 40
    bench.write("r", (HEADER + BODY).replace("yahma/alpaca-cleaned", f"nobody/knows\n    revision: {commit}"))
    assert f"dataset nobody/knows at {commit[:12]}" in lock(invoke)


@pytest.mark.parametrize("text", ["full: [", "lock: 2\n", "lock: 1\nfull: 3\n", "- 1\n"])
def test_a_lock_that_cannot_be_read(bench: Bench, hub: Path, text: str, invoke: Invoke) -> None:
    file = lock_path(bench.write("r"))
    file.write_text(text)
    with pytest.raises(Refused) as refused:
        read_lock(bench.project.recipe_file("r"))
    assert refused.value.diagnostics[0].code == "R451"
    assert invoke("validate", "r").code == 1
    lock(invoke)
    assert told(bench) == []


def test_a_tokenizer_from_elsewhere_keeps_the_models_revision_out(bench: Bench, hub: Path) -> None:
    """Axolotl looks for the tokenizer at `model_revision` too."""
    doc = compose(bench.project, bench.write("r", HEADER + BODY + "tokenizer_config: google-t5/t5-small\n"))
    pins = {(repo.name, repo.pin) for repo in repos_of(doc, bench.project.root)}
    assert pins == {
        ("meta-llama/Llama-2-13b-hf", None),
        ("google-t5/t5-small", None),
        ("yahma/alpaca-cleaned", ("datasets", 0, "revision")),
    }


def test_names_that_are_none_of_the_hubs(bench: Bench, hub: Path) -> None:
    (bench.project.root / "my").mkdir()
    (bench.project.root / "my/data").mkdir()
    text = (HEADER + BODY).replace("yahma/alpaca-cleaned", "my/data") + "needs: {model: phase4/sft}\n"
    doc = compose(bench.project, bench.write("r", text))
    assert [repo.name for repo in repos_of(doc, bench.project.root)] == ["meta-llama/Llama-2-13b-hf"]


def test_make_looks_at_the_lock_and_a_run_keeps_a_copy(bench: Bench, hub: Path, invoke: Invoke) -> None:
    bench.write("r")
    assert "r.lock" not in invoke("graph").out
    lock(invoke)
    assert "recipes/r.lock" in invoke("graph").out
    run = made_run(bench.project, "r")
    file = lock_path(bench.project.recipe_file("r"))
    assert (run.path / "provenance/sources/r.lock").read_bytes() == file.read_bytes()
    assert run.record["lock_sha256"] == file_hash(file)
    assert [each["commit"] for each in run.record["hub"]] == [MODEL, DATA]


def test_a_served_model_is_locked_too(bench: Bench, hub: Path, invoke: Invoke) -> None:
    bench.write("serve/s", "recipe: 1\nkind: serve\ntitle: t\nmodel: meta-llama/Llama-2-13b-hf\n")
    lock(invoke, "serve/s")
    files = render(open_to_serve(bench.project, "s", "full")[0])
    assert MODEL in files["endpoint.json"]
    file = lock_path(bench.project.recipe_file("serve/s"))
    file.write_text(file.read_text().replace("vllm: vllm-", "vllm: vllm-f"))
    done = invoke("serve", "s")
    assert (done.code, "error[R450]" in done.err) == (1, True)
