"""endpoint.json: what starts which server, with which words, and where users ask."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runner.engines.serving import endpoint_spec
from runner.engines.vllm import failure
from runner.facts.boxes import load_box
from runner.facts.servers import is_loopback

LLAMA = {"model": "meta-llama/Llama-2-13b-hf"}


def spec(engine: str = "vllm", box: str = "2xh100", profile: str = "full", **values: Any) -> dict[str, Any]:
    return endpoint_spec(
        {**LLAMA, **values}, engine=engine, box=load_box(box), profile=profile, name="serve/llama-2-13b"
    )


def words(**values: Any) -> list[str]:
    argv: list[str] = spec(**values)["replicas"][0]["argv"]
    return argv


def after(argv: list[str], flag: str) -> str:
    return argv[argv.index(flag) + 1]


def test_one_server_listens_where_users_ask() -> None:
    found = spec(port=9000, tensor_parallel_size=2)
    assert found["proxy"] is None
    assert [r["port"] for r in found["replicas"]] == [found["port"]] == [9000]
    assert found["replicas"][0]["gpus"] == [0, 1]
    assert found["replicas"][0]["environment"]["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert after(found["replicas"][0]["argv"], "--port") == "9000"
    assert after(found["replicas"][0]["argv"], "--host") == "127.0.0.1"


def test_replicas_stand_behind_a_proxy_each_on_gpus_of_its_own() -> None:
    found = spec(port=9000, replicas=2)
    assert found["proxy"] == {"argv": ["haproxy", "-W", "-db", "-f", "haproxy.cfg"], "port": 9000}
    assert [r["port"] for r in found["replicas"]] == [9001, 9002]
    assert [r["gpus"] for r in found["replicas"]] == [[0], [1]]
    assert [r["name"] for r in found["replicas"]] == ["replica-0", "replica-1"]
    assert [
        r["port"]
        for r in endpoint_spec(
            {**LLAMA, "replicas": 2}, engine="vllm", box=load_box("2xh100"), profile="full", name="x", first_port=7000
        )["replicas"]
    ] == [7000, 7001]


@pytest.mark.parametrize("values", [{"host": "0.0.0.0"}, {"api_key_file": "/home/me/key"}, {"host": "10.0.0.4"}])
def test_what_others_can_reach_stands_behind_the_proxys_allowlist(values: dict[str, Any]) -> None:
    found = spec(**values)
    assert found["proxy"] is not None
    assert after(found["replicas"][0]["argv"], "--host") == "127.0.0.1"
    assert found["host"] == values.get("host", "127.0.0.1")


@pytest.mark.parametrize(
    ("host", "own"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("[::1]", True), ("127.9.9.9", True),
    ("0.0.0.0", False), ("::", False), ("example.org", False)],
)  # fmt: skip
def test_loopback(host: str, own: bool) -> None:
    assert is_loopback(host) == own


def test_no_secret_is_in_a_command_line_or_an_environment() -> None:
    found = spec(api_key_file="/home/me/key", host="0.0.0.0")
    assert found["key_file"] == "/home/me/key"
    assert "/home/me/key" not in json.dumps(found["replicas"])


def test_values_become_words_as_vllm_reads_them() -> None:
    found = words(
        enable_prefix_caching=False,
        enforce_eager=True,
        disable_log_stats=False,
        served_model_name=["a", "b"],
        speculative_config={"method": "ngram", "num_speculative_tokens": 4},
        allowed_origins=["https://example.org"],
        middleware=["one.a", "two.b"],
        cudagraph_capture_sizes=[1, 2],
        seed=0,
        max_model_len=None,
    )
    assert "--no-enable-prefix-caching" in found
    assert "--enforce-eager" in found
    assert not [w for w in found if "log-stats" in w], "a switch that can't be unset is left out"
    assert found[found.index("--served-model-name") + 1 :][:2] == ["a", "b"]
    assert json.loads(after(found, "--speculative-config")) == {"method": "ngram", "num_speculative_tokens": 4}
    assert json.loads(after(found, "--allowed-origins")) == ["https://example.org"]
    assert [found[i + 1] for i, w in enumerate(found) if w == "--middleware"] == ["one.a", "two.b"]
    assert found[found.index("--cudagraph-capture-sizes") + 1 :][:2] == ["1", "2"]
    assert after(found, "--seed") == "0"
    assert "--max-model-len" not in found


def test_sigterm_lets_requests_end() -> None:
    assert after(words(), "--shutdown-timeout") == "20"
    assert after(words(drain_s=5), "--shutdown-timeout") == "5"
    assert after(words(shutdown_timeout=7), "--shutdown-timeout") == "7"


def test_adapters_are_never_passed_over() -> None:
    modules = [{"name": "llama-2-13b", "path": "/a"}, {"name": "sql", "path": "/b"}]
    found = words(lora_modules=modules)
    assert "--enable-lora" in found
    assert after(found, "--max-loras") == "2"
    assert after(found, "--served-model-name") == "llama-2-13b-base", "an adapter has the recipe's name"
    assert spec(lora_modules=modules)["model"] == "llama-2-13b"
    at = found.index("--lora-modules")
    assert [json.loads(w) for w in found[at + 1 : at + 3]] == modules


def test_on_a_processor_nothing_asks_for_a_gpu_or_in_smoke_for_the_network() -> None:
    found = spec(box="cpu", profile="smoke", replicas=2)
    for replica in found["replicas"]:
        assert replica["gpus"] == []
        assert replica["environment"]["CUDA_VISIBLE_DEVICES"] == ""
        assert replica["environment"]["HF_HUB_OFFLINE"] == "1"
        assert replica["environment"]["VLLM_CPU_OMP_THREADS_BIND"] == "nobind", "two on the same cores"
        assert "--enforce-eager" in replica["argv"]
        assert after(replica["argv"], "--dtype") == "bfloat16"
    assert "HF_HUB_OFFLINE" not in spec()["replicas"][0]["environment"]


@pytest.mark.parametrize(
    ("engine", "program", "expected"),
    [
        ("trtllm", "trtllm-serve", {"--tp_size": "2", "--max_seq_len": "4096", "--own_flag": "3"}),
        ("sglang", "sglang", {"--tp-size": "2", "--context-length": "4096", "--own-flag": "3"}),
        ("tgi", "text-generation-launcher", {"--num-shard": "2", "--max-total-tokens": "4096", "--own-flag": "3"}),
    ],
)
def test_other_servers_are_told_in_their_words(engine: str, program: str, expected: dict[str, str]) -> None:
    values = {"tensor_parallel_size": 2, "max_model_len": 4096, "trust_remote_code": False}
    argv = spec(engine, **values, engine_args={"own_flag": 3, "off": False, "on": True})["replicas"][0]["argv"]
    assert argv[0] == program
    assert LLAMA["model"] in argv
    assert {flag: after(argv, flag) for flag in expected} == expected
    assert argv[-1] == "--on"
    assert not [w for w in argv if "off" in w or "trust" in w]


def test_an_unknown_server_is_no_server() -> None:
    with pytest.raises(KeyError):
        spec("llamacpp")


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("=== serve\nendpoint: error: replica-0 ended with exit code 1\n", "replica-0 ended with exit code 1"),
        (
            "(APIServer pid=7) (EngineCore pid=9) ERROR 11-24 18:46:22 [core.py:1510] RuntimeError: Worker failed\n",
            "RuntimeError: Worker failed",
        ),
        ("INFO nothing\n", None),
    ],
)
def test_what_went_wrong_is_found(log: str, said: str | None) -> None:
    assert failure(log) == said
