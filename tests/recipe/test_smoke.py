"""The smoke profile stands in for every recipe, and for what it can't it says so."""

from __future__ import annotations

import fnmatch
from typing import Any

import pytest

from runner.facts.families import architecture_of
from runner.facts.models import catalogue
from runner.project import Project
from runner.recipe.check import check, model_of
from runner.recipe.compose import compose
from runner.recipe.graph import Library
from runner.recipe.load import Refused, parse
from runner.recipe.profile import in_profile
from runner.recipe.resolve import Recipe, resolve
from runner.recipe.smoke import _matches, _of_engine, _profile, shrink, smoke
from tests.conftest import BODY, HEADER, ROOT, Bench, recipes_of

NAMES = recipes_of("axolotl")


def smoked(project: Project, name: str, *sets: str) -> Recipe:
    doc = compose(project, project.recipe_file(name), profile="smoke", sets=sets)
    return resolve(project, doc, "smoke", lambda recipe, profile: None)


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_has_a_small_form(name: str) -> None:
    recipe = smoked(Project(ROOT), name)
    full = compose(Project(ROOT), Project(ROOT).recipe_file(name))
    assert recipe.box.name == "cpu"
    if recipe.engine == "axolotl":
        # what is named has to be seen first
        assert recipe.values["max_steps"] <= (250 if recipe.kind == "multimodal" else 100)
    for key in ("adapter", "rl", "deepspeed", "load_in_4bit", "gradient_checkpointing", "lr_scheduler", "streaming"):
        node = full.keys.get(key)
        if (name, key) in (("phase5/moe-mixtral-lora", "deepspeed"), ("phase5/llava-7b", "deepspeed")):
            continue  # the recipe says why
        assert recipe.values.get(key) == (node.plain() if node else None), (
            f"{key} is what makes this recipe this recipe"
        )
    # nothing may come from a hub
    data = [*recipe.values.get("datasets", ()), *recipe.values.get("pretraining_dataset", ())]
    assert data or recipe.prepared
    for item in data:
        assert "generate" in item or str(item.get("data_files", item["path"])).startswith("/")
    assert ("pretraining_dataset" in recipe.values) == ("pretraining_dataset" in full.keys), "a stream stays one"
    for key in ("base_model", "tokenizer_config"):
        assert str(recipe.values.get(key, "/")).startswith("/")


def test_shrinking_keeps_what_chooses_another_code_path() -> None:
    limits = _profile()["tiny"]
    grouped = shrink(
        {"model_type": "llama", "hidden_size": 8192, "num_attention_heads": 64, "num_key_value_heads": 8}, limits
    )
    assert grouped["num_key_value_heads"] < grouped["num_attention_heads"]
    whole = shrink(
        {"model_type": "llama", "hidden_size": 5120, "num_attention_heads": 40, "num_key_value_heads": 40}, limits
    )
    assert whole["num_key_value_heads"] == whole["num_attention_heads"]
    mixture = shrink({"model_type": "mixtral", "num_local_experts": 16, "num_experts_per_tok": 1}, limits)
    assert (mixture["num_local_experts"], mixture["num_experts_per_tok"]) == (4, 1)


def test_a_recipes_own_wishes_win(bench: Bench) -> None:
    bench.write("r", HEADER + BODY + "profiles: {smoke: {max_steps: 7, learning_rate: 0.5}}\n")
    assert smoked(bench.project, "r").values["max_steps"] == 7
    assert smoked(bench.project, "r").values["learning_rate"] == 0.5
    assert smoked(bench.project, "r", "max_steps=9").values["max_steps"] == 9


def test_an_unknown_architecture_is_told(bench: Bench) -> None:
    bench.write("r", (HEADER + BODY).replace("meta-llama/Llama-2-13b-hf", "somebody/unknown-9b"))
    with pytest.raises(Refused) as caught:
        smoked(bench.project, "r")
    told = caught.value.diagnostics[0]
    assert (told.code, told.span.line) == ("R407", 4)


def test_a_model_in_a_local_folder_is_known_by_its_config(bench: Bench) -> None:
    folder = bench.project.root / "mine"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama", "hidden_size": 4096, "num_attention_heads": 32}')
    bench.write("r", (HEADER + BODY).replace("meta-llama/Llama-2-13b-hf", str(folder)))
    recipe = smoked(bench.project, "r")
    assert recipe.tiny is not None
    assert recipe.tiny.config["model_type"] == "llama"


def test_a_bare_tokenizer_and_a_model_of_one_shape_do_not_share_a_folder(bench: Bench) -> None:
    shape = "{model_type: llama, hidden_size: 5120, intermediate_size: 13824, num_hidden_layers: 40, "
    shape += "num_attention_heads: 40, num_key_value_heads: 40, vocab_size: 32000, max_position_embeddings: 4096, "
    shape += "rms_norm_eps: 1e-5, tie_word_embeddings: false}"
    scratch = f"recipe: 1\nkind: pretrain\ntitle: t\narchitecture: {shape}\nlearning_rate: 1e-4\n"
    bench.write("scratch", scratch + "datasets: [{path: x, type: completion}]\n")
    bench.write("tuned")
    one, two = smoked(bench.project, "scratch").tiny, smoked(bench.project, "tuned").tiny
    assert one is not None
    assert two is not None
    assert one.config == two.config
    assert one.path != two.path


RLHF = """\
recipe: 1
kind: rlhf
title: A test
base_model: meta-llama/Llama-2-13b-hf
rl: grpo
trl: {use_vllm: true, vllm_server_host: box, num_generations: 8, max_completion_length: 512, beta: 0.04}
learning_rate: 1e-6
datasets: [{path: x, split: train}]
max_steps: 500
"""


@pytest.mark.parametrize("name", NAMES)
def test_every_small_form_passes_the_checks_of_a_recipe(name: str) -> None:
    project = Project(ROOT)
    doc = compose(project, project.recipe_file(name), profile="smoke")
    staged, _, _ = in_profile(Library(project, "smoke"), doc, "smoke")
    assert check(staged, ROOT) == []


@pytest.mark.parametrize("name", NAMES)
def test_what_needs_a_gpu_or_a_hub_is_dropped(name: str) -> None:
    recipe = smoked(Project(ROOT), name)
    values, profile = recipe.values, _of_engine(recipe.engine)
    wishes = recipe.doc.wishes.value if recipe.doc.wishes else {}
    set_again = {key for part in profile["parts"] for key in part["set"]} | set(wishes)
    dropped = [key for key in values if any(fnmatch.fnmatch(key, pattern) for pattern in profile["drop"])]
    assert set(dropped) <= set_again | {"tokenizer_config"}
    if recipe.engine != "tokenizers":
        assert values["bf16"] is False
    if recipe.engine == "axolotl":
        assert values["attn_implementation"] == "sdpa"


@pytest.mark.parametrize(
    ("when", "text", "expected"),
    [
        ({}, "a: 1", True),
        ({"a": 1}, "a: 1", True),
        ({"a": [1, 2]}, "a: 2", True),
        ({"a": [1, 2]}, "a: 3", False),
        ({"a": 1}, "b: 1", False),
        ({"a": None}, "b: 1", True),
        ({"present": ["a"]}, "a: false", False),
        ({"present": ["a"]}, "a:", False),
        ({"present": ["a", "b"]}, "a: 1", False),
        ({"absent": ["a", "b"]}, "c: 1", True),
        ({"absent": ["a", "b"]}, "b: 1", False),
        ({"absent": ["a"]}, "a: false", True),
        ({"a": 1, "absent": ["b"]}, "a: 1\nb: 1", False),
        ({"trl.beta": 0.1}, "trl: {beta: 0.1}", True),
    ],
)
def test_when_a_part_applies(when: dict[str, Any], text: str, expected: bool) -> None:
    assert _matches(when, parse(text, "x", "x")) is expected


def test_later_parts_lie_over_earlier_ones_and_all_over_the_recipe(bench: Bench) -> None:
    bench.write("r", RLHF)
    values = smoked(bench.project, "r").values
    (own,) = (part["set"] for part in _of_engine("axolotl")["parts"] if part.get("when") == {"kind": "rlhf"})
    assert values["max_steps"] == own["max_steps"] != _of_engine("axolotl")["parts"][0]["set"]["max_steps"]
    assert "eval_steps" not in values
    assert values["trl"] == {"vllm_server_host": "box", "beta": 0.04, **own["trl"]}
    assert own["trl"]["use_vllm"] is False


def test_a_wish_is_for_its_own_key_alone(bench: Bench) -> None:
    """`--set trl.beta` must not bring back what the recipe says of vLLM."""
    bench.write("r", RLHF + "profiles: {smoke: {trl: {num_generations: 2}}}\n")
    trl = smoked(bench.project, "r", "trl.beta=0.5").values["trl"]
    assert (trl["beta"], trl["num_generations"], trl["use_vllm"]) == (0.5, 2, False)
    assert trl["max_completion_length"] < 512


def test_a_wish_may_bring_back_what_is_dropped(bench: Bench) -> None:
    bench.write("r", HEADER + BODY + "warmup_ratio: 0.1\nfsdp_version: 2\n")
    assert "warmup_ratio" not in smoked(bench.project, "r").values
    recipe = smoked(bench.project, "r", "warmup_ratio=0.2", "warmup_steps=")
    assert recipe.values["warmup_ratio"] == 0.2
    assert "warmup_steps" not in recipe.values
    assert "fsdp_version" not in recipe.values


def test_a_wish_for_the_shape_keeps_the_rest_of_it_small(bench: Bench) -> None:
    text = "recipe: 1\nkind: pretrain\ntitle: t\nlearning_rate: 1e-4\ndatasets: [{path: x, type: completion}]\n"
    text += "architecture: {model_type: llama, hidden_size: 4096, num_hidden_layers: 32, num_attention_heads: 32}\n"
    bench.write("r", text)
    recipe = smoked(bench.project, "r", "architecture.num_hidden_layers=1")
    assert recipe.architecture is not None
    assert recipe.architecture["num_hidden_layers"] == 1
    assert recipe.architecture["hidden_size"] == 128


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_every_known_model_has_a_tiny_form_of_its_family(name: str) -> None:
    config, limits = catalogue()[name].config, _profile()["tiny"]
    tiny = shrink(config, limits)
    assert tiny["model_type"] == config["model_type"]
    assert not set(limits["drop"]) & set(tiny) - set(limits["set"])
    for key, cap in limits["cap"].items():
        assert tiny.get(key, 0) <= cap
    config, tiny = config.get("text_config", config), tiny.get("text_config", tiny)
    heads = next(tiny[k] for k in ("num_attention_heads", "n_head", "n_heads", "num_heads") if k in tiny)
    width = next(tiny[k] for k in ("hidden_size", "n_embd", "d_model") if k in tiny)
    assert width % heads == 0
    assert architecture_of(tiny).parameters < 10e6
    if "num_key_value_heads" in config:
        assert heads % tiny["num_key_value_heads"] == 0
        grouped = config["num_key_value_heads"] < config["num_attention_heads"]
        assert (tiny["num_key_value_heads"] < heads) == grouped
    if "num_experts_per_tok" in config:
        assert tiny["num_experts_per_tok"] < (tiny.get("num_local_experts") or tiny["num_experts"])


def test_a_model_that_is_small_already_is_left_so() -> None:
    tiny = shrink({"model_type": "llama", "hidden_size": 64, "num_attention_heads": 2}, _profile()["tiny"])
    assert (tiny["hidden_size"], tiny["num_attention_heads"]) == (64, 2)
    assert "num_key_value_heads" not in tiny


def test_what_a_need_left_is_tiny_already(bench: Bench) -> None:
    bench.write("sft", HEADER + BODY + "merge: true\n")
    bench.write("r", (HEADER + BODY).replace("meta-llama/Llama-2-13b-hf", "${needs.s.model}") + "needs: {s: sft}\n")
    recipe = smoked(bench.project, "r")
    assert recipe.tiny is None
    assert recipe.values["base_model"] == str(bench.project.artifacts / "sft/smoke/latest/output/merged")


def test_two_recipes_of_one_model_share_its_tiny_form(bench: Bench) -> None:
    bench.write("a")
    bench.write("b", HEADER + BODY.replace("lora_r: 8", "lora_r: 64"))
    one, two = smoked(bench.project, "a").tiny, smoked(bench.project, "b").tiny
    assert one == two
    assert one is not None
    assert one.path.startswith(str(bench.project.artifacts / ".smoke/llama-"))


def test_the_places_of_what_smoke_sets(bench: Bench) -> None:
    file = bench.write("r", HEADER + BODY + "profiles: {smoke: {lora_r: 2}}\n")
    doc = compose(bench.project, file, profile="smoke", sets=("seed=7",))
    staged, _ = smoke(bench.project, doc, model_of(doc))
    assert staged.keys["max_steps"].key.file == "<smoke profile>"
    assert staged.keys["lora_r"].key.line == 16
    assert staged.keys["seed"].key.file == "<--set seed=7>"
    assert staged.keys["adapter"].key.line == 5


RAG = "recipe: 1\nkind: rag\ntitle: A test\nbox: 2xh100\nsources: [{stdlib: true}]\n"


def test_a_server_below_a_key_is_made_small(bench: Bench) -> None:
    served = "{model: codellama-34b, tensor_parallel_size: 2, max_model_len: 16384, max_num_seqs: 64}"
    judge = "evaluation: {questions: stdlib, judge: {serve: {model: mistralai/Mixtral-8x7B-Instruct-v0.1}}}"
    bench.write("r", f"{RAG}generator: {{serve: {served}, context_length: 16384}}\n{judge}\n")
    recipe = smoked(bench.project, "r")
    assert recipe.tiny is not None
    given = recipe.values["generator"]["serve"]
    # all models of the hub become the first one's
    assert given["model"] == recipe.tiny.path == recipe.values["evaluation"]["judge"]["serve"]["model"]
    assert "tensor_parallel_size" not in given
    assert given["max_model_len"] == given["hf_overrides"]["max_position_embeddings"] == 4096
    assert recipe.values["generator"]["context_length"] == 4096
    assert recipe.box.gpus == 0


def test_a_wish_for_a_server_below_a_key_wins(bench: Bench) -> None:
    served = "generator: {serve: {model: codellama-34b, dtype: float16}}\n"
    bench.write("r", f"{RAG}{served}profiles: {{smoke: {{generator: {{serve: {{dtype: float32}}}}}}}}\n")
    assert smoked(bench.project, "r").values["generator"]["serve"]["dtype"] == "float32"


def test_an_adapter_below_a_key_is_served_on_its_base(bench: Bench) -> None:
    bench.write("sft", HEADER + BODY)
    bench.write("r", f"{RAG}needs: {{s: sft}}\ngenerator: {{serve: {{model: '${{needs.s.adapter}}'}}}}\n")
    doc = compose(bench.project, bench.project.recipe_file("r"))
    assert check(doc, bench.project.root) == []
    given = resolve(bench.project, doc, "full", lambda recipe, profile: None).values["generator"]["serve"]
    assert given["model"] == "meta-llama/Llama-2-13b-hf"
    [module] = given["lora_modules"]
    assert module == {"name": "r", "path": str(bench.project.artifacts / "sft/full/latest/output")}
