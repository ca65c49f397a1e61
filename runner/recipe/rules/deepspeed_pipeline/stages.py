"""Rules about the stages of a pipeline: how many, of what, and what flows through them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from runner.diagnostics import Diagnostic
from runner.facts.families import architecture_of
from runner.facts.partition import bounds
from runner.recipe.load import printable
from runner.recipe.rules import Facts, rule

_PIPELINE = "https://www.deepspeed.ai/tutorials/pipeline/"
_ENGINE = "https://github.com/deepspeedai/DeepSpeed/blob/master/deepspeed/runtime/pipe/engine.py"
# models whose layers jobs/pipeline.py can line up: one table, equal decoder layers, one norm, a head without bias
MODELS = ("llama", "mistral", "qwen2", "qwen3")
# how much more than the mean the fullest stage may do before it is worth a word
UNEVEN = 0.15


def _stages(facts: Facts) -> int:
    return int(facts.get("pipeline_parallel_size", 1))


def _layers(facts: Facts) -> int:
    """0 where the architecture does not say, or says nonsense."""
    given = facts.get("architecture.num_hidden_layers", 0)
    return given if isinstance(given, int) and given > 0 else 0


@rule("R650", "stages that do not divide the box's GPUs", source=_PIPELINE)
def stages_and_gpus(facts: Facts) -> Iterator[Diagnostic]:
    """Each stage is a GPU's, and GPUs beyond the stages train whole further pipelines on other data. DeepSpeed stops at
    the start where the stages do not divide the processes.
    """
    stages, gpus = _stages(facts), facts.box.total_gpus
    if gpus and gpus % stages:
        yield facts.report(
            "R650",
            "pipeline_parallel_size",
            f"`pipeline_parallel_size` must divide the number of GPUs, and {stages} does not divide {gpus}",
            label=f"box `{facts.box.name}` has {gpus}",
            help="lower it, or choose a larger `box`",
        )


@rule("R651", "fewer layers than stages", source=_PIPELINE)
def too_few_layers(facts: Facts) -> Iterator[Diagnostic]:
    """A stage without a decoder layer has next to nothing to do, and one without any weight has nothing to optimize,
    which DeepSpeed refuses once every process has started.
    """
    stages, layers = _stages(facts), _layers(facts)
    if layers and stages > layers:
        yield facts.report(
            "R651",
            "pipeline_parallel_size",
            f"{stages} stages need at least {stages} decoder layers, and the architecture has {layers}",
            help=f"set `pipeline_parallel_size` to {layers} or less",
        )


@rule("R652", "stages that wait for the fullest one", source=_PIPELINE, severity="warning")
def uneven_stages(facts: Facts) -> Iterator[Diagnostic]:
    """A pipeline is as fast as its slowest stage. Layers that the stages don't divide evenly, or a head as heavy as
    several layers, make all others wait in every micro batch.
    """
    stages, layers = _stages(facts), _layers(facts)
    if facts.model is None or stages < 2 or not layers or stages > layers or not facts.box.gpus:
        return  # of a model that smoke has shrunk the head is most, and nobody waits for it
    try:
        architecture = architecture_of(facts.model.config)
    except (ValueError, KeyError, TypeError, ZeroDivisionError):
        return  # the plan says what is wrong with it
    each, head = architecture.decoder.layer_parameters, architecture.vocab * architecture.decoder.hidden
    at = bounds(architecture, stages, facts.get("partition_method", "parameters"))
    held = [max(0, min(stop - 1, layers) - max(0, start - 1)) for start, stop in pairwise(at)]
    work = [count * each + (head if number == stages - 1 else 0) for number, count in enumerate(held)]
    more = max(work) * stages / sum(work) - 1
    if more > UNEVEN:
        fullest = work.index(max(work))
        yield facts.report(
            "R652",
            "pipeline_parallel_size",
            f"stage {fullest + 1} does {more:.0%} more than the mean, and all wait for it",
            label="layers by stage: " + ", ".join(map(str, held)),
            note="the head counts with the last stage" if fullest == stages - 1 else "",
            help="choose a number of stages that divides the layers, another `partition_method`, or other sizes",
            severity="warning",
        )


@rule(
    "R653",
    "too few micro batches for the stages",
    source="https://arxiv.org/abs/1811.06965",
    severity="warning",
)
def bubble(facts: Facts) -> Iterator[Diagnostic]:
    """While the first micro batch comes to the last stage and the last one back, stages wait: of p stages and m micro
    batches (p-1)/(m+p-1) of a step. With fewer micro batches than stages some stage always waits.
    """
    stages, micros = _stages(facts), int(facts.get("gradient_accumulation_steps", 1))
    if micros < stages:
        share = (stages - 1) / (micros + stages - 1)
        yield facts.report(
            "R653",
            "gradient_accumulation_steps" if facts.has("gradient_accumulation_steps") else "pipeline_parallel_size",
            f"stages would wait {share:.0%} of the time",
            label=f"{micros} micro batch{'' if micros == 1 else 'es'} for {stages} stages",
            help=f"set `gradient_accumulation_steps` to {4 * stages} or more, and lower `micro_batch_size` for it",
            severity="warning",
        )


@rule("R654", "sharding that no pipeline takes", source=_ENGINE)
def sharding(facts: Facts) -> Iterator[Diagnostic]:
    """ZeRO-2 and ZeRO-3 scatter gradients and weights in the backward pass of every micro batch, of which a pipeline
    has several under way; DeepSpeed's pipeline engine refuses both. ZeRO-1 divides the optimizer's states, and only
    where there are several copies of a stage.
    """
    given = facts.get("deepspeed")
    if given is None or given in ("zero1", "deepspeed_configs/zero1.json"):
        return
    zero = given.get("zero_optimization", {}) if isinstance(given, dict) else None
    if isinstance(zero, dict) and zero.get("stage", 0) in (0, 1) and "offload_optimizer" not in zero:
        return
    shown = f"`{printable(given)}`" if isinstance(given, str) else "this configuration"
    yield facts.report(
        "R654",
        "deepspeed",
        f"a pipeline can't be sharded by {shown}",
        label="gradients of several micro batches are under way at once" if facts.zero_stage > 1 else "",
        help="set `deepspeed: zero1`",
    )


@rule("R655", "a model that can't be lined up", source=_PIPELINE)
def model_type(facts: Facts) -> Iterator[Diagnostic]:
    """A pipeline is a row of layers that hand on hidden states and nothing else: an embedding, equal decoder layers, a
    norm and a head. Layers that look at some positions only need a mask, which is not handed on.
    """
    name = facts.get("architecture.model_type")
    if name is not None and name not in MODELS:
        yield facts.report(
            "R655",
            "architecture.model_type",
            f"`{printable(str(name))}` can't be trained as a pipeline here",
            help="use " + " or ".join(f"`{m}`" for m in MODELS),
        )
    elif facts.has("architecture.sliding_window") and facts.get("architecture.use_sliding_window", True):
        yield facts.report(
            "R655",
            "architecture.sliding_window",
            "a pipeline has no mask for a sliding window",
            help="remove `sliding_window`",
        )


@rule("R656", "the data told twice, or not at all", source=_PIPELINE)
def data(facts: Facts) -> Iterator[Diagnostic]:
    """A run reads either the shards that a `prepare` recipe left (`prepared`), or texts that it tokenizes itself
    (`datasets`)."""
    if facts.has("prepared") and facts.has("datasets"):
        yield facts.report(
            "R656",
            "datasets",
            "`prepared` and `datasets` can't be used together",
            help="remove one of them",
        )
    elif facts.lacks("prepared") and facts.lacks("datasets"):
        yield facts.report(
            "R656",
            "kind",
            "the recipe has no data",
            help="add `datasets`, or `prepared` with what a `prepare` recipe leaves",
        )


@rule("R657", "flash attention in 32 bits", source="https://github.com/Dao-AILab/flash-attention")
def flash_precision(facts: Facts) -> Iterator[Diagnostic]:
    """FlashAttention's kernels take 16-bit numbers only, and stop at the first batch of any other."""
    if facts.get("attn_implementation") == "flash_attention_2" and facts.get("bf16", True) is False:
        yield facts.report(
            "R657",
            "attn_implementation",
            "`flash_attention_2` needs `bf16: true`",
            help="set `bf16: true`, or `attn_implementation: sdpa`",
        )
