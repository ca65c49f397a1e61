"""Facts about embedding models: known ones by their names, others by the files in their folder."""

from __future__ import annotations

import json
from pathlib import Path

from runner.facts.embedders import find_embedder, known_embedders


def test_the_default_is_known_by_both_of_its_names() -> None:
    found = find_embedder("all-MiniLM-L6-v2")
    assert found is not None
    assert found == find_embedder("sentence-transformers/all-MiniLM-L6-v2")
    assert (found.dimension, found.max_length) == (384, 256)
    # six layers of 12 x 384 x 384 weights, and a little
    assert abs(found.multiplied / (6 * 12 * 384**2) - 1) < 0.05


def test_a_folder_says_itself(tmp_path: Path) -> None:
    bert = {"model_type": "bert", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    bert |= {"num_attention_heads": 4, "vocab_size": 1000, "max_position_embeddings": 512, "type_vocab_size": 2}
    (tmp_path / "config.json").write_text(json.dumps(bert))
    found = find_embedder(tmp_path.name, tmp_path.parent)
    assert found is not None
    assert (found.dimension, found.max_length) == (64, 512)
    (tmp_path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 128}))
    shorter = find_embedder(tmp_path.name, tmp_path.parent)
    assert shorter is not None
    assert shorter.max_length == 128


def test_nothing_is_made_up(tmp_path: Path) -> None:
    assert find_embedder("some/model", tmp_path) is None
    (tmp_path / "config.json").write_text("[]")
    assert find_embedder(".", tmp_path) is None


def test_the_list_is_sound() -> None:
    for name, each in known_embedders().items():
        assert 0 < each.multiplied < each.parameters, name
        assert each.max_length >= 128, name
