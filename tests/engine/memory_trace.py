"""Trace a training step's memory with the real libraries on fake CUDA tensors: python memory_trace.py '{json}'."""

import argparse
import collections
import ctypes
import functools
import json
import logging
import os
import subprocess
import sys
import sysconfig
import tempfile
import types
import weakref

# A CPU build of torch has no CUDA device guard, so autograd over fake CUDA tensors aborts.
# This shim supplies the guard and claims CUDA as the accelerator; no kernel ever runs.
SHIM = """
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/DeviceAccelerator.h>
using namespace c10;
static const Device kDev(DeviceType::CUDA, 0);
struct Guard final : impl::NoOpDeviceGuardImpl<DeviceType::CUDA> {
  Device exchangeDevice(Device) const override { return kDev; }
  Device getDevice() const override { return kDev; }
  Stream getStream(Device) const noexcept override { return Stream(Stream::DEFAULT, kDev); }
  Stream exchangeStream(Stream s) const noexcept override { return s; }
  DeviceIndex deviceCount() const noexcept override { return 1; }
};
static impl::DeviceGuardImplRegistrar registrar(DeviceType::CUDA, new Guard());
namespace at {
struct CUDAHooks : CUDAHooksInterface {
  CUDAHooks(CUDAHooksArgs) {}
  bool hasCUDA() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
};
REGISTER_CUDA_HOOKS(CUDAHooks)
namespace accelerator {
__attribute__((visibility("default"))) std::optional<DeviceType> getAccelerator(bool) { return DeviceType::CUDA; }
__attribute__((visibility("default"))) bool isAccelerator(DeviceType d) { return d == DeviceType::CUDA; }
}
}
"""


def load_shim():
    """Compile the shim and load it; it must precede torch so that its symbols win."""
    if "torch" in sys.modules:
        raise ImportError("import memory_trace before torch")
    root = os.path.join(sysconfig.get_paths()["purelib"], "torch")
    with tempfile.TemporaryDirectory() as folder:
        source, library = os.path.join(folder, "shim.cpp"), os.path.join(folder, "shim.so")
        with open(source, "w", encoding="utf-8") as handle:
            handle.write(SHIM)
        includes = [f"-I{root}/include", f"-I{root}/include/torch/csrc/api/include"]
        links = [f"-L{root}/lib", f"-Wl,-rpath,{root}/lib", "-lc10", "-ltorch_cpu"]
        subprocess.run(
            ["g++", "-std=c++20", "-O0", "-shared", "-fPIC", *includes, source, "-o", library, *links], check=True
        )
        ctypes.CDLL(library)


os.environ["HF_HUB_OFFLINE"] = "1"
load_shim()
import torch  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
# Without a CUDA kernel these would run as their composites, which allocate more; never called.
KERNELS = torch.library.Library("aten", "IMPL")
for composite in ("silu_backward", "mish_backward", "_fused_rms_norm"):
    KERNELS.impl(composite, lambda *a, **k: None, "CUDA")
sys.modules["torch.optim.optimizer"]._foreach_supported_types.append(FakeTensor)
sys.modules["torch.utils._foreach_utils"]._foreach_supported_types.append(FakeTensor)
torch.accelerator.is_available = lambda: False
torch.cuda.is_bf16_supported = lambda *a, **k: True
torch.cuda.amp.common.amp_definitely_not_available = lambda: False
torch.cuda.get_device_properties = lambda *a: types.SimpleNamespace(multi_processor_count=132, major=9, minor=0)
torch.cuda.get_device_capability = lambda *a: (9, 0)
torch.cuda.current_device = lambda: 0
torch.cuda.empty_cache = torch.cuda.synchronize = lambda *a: None


def apply(self, fn, recurse=True):
    """nn.Module._apply by replacement: swapping fails on fake tensors, which hold weak references."""
    for child in self.children() if recurse else ():
        child._apply(fn)
    for key, param in self._parameters.items():
        new = None if param is None else fn(param.data)
        if new is not None and new is not param.data and (new.dtype, new.device) != (param.dtype, param.device):
            self._parameters[key] = torch.nn.Parameter(new, requires_grad=param.requires_grad)
    for key, buffer in self._buffers.items():
        self._buffers[key] = None if buffer is None else fn(buffer)
    return self


torch.nn.Module._apply = apply


class Tracker(TorchDispatchMode):
    """Live bytes of fake CUDA storages, rounded as the caching allocator rounds them."""

    def __init__(self):
        super().__init__()
        self.live, self.phase, self.events, self.tables = 0, "setup", 0, {}
        self.peaks, self.where, self.snap_at, self.snap = collections.Counter(), {}, None, None

    def reset(self):
        self.peaks.clear()
        self.events = 0

    def enter(self, phase):
        """Start a phase at what is live now, so that one that allocates nothing still has a peak."""
        self.phase, self.peaks[phase] = phase, max(self.peaks[phase], self.live)
        self.where.setdefault(phase, (0, "start", ()))

    def release(self, key):
        self.live -= self.tables.pop(key)[1]

    def see(self, tensor, label, check=True):
        """Count the storage of one tensor unless it is known (a view) or not on the device."""
        if tensor.device.type != "cuda":
            return
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self.tables:
            return
        size = (storage.nbytes() + 511) // 512 * 512
        if not size:
            return
        reference = weakref.ref(storage, lambda _: self.release(key))
        self.tables[key] = (reference, size, label, tuple(tensor.shape), str(tensor.dtype)[6:], self.phase)
        self.live += size
        self.events += 1
        if check and self.live > self.peaks[self.phase]:
            self.peaks[self.phase] = self.live
            self.where[self.phase] = (self.events, label, tuple(tensor.shape))
        if self.events == self.snap_at:
            self.snap = [row[1:] for row in self.tables.values()]

    def __torch_dispatch__(self, func, kinds, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default:
            return True if args[0].dtype == torch.bool else 1
        if func is torch.ops.aten.equal.default:
            return True
        name = func._schema.name
        if name in INNER:
            with self:
                return INNER[name](*args, **kwargs)
        out = func(*args, **kwargs)
        # The engine adds gradients in place when it holds the last reference, but never for a
        # subclass like FakeTensor: leave that output out of the peak until its operand is freed.
        engine = name == "aten::add" and not torch.is_grad_enabled() and "backward" in self.phase
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self.see(leaf, name, check=not engine)
        return out


# Kernels that allocate inside one opaque op: replayed here from their CUDA sources.
def gemm_4bit(A, B, shape, absmax, blocksize, kind, bias=None, absmax_8bit=None, absmax_code=None, absmax_offset=None):
    """bitsandbytes' unfused path (more than 1536 rows): a whole dequantized weight, then linear."""
    if absmax_8bit is not None:
        absmax = torch.empty_like(absmax_8bit, dtype=torch.float32) + absmax_offset
    weight = torch.empty(shape, dtype=A.dtype, device=A.device)
    return torch.nn.functional.linear(A, weight, bias)


def int8_vectorwise_quant(A, threshold=0.0):
    """Its outlier search makes |A| and a mask of A's shape; no outlier is found here."""
    stats, row = A.new_empty(A.numel() // A.shape[-1], dtype=torch.float32), torch.empty_like(A, dtype=torch.int8)
    outliers = A.abs() >= threshold if threshold else None
    return row, stats, None if outliers is None else A.new_empty(0, dtype=torch.int64)


def int8_mixed_scaled_mm(A, CA, CB, SCA, SCB, outlier_cols=None, bias=None):
    """The int32 product lives beside the dequantized (fp16, then A's type) output."""
    product = A.new_empty(A.shape[0], CB.shape[0], dtype=torch.int32)
    return torch.empty_like(product, dtype=torch.float16).to(A.dtype), A.new_empty(0)


INNER = {
    f"bitsandbytes::{f.__name__}": f for f in (gemm_4bit, int8_vectorwise_quant, int8_mixed_scaled_mm)
}


class Flash(torch.autograd.Function):
    """What flash-attn 2 (and aten's copy) allocates: out and lse; in backward also a fp32 dq."""

    @staticmethod
    def forward(ctx, q, k, v):
        out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
        lse = torch.empty(q.shape[0], q.shape[2], q.shape[1], dtype=torch.float32, device=q.device)
        ctx.save_for_backward(q, k, v, out, lse)
        return out

    @staticmethod
    def backward(ctx, grad):
        q, k, v, out, lse = ctx.saved_tensors
        if grad.stride(-1) != 1:
            grad = grad.contiguous()
        dq, dk, dv = (torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in (q, k, v))
        pad = -q.shape[1] % 128
        wide = 32 * ((q.shape[3] + 31) // 32)
        accum = torch.empty(q.shape[0], q.shape[1] + pad, q.shape[2], wide, dtype=torch.float32, device=q.device)
        delta = torch.empty(q.shape[0], q.shape[2], q.shape[1] + pad, dtype=torch.float32, device=q.device)
        if k.shape[2] != q.shape[2]:
            full = [torch.empty(q.shape, dtype=q.dtype, device=q.device) for _ in range(2)]
            del full
        del accum, delta
        return dq, dk, dv


def flash_attention(module, query, key, value, attention_mask, dropout=0.0, scaling=None, **kwargs):
    """Like transformers' flash_attention_forward; fp32 inputs are cast as it casts them."""
    q, k, v = (t.transpose(1, 2) for t in (query, key, value))
    if q.dtype == torch.float32:
        q, k, v = (t.to(torch.bfloat16) for t in (q, k, v))
    return Flash.apply(q, k, v), None


SDPA = torch.nn.functional.scaled_dot_product_attention


def fake_sdpa(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    """The fused CUDA kernels keep q, k, v, out and lse whichever is chosen; unequal heads take the math path."""
    if query.shape[1] != key.shape[1] and not enable_gqa:
        return SDPA(query, key, value, attn_mask, dropout_p, is_causal, scale=scale)
    if torch.is_autocast_enabled("cuda") and query.dtype == torch.float32:
        query, key, value = (t.to(torch.bfloat16) for t in (query, key, value))
    return Flash.apply(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)).transpose(1, 2)


def patch_libraries():
    """Point transformers, liger and bitsandbytes at fake kernels; returns nothing to undo."""
    import bitsandbytes.functional
    import transformers.modeling_utils
    import triton

    # liger chooses its device when imported; the others must keep seeing no CUDA.
    before, torch.cuda.is_available = torch.cuda.is_available, lambda: True
    import liger_kernel.ops

    torch.cuda.is_available = before
    triton.runtime.jit.JITFunction.run = lambda *a, **k: None
    for name in ("optimizer_update_8bit_blockwise", "optimizer_update_32bit"):
        setattr(bitsandbytes.functional, name, lambda *a, **k: None)
    torch.nn.functional.scaled_dot_product_attention = fake_sdpa
    transformers.AttentionInterface.register("fused", flash_attention)
    masks = transformers.masking_utils.ALL_MASK_ATTENTION_FUNCTIONS
    transformers.AttentionMaskInterface.register("fused", masks["flash_attention_2"])
    transformers.utils.logging.set_verbosity_error()
    logging.disable(logging.WARNING)


def quantize(model, quant, skip=("lm_head", "embed_out")):
    """Swap linears for bitsandbytes' modules with storages of the right size, built past their constructors."""
    import bitsandbytes as bnb

    kind = bnb.nn.Linear8bitLt if quant == "int8" else bnb.nn.Linear4bit
    for name, module in list(model.named_modules()):
        if not isinstance(module, torch.nn.Linear) or name.split(".")[-1] in skip:
            continue
        new, bias = kind.__new__(kind), module.bias
        torch.nn.Linear.__init__(new, module.in_features, module.out_features, bias is not None, device="meta")
        new.weight = torch.nn.Parameter(packed(new, quant), requires_grad=False)
        vars(new.weight).update(vars(new)["facts"])
        if bias is not None:
            new.bias = torch.nn.Parameter(bias.data, requires_grad=False)
        model.get_submodule(name.rpartition(".")[0])._modules[name.rpartition(".")[2]] = new
    model.is_loaded_in_8bit, model.is_loaded_in_4bit = quant == "int8", quant != "int8"


def packed(new, quant):
    """The quantized storage of a module, and on the module what its forward reads of it."""
    import bitsandbytes as bnb

    n, k, make = new.out_features, new.in_features, functools.partial(torch.empty, device="cuda")
    if quant == "int8":
        data, new.index, new.state = make(n, k, dtype=torch.int8), None, bnb.MatmulLtState()
        new.state.threshold, new.state.has_fp16_weights = 6.0, False
        new.facts = {"CB": data, "SCB": make(n), "has_fp16_weights": False}
        return data
    nested, blocks = quant == "nf4-dq", -(-n * k // 64)
    state = {"shape": torch.Size((n, k)), "dtype": torch.bfloat16, "blocksize": 64, "quant_type": "nf4"}
    if nested:
        outer = {"absmax": make(-(-blocks // 256)), "code": make(256), "blocksize": 256, "dtype": torch.float32}
        state |= {"offset": make(()), "state2": bnb.functional.QuantState(**outer)}
    absmax = make(blocks, dtype=torch.uint8 if nested else torch.float32)
    new.quant_state = bnb.functional.QuantState(absmax=absmax, code=make(16), **state)
    new.compute_dtype, new.compute_type_is_set, new.support_avx512bf16_for_cpu = torch.bfloat16, True, False
    new.facts = {"quant_state": new.quant_state, "compress_statistics": nested, "quant_type": "nf4"}
    new.facts |= {"bnb_quantized": True, "quant_storage": torch.uint8, "blocksize": 64}
    return make((n * k + 1) // 2, 1, dtype=torch.uint8)


def build(config, opts):
    """The model as the trainer gets it: dtype, quantized, adapted, checkpointed, upcast."""
    import transformers
    from transformers.initialization import no_init_weights

    values = dict(config)
    settings = transformers.AutoConfig.for_model(values.pop("model_type"), **values)
    settings.use_cache = False
    with torch.device("cuda"), no_init_weights():
        model = transformers.AutoModelForCausalLM.from_config(
            settings, dtype=DTYPES[opts["weights_dtype"]], attn_implementation=opts["attention"].replace("flash", "fused")
        )
    model.tie_weights()
    if opts["liger"]:
        from liger_kernel.transformers import _apply_liger_kernel_to_instance

        _apply_liger_kernel_to_instance(model=model, **opts["liger"])
    if opts["quant"] != "none":
        quantize(model, opts["quant"])
    if opts["checkpointing"] == "full":
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if opts["fp32_modules"]:
        for name, module in model.named_modules():
            if any(part in name for part in opts["fp32_modules"]) and getattr(module, "weight", None) is not None:
                module.float()
    if opts["method"] == "lora":
        import peft

        if opts["checkpointing"] == "full":
            model.enable_input_require_grads()
        model = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", lora_alpha=16, **opts["lora"]))
    return model.train()


def make_optimizer(name, params):
    """The optimizers as transformers' Trainer builds them."""
    if name == "adamw_torch":
        return torch.optim.AdamW(params, lr=1e-4)
    if name == "adamw_torch_fused":
        return torch.optim.AdamW(params, lr=1e-4, fused=True)
    if name == "sgd":
        return torch.optim.SGD(params, lr=1e-4)
    if name == "adafactor":
        from transformers.optimization import Adafactor

        return Adafactor(params, lr=1e-4, scale_parameter=False, relative_step=False)
    import bitsandbytes as bnb

    return bnb.optim.AdamW(params, lr=1e-4, optim_bits=8)


def total(tensors):
    """Bytes of the distinct device storages behind these tensors, rounded."""
    found = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors if t.device.type == "cuda"}
    return sum((size + 511) // 512 * 512 for size in found.values())


def watch(model, tracker):
    """Enter the loss phase where the last hidden state is ready, leave it when its gradient is."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model

    def enter(_, args, output):
        tracker.before_loss = tracker.live
        tracker.enter("loss")
        if output[0].requires_grad:
            output[0].register_hook(lambda grad: tracker.enter("backward"))

    inner.base_model.register_forward_hook(enter)


def step(forward, model, optimizer, tracker, opts):
    """One optimizer step as Trainer's inner loop makes it."""
    shape, marks = (opts["micro_batch"], opts["seq_len"]), {}
    trainable = [p for p in model.parameters() if p.requires_grad]
    for _ in range(opts["accumulation"]):
        tracker.enter("forward")
        ids = torch.empty(shape, dtype=torch.int64, device="cuda")
        start = tracker.live
        out = forward(model, input_ids=ids, labels=ids.clone(), num_items_in_batch=torch.ones((), device="cuda"))
        loss = out["loss"]
        del out
        marks["saved_bytes"] = tracker.live - start
        marks["before_loss"] = getattr(tracker, "before_loss", start) - start
        tracker.enter("loss_backward")
        loss.backward()
        del loss
    tracker.enter("clip")
    torch.nn.utils.clip_grad_norm_(trainable, 1.0)
    marks["grads_bytes"] = total([p.grad for p in trainable])
    tracker.enter("step")
    optimizer.step()
    marks["states_bytes"] = total([t for s in optimizer.state.values() for t in tree_leaves(s) if torch.is_tensor(t)])
    optimizer.zero_grad(set_to_none=True)
    marks["after_step"] = tracker.live
    return marks


DEFAULTS = {
    "method": "full", "weights_dtype": "bf16", "autocast": True, "checkpointing": "none", "attention": "flash",
    "optimizer": "adamw_torch", "micro_batch": 1, "seq_len": 2048, "accumulation": 1, "liger": None, "lora": None,
    "quant": "none", "fp32_modules": (), "snapshot": False,
}


def trace(config, **options):
    """Two full steps; the peaks and byte counts of the second (and, if asked, the live set at its peak)."""
    from accelerate.utils import convert_outputs_to_fp32

    opts = {**DEFAULTS, **options}
    torch.autograd.set_multithreading_enabled(False)
    patch_libraries()
    tracker = Tracker()
    with FakeTensorMode(), tracker:
        model = build(config, opts)
        watch(model, tracker)
        forward = call
        if opts["autocast"]:
            forward = convert_outputs_to_fp32(torch.autocast("cuda", torch.bfloat16)(call))
        optimizer = make_optimizer(opts["optimizer"], [p for p in model.parameters() if p.requires_grad])
        result = {"weights_bytes": tracker.live}
        step(forward, model, optimizer, tracker, opts)
        tracker.reset()
        result |= step(forward, model, optimizer, tracker, opts)
        phase = max(tracker.peaks, key=tracker.peaks.get)
        result |= {"peak_bytes": tracker.peaks[phase], "phase": phase, "where": tracker.where[phase]}
        result |= {f"{name}_peak_bytes": value for name, value in tracker.peaks.items()}
        if opts["snapshot"]:
            wanted = opts["snapshot"] if isinstance(opts["snapshot"], str) else phase
            tracker.snap_at, _ = tracker.where[wanted][0], tracker.reset()
            step(forward, model, optimizer, tracker, opts)
            result["live"] = tracker.snap
    return result


def call(model, **inputs):
    return model(**inputs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("request", help='JSON: {"config": {...}, "options": {...}}')
    request = json.loads(parser.parse_args().request)
    print(json.dumps(trace(request["config"], **request["options"])))
