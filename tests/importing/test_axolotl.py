"""Axolotl's configs: comments and keys kept, values as they were meant, the kind from the content, faults told."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from runner.importing import detect
from runner.importing.read import read
from runner.importing.types import Imported
from runner.recipe.load import Refused, parse
from tests.cli.conftest import Invoke, invoke
from tests.cli.test_hostile import FILES, civil, tree
from tests.conftest import Bench

__all__ = ["invoke"]
CONFIG = """\
# a comment on top
base_model: meta-llama/Llama-2-13b-hf  # the base
adapter: lora
lora_r: 8
lora_alpha: 16
lora_target_linear: yes

datasets:
  # the only one
  - path: yahma/alpaca-cleaned
    type: alpaca
sequence_len: 512
micro_batch_size: "1"
num_epochs: 1
learning_rate: 5e-5   # PyYAML: text
"""


def imported(tmp_path: Path, text: str, tool: str | None = None, name: str = "config.yml") -> Imported:
    file = tmp_path / name
    file.write_text(text)
    return detect.translate(read(file), tmp_path, tool)


def values(made: Imported) -> dict[str, object]:
    return parse(made.text, "recipe", "recipe").plain()


def codes(made: Imported) -> list[str]:
    return [d.code for d in made.found]


def test_comments_stay_and_values_are_what_was_meant(tmp_path: Path) -> None:
    made = imported(tmp_path, CONFIG)
    header = "recipe: 1\nkind: finetune\ntitle: LoRA finetuning of Llama-2-13b-hf\n\n"
    same = CONFIG.replace("linear: yes", "linear: true").replace('"1"', "1")
    assert made.text == header + same
    got = values(made)
    assert (got["learning_rate"], got["lora_target_linear"], got["micro_batch_size"]) == (5e-5, True, 1)
    assert codes(made) == []
    assert [(row.theirs, row.ours) for row in made.rows[1:]] == [
        ("lora_target_linear", "true"),
        ("micro_batch_size", "1"),
    ]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("tf32: on", True),
        ("tf32: Off", False),
        ("tf32: 'yes'", True),
        ("tf32: 0", False),
        ("tf32: TRUE", True),
        ("save_strategy: no", "no"),
        ("jagged_restart_anneal_steps: false", 0),
        ("weight_decay: .1", 0.1),
        ("weight_decay: 1e-2", 0.01),
        ("weight_decay: '1e-2'", 0.01),
        ("max_steps: 010", 8),
        ("max_steps: 0x10", 16),
        ("max_steps: 1_000", 1000),
        ("wandb_name: '16'", "16"),
        ("wandb_name: y", "y"),
        ("wandb_project:", None),
        ("adam_epsilon: !!float 1e-8", 1e-8),
        ("hub_model_id: ~", None),
    ],
)
def test_a_value_is_read_as_it_was_meant(written: str, meant: object, tmp_path: Path) -> None:
    key = written.partition(":")[0]
    got = values(imported(tmp_path, CONFIG + written + "\n"))
    assert got[key] == meant
    assert type(got[key]) is type(meant)


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ("", "finetune"),
        ("rl: dpo\n", "dpo"),
        ("rl: kto\n", "dpo"),
        ("rl: grpo\n", "rlhf"),
        ("reward_model: true\n", "reward"),
        ("base_model: mistralai/Mixtral-8x7B-v0.1\n", "moe"),
        ("base_model: Qwen/Qwen3-30B-A3B\n", "moe"),
        ("pretraining_dataset:\n  - path: a/b\nadapter:\n", "pretrain"),
        ("pretraining_dataset:\n  - path: a/b\n", "finetune"),
        ("reinit_weights: true\nadapter:\nload_in_8bit: false\n", "pretrain"),
        ("datasets:\n  - {path: a/b, type: completion}\nadapter:\n", "pretrain"),
        ("rl:\nreward_model: no\n", "finetune"),
    ],
)
def test_the_kind_is_told_by_the_content(more: str, kind: str, tmp_path: Path) -> None:
    made = imported(tmp_path, CONFIG + more)
    assert made.kind == kind == values(made)["kind"]
    assert f"{kind}" in made.text


SEEING = """\
base_model: llava-hf/llava-1.5-7b-hf
processor_type: AutoProcessor
datasets:
  - path: a/pictures
    type: chat_template
    split: train[:1%]
  - type: chat_template  # gone with its type
    path: b/pictures
  - {path: c/pictures, type: chat_template}
sequence_len: 2048
learning_rate: 2e-5
"""


def test_models_that_see(tmp_path: Path) -> None:
    made = imported(tmp_path, SEEING)
    assert made.kind == "multimodal"
    rows = [{"path": "a/pictures", "split": "train[:1%]"}, {"path": "b/pictures"}, {"path": "c/pictures"}]
    assert values(made)["datasets"] == rows
    other = imported(tmp_path, SEEING.replace("split:", "field_human:"))
    assert other.kind == "finetune", "the kind's own rows can't hold it"


def test_what_is_off_and_no_key_of_the_kind_becomes_a_comment(tmp_path: Path) -> None:
    made = imported(tmp_path, CONFIG + "rl:\nreward_model: false\n")
    assert "\n# rl:\n# reward_model: false\n" in made.text
    assert {row.theirs for row in made.rows} >= {"rl", "reward_model"}


def test_a_key_given_twice_counts_as_pyyaml_has_it(tmp_path: Path) -> None:
    text = CONFIG + "lora_r: 32\nspecial_tokens:\n  pad_token: a\n  pad_token: b\n"
    made = imported(tmp_path, text)
    read_by_axolotl = yaml.safe_load(text)
    assert values(made)["lora_r"] == read_by_axolotl["lora_r"] == 32
    assert values(made)["special_tokens"] == read_by_axolotl["special_tokens"] == {"pad_token": "b"}
    assert "\n# lora_r: 8\n" in made.text
    assert [(d.code, d.span.line, d.severity) for d in made.found] == [("R811", 4, "warning"), ("R811", 18, "warning")]


def test_names_of_a_header_become_comments(tmp_path: Path) -> None:
    made = imported(tmp_path, CONFIG + "merge: true\nneeds:\n  a: b\n")
    assert "# merge: true\n# needs:\n#   a: b\n" in made.text
    assert codes(made) == ["R812", "R812"]


def test_anchors_merge_keys_and_documents(tmp_path: Path) -> None:
    text = (
        "%YAML 1.1\n---\n"
        + CONFIG.replace("  # the only one\n  - path", "  - &one\n    path")
        + "test_datasets: [*one]\n"
    )
    made = imported(tmp_path, text + "...\n")
    got = values(made)
    assert got["test_datasets"] == got["datasets"]
    assert made.text.startswith("recipe: 1\n")
    merged = imported(tmp_path, CONFIG + "fsdp_config: &f\n  offload_params: yes\nmodel_kwargs:\n  <<: *f\n")
    assert values(merged)["model_kwargs"] == {"offload_params": True}


def test_two_names_of_one_key(tmp_path: Path) -> None:
    made = imported(tmp_path, CONFIG + "revision_of_model: main\nfsdp_config:\n  fsdp_offload_params: true\n")
    got = values(made)
    assert (got["model_revision"], got["fsdp_config"]) == ("main", {"offload_params": True})


def test_a_deepspeed_file_becomes_a_part_of_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "ds.json").write_text('{"zero_optimization": {"stage": 2, "overlap_comm": true}}')
    made = imported(tmp_path, CONFIG + "deepspeed: ds.json\n")
    assert values(made)["deepspeed"] == {"zero_optimization": {"stage": 2, "overlap_comm": True}}
    bundled = imported(tmp_path, CONFIG + "deepspeed: deepspeed_configs/zero2.json\n")
    assert values(bundled)["deepspeed"] == "deepspeed_configs/zero2.json"
    (tmp_path / "ds.json").write_text("[1")
    assert codes(imported(tmp_path, CONFIG + "deepspeed: ds.json\n")) == ["R818"]


def test_json_and_braces(tmp_path: Path) -> None:
    made = imported(tmp_path, '{"base_model": "a/b",\n\t"learning_rate": 1e-4, "rl": "dpo"}', name="c.json")
    assert values(made)["learning_rate"] == 1e-4
    assert made.kind == "dpo"
    made = imported(tmp_path, "{base_model: a/b, learning_rate: 1e-4, tf32: yes}\n")
    assert (values(made)["base_model"], values(made)["tf32"]) == ("a/b", True)


def test_variables_are_told(tmp_path: Path) -> None:
    made = imported(tmp_path, CONFIG + "hub_model_id: ${HF_USER}/x\nchat_template_jinja: '${x}'\n")
    assert [(d.code, d.span.line) for d in made.found] == [("R819", 16)]


@pytest.mark.parametrize(
    ("raw", "code", "line"),
    [
        (b"", "R809", 0),
        (b"# only a comment\n", "R809", 0),
        (b"- a\n- b\n", "R809", 1),
        (b"word\n", "R809", 1),
        (b"a: [1, 2\nb: 3\n", "R809", 2),
        (b"a: b: c\n", "R809", 1),
        (b"base_model: \xff\xfe\n", "R808", 1),
        (b"base_model: a\x00b\n", "R808", 0),
        (b"# " + b"x" * 70_000, "R808", 0),
        (b"a: " + b"[" * 5000, "R809", 1),
        (b"[" * 5000, "R809", 1),
        (b"a: &a [*a]\n", "R809", 1),
        (b"x: !!python/object:os.system {}\nbase_model: a\n", "R809", 1),
        (b"a: 1\n---\nb: 2\n", "R809", 2),
        (b"apiVersion: v1\nspec: {}\n", "R810", 0),
        (b"recipe: 1\nkind: dpo\nbase_model: a\nlearning_rate: 1e-4\nrl: dpo\n", "R815", 1),
        (b"title: x\nkind: y\n", "R810", 0),
        (b"base_model: a\nlearning_rate: 1e-4\nrl: ebft\nebft: {mode: strided}\n", "R873", 3),
        (b'{"a": 1, "a": 2}', "R810", 0),
    ],
)
def test_broken_files_are_refused_at_their_line(raw: bytes, code: str, line: int, tmp_path: Path) -> None:
    file = tmp_path / "config.yml"
    file.write_bytes(raw)
    with pytest.raises(Refused) as refused:
        detect.translate(read(file), tmp_path)
    first = refused.value.diagnostics[0]
    assert (first.code, first.span.file) == (code, str(file))
    if line:
        assert first.span.line == line


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_hostile_files_are_met_civilly(bench: Bench, invoke: Invoke, content: bytes) -> None:
    (bench.project.root / "config.yml").write_bytes(content)
    for more in ((), ("--from", "axolotl"), ("--from", "trl"), ("--as", "phase4/x")):
        civil(invoke("import", "config.yml", *more))
    assert tree(bench.project.root) <= {"config.yml", "recipes", "recipes/phase4", "recipes/phase4/x.yaml"}


def test_missing_files_and_folders(tmp_path: Path) -> None:
    for place in (tmp_path / "none.yml", tmp_path, Path("a\0b")):
        with pytest.raises(Refused) as refused:
            read(place)
        assert refused.value.diagnostics[0].code == "R808"


def test_the_command_tells_what_axolotl_would_drop_at_its_line(bench: Bench, invoke: Invoke) -> None:
    (bench.project.root / "config.yml").write_text(CONFIG + "sequence_length: 4096\nflash_attention: true\n")
    said = invoke("import", "config.yml", "--as", "phase4/mine")
    assert said.code == 1
    file = bench.project.recipe_file("phase4/mine")
    lines = file.read_text().splitlines()
    assert lines[0] == "# yaml-language-server: $schema=../../schemas/finetune.schema.json"
    at = lines.index("sequence_length: 4096") + 1
    assert f"recipes/phase4/mine.yaml:{at}:1: error[R004]: unknown key `sequence_length`" in said.err
    assert "did you mean `sequence_len`?" in said.err
    assert f"recipes/phase4/mine.yaml:{at + 1}:1: warning[R015]" in said.err
    assert "which needs a hand" in said.out
    assert invoke("import", "config.yml", "--as", "phase4/mine").code == 1, "it exists"
    assert file.read_text().splitlines() == lines


def test_the_command_prints_and_exits_0_where_all_is_well(bench: Bench, invoke: Invoke) -> None:
    (bench.project.root / "config.yml").write_text(CONFIG)
    said = invoke("import", "config.yml")
    assert (said.code, yaml.safe_load(said.out)["kind"]) == (0, "finetune")
    assert said.err.split()[:2] == ["(kind)", "finetune"]
    out = bench.project.root / "sub" / "made.yaml"
    assert invoke("import", "config.yml", "--out", str(out)).code == 0
    assert out.read_text() == said.out
    assert invoke("import", "config.yml", "--as", "../x").code == 1
    assert invoke("import", "config.yml", "--as", "x", "--out", "y").code == 2
    assert invoke("import", "nothing.yml").code == 1


def test_keys_of_nobody_s_without_a_value_are_put_into_comments(tmp_path: Path) -> None:
    """As Axolotl reads them: `gptq_groupsize:` stands in many of its own examples."""
    file = tmp_path / "config.yml"
    file.write_text(CONFIG + "gptq_groupsize:\ndebug: null\nlora_fan_in_fan_out:\n")
    made = detect.translate(read(file), tmp_path)
    assert "# gptq_groupsize:\n# debug: null\nlora_fan_in_fan_out:" in made.text
    assert [row.theirs for row in made.rows if "no key of kind" in row.why] == ["gptq_groupsize", "debug"]
