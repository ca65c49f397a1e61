"""What is asked of vLLM, in its own words, and what it takes where nothing is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from runner.facts.architecture import Architecture
from runner.facts.boxes import Box
from runner.facts.gpus import GpuFacts

Method = Literal["none", "fp8", "awq", "gptq", "w8a8", "nf4", "int8"]

# what vLLM and checkpoints call them -> the way the weights lie in memory
METHODS: dict[str, Method] = {
    "none": "none", "": "none",
    "fp8": "fp8", "fp8_per_tensor": "fp8", "fp8_per_channel": "fp8", "fp8_per_block": "fp8", "modelopt": "fp8",
    "awq": "awq", "awq_marlin": "awq", "auto_awq": "awq",
    "gptq": "gptq", "gptq_marlin": "gptq", "auto_gptq": "gptq", "w4a16": "gptq",
    "w8a8": "w8a8", "int8_w8a8": "w8a8",
    "nf4": "nf4", "bitsandbytes": "nf4", "bnb": "nf4",
    "int8": "int8", "llm_int8": "int8",
}  # fmt: skip
DTYPES = {"auto": 2, "bfloat16": 2, "half": 2, "float16": 2, "float": 4, "float32": 4}
# config/cache.py, CacheDType: bytes of one number; fp8_inc and the 4-bit ones are not for the GPUs we plan
CACHE_DTYPES = {"auto": 0, "bfloat16": 2, "float16": 2, "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1}

INPUT_LEN, OUTPUT_LEN = 1024, 256  # tokens of a request where nothing is said
BLOCK = 16  # tokens; CacheConfig.DEFAULT_BLOCK_SIZE
# config/cache.py of vLLM 0.32; older versions took 0.9
GPU_MEMORY_UTILIZATION = 0.92
_LARGE_GIB = 70  # engine/arg_utils.py, get_batch_defaults: GPUs with as much, but not the A100, take larger batches
_HUGE_GIB = 160


@dataclass(frozen=True, slots=True)
class Settings:
    """vLLM's engine arguments (None: its own default for the model and GPU), then the load that is foreseen.

    `input_len` and `output_len` are tokens of a typical request (None: 1,024 and 256, or what fits), all of which begin
    with the same `shared_prefix_len`. `data_parallel_size` counts replicas; None puts as many on the box as it holds.
    `request_rate` is in requests per second for the whole box.
    """

    quantization: str = "none"
    dtype: str = "auto"
    kv_cache_dtype: str = "auto"
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int | None = None
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    gpu_memory_utilization: float = GPU_MEMORY_UTILIZATION
    enable_prefix_caching: bool = True
    enforce_eager: bool = False
    input_len: int | None = None
    output_len: int | None = None
    shared_prefix_len: int = 0
    request_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """The same with nothing left open: what every formula takes.

    `weight_bytes` and `cache_bytes` are those of one number. `replicas` share the box, each on `tensor` x `pipeline`
    GPUs.
    """

    method: Method
    weight_bytes: int
    cache_bytes: int
    tensor: int
    pipeline: int
    replicas: int
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    utilization: float
    prefix_caching: bool
    eager: bool
    input_len: int
    output_len: int
    prefix_len: int
    request_rate: float | None


def settings_from(values: dict[str, Any]) -> Settings:
    """From engine arguments in snake_case, as a recipe has them; those that don't matter here are passed over."""
    known = {f.name for f in fields(Settings)}
    return Settings(**{key: value for key, value in values.items() if key in known and value is not None})


def method_of(config: Mapping[str, Any]) -> Method:
    """How a checkpoint is quantized already, by its config's `quantization_config`; vLLM finds that by itself."""
    found = config.get("quantization_config")
    if not isinstance(found, Mapping):
        return "none"
    if found.get("load_in_8bit"):
        return "int8"
    formats = {"float-quantized": "fp8", "int-quantized": "w8a8", "pack-quantized": "gptq"}  # compressed-tensors'
    called = formats.get(str(found.get("format")), str(found.get("quant_method", "none")))
    return METHODS.get(called, "none")


def resolve(architecture: Architecture, box: Box, settings: Settings) -> Resolved:
    """Raises ValueError, in plain words, for what vLLM would refuse and for what no GPU of this box can hold."""
    gpu = facts_of(box)
    if not decoder_layers(architecture) or not architecture.vocab:
        raise ValueError(f"`{architecture.model_type}` generates no text")
    if any(stack.name == "encoder" for stack in architecture.stacks):
        raise ValueError(f"`{architecture.model_type}` has an encoder beside its decoder, which vLLM does not serve")
    method = METHODS.get(settings.quantization)
    if method is None:
        raise ValueError(
            f"`quantization` {settings.quantization!r} is none of {', '.join(sorted(set(METHODS) - {''}))}"
        )
    weight_bytes = _looked_up(DTYPES, "dtype", settings.dtype)
    cache_bytes = _looked_up(CACHE_DTYPES, "kv_cache_dtype", settings.kv_cache_dtype) or weight_bytes
    tensor, pipeline = settings.tensor_parallel_size, settings.pipeline_parallel_size
    _check_split(architecture, box, tensor, pipeline)
    replicas = settings.data_parallel_size or box.total_gpus // (tensor * pipeline)
    if replicas * tensor * pipeline > box.total_gpus:
        raise ValueError(f"{replicas} x {tensor * pipeline} GPUs are more than the {box.total_gpus} of `{box.name}`")
    if not 0 < settings.gpu_memory_utilization <= 1:
        raise ValueError("`gpu_memory_utilization` is a share of the GPU's memory, above 0 and at most 1")
    longest = settings.max_model_len or architecture.max_positions or 2048
    seqs, batched = _batch(settings, gpu, longest)
    into, out = _lengths(settings, longest)
    return Resolved(
        method=method,
        weight_bytes=weight_bytes,
        cache_bytes=cache_bytes,
        tensor=tensor,
        pipeline=pipeline,
        replicas=replicas,
        max_model_len=longest,
        max_num_seqs=seqs,
        max_num_batched_tokens=batched,
        utilization=settings.gpu_memory_utilization,
        prefix_caching=settings.enable_prefix_caching,
        eager=settings.enforce_eager,
        input_len=into,
        output_len=out,
        prefix_len=min(settings.shared_prefix_len, into),
        request_rate=settings.request_rate,
    )


def facts_of(box: Box) -> GpuFacts:
    """The GPU's facts. Raises ValueError for a box without GPUs."""
    if box.gpus < 1 or box.facts is None:
        raise ValueError(f"`{box.name}` has no GPU: what vLLM does on a processor is not planned")
    return box.facts


def _looked_up(table: dict[str, int], key: str, value: str) -> int:
    if value not in table:
        raise ValueError(f"`{key}` {value!r} is none of {', '.join(table)}")
    return table[value]


def _check_split(architecture: Architecture, box: Box, tensor: int, pipeline: int) -> None:
    """config/model.py, verify_with_parallel_config: query heads, and the padded vocabulary, must divide."""
    stack = architecture.decoder
    if tensor < 1 or pipeline < 1:
        raise ValueError("`tensor_parallel_size` and `pipeline_parallel_size` are 1 or more")
    if tensor * pipeline > box.total_gpus:
        raise ValueError(f"{tensor * pipeline} GPUs for one replica are more than the {box.total_gpus} of `{box.name}`")
    if tensor > box.gpus:
        raise ValueError(f"`tensor_parallel_size` {tensor} over several nodes: use `pipeline_parallel_size` for those")
    if unshared := stack.unshared(tensor):
        raise ValueError(f"{unshared} can't be divided by `tensor_parallel_size` {tensor}")
    if pipeline > decoder_layers(architecture):
        raise ValueError(f"{decoder_layers(architecture)} layers can't be divided into {pipeline} pipeline stages")


def _lengths(settings: Settings, longest: int) -> tuple[int, int]:
    """Of prompt and answer."""
    out = settings.output_len if settings.output_len is not None else min(OUTPUT_LEN, max(1, longest // 2))
    into = settings.input_len if settings.input_len is not None else min(INPUT_LEN, longest - out)
    if into < 1 or out < 1 or settings.shared_prefix_len < 0:
        raise ValueError("`input_len` and `output_len` are 1 or more, `shared_prefix_len` 0 or more")
    if into + out > longest:
        raise ValueError(f"{into:,} tokens in and {out:,} out are more than `max_model_len` {longest:,}")
    if settings.request_rate is not None and settings.request_rate <= 0:
        raise ValueError("`request_rate` is above 0")
    return into, out


def _batch(settings: Settings, gpu: GpuFacts, longest: int) -> tuple[int, int]:
    """`max_num_seqs` and `max_num_batched_tokens` of the API server (engine/arg_utils.py, get_batch_defaults)."""
    large = gpu.memory_gib >= _LARGE_GIB and "a100" not in gpu.name.lower()
    seqs = settings.max_num_seqs or (1024 if large else 256)
    batched = settings.max_num_batched_tokens
    if batched is None:
        batched = min(16384 if gpu.memory_gib >= _HUGE_GIB else 8192 if large else 2048, seqs * longest)
    if seqs < 1 or batched < 1:
        raise ValueError("`max_num_seqs` and `max_num_batched_tokens` are 1 or more")
    return min(seqs, batched), batched


def decoder_layers(architecture: Architecture) -> int:
    """Layers that attend over a cache, dense and sparse ones together."""
    return sum(stack.layers for stack in architecture.stacks if stack.name == "decoder")
