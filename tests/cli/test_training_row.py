"""`runner show R --sample` where no engine is asked: what it refuses, and its place."""

from __future__ import annotations

from tests.cli.conftest import Invoke
from tests.conftest import Bench

DPO = """recipe: 1
kind: dpo
title: Pairs
needs: {sft: sft}
base_model: ${needs.sft.model}
rl: dpo
learning_rate: 1e-5
datasets: [{path: example/pairs, type: chat_template.default}]
"""
SFT = """recipe: 1
kind: finetune
title: Chats
base_model: meta-llama/Llama-2-13b-hf
learning_rate: 1e-5
datasets: [{path: example/chat, type: chat_template}]
"""


def test_a_need_that_has_not_run(bench: Bench, invoke: Invoke) -> None:
    bench.write("sft", SFT)
    bench.write("dpo", DPO)
    said = invoke("show", "dpo", "--profile", "smoke", "--sample")
    assert said.code == 1
    assert "error[R410]: `sft` has not run in profile `smoke` yet" in said.err


def test_a_kind_without_rows_to_show(bench: Bench, invoke: Invoke) -> None:
    bench.write("serve", "recipe: 1\nkind: serve\ntitle: An endpoint\nmodel: llama-2-13b\n")
    said = invoke("show", "serve", "--sample", "3")
    assert said.code == 1
    assert "serve.yaml:2:7: error[R867]: no row of kind `serve` can be shown" in said.err


def test_a_number_that_is_none(bench: Bench, invoke: Invoke) -> None:
    bench.write("sft", SFT)
    assert invoke("show", "sft", "--sample", "-1").code == 2
    assert invoke("show", "sft", "--sample", "many").code == 2
