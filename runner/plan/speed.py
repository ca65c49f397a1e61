"""Work x hardware x fitted efficiencies -> seconds of a step, tokens per second, utilisation."""

from __future__ import annotations

from runner.facts.gpus import GpuFacts
from runner.plan.efficiency import BY_GENERATION, Efficiency
from runner.plan.memory.states import trained_parameters
from runner.plan.pipeline import stages_of
from runner.plan.types import Estimate, Speed
from runner.plan.work import Work, work
from runner.plan.workload import Workload

TERA, GIGA = 1e12, 1e9
# From one kernel's end to the next one's start where the host can't keep ahead; what CUDA's launch latency is measured
# to be (NVIDIA Nsight Systems' guides give 3 to 10 microseconds)
LAUNCH_S = 5e-6
# torch.compile reads and writes less between matrix products; from torchtune's and torchtitan's pairs of runs with and
# without it (data/measured/published.csv)
COMPILED = 0.6
# time over a link / time at its nominal rate; NCCL's own tests reach 80 to 90% of it on large messages
LINK = 1.2


def ideal_seconds(w: Workload, done: Work, gpu: GpuFacts) -> dict[str, float]:
    """Seconds that each kind of work of one micro batch would take at the hardware's peak rates."""
    rate = (gpu.bf16_tflops or gpu.fp16_tflops) if w.compute_bytes == 2 else (gpu.tf32_tflops or gpu.fp32_tflops)
    rate *= TERA
    memory = gpu.memory_gb_s * GIGA
    link = (gpu.nvlink_gb_s or gpu.pcie_gb_s) * GIGA
    network = w.box.network_gb_s * GIGA
    fp8 = w.kernels.fp8 and gpu.fp8_tflops > 0
    return {
        "matmul": 0.0 if fp8 else done.matmul / rate,
        "matmul_fp8": done.matmul / (gpu.fp8_tflops * TERA) if fp8 else 0.0,
        "attention": done.attention / rate,
        "adapters": done.adapters / rate,
        "elementwise": done.elementwise * (COMPILED if w.kernels.compile else 1.0) / memory,
        "logits": done.logits / memory,
        "dequantize": done.dequantize / memory,
        "optimizer": done.optimizer / memory,
        "local": done.local / link,
        "remote": done.remote / network if network else 0.0,
        "host": done.host / (gpu.pcie_gb_s * GIGA) + _step_on_host(w) / w.accumulation,
        "kernels": done.kernels * LAUNCH_S,
    }


def _step_on_host(w: Workload) -> float:
    """Seconds of DeepSpeed's Adam on a machine's processors, whose memory all ranks share: about a quarter of a second
    per 10**9 parameters (Ren et al. 2021, ZeRO-Offload, arXiv:2101.06840, section 6)."""
    if not w.sharding.offload_optimizer:
        return 0.0
    return trained_parameters(w).count / w.box.nodes * 0.25 / GIGA


def kind_of(name: str, gpu: GpuFacts) -> str:
    """By what the efficiency of this kind of work is looked up."""
    if name == "local":
        return "nvlink" if gpu.nvlink_gb_s else "pcie"
    return gpu.generation if name in BY_GENERATION else ""


def speed(w: Workload, fitted: Efficiency) -> Speed | None:
    """None for a box without GPUs: a CPU has no peak rates worth planning with."""
    gpu = w.box.facts
    if gpu is None or w.box.gpus == 0:
        return None
    each = [_micro_batch(part, gpu, fitted) for part in _parts(w)]
    taken, micro = max(each, key=lambda found: found[1])
    made = generation_seconds(w, gpu, fitted)
    # while the first micro batch comes to the last stage and the last one back, the others wait; nobody steps yet
    waited = (w.stages - 1) * (micro - taken.get("optimizer", 0.0))
    step = micro * w.accumulation + waited + made
    done = [work(part) for part in _parts(w)]
    wide = fitted.interval["speed"]
    tokens = w.step_tokens / w.ranks
    rate = (gpu.bf16_tflops or gpu.fp16_tflops) * TERA
    return Speed(
        tokens_per_s_per_gpu=Estimate(tokens / step, tokens / step / (1 + wide), tokens / step * (1 + wide)),
        step_s=Estimate(step, step / (1 + wide), step * (1 + wide)),
        mfu=sum(d.model for d in done) / w.stages * w.accumulation / step / rate,
        hfu=sum(d.matmul + d.attention for d in done) / w.stages * w.accumulation / step / rate,
        breakdown={name: seconds * w.accumulation for name, seconds in taken.items()}
        | ({"generation": made} if made else {})
        | ({"bubble": waited} if waited else {}),
    )


def _parts(w: Workload) -> list[Workload]:
    return [w] if w.stages == 1 else [stage.workload for stage in stages_of(w)]


def _micro_batch(w: Workload, gpu: GpuFacts, fitted: Efficiency) -> tuple[dict[str, float], float]:
    """Seconds of one micro batch on one GPU, by what takes them and in all."""
    ideal = ideal_seconds(w, work(w), gpu)
    taken = {name: seconds * fitted.of(name, kind_of(name, gpu)) for name, seconds in ideal.items() if seconds}
    # what goes over a link is hidden behind computation, but never faster than the link
    slowest = max(ideal["remote"], ideal["local"], ideal["host"]) * LINK
    return taken, max(sum(taken.values()), slowest)


def generation_seconds(w: Workload, gpu: GpuFacts, fitted: Efficiency) -> float:
    """GRPO's answers of one optimizer step, made token by token: every token reads all weights and the keys and values
    so far (half of the final length on average); transformers' loop also waits for each launch, vLLM's graphs don't."""
    made = w.generation
    if made is None:
        return 0.0
    stack = w.architecture.decoder
    weights = w.architecture.active_parameters * w.compute_bytes / w.tensor_parallel
    length = w.seq_len - made.new_tokens / 2
    sequences = w.sequences * made.micro_batches
    cache = 2 * stack.kv_heads * stack.head_dim * stack.layers * w.compute_bytes * length * sequences
    read = (weights + cache) / (gpu.memory_gb_s * GIGA) * fitted.of("optimizer")
    waited = 0.0 if made.vllm else stack.layers * _DECODE_KERNELS * LAUNCH_S * fitted.of("kernels")
    return made.new_tokens * max(read, waited) * max(1.0, w.accumulation / made.micro_batches)


# launches of one layer for one token in transformers: norms, rotary and projections written out, and Python between
_DECODE_KERNELS = 60
