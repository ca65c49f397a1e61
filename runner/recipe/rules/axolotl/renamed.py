"""Rule about keys that Axolotl has renamed or dropped."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.rules import Facts, rule
from runner.recipe.rules.axolotl.attention import LEGACY

# still read, under a name that will go: key -> what to write
_RENAMED = {
    "dataset_processes": "rename it to `dataset_num_proc`",
    "dpo_beta": "rename it to `rl_beta`",
    "eval_max_new_tokens": "use `generate_samples: true` and `generation_max_new_tokens`",
    "eval_table_size": "use `generate_samples: true` and `num_generation_samples`",
    "evaluation_strategy": "rename it to `eval_strategy`",
    "flash_attn_d512": "set `large_head_attention: auto`",
    "fsdp": "remove it, and describe FSDP in `fsdp_config` with `fsdp_version: 2`",
    "fsdp_final_state_dict_type": "move it to `fsdp_config.final_state_dict_type`",
    "gc_steps": "use `gc_collect_steps` and `torch_empty_cache_steps`",
    "gemma4_fp8_nonexpert": "set `nonexpert_quantization: fp8`",
    "gemma4_nf4_nonexpert": "set `nonexpert_quantization: nf4`",
    "liger_swiglu": "rename it to `liger_glu_activation`",
    "noisy_embedding_alpha": "rename it to `neftune_noise_alpha`",
    "pretrain_multipack_buffer_size": "rename it to `streaming_multipack_buffer_size`",
    "sequence_parallel_degree": "rename it to `context_parallel_size`",
    **{key: f"set `attn_implementation: {kernel}`" for key, kernel in LEGACY.items()},
}
# refused by Axolotl: key -> (why, what to write)
_REMOVED = {
    "dpo_generate_during_eval": ("TRL has dropped it", "remove it"),
    "dpo_norm_loss": ("TRL has dropped it", "remove it"),
    "dpo_use_logits_to_keep": ("TRL has dropped it", "remove it"),
    "rpo_alpha": ("TRL has dropped it", "use `dpo_loss_type: [sigmoid, sft]` with `dpo_loss_weights`"),
    "flash_attn_rms_norm": ("Axolotl has dropped it", "use the Liger plugin and `liger_rms_norm: true`"),
    "max_packed_sequence_len": ("Axolotl has dropped it", "use `sample_packing: true` and `sequence_len`"),
    "rope_scaling": (
        "it belongs to the model's config",
        "use `model_config: {rope_parameters: ...}`, with its `rope_theta`",
    ),
    "s2_attention": ("Axolotl has dropped it", "remove it, and use `context_parallel_size` for long sequences"),
}
_ROWS = {
    "message_field_role": "use `message_property_mappings: {role: ...}`",
    "message_field_content": "use `message_property_mappings: {content: ...}`",
}


@rule(
    "R015",
    "a key that was renamed or removed",
    source="https://github.com/axolotl-ai-cloud/axolotl/blob/main/src/axolotl/utils/schemas/deprecated.py",
    severity="warning",
)
def renamed_or_removed(facts: Facts) -> Iterator[Diagnostic]:
    """Axolotl still reads some keys under older names and warns about each in its log; others it has dropped and
    refuses. Examples on the web are full of both.
    """
    for key, mend in _RENAMED.items():
        # beside the new key an older switch is an error of its own, R136
        if facts.has(key) and not (key in LEGACY and facts.has("attn_implementation")):
            yield facts.report("R015", key, f"`{key}` is deprecated", help=mend, severity="warning")
    for key, (why, mend) in _REMOVED.items():
        read_at_all = facts.get(key) is not None if key.startswith(("dpo_", "rpo_")) else facts.has(key)
        if read_at_all:
            yield facts.report("R015", key, f"`{key}` has been removed", label=why, help=mend)
    for rows in ("datasets", "test_datasets"):
        for key, mend in _ROWS.items():
            for at, node in facts.all(f"{rows}.*.{key}"):
                if node.value:
                    yield facts.report("R015", at, f"`{key}` is deprecated", help=mend, severity="warning")
    yield from _values(facts)


def _values(facts: Facts) -> Iterator[Diagnostic]:
    """Keys that stay, with a value that doesn't."""
    older = {"offload": "true", "offload_disk": "disk"}.get(str(facts.get("gradient_checkpointing")))
    if older:
        yield facts.report(
            "R015",
            "gradient_checkpointing",
            f"`gradient_checkpointing: {facts.get('gradient_checkpointing')}` is deprecated",
            help=f"set `gradient_checkpointing: true` and `activation_offloading: {older}`",
            severity="warning",
        )
    if facts.get("save_safetensors") is False:
        yield facts.report(
            "R015",
            "save_safetensors",
            "`save_safetensors: false` has been removed",
            label="transformers 5 writes safetensors only",
            help="remove `save_safetensors`",
        )
