"""Rule about options that do nothing, or are refused, without another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from runner.diagnostics import Diagnostic
from runner.recipe.rules import Facts, rule


@dataclass(frozen=True, slots=True)
class _Need:
    """`key` needs what `met` looks for, called `what`; `why` is the remark at the key."""

    key: str
    met: Callable[[Facts], bool]
    what: str
    help: str
    why: str = ""

    def asked(self, facts: Facts) -> bool:
        return facts.has(self.key)


def _given(*keys: str) -> Callable[[Facts], bool]:
    """True where one of them is there, or was refused for another reason."""
    return lambda facts: (
        any(not facts.lacks(key.split(".")[0]) and facts.has(key) for key in keys)
        or bool(facts.refused & {key.split(".")[0] for key in keys})
    )


def _fsdp2(facts: Facts) -> bool:
    return facts.get("fsdp_version") == 2 and facts.has("fsdp_config")


def _quantized_adapter(facts: Facts) -> bool:
    return (facts.adapter, facts.has("load_in_4bit"), facts.has("load_in_8bit")) in (
        ("qlora", True, False),
        ("lora", False, True),
    )


_NEEDS = (
    _Need("torch_compile_options", _given("torch_compile"), "`torch_compile`", "set `torch_compile: true`"),
    _Need("fp8_config", _given("fp8"), "`fp8`", "set `fp8: true`"),
    _Need(
        "fp8_enable_fsdp_float8_all_gather",
        _fsdp2,
        "FSDP2",
        "set `fsdp_version: 2` and `fsdp_config`",
        "it is FSDP2's gathering that it changes",
    ),
    _Need(
        "fp32_norms",
        _fsdp2,
        "FSDP2",
        "set `fsdp_version: 2` and `fsdp_config`",
        "FSDP1 and plain data parallel training have one number format for a layer",
    ),
    _Need(
        "scaling_softmax",
        lambda facts: facts.get("attn_implementation") == "flex_attention" or facts.has("flex_attention"),
        "flex attention",
        "set `attn_implementation: flex_attention`",
    ),
    _Need(
        "push_dataset_to_hub",
        lambda facts: facts.get("hf_use_auth_token") is True,
        "`hf_use_auth_token: true`",
        "set `hf_use_auth_token: true`",
    ),
    _Need(
        "do_bench_eval",
        _given("evals_per_epoch", "eval_steps"),
        "`eval_steps` or `evals_per_epoch`",
        "set `eval_steps`",
    ),
    _Need(
        "peft_layers_pattern",
        _given("peft_layers_to_transform"),
        "`peft_layers_to_transform`",
        "say which layers in `peft_layers_to_transform`",
    ),
    _Need("deepcompile", _given("deepspeed"), "`deepspeed`", "set `deepspeed: zero3`", "it is a pass of DeepSpeed's"),
    _Need(
        "ple_cpu_offload",
        _quantized_adapter,
        "`qlora` in 4 bits or `lora` in 8",
        "set `adapter: qlora` and `load_in_4bit: true`",
    ),
    _Need("relora", _given("jagged_restart_steps"), "`jagged_restart_steps`", "add `jagged_restart_steps: 200`"),
    _Need("relora", _given("adapter"), "an adapter", "add `adapter: lora`"),
    _Need(
        "batch_size",
        _given("micro_batch_size", "gradient_accumulation_steps"),
        "`micro_batch_size`",
        "add `micro_batch_size`",
        "the steps to accumulate are the one divided by the other",
    ),
    _Need(
        "nvfp4_merge_aware_start_step",
        _given("nvfp4_merge_aware"),
        "`nvfp4_merge_aware`",
        "set `nvfp4_merge_aware: true`",
    ),
    _Need("nvfp4_merge_aware", _given("use_sonicmoe", "expert_backend"), "`use_sonicmoe`", "set `use_sonicmoe: true`"),
    _Need(
        "liger_use_token_scaling",
        _given("liger_fused_linear_cross_entropy"),
        "`liger_fused_linear_cross_entropy`",
        "set `liger_fused_linear_cross_entropy: true`",
    ),
)

# what each row of a list must say
_ROWS = {"role_boundaries": ("role", "start"), "lr_groups": ("name", "modules", "lr")}


@rule(
    "R830",
    "an option without what it stands on",
    source="https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/schemas/validation.py",
)
def needs_another(facts: Facts) -> Iterator[Diagnostic]:
    """Some options change how another one works: compiler flags without the compiler, a number format of FSDP2 without
    FSDP2, a restart schedule without its interval. Axolotl's validator refuses them alone.
    """
    for need in _NEEDS:
        if need.asked(facts) and not need.met(facts):
            yield facts.report(
                "R830", need.key, f"`{need.key}` needs {need.what}", label=need.why, help=f"{need.help}, or remove it"
            )
    if facts.get("fsdp_config.cpu_offload_pin_memory") is False:
        met = {"`fsdp_version: 2`": _fsdp2(facts), "`offload_params: true`": facts.has("fsdp_config.offload_params")}
        if lacking := [what for what, given in met.items() if not given]:
            yield facts.report(
                "R830",
                "fsdp_config.cpu_offload_pin_memory",
                f"`cpu_offload_pin_memory: false` needs {' and '.join(lacking)}",
                help="remove `cpu_offload_pin_memory`, or set " + " and ".join(lacking),
            )
    wraps = facts.get("fsdp_config.auto_wrap_policy")
    if wraps == "SIZE_BASED_WRAP" and facts.get("fsdp_config.min_num_params") is None:
        yield facts.report(
            "R830",
            "fsdp_config.auto_wrap_policy",
            "`auto_wrap_policy: SIZE_BASED_WRAP` needs `min_num_params`",
            help="add `min_num_params: 100000000`, or set `auto_wrap_policy: TRANSFORMER_BASED_WRAP`",
        )
    for key, wanted in _ROWS.items():
        for at, node in facts.all(f"{key}.*"):
            lacking = [f"`{k}`" for k in wanted if node.child(k) is None or facts.get(f"{at}.{k}") is None]
            if lacking:
                yield facts.report("R830", at, f"`{at}` needs {', '.join(lacking)}", help=f"add {', '.join(lacking)}")
