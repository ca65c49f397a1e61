"""Rules about GRPO and its kin: groups of completions, rewards, generation with vLLM."""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd, lcm

from runner.diagnostics import Diagnostic
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.axolotl.schedule import evaluates

_VALIDATION = "https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/schemas/validation.py"
_TRL = "https://huggingface.co/docs/trl/grpo_trainer"
TRL_GENERATIONS = 8


def grouped(facts: Facts) -> bool:
    return facts.get("rl") in ("grpo", "gdpo") and "trl" not in facts.refused


def positive(facts: Facts, key: str) -> int:
    """A count as Axolotl reads it: 1 where it is left out or 0."""
    return max(1, int(facts.get(key) or 1))


def served_elsewhere(facts: Facts) -> bool:
    """True where a vLLM server of its own takes some of the GPUs, so that the number of ranks isn't the box's."""
    return facts.has("trl.use_vllm") and facts.get("trl.vllm_mode") != "colocate"


@rule("R160", "a generation batch that does not hold whole groups", source=_TRL)
def whole_groups(facts: Facts) -> Iterator[Diagnostic]:
    """GRPO compares `num_generations` completions of one prompt with each other, so each generation batch must hold
    whole groups. Axolotl 0.19 asks more than TRL does: the batch of one rank, `micro_batch_size` times
    `gradient_accumulation_steps`, must be a multiple of the group and hold a group for each rank. An explicit
    `generation_batch_size` is of all ranks and must be a multiple of one micro-batch on each as well.
    """
    if not grouped(facts) or (facts.get("context_parallel_size", 1) > 1 and not _axolotl_looks(facts)):
        return
    if {"micro_batch_size", "gradient_accumulation_steps"} & facts.refused or facts.get("trl.num_generations", 2) < 2:
        return
    group = int(facts.get("trl.num_generations", TRL_GENERATIONS))
    if facts.get("trl.generation_batch_size") is not None:
        yield from _explicit(facts, group)
        return
    micro, steps = positive(facts, "micro_batch_size"), positive(facts, "gradient_accumulation_steps")
    ranks = 1 if served_elsewhere(facts) else facts.ranks
    if facts.get("rl") == "grpo" and facts.get("trl.num_generations") is not None:
        wrong, want = micro * steps % group != 0 or micro * steps < group * ranks, group * ranks
        told = f"{micro} times {steps} is {micro * steps} per rank"
        rule_note = f"Axolotl wants a multiple of {group} per rank, and at least {want} on {ranks} ranks"
    else:
        wrong, want = ranks * micro * steps % group != 0, group
        told = f"{ranks} ranks times {micro} times {steps} is {ranks * micro * steps}"
        rule_note = f"TRL wants a multiple of {group}" + (
            "" if facts.get("trl.num_generations") else ", its default for `num_generations`"
        )
    if wrong and not (served_elsewhere(facts) and facts.get("trl.num_generations") is None):
        at = "gradient_accumulation_steps" if facts.get("gradient_accumulation_steps") else "micro_batch_size"
        yield facts.report(
            "R160",
            at if facts.get(at) else "trl.num_generations",
            f"the generation batch does not hold whole groups of {group} completions",
            label=told,
            note=rule_note,
            help=f"set `gradient_accumulation_steps: {_mended(group, micro, want)}`",
        )


def _axolotl_looks(facts: Facts) -> bool:
    """Whether Axolotl's own check applies, which counts ranks whatever they share. What TRL's would count is another
    number where several of them hold one sequence."""
    size, group = facts.get("trl.generation_batch_size"), facts.get("trl.num_generations")
    if facts.get("rl") != "grpo" or not group:
        return False
    return size is None or size % group != 0 or size < group * facts.ranks


def _mended(group: int, micro: int, want: int) -> int:
    """The fewest accumulation steps that hold whole groups, and at least `want` completions."""
    steps = lcm(micro, group) // micro
    return steps * -(-want // (micro * steps))


def _explicit(facts: Facts, group: int) -> Iterator[Diagnostic]:
    size = int(facts.get("trl.generation_batch_size"))
    ranks = 1 if served_elsewhere(facts) else facts.ranks
    per_step = positive(facts, "micro_batch_size") * ranks
    least = group * ranks if facts.get("rl") == "grpo" else group
    if size % group or size % per_step or size < least:
        whole = lcm(group, per_step)
        right = whole * -(-least // whole)
        yield facts.report(
            "R160",
            "trl.generation_batch_size",
            f"`generation_batch_size: {size}` does not hold whole groups of {group} completions on {ranks} ranks",
            note=f"it must be a multiple of {group} and of {per_step}, the samples of one step, and at least {least}",
            help=f"set `generation_batch_size: {right}`",
        )


@rule("R161", "a group of one", source=_VALIDATION)
def group_of_one(facts: Facts) -> Iterator[Diagnostic]:
    """An advantage is how much better a completion did than the others of its group. In a group of one it is always
    zero and nothing is learnt; Axolotl and TRL refuse it.
    """
    if grouped(facts) and facts.get("trl.num_generations", 2) < 2:
        yield facts.report(
            "R161",
            "trl.num_generations",
            "`num_generations` must be at least 2",
            label="one completion has nothing to be compared with",
            help="set `num_generations: 8`",
        )


@rule("R162", "an evaluation batch that does not hold whole groups", source=_TRL)
def eval_groups(facts: Facts) -> Iterator[Diagnostic]:
    """Evaluation generates groups too: the evaluation batch of all ranks together must be a multiple of
    `num_generations`, and accumulation does not count. TRL checks it when training starts.
    """
    group = int(facts.get("trl.num_generations", TRL_GENERATIONS))
    if not grouped(facts) or served_elsewhere(facts) or not evaluates(facts) or group < 2:
        return
    batch = int(facts.get("eval_batch_size") or facts.get("micro_batch_size") or 1)
    if batch * facts.ranks % group:
        at = next((k for k in ("eval_batch_size", "micro_batch_size") if facts.get(k)), "trl.num_generations")
        need = group // gcd(group, facts.ranks)
        yield facts.report(
            "R162",
            at,
            f"the evaluation batch does not hold whole groups of {group} completions",
            label=f"{batch} on each of {facts.ranks} ranks",
            help=f"set `eval_batch_size: {need}`",
        )


@rule("R163", "no reward, or not as many weights as rewards", source=_TRL)
def rewards(facts: Facts) -> Iterator[Diagnostic]:
    """Reinforcement learning needs something that scores completions: functions or reward models named in
    `trl.reward_funcs`. Weights, where given, are one for each of them. TRL stops without either.
    """
    if not grouped(facts) or facts.has("trainer_cls"):
        return
    funcs, weights = facts.get("trl.reward_funcs", []), facts.get("trl.reward_weights")
    if not funcs:
        yield facts.report(
            "R163",
            "trl",
            f"`rl: {facts.get('rl')}` needs `trl.reward_funcs`",
            label="nothing scores the completions",
            help="add `reward_funcs: [module.function]`, or a reward model's path",
        )
    elif weights is not None and len(weights) != len(funcs):
        yield facts.report(
            "R163",
            "trl.reward_weights",
            f"`reward_weights` has {len(weights)} for {len(funcs)} in `reward_funcs`",
            help="give one weight for each",
        )


@rule(
    "R164",
    "vLLM in the trainer without its settings",
    source="https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/core/trainers/grpo/__init__.py",
)
def colocated_vllm(facts: Facts) -> Iterator[Diagnostic]:
    """With `vllm_mode: colocate` each rank runs vLLM beside the trainer, and Axolotl reads how much memory it may take
    from the section `vllm`. Without that section it stops with an AttributeError about None.
    """
    colocated = facts.has("trl.use_vllm") and facts.get("trl.vllm_mode") == "colocate"
    if grouped(facts) and colocated and facts.lacks("vllm"):
        yield facts.report(
            "R164",
            "trl.vllm_mode",
            "`vllm_mode: colocate` needs a section `vllm`",
            help="add `vllm: {gpu_memory_utilization: 0.3, tensor_parallel_size: 1}`",
        )
