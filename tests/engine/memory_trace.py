"""Trace a training step's memory with the real libraries on fake CUDA tensors: CONFIG OPTIONS, as JSON."""

import collections
import ctypes
import functools
import json
import os
import pkgutil
import subprocess
import sys
import sysconfig
import tempfile
import weakref
from pathlib import Path

# A CPU build of torch has no CUDA device guard, so autograd over fake CUDA tensors aborts.
# This shim supplies the guard and claims CUDA as the accelerator; no kernel ever runs.
SHIM = """
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/DeviceAccelerator.h>
using namespace c10;
constexpr DeviceType kGpu = DeviceType::CUDA;
struct Guard final : impl::NoOpDeviceGuardImpl<kGpu> {
  Stream getStream(Device) const noexcept override { return Stream(Stream::DEFAULT, Device(kGpu, 0)); }
};
static impl::DeviceGuardImplRegistrar registrar(kGpu, new Guard());
namespace at {
struct CUDAHooks : CUDAHooksInterface {
  CUDAHooks(CUDAHooksArgs) {}
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
};
REGISTER_CUDA_HOOKS(CUDAHooks)
C10_EXPORT std::optional<DeviceType> accelerator::getAccelerator(bool) { return kGpu; }
C10_EXPORT bool accelerator::isAccelerator(DeviceType type) { return type == kGpu; }}
"""
if "torch" in sys.modules:
    raise ImportError("import memory_trace before torch: the shim's symbols must come first")
ROOT = Path(sysconfig.get_paths()["purelib"], "torch")
with tempfile.TemporaryDirectory() as folder:
    library = f"{folder}/shim.so"
    flags = [f"-I{ROOT}/include", f"-I{ROOT}/include/torch/csrc/api/include", "-o", library, "-xc++", "-"]
    flags += [f"-L{ROOT}/lib", f"-Wl,-rpath,{ROOT}/lib", "-lc10", "-ltorch_cpu"]
    subprocess.run(["g++", "-std=c++20", "-shared", "-fPIC", *flags], input=SHIM.encode(), check=True)
    ctypes.CDLL(library)
os.environ["HF_HUB_OFFLINE"] = "1"
import torch  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

BF16, FP32, NEW = torch.bfloat16, torch.float32, functools.partial(torch.empty, device="cuda")
# Without a CUDA kernel this one would run as its composite, which allocates more; never called.
KERNELS = torch.library.Library("aten", "IMPL")
torch.autograd.set_multithreading_enabled(False)
KERNELS.impl("silu_backward", lambda *a, **k: None, "CUDA")
for module in ("torch.optim.optimizer", "torch.utils._foreach_utils"):
    sys.modules[module]._foreach_supported_types.append(FakeTensor)
torch.accelerator.is_available = torch.cuda.amp.common.amp_definitely_not_available = lambda: False
torch.cuda.is_bf16_supported = torch.cuda.synchronize = lambda *a, **k: True
torch.cuda.get_device_properties = lambda *a: type("H100", (), {"multi_processor_count": 132, "major": 9, "minor": 0})
# Module.to swaps fake tensors whole, which their weak references forbid.
torch.utils.swap_tensors = lambda old, new: setattr(old, "data", new.data)


class Tracker(TorchDispatchMode):
    """Live bytes of fake CUDA storages, rounded as the caching allocator rounds them."""

    def __init__(self):
        super().__init__()
        self.live, self.phase, self.events, self.known = 0, "setup", 0, {}
        self.peaks, self.where, self.snap_at, self.snap = collections.Counter(), {}, None, None

    def enter(self, phase):
        """Start a phase at what is live now, so that one that allocates nothing still has a peak."""
        self.phase, self.peaks[phase] = phase, max(self.peaks[phase], self.live)

    def reach_loss(self, module, args, output):
        """A hook on the decoder: the loss phase lasts until the last hidden state has its gradient."""
        self.before_loss = self.live
        self.enter("loss")
        if output[0].requires_grad:
            output[0].register_hook(lambda grad: self.enter("backward"))

    def see(self, tensor, label, check=True):
        """Count the storage of one tensor unless it is known (a view) or not on the device."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, (storage.nbytes() + 511) // 512 * 512
        if tensor.device.type != "cuda" or key in self.known or not size:
            return
        drop = weakref.ref(storage, lambda _: setattr(self, "live", self.live - self.known.pop(key)[1]))
        self.known[key] = (drop, size, label, shape := tuple(tensor.shape), str(tensor.dtype)[6:], self.phase)
        self.live, self.events = self.live + size, self.events + 1
        if check and self.live > self.peaks[self.phase]:
            self.peaks[self.phase], self.where[self.phase] = self.live, (self.events, label, shape)
        if self.events == self.snap_at:
            self.snap = [row[1:] for row in self.known.values()]

    def __torch_dispatch__(self, func, kinds, args=(), kwargs=None):
        kwargs, name = kwargs or {}, func._schema.name
        if name in ("aten::_local_scalar_dense", "aten::equal"):  # a value nobody has: masks are all ones
            return True if args[0].dtype == torch.bool or name == "aten::equal" else 1
        if name in INNER:
            with self:
                return INNER[name](*args, **kwargs)
        out = func(*args, **kwargs)
        # The engine adds gradients in place when it holds the last reference, but never for a
        # subclass like FakeTensor: leave that output out of the peak until its operand is freed.
        engine = name == "aten::add" and not torch.is_grad_enabled() and "backward" in self.phase
        for leaf in [leaf for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)]:
            self.see(leaf, name, check=not engine)
        return out


# Kernels that allocate inside one opaque op: replayed here from their CUDA sources.
def gemm_4bit(A, B, shape, absmax, blocksize, kind, bias=None, absmax_8bit=None, absmax_code=None, absmax_offset=None):
    """bitsandbytes' unfused path (more than 1536 rows): a whole dequantized weight, then linear."""
    _scales = None if absmax_8bit is None else torch.empty_like(absmax_8bit, dtype=FP32) + absmax_offset
    return torch.nn.functional.linear(A, NEW(shape, dtype=A.dtype), bias)


def int8_mixed_scaled_mm(A, CA, CB, SCA, SCB, outlier_cols=None, bias=None):
    """The int32 product lives beside the dequantized (fp16, then A's type) output."""
    product = NEW(A.shape[0], CB.shape[0], dtype=torch.int32)
    return torch.empty_like(product, dtype=torch.float16).to(A.dtype), A.new_empty(0)


def int8_vectorwise_quant(A, threshold=0.0):
    """Its outlier search makes |A| and a mask of A's shape; no outlier is found here."""
    row = torch.empty_like(A, dtype=torch.int8)
    return row, NEW(A.numel() // A.shape[-1]), (A.abs() >= threshold).new_empty(0, dtype=torch.int64)


INNER = {f"bitsandbytes::{f.__name__}": f for f in (gemm_4bit, int8_vectorwise_quant, int8_mixed_scaled_mm)}


class Flash(torch.autograd.Function):
    """What flash-attn 2 (and aten's copy) allocates: out and lse; in backward also a fp32 dq."""

    @staticmethod
    def forward(ctx, q, k, v):
        out = torch.empty_like(q, memory_format=torch.contiguous_format)
        ctx.save_for_backward(q, k, v, out, NEW(q.shape[0], q.shape[2], q.shape[1]))
        return out

    @staticmethod
    def backward(ctx, grad):
        q, k, v = ctx.saved_tensors[:3]
        grads = tuple(NEW(t.shape, dtype=t.dtype) for t in (q, k, v))
        rows, width = q.numel() // q.shape[-1], q.shape[-1] + -q.shape[-1] % 32  # lengths divide by 128
        scratch = [NEW(rows, width), NEW(rows)]
        return grads if k.shape == q.shape else (grads, scratch.extend(torch.empty_like(t) for t in (q, q)))[0]


def flash_attention(module, query, key, value, attention_mask, **kwargs):
    """Like transformers' flash_attention_forward; fp32 inputs are cast as it casts them."""
    return Flash.apply(*(t.transpose(1, 2).to(BF16) for t in (query, key, value))), None


def fake_sdpa(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    """The fused CUDA kernels keep q, k, v, out and lse whichever is chosen; unequal heads take the math path."""
    if query.shape[1] != key.shape[1] and not enable_gqa:
        return torch._C._nn.scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, is_causal)
    return flash_attention(None, query, key, value, attn_mask)[0].transpose(1, 2)


def patch_libraries():
    """Point the libraries at fake kernels; transformers must not think it is being traced (it would build masks)."""
    import bitsandbytes.functional as bnb
    import triton
    from transformers import AttentionInterface, masking_utils

    # liger chooses its device when imported; the others must keep seeing no CUDA.
    before, torch.cuda.is_available = torch.cuda.is_available, lambda: True
    import liger_kernel.ops  # noqa: F401

    torch.cuda.is_available, triton.runtime.jit.JITFunction.run = before, lambda *a, **k: None
    bnb.optimizer_update_8bit_blockwise = bnb.optimizer_update_32bit = lambda *a, **k: None
    torch.nn.functional.scaled_dot_product_attention, masking_utils.is_tracing = fake_sdpa, lambda *a: False
    AttentionInterface.register("fused", flash_attention)


def quantize(model, quant, bnb):
    """Swap linears for bitsandbytes' modules with storages of the right size, built past their constructors."""
    kind = bnb.nn.Linear8bitLt if quant == "int8" else bnb.nn.Linear4bit
    linears = [(name, m) for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)]
    for name, module in linears[:-1]:  # all but the head, which comes last
        new = kind.__new__(kind)
        torch.nn.Linear.__init__(new, module.in_features, module.out_features, device="meta")
        data, facts = packed(new, quant, bnb)
        new.weight = torch.nn.Parameter(data, requires_grad=False)
        vars(new.weight).update(facts)
        new.bias = module.bias
        model.set_submodule(name, new)
    model.is_loaded_in_8bit, model.is_loaded_in_4bit = quant == "int8", quant != "int8"


def packed(new, quant, bnb):
    """The quantized storage of a module and what is read off its weight; sets what is read off the module."""
    n, k = new.out_features, new.in_features
    if quant == "int8":
        data, new.state = NEW(n, k, dtype=torch.int8), bnb.MatmulLtState()
        new.index, new.state.threshold, new.state.has_fp16_weights = None, 6.0, False
        return data, {"CB": data, "SCB": NEW(n), "has_fp16_weights": False}
    nested, blocks = quant == "nf4-dq", -(-n * k // 64)
    state = {"shape": torch.Size((n, k)), "dtype": BF16, "blocksize": 64, "quant_type": "nf4", "code": NEW(16)}
    if nested:
        outer = bnb.functional.QuantState(NEW(-(-blocks // 256)), code=NEW(256), blocksize=256, dtype=FP32)
        state |= {"offset": NEW(()), "state2": outer}
    new.quant_state = bnb.functional.QuantState(NEW(blocks, dtype=torch.uint8 if nested else FP32), **state)
    new.compute_dtype, new.compute_type_is_set, new.support_avx512bf16_for_cpu = BF16, True, False
    facts = {"quant_state": new.quant_state, "compress_statistics": nested, "quant_type": "nf4"}
    return NEW((n * k + 1) // 2, 1, dtype=torch.uint8), facts


def build(config, opts):
    """The model as the trainer gets it: dtype, quantized, adapted, checkpointed, upcast."""
    import bitsandbytes
    import peft
    from liger_kernel.transformers import _apply_liger_kernel_to_instance as use_liger
    from transformers import AutoConfig, AutoModelForCausalLM, initialization

    settings, dtype = AutoConfig.for_model(**config), {"bf16": BF16, "fp32": FP32}[opts["weights_dtype"]]
    settings.use_cache, attention = False, opts["attention"].replace("flash", "fused")
    with torch.device("cuda"), initialization.no_init_weights():
        model = AutoModelForCausalLM.from_config(settings, dtype=dtype, attn_implementation=attention)
    model.tie_weights()
    if opts["liger"]:  # rms_norm, rope and swiglu patch the model's classes for the rest of the process
        use_liger(model=model, **opts["liger"])
    if opts["quant"] != "none":
        quantize(model, opts["quant"], bitsandbytes)
    if opts["checkpointing"] == "full":
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    for module in [m for name, m in model.named_modules() if name.endswith(opts["fp32_modules"])]:
        module.float()
    if opts["method"] == "lora":
        with torch.device("cuda"):
            model = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", lora_alpha=16, **opts["lora"]))
    return model.train()


def step(forward, model, optimizer, tracker, opts):
    """One optimizer step as Trainer's inner loop makes it."""
    marks = {"states_bytes": tracker.live - tracker.weights}
    for _ in range(opts["accumulation"]):
        tracker.enter("forward")
        ids, start = NEW(opts["micro_batch"], opts["seq_len"], dtype=torch.int64), tracker.live
        loss = forward(model, input_ids=ids, labels=ids.clone(), num_items_in_batch=NEW(()))["loss"]
        marks |= {"saved_bytes": tracker.live - start, "before_loss": tracker.before_loss - start}
        tracker.enter("loss_backward")
        loss.backward()
        del loss
    tracker.enter("clip")
    torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
    tracker.enter("step")
    optimizer.step()
    before = tracker.live
    optimizer.zero_grad(set_to_none=True)
    return marks | {"grads_bytes": before - tracker.live}


KINDS = {"adamw_8bit": "bitsandbytes.optim.AdamW8bit", "adafactor": "transformers.Adafactor", "sgd": "torch.optim.SGD"}
EXTRAS = {"adamw_torch_fused": {"fused": True}, "adafactor": {"scale_parameter": False, "relative_step": False}}
DEFAULTS = {"method": "full", "weights_dtype": "bf16", "autocast": True, "checkpointing": "none", "attention": "flash"}
DEFAULTS |= {"optimizer": "adamw_torch", "micro_batch": 1, "seq_len": 2048, "accumulation": 1, "liger": None}
DEFAULTS |= {"lora": None, "quant": "none", "fp32_modules": (), "snapshot": None}


def trace(config, **options):
    """Two full steps; the second's peaks (and the live set at the peak of the phase named by snapshot)."""
    from accelerate.utils import convert_outputs_to_fp32

    patch_libraries()
    opts = DEFAULTS | options
    with FakeTensorMode(), Tracker() as tracker:
        model = build(config, opts)
        getattr(model, "get_base_model", lambda: model)().base_model.register_forward_hook(tracker.reach_loss)
        forward = type(model).__call__
        if opts["autocast"]:
            forward = convert_outputs_to_fp32(torch.autocast("cuda", BF16)(forward))
        kind = pkgutil.resolve_name(KINDS.get(opts["optimizer"], "torch.optim.AdamW"))
        trainable, tracker.weights = [p for p in model.parameters() if p.requires_grad], tracker.live
        run = (forward, model, kind(trainable, lr=1e-4, **EXTRAS.get(opts["optimizer"], {})), tracker, opts)
        step(*run)
        tracker.peaks, tracker.events = collections.Counter(), 0
        result = step(*run) | {"weights_bytes": tracker.weights}
        result |= {f"{name}_peak_bytes": value for name, value in tracker.peaks.items()}
        phase, peak = tracker.peaks.most_common(1)[0]
        result |= {"peak_bytes": peak, "phase": phase, "where": tracker.where.get(phase)}
        if opts["snapshot"]:
            tracker.snap_at, tracker.events = tracker.where[opts["snapshot"]][0], 0
            step(*run)
            result["live"] = tracker.snap
    return result


if __name__ == "__main__":
    print(json.dumps(trace(json.loads(sys.argv[1]), **json.loads(sys.argv[2]))))
