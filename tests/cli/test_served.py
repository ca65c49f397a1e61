"""`make serve MODEL=...`: which recipe is meant, what of it is served, and what endpoints can't be used for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.cli.served import open_to_serve, recipe_to_serve
from runner.project import Project
from runner.recipe.load import Refused
from runner.recipe.resolve import Recipe
from runner.render import render
from tests.cli.conftest import Invoke
from tests.cli.planning import plan_of, ship, told
from tests.conftest import BODY, HEADER, Bench

SERVE = "recipe: 1\nkind: serve\ntitle: A test\n"


def finished(project: Project, recipe: str, outputs: dict[str, dict[str, Any]], profile: str = "full") -> Path:
    """A run that is done, with these JSON files in it."""
    run = project.artifacts / recipe / profile / "20260101-000000"
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"status": "finished"}))
    (run.parent / "latest").symlink_to(run.name)
    for name, data in outputs.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(json.dumps(data))
    return run


def served(bench: Bench, name: str, profile: str = "full", *sets: str) -> Recipe:
    return recipe_to_serve(bench.project, name, profile, sets)


@pytest.fixture
def ours(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    ship(bench)
    monkeypatch.chdir(bench.project.root)
    return bench


@pytest.mark.parametrize("name", ["codellama-34b", "serve/codellama-34b", "recipes/serve/codellama-34b.yaml"])
def test_a_serve_recipe_by_its_names(ours: Bench, name: str) -> None:
    assert served(ours, name).name == "serve/codellama-34b"


def test_any_other_recipe_is_served_by_what_it_left(ours: Bench) -> None:
    run = finished(ours.project, "phase4/dpo-13b", {"output/merged/config.json": {}})
    recipe = served(ours, "phase4/dpo-13b")
    assert recipe.name == "serve/phase4/dpo-13b"
    assert recipe.values["model"] == str(run / "output/merged"), "a whole model, though it leaves an adapter too"
    assert [u.recipe for u in recipe.upstreams] == ["phase4/dpo-13b"]
    assert json.loads(render(recipe)["endpoint.json"])["model"] == "dpo-13b"
    assert recipe.model is not None
    assert recipe.model.name == "llama-2-13b", "the plan knows what it is"


def test_an_adapter_is_served_beside_the_base_it_was_trained_on(ours: Bench) -> None:
    ours.write("tuned", HEADER + BODY.replace("lora_r: 8", "lora_r: 24"))
    recipe = served(ours, "tuned")
    adapter = str(ours.project.artifacts / "tuned/full/latest/output")
    assert recipe.values["model"] == "meta-llama/Llama-2-13b-hf"
    assert recipe.values["lora_modules"] == [{"name": "tuned", "path": adapter}]
    assert recipe.values["max_lora_rank"] == 32, "the next that there is"
    assert recipe.values["tokenizer"] == adapter
    # once it has run its own config is believed: what the recipe says may have changed since
    base = ours.project.root / "base"
    base.mkdir()
    config = {"base_model_name_or_path": str(base), "r": 8}
    run = finished(ours.project, "tuned", {"output/adapter_config.json": config})
    recipe = served(ours, "tuned")
    assert recipe.values["model"] == str(base)
    assert recipe.values["lora_modules"] == [{"name": "tuned", "path": str(run / "output")}]
    assert "max_lora_rank" not in recipe.values
    assert "tokenizer" not in recipe.values, "the adapter has none"


def test_sets_reach_the_endpoint(ours: Bench) -> None:
    recipe = served(ours, "phase4/dpo-13b", "full", "port=9000", "layout=latency")
    found = json.loads(render(recipe)["endpoint.json"])
    assert found["port"] == 9000
    assert len(found["replicas"]) == 1
    with pytest.raises(Refused) as refused:
        served(ours, "phase4/dpo-13b", "full", "swap_space=4")
    assert [d.code for d in refused.value.diagnostics] == ["R900"]


def test_smoke_takes_what_smoke_left(ours: Bench) -> None:
    run = finished(ours.project, "phase4/dpo-13b", {"output/merged/config.json": {}}, "smoke")
    recipe = served(ours, "phase4/dpo-13b", "smoke")
    assert recipe.values["model"] == str(run / "output/merged")
    assert recipe.tiny is None
    assert recipe.box.gpus == 0
    assert served(ours, "codellama-34b", "smoke").tiny is not None


def test_what_bitsandbytes_left_is_refused_before_vllm_does(ours: Bench) -> None:
    left = {"model_type": "llama", "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
    finished(ours.project, "phase4/dpo-13b", {"output/merged/config.json": left})
    with pytest.raises(Refused) as refused:
        served(ours, "phase4/dpo-13b")
    assert [d.code for d in refused.value.diagnostics] == ["R906"]


@pytest.mark.parametrize(
    ("name", "code"), [("phase1/tokenizers", "R918"), ("phase1/data-stdlib", "R918"), ("phase4/dpo13b", "R001"),
    ("codelama-34b", "R001"), ("A b", "R011")],
)  # fmt: skip
def test_what_can_not_be_served(ours: Bench, name: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        open_to_serve(ours.project, name, "full")
    assert [d.code for d in refused.value.diagnostics] == [code]


@pytest.mark.slow
def test_endpoints_are_no_part_of_what_make_builds(ours: Bench, invoke: Invoke) -> None:
    text = invoke("graph").out
    listed = next(line for line in text.splitlines() if line.startswith("RECIPES := ")).split()
    assert not [name for name in listed if name.startswith("serve/")]
    assert "artifacts/serve/codellama-34b/full/done:\n\t@echo" in text
    said = invoke("run", "serve/codellama-34b")
    assert said.code == 1
    assert told(said.err) == ["R917"]


def test_nothing_can_wait_for_an_endpoint(bench: Bench, invoke: Invoke) -> None:
    bench.write("up", SERVE + "model: codellama-34b\n")
    bench.write("r", HEADER + BODY + "needs: {up: up}\n")
    assert told(invoke("validate", "r").err) == ["R919"]


def test_a_need_that_has_not_run_is_what_make_can_build(bench: Bench) -> None:
    from runner.recipe.resolve import refuse_missing

    bench.write("serve/from-run", SERVE + "needs: {run: tuned}\nmodel: ${needs.run.adapter}\n")
    bench.write("tuned")
    with pytest.raises(Refused) as refused:
        refuse_missing(served(bench, "tuned", "full"))
    assert [d.code for d in refused.value.diagnostics] == ["R410"]
    assert "make recipe R=tuned" in refused.value.diagnostics[0].help


def plan(bench: Bench, invoke: Invoke, keys: str) -> tuple[int, dict[str, Any], str]:
    bench.write("r", SERVE + keys)
    code, out, err = invoke("plan", "r", "--json")
    return code, plan_of(out, "serving") if out else {}, err


def test_the_plan_chooses_the_layout_and_rendering_follows(bench: Bench, invoke: Invoke) -> None:
    wanted = {"throughput": (1, 2), "latency": (2, 1)}
    for layout, (tensor, replicas) in wanted.items():
        code, found, _ = plan(bench, invoke, f"model: llama-2-13b\nlayout: {layout}\n")
        assert code == 0
        assert found["settings"]["tensor_parallel_size"] == tensor
        assert found["settings"]["data_parallel_size"] == replicas
        spec = json.loads(render(served(bench, "r"))["endpoint.json"])
        assert [len(r["gpus"]) for r in spec["replicas"]] == [tensor] * replicas
    # what is given is kept, and the rest follows from it
    for keys, shape in (("replicas: 1\ntensor_parallel_size: 1\n", [1]), ("tensor_parallel_size: 2\n", [2])):
        bench.write("r", SERVE + "model: llama-2-13b\n" + keys)
        spec = json.loads(render(served(bench, "r"))["endpoint.json"])
        assert [len(r["gpus"]) for r in spec["replicas"]] == shape
    bench.write("r", SERVE + "model: nobody/knows\n")
    assert len(json.loads(render(served(bench, "r"))["endpoint.json"])["replicas"][0]["gpus"]) == 2


def test_what_does_not_fit_is_refused_at_the_line_that_mends_it(bench: Bench, invoke: Invoke) -> None:
    code, found, err = plan(bench, invoke, "model: mixtral-8x7b\ntensor_parallel_size: 1\n")
    assert (code, found["fits"], told(err)) == (1, "no", ["R201"])
    assert "recipes/r.yaml:5:1: error[R201]" in err
    assert "with `tensor_parallel_size: 2` it would hold" in err
    code, found, err = plan(bench, invoke, "model: codellama-34b\nbox: 1xh100\nmax_model_len: 16384\n"
                            "gpu_memory_utilization: 0.86\n")  # fmt: skip
    assert (code, told(err)) == (1, ["R201"])
    assert "recipes/r.yaml:6:1: error[R201]" in err
    assert f"set `max_model_len` to {found['cache']['longest'] // 16 * 16:,} or less" in err


def test_what_a_plan_takes_from_the_recipe(bench: Bench, invoke: Invoke) -> None:
    _, plain, _ = plan(bench, invoke, "model: codellama-34b\ntensor_parallel_size: 2\n")
    _, eight, _ = plan(bench, invoke, "model: codellama-34b\ntensor_parallel_size: 2\nquantization: fp8_per_channel\n"
                       "kv_cache_dtype: fp8\n")  # fmt: skip
    assert eight["memory"]["breakdown"]["weights"] < 0.55 * plain["memory"]["breakdown"]["weights"]
    assert eight["cache"]["kib_per_token"] == plain["cache"]["kib_per_token"] / 2
    # a checkpoint says by itself how it is quantized
    config = {"model_type": "llama", "hidden_size": 8192, "intermediate_size": 22016, "num_hidden_layers": 48,
              "num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 32000,
              "max_position_embeddings": 16384, "quantization_config": {"quant_method": "awq"}}  # fmt: skip
    folder = bench.project.root / "awq"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    _, four, _ = plan(bench, invoke, "model: awq\ntensor_parallel_size: 2\n")
    assert four["settings"]["quantization"] == "awq"


@pytest.mark.slow
def test_every_endpoint_is_in_the_catalogue_of_plans(ours: Bench, invoke: Invoke) -> None:
    rows = plan_of(invoke("plan", "--all", "--json").out, "catalogue")["servings"]
    assert {row["model"] for row in rows} >= {"serve/llama-2-13b", "serve/from-run"}
    assert {row["fits"] for row in rows} == {"yes"}
    assert "\nserve/codellama-34b " in invoke("plan", "--all").out
    assert invoke("plan", "--all", "--profile", "smoke").err == ""
