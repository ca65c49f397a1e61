"""Model cards: metadata that the hub takes, and nothing in a recipe that breaks out of its place."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from runner.provenance.card import card_text, code, fenced, plain
from runner.provenance.outputs import describe_outputs
from runner.record import RECORD, Run
from tests.cli.conftest import Invoke
from tests.conftest import BODY, HEADER, Bench
from tests.provenance.made import made_run, resolved


def head(text: str) -> dict:  # type: ignore[type-arg]
    _, front, _ = text.split("---\n", 2)
    found = yaml.safe_load(front)
    assert isinstance(found, dict)
    return found


def test_a_card_takes_the_place_of_the_engines_and_is_no_part_of_the_hash(bench: Bench) -> None:
    bench.write("r")
    run = made_run(bench.project, "r")
    text = (run.path / "output/README.md").read_text()
    assert "an engine's own card" not in text
    assert list(run.record["cards"]) == ["output/README.md"]
    (output,) = run.record["outputs"]
    assert sorted(output["files"]) == ["adapter_config.json", "adapter_model.safetensors"]
    assert output["sha256"] in text
    (run.path / "output/README.md").write_text("edited")
    assert describe_outputs(resolved(bench.project, "r"), run.path)[0] == [output]


def test_its_metadata(bench: Bench) -> None:
    bench.write("r")
    found = head((made_run(bench.project, "r").path / "output/README.md").read_text())
    assert found == {
        "library_name": "peft",
        "license": "other",
        "license_name": "that-of-the-base-model",
        "license_link": "https://huggingface.co/meta-llama/Llama-2-13b-hf",
        "base_model": "meta-llama/Llama-2-13b-hf",
        "base_model_relation": "adapter",
        "datasets": ["yahma/alpaca-cleaned"],
        "pipeline_tag": "text-generation",
        "tags": ["llm-recipes", "finetune", "axolotl", "lora", "adapter"],
        "model-index": [
            {
                "name": "r",
                "results": [
                    {
                        "task": {"type": "text-generation"},
                        "dataset": {"type": "yahma/alpaca-cleaned", "name": "yahma/alpaca-cleaned"},
                        "metrics": [{"type": "loss", "value": 1.75, "name": "Evaluation loss"}],
                    }
                ],
            }
        ],
    }


def test_its_base_is_found_through_the_runs_behind_it(bench: Bench) -> None:
    bench.write("sft", HEADER + BODY + "merge: true\n")
    text = (HEADER + BODY).replace("meta-llama/Llama-2-13b-hf", "${needs.sft.model}")
    bench.write("next", text + "merge: true\nneeds: {sft: sft}\n")
    below = made_run(bench.project, "sft")
    run = made_run(bench.project, "next")
    assert set(run.record["cards"]) == {"output/README.md", "output/merged/README.md"}
    text = (run.path / "output/merged/README.md").read_text()
    found = head(text)
    assert found["base_model"] == "meta-llama/Llama-2-13b-hf"
    assert found["base_model_relation"] == "finetune"
    assert found["library_name"] == "transformers"
    assert f"- run `{below.id}` of `sft`, which left `adapter`, `model`" in text
    assert str(bench.project.root) not in text, "a card is published: no path of this machine"


def test_what_it_tells(bench: Bench) -> None:
    bench.write("r")
    run = made_run(bench.project, "r")
    text = (run.path / "output/README.md").read_text()
    assert "| 3 | 1.5 | 1.75 | 0.8 |" in text
    assert "| `time.steps` | 3 | 3 |" in text
    assert f"runner reproduce r/full/{run.id}" in text
    assert run.record["identity"] in text


HOSTILE = "</td><script>alert(1)</script> | `x` ``` **b** [a](javascript:1) \\n--- \\u2028 é"


def test_untrusted_text_stays_where_it_stands(bench: Bench) -> None:
    text = (HEADER + BODY).replace("title: A test", f'title: "{HOSTILE}"')
    bench.write("r", text + f'wandb_name: "{HOSTILE}"\n')
    run = made_run(bench.project, "r")
    card = (run.path / "output/README.md").read_text()
    assert set(head(card)) >= {"base_model", "tags"}
    outside = re.sub(r"(?ms)^(`{3,})\w*\n.*?^\1$", "", card)
    assert "<script" not in re.sub(r"\\<", "", outside)
    assert "](javascript" not in outside.replace("\\]", "").replace("\\(", "")
    assert len(re.findall(r"^---$", card, re.MULTILINE)) == 2


@pytest.mark.parametrize("text", ["a", "`", "a``b", "", "| x |", "x\ny"])
def test_code_spans(text: str) -> None:
    span = code(text)
    assert "\n" not in span
    assert "|" not in span
    fence = re.match("`+", span)
    assert fence is not None
    assert span.endswith(fence[0])
    assert fence[0] not in span[len(fence[0]) : -len(fence[0])].strip().replace(fence[0] + "`", "")


def test_fences_are_longer_than_what_they_hold() -> None:
    assert fenced("```\nx\n```").startswith("````\n")
    assert plain("<b>\n|*") == "\\<b\\> \\|\\*"


def test_the_command(bench: Bench, invoke: Invoke) -> None:
    bench.write("r")
    run = made_run(bench.project, "r")
    card = run.path / "output/README.md"
    assert invoke("card", "r").out == card.read_text()
    card.unlink()
    assert invoke("card", "r", "--write").code == 0
    assert json.loads((run.path / RECORD).read_text())["cards"] == run.record["cards"]
    assert invoke("verify", "r").code == 0
    failed = made_run(bench.project, "r", status="failed", id="20200101-000000")
    done = invoke("card", str(failed.path))
    assert (done.code, "error[R463]" in done.err) == (1, True)
    assert card_text(Run(run.path, run.record), run.record["outputs"][0]) == card.read_text()
