"""Rules about optional kernels that come from plugins."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.load import nearest_word, printable
from runner.recipe.rules import Facts, rule

_INTEGRATIONS = "axolotl.integrations."
# plugin -> the keys that only it reads
_PLUGINS = {
    "liger.LigerPlugin": [
        "liger_rope",
        "liger_rms_norm",
        "liger_rms_norm_gated",
        "liger_layer_norm",
        "liger_swiglu",
        "liger_glu_activation",
        "liger_cross_entropy",
        "liger_fused_linear_cross_entropy",
        "liger_use_token_scaling",
        "liger_kernel_impl",
    ],
    "cut_cross_entropy.CutCrossEntropyPlugin": ["cut_cross_entropy"],
    "spectrum.SpectrumPlugin": ["spectrum_model_name", "spectrum_top_fraction"],
    "kernels.KernelsPlugin": [
        "expert_backend",
        "nonexpert_quantization",
        "moe_grouped_backend",
        "moe_dequant_chunk_size",
        "moe_bnb_fast",
        "use_scattermoe",
        "use_sonicmoe",
        "use_dsv4_kernels",
        "use_glm_dsa_kernels",
        "dsv4_fp8_nonexpert_mode",
        "dsv4_fp8_lora_kernel",
        "dsv4_shared_mlp_lora_kernel",
        "dsv4_bf16_all",
        "dsv4_fp4_grouped_mode",
        "gemma4_fp8_nonexpert",
        "gemma4_nf4_nonexpert",
        "nvfp4_merge_aware",
        "nvfp4_merge_aware_start_step",
    ],
}
# those that come with Axolotl
_KNOWN = (
    "cut_cross_entropy.CutCrossEntropyPlugin", "densemixer.DenseMixerPlugin", "diffusion.DiffusionPlugin",
    "expert_parallel.ExpertParallelPlugin", "grokfast.GrokfastPlugin", "hatchery.HatcheryPlugin", "kd.KDPlugin",
    "kernels.KernelsPlugin", "liger.LigerPlugin", "llm_compressor.LLMCompressorPlugin", "lm_eval.LMEvalPlugin",
    "mora.MoraPlugin", "nemo_gym.NemoGymPlugin", "spectrum.SpectrumPlugin", "swanlab.SwanLabPlugin",
)  # fmt: skip
_CROSS_ENTROPY = (
    "cut_cross_entropy",
    "chunked_cross_entropy",
    "liger_cross_entropy",
    "liger_fused_linear_cross_entropy",
)


@rule(
    "R198",
    "a plugin's key without the plugin",
    source="https://docs.axolotl.ai/docs/custom_integrations.html",
)
def key_without_plugin(facts: Facts) -> Iterator[Diagnostic]:
    """Keys such as `liger_rms_norm` belong to plugins. Without the plugin in `plugins` Axolotl drops them as it drops
    any key it does not know, without a word: the run works, and is slower or larger than the recipe says.
    """
    given = [str(p) for p in facts.get("plugins", [])]
    for plugin, keys in _PLUGINS.items():
        family = _INTEGRATIONS + plugin.split(".")[0]
        used = sorted((key for key in keys if facts.get(key) is not None), key=facts.span)
        if used and "plugins" not in facts.refused and not any(p.startswith(family) for p in given):
            more = f" and {len(used) - 1} more" if len(used) > 1 else ""
            yield facts.report(
                "R198",
                used[0],
                f"`{used[0]}`{more} {'do' if more else 'does'} nothing without a plugin",
                help=f"add `{_INTEGRATIONS}{plugin}` to `plugins`",
            )


@rule("R199", "two cross-entropy kernels", source="https://docs.axolotl.ai/docs/custom_integrations.html")
def two_cross_entropies(facts: Facts) -> Iterator[Diagnostic]:
    """Each of these replaces the same step, from the last hidden state to the loss. Axolotl refuses more than one."""
    used = [key for key in _CROSS_ENTROPY if facts.has(key)]
    if len(used) > 1:
        yield facts.report(
            "R199",
            used[1],
            " and ".join(f"`{key}`" for key in used) + " can't be used together",
            label="each replaces the same step",
            help="keep one of them",
        )


@rule("R835", "a plugin that Axolotl does not have", source="https://docs.axolotl.ai/docs/custom_integrations.html")
def unknown_plugin(facts: Facts) -> Iterator[Diagnostic]:
    """A plugin is a class by the name of its module. One that can't be imported Axolotl tells in its log, and trains
    without it; what is no such name at all stops it.
    """
    families = {name.split(".")[0]: name for name in _KNOWN}
    for at, node in facts.all("plugins.*"):
        given = str(node.value)
        module, _, name = given.removeprefix(_INTEGRATIONS).rpartition(".")
        family = module.split(".")[0]
        if module and not given.startswith(_INTEGRATIONS) and family not in families:
            continue  # somebody's own
        if not module or family not in families or not families[family].endswith(f".{name}"):
            close = families.get(family) or nearest_word(given.removeprefix(_INTEGRATIONS), list(_KNOWN))
            yield facts.report(
                "R835",
                at,
                f"no plugin `{printable(given)}`" if module else f"`{printable(given)}` is not a plugin's name",
                label=f"did you mean `{_INTEGRATIONS}{close}`?" if close else "",
                help=f"write `{_INTEGRATIONS}{close}`" if close else "write MODULE.CLASS",
            )
