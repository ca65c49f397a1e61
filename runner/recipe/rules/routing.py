"""Rules about how a model from scratch sends its tokens to experts."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.rules import Facts, rule

# families whose router divides the chosen experts' weights by their sum: always, or when `norm_topk_prob` says so
_ALWAYS, _WHEN_TOLD = ("mixtral",), ("qwen2_moe", "qwen3_moe")


@rule(
    "R169",
    "a router that the text teaches nothing",
    source="https://github.com/huggingface/transformers/blob/main/src/transformers/models/mixtral/modeling_mixtral.py",
    severity="warning",
)
def one_expert_of_weight_one(facts: Facts) -> Iterator[Diagnostic]:
    """Mixtral's router divides the weights of the experts that it chose by their sum. With one expert for each token
    that weight is always 1, whatever the router thinks of it, so no gradient of the loss on the text reaches it: all
    that it learns is to spread tokens evenly. Switch Transformer (Fedus et al. 2021, arXiv:2101.03961, section 2.1)
    multiplies by the probability itself, as `qwen3_moe` does with `norm_topk_prob: false`.
    """
    family = facts.get("architecture.model_type")
    divides = family in _ALWAYS or (family in _WHEN_TOLD and facts.has("architecture.norm_topk_prob"))
    if divides and facts.get("architecture.num_experts_per_tok") == 1:
        other = "use `model_type: qwen3_moe` with `norm_topk_prob: false`, which weighs an expert by its probability"
        yield facts.report(
            "R169",
            "architecture.num_experts_per_tok",
            f"the router of `{family}` weighs a single expert by 1, always",
            label="the text teaches it nothing",
            note="only the balance loss trains it: it learns to spread tokens, not where to send them",
            help="set `norm_topk_prob: false`" if family in _WHEN_TOLD else other,
            severity="warning",
        )
