"""Parameters against what the models' pages on the hub say, defaults, nonsense, and where configs are found."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import pytest

from runner.facts.architecture import Architecture, Weight
from runner.facts.families import ANY_OTHER, architecture_of, families
from runner.facts.models import catalogue, find_model

# the number of parameters that the hub shows, or the paper gives; tied heads counted once
PUBLISHED = {
    "llama-2-7b": 6_738_415_616,
    "llama-2-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192,
    "llama-7b": 6_738_415_616,
    "llama-30b": 32_528_943_616,
    "llama-65b": 65_285_660_672,
    "llama-3-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "codellama-7b": 6_738_546_688,
    "codellama-13b": 13_016_028_160,
    "codellama-34b": 33_743_970_304,
    "tinyllama-1.1b": 1_100_048_384,
    "smollm2-135m": 134_515_008,
    "mistral-7b": 7_241_732_096,
    "mistral-7b-v0.3": 7_248_023_552,
    "mistral-nemo": 12_247_782_400,
    "mixtral-8x7b": 46_702_792_704,
    "mixtral-8x22b": 140_620_634_112,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-14b": 14_770_033_664,
    "qwen2.5-32b": 32_763_876_352,
    "qwen2.5-72b": 72_706_203_648,
    "qwen3-0.6b": 596_049_920,
    "qwen3-8b": 8_190_735_360,
    "qwen3-32b": 32_762_123_264,
    "qwen3-30b-a3b": 30_532_122_624,
    "qwen1.5-moe-a2.7b": 14_315_784_192,
    "gemma-2b": 2_506_172_416,
    "gemma-7b": 8_537_680_896,
    "gemma-2-2b": 2_614_341_888,
    "gemma-2-9b": 9_241_705_984,
    "gemma-2-27b": 27_227_128_320,
    "gemma-3-1b": 999_885_952,
    "phi-1.5": 1_418_270_720,
    "phi-2": 2_779_683_840,
    "phi-3-mini": 3_821_079_552,
    "phi-3-medium": 13_960_238_080,
    "phi-4": 14_659_507_200,
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "gpt-j-6b": 6_050_882_784,
    "gpt-neox-20b": 20_554_567_680,
    "pythia-160m": 162_322_944,
    "pythia-410m": 405_334_016,
    "pythia-1.4b": 1_414_647_808,
    "pythia-2.8b": 2_775_208_960,
    "pythia-6.9b": 6_857_302_016,
    "pythia-12b": 11_846_072_320,
    "santacoder": 1_124_886_528,
    "starcoder": 15_517_456_384,
    "starcoder2-3b": 3_030_371_328,
    "starcoder2-7b": 7_173_923_840,
    "mpt-7b": 6_649_286_656,
    "falcon-7b": 6_921_720_704,
    "falcon-40b": 41_303_293_952,
    "bloom-560m": 559_214_592,
    "bloom-7b1": 7_069_016_064,
    "olmo-7b": 6_888_095_744,
    "olmo-2-7b": 7_298_617_344,
    "opt-125m": 125_239_296,
    "opt-1.3b": 1_315_758_080,
    "opt-6.7b": 6_658_473_984,
    "bert-base": 109_514_298,
    "bert-large": 335_174_458,
    "t5-small": 60_506_624,
    "t5-base": 222_903_552,
    "t5-large": 737_668_096,
    "flan-t5-xxl": 11_135_332_352,
    "llava-1.5-7b": 7_063_427_072,
}
KNOWN = sorted(set(families()) - {ANY_OTHER})
SIZES = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 32000}


def shipped(name: str) -> Architecture:
    return catalogue()[name].architecture


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_totals(name: str) -> None:
    assert shipped(name).parameters == PUBLISHED[name]


def test_every_shipped_model_is_of_a_known_family() -> None:
    for model in catalogue().values():
        found = model.architecture
        assert found.known, model.name
        assert sum(found.components().values()) == found.parameters
        assert found.decoder.layers * found.decoder.layer_parameters <= found.parameters


def test_names_are_those_that_adapters_target() -> None:
    def linear(name: str) -> set[str]:
        return {w.name for w, _ in shipped(name).weights() if w.linear}

    attention, mlp = {"q_proj", "k_proj", "v_proj", "o_proj"}, {"gate_proj", "up_proj", "down_proj"}
    assert linear("llama-2-7b") == {*attention, *mlp, "lm_head"}
    assert linear("gpt2") == {"c_attn", "c_proj", "c_fc", "lm_head"}
    assert linear("mpt-7b") == {"Wqkv", "out_proj", "up_proj", "down_proj", "lm_head"}
    assert linear("falcon-7b") == {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h", "lm_head"}
    assert linear("phi-2") == {"q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2", "lm_head"}


def weight(found: Architecture, name: str) -> Weight:
    return next(w for w, _ in found.weights() if w.name == name)


def test_rows_are_outputs_and_cols_inputs() -> None:
    assert (weight(shipped("gpt2"), "c_fc").rows, weight(shipped("gpt2"), "c_fc").cols) == (3072, 768)
    down = weight(shipped("llama-3-8b"), "down_proj")
    assert (down.rows, down.cols) == (4096, 14336)
    one_head = weight(shipped("starcoder"), "c_attn")
    assert (one_head.rows, one_head.cols) == (6144 + 2 * 128, 6144)


def test_experts_are_stacked_parameters_and_mostly_idle() -> None:
    found = shipped("mixtral-8x7b")
    expert = weight(found, "gate_up_proj")
    assert (expert.copies, expert.linear, expert.active) == (8, False, 0.25)
    assert found.active_parameters == 12_879_925_248
    assert (found.decoder.experts, found.decoder.experts_per_token) == (8, 2)
    assert shipped("qwen3-30b-a3b").active_parameters == pytest.approx(3.3e9, rel=0.02)


def test_layers_with_and_without_experts_are_two_stacks() -> None:
    found = architecture_of({"model_type": "qwen3_moe", "num_hidden_layers": 5, "decoder_sparse_step": 2})
    assert [(s.name, s.layers, s.experts) for s in found.stacks] == [("decoder", 2, 128), ("decoder", 3, 0)]
    spared = architecture_of({"model_type": "qwen3_moe", "num_hidden_layers": 5, "mlp_only_layers": [0, 4, 9]})
    assert [s.layers for s in spared.stacks] == [3, 2]


def test_tied_heads_count_once_and_their_biases_stay() -> None:
    config = {"model_type": "phi", "vocab_size": 1000, "hidden_size": 64}
    loose, tied = architecture_of(config), architecture_of({**config, "tie_word_embeddings": True})
    assert loose.parameters - tied.parameters == 64 * 1000
    assert tied.components()["head"] == 1000


def test_facts_beside_the_counts() -> None:
    assert shipped("mistral-7b").decoder.window == 4096
    assert shipped("mistral-7b-v0.3").decoder.window is None
    assert shipped("qwen2.5-7b").decoder.window is None
    assert shipped("gemma-2-2b").decoder.window is None
    assert "4096 tokens" in shipped("gemma-2-2b").notes[0]
    assert (shipped("pythia-1.4b").decoder.rotary, shipped("pythia-1.4b").decoder.parallel) == (0.25, True)
    assert (shipped("falcon-40b").decoder.kv_heads, shipped("falcon-7b").decoder.kv_heads) == (8, 1)
    assert (shipped("bert-base").decoder.name, shipped("bert-base").vocab) == ("encoder", 30522)
    assert (shipped("t5-base").max_positions, shipped("bloom-560m").max_positions) == (None, None)
    assert [s.name for s in shipped("t5-base").stacks] == ["encoder", "decoder"]
    assert shipped("roberta-base").max_positions == 512
    llava = shipped("llava-1.5-7b")
    assert (llava.image_tokens, llava.decoder.hidden, llava.components()["projector"]) == (576, 4096, 20_979_712)
    assert architecture_of({"model_type": "bert", "architectures": ["BertModel"]}).vocab == 0


def test_an_unknown_family_is_assumed_to_be_a_llama() -> None:
    found = architecture_of({"model_type": "brandnew", **SIZES, "intermediate_size": 11008})
    assert not found.known
    assert "brandnew" in found.notes[0]
    assert found.parameters == shipped("llama-2-7b").parameters
    by_other_names = {"n_embd": 4096, "n_layer": 32, "n_head": 32, "vocab_size": 32000, "ffn_dim": 11008}
    assert architecture_of(by_other_names).parameters == found.parameters
    assert architecture_of({"model_type": "x", **SIZES}).parameters == pytest.approx(found.parameters, rel=0.01)


def test_an_unknown_family_with_experts_or_eyes() -> None:
    sparse = architecture_of({"model_type": "x", **SIZES, "n_routed_experts": 8, "num_experts_per_tok": 2,
                              "moe_intermediate_size": 14336, "num_key_value_heads": 8})  # fmt: skip
    assert not sparse.known
    assert sparse.parameters == pytest.approx(shipped("mixtral-8x7b").parameters, rel=0.001)
    seeing = architecture_of({"model_type": "gemma3", "text_config": {"model_type": "gemma3_text"}})
    assert not seeing.known
    assert seeing.parameters == architecture_of({"model_type": "gemma3_text"}).parameters


@pytest.mark.parametrize(
    "config", [{}, {"model_type": "x"}, {"model_type": "x", "hidden_size": 8}, {"hidden_size": "a"}]
)
def test_a_config_without_sizes_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the model's config gives no"):
        architecture_of(config)


NONSENSE: list[Any] = ["many", -1, 0, 1.5, True, [], [3], {}, {"a": 1}, None, 7, 10**400, float("nan")]


@pytest.mark.parametrize("model_type", [*KNOWN, "brandnew"])
def test_nonsense_is_told_plainly_or_counted_never_a_traceback(model_type: str) -> None:
    keys = {
        *SIZES, "intermediate_size", "num_key_value_heads", "head_dim", "tie_word_embeddings", "n_embd", "n_layer",
        "n_head", "n_inner", "n_positions", "rotary_dim", "d_model", "n_heads", "n_layers", "max_seq_len",
        "num_kv_heads",
        "ffn_hidden_size", "bias", "num_ln_in_parallel_attn", "num_experts", "num_local_experts", "num_experts_per_tok",
        "moe_intermediate_size", "decoder_sparse_step", "mlp_only_layers", "sliding_window", "layer_types",
        "use_sliding_window", "max_window_layers", "rope_parameters", "partial_rotary_factor", "hidden_act",
        "max_position_embeddings", "type_vocab_size", "architectures", "id2label", "num_labels", "pad_token_id", "d_kv",
        "d_ff", "num_layers", "num_heads", "num_decoder_layers", "feed_forward_proj", "relative_attention_num_buckets",
        "text_config", "vision_config", "vision_feature_layer", "word_embed_proj_dim", "qk_layernorm", "ffn_dim",
    }  # fmt: skip
    sizes = SIZES if model_type == "brandnew" else {}
    for key in keys:
        for value in NONSENSE:
            with contextlib.suppress(ValueError):
                assert architecture_of({"model_type": model_type, **sizes, key: value}).parameters > 0


def test_messages_name_the_key() -> None:
    with pytest.raises(ValueError, match="`hidden_size` of the model's config is 'big', not a whole number"):
        architecture_of({"model_type": "llama", "hidden_size": "big"})
    with pytest.raises(ValueError, match="`vocab_size` of the model's config is -5, less than 1"):
        architecture_of({"model_type": "llama", "vocab_size": -5})
    with pytest.raises(ValueError, match="a width of 100 can't be split into 32 attention heads"):
        architecture_of({"model_type": "llama", "hidden_size": 100})
    with pytest.raises(ValueError, match="32 attention heads can't share 5"):
        architecture_of({"model_type": "llama", "num_key_value_heads": 5})
    with pytest.raises(ValueError, match="a token can't go to 9 of 8 experts"):
        architecture_of({"model_type": "mixtral", "num_experts_per_tok": 9})


def test_a_config_is_found_as_file_folder_or_in_the_hubs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"model_type": "gpt2", "n_embd": 64, "n_head": 4, "n_layer": 2}
    (tmp_path / "config.json").write_text(json.dumps(config))
    for name in (str(tmp_path), str(tmp_path / "config.json"), "config.json", "."):
        found = find_model(name, tmp_path)
        assert found is not None
        assert found.config == config
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    model = tmp_path / "hf/hub/models--someone--theirs"
    for revision, layers in (("aaa", 3), ("bbb", 5)):
        (model / "snapshots" / revision).mkdir(parents=True)
        (model / "snapshots" / revision / "config.json").write_text(json.dumps({**config, "n_layer": layers}))
    (model / "refs").mkdir()
    (model / "refs/main").write_text("aaa")
    found = find_model("someone/theirs", tmp_path)
    assert found is not None
    assert (found.hub, found.architecture.decoder.layers) == ("someone/theirs", 3)
    assert find_model("someone/elses", tmp_path) is None


@pytest.mark.parametrize("name", ["", "../..", "a\0b", "x" * 5000, "~", "*", "[", "a//b"])
def test_odd_names_are_just_unknown(name: str, tmp_path: Path) -> None:
    assert find_model(name, tmp_path / "nowhere") is None


def test_the_catalogue_is_quick_to_read() -> None:
    """Every start reads it; the budget is 15 ms, here with room for a busy machine."""
    catalogue.cache_clear()
    start = time.perf_counter()
    assert len(catalogue()) > 150
    assert time.perf_counter() - start < 0.15
