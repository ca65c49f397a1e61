"""Rule about arguments that vLLM has dropped or renamed, of which the web's examples are full."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.rules import Facts, rule

_ALWAYS = "remove it: vLLM does so by itself"
_GONE = "remove it"
_SPECULATIVE = "use `speculative_config: {model: DRAFT, num_speculative_tokens: 5}`"
_NGRAM = "use `speculative_config: {method: ngram, num_speculative_tokens: 4, prompt_lookup_max: 4}`"
_PROMPTS = "remove it: prompt adapters are no longer served; train a LoRA adapter"
_STRUCTURED = "use `structured_outputs_config: {backend: xgrammar}`"
_EPLB = "use `eplb_config`"
_OFFLOAD = "use `kv_offloading_size` to keep cache blocks in host memory"
_TOKENIZERS = "remove it; `api_server_count` adds processes that tokenize"
# key -> what to write; runner/jobs/vllm_schema.py shows which are no longer among the parser's arguments
REMOVED = {
    "api_key": "put the key into a file of mode 600 and name it in `api_key_file`, or set RUNNER_API_KEY",
    "block_allocator": _GONE,
    "calculate_kv_scales": "remove it, and quantize the model with scales for its cache",
    "chat_template_text_format": "rename it to `chat_template_content_format`",
    "cuda_graph_sizes": "rename it to `cudagraph_capture_sizes`",
    "device": "remove it: the platform tells",
    "disable_async_output_proc": _GONE,
    "disable_frontend_multiprocessing": _GONE,
    "disable_log_requests": "remove it: requests are logged only with `enable_log_requests: true`",
    "disable_logprobs_during_spec_decoding": _GONE,
    "disable_mm_preprocessor_cache": "use `mm_processor_cache_gb: 0`",
    "enable_lora_bias": _GONE,
    "enable_multimodal_encoder_data_parallel": "use `mm_encoder_tp_mode: data`",
    "enable_prompt_adapter": _PROMPTS,
    "enable_reasoning": "remove it: `reasoning_parser` is enough",
    "engine_use_ray": "use `distributed_executor_backend: ray`",
    "eplb_log_balancedness": _EPLB,
    "eplb_step_interval": _EPLB,
    "eplb_window_size": _EPLB,
    "guided_decoding_backend": _STRUCTURED,
    "guided_decoding_disable_additional_properties": _STRUCTURED,
    "guided_decoding_disable_any_whitespace": _STRUCTURED,
    "guided_decoding_disable_fallback": _STRUCTURED,
    "hf_token": "set HF_TOKEN in the environment",
    "logits_processor_pattern": "use `logits_processors`",
    "long_lora_scaling_factors": _GONE,
    "lora_extra_vocab_size": "remove it: adapters can't add tokens; merge such an adapter into its base",
    "max_context_len_to_capture": "use `max_cudagraph_capture_size`",
    "max_long_partial_prefills": "use `long_prefill_token_threshold`",
    "max_num_partial_prefills": _ALWAYS,
    "max_prompt_adapter_token": _PROMPTS,
    "max_prompt_adapters": _PROMPTS,
    "max_seq_len_to_capture": "use `max_cudagraph_capture_size`",
    "multi_step_stream_outputs": _ALWAYS,
    "ngram_prompt_lookup_max": _NGRAM,
    "ngram_prompt_lookup_min": _NGRAM,
    "num_lookahead_slots": _GONE,
    "num_redundant_experts": _EPLB,
    "num_scheduler_steps": "remove it: `async_scheduling` does what it was for, by itself",
    "num_speculative_tokens": _SPECULATIVE,
    "override_attention_dtype": _GONE,
    "override_neuron_config": "use `additional_config`",
    "override_pooler_config": "rename it to `pooler_config`",
    "preemption_mode": "remove it: requests that lose their blocks are computed again",
    "prompt_adapters": _PROMPTS,
    "qlora_adapter_name_or_path": "use `lora_modules`",
    "quantization_param_path": "remove it: scales are read from the checkpoint",
    "rope_scaling": "use `hf_overrides: {rope_parameters: {rope_type: yarn, factor: 4.0, ...}}`",
    "rope_theta": "use `hf_overrides: {rope_parameters: {rope_theta: ...}}`",
    "scheduler_delay_factor": _GONE,
    "spec_decoding_acceptance_method": _SPECULATIVE,
    "speculative_disable_by_batch_size": _SPECULATIVE,
    "speculative_draft_tensor_parallel_size": _SPECULATIVE,
    "speculative_max_model_len": _SPECULATIVE,
    "speculative_model": _SPECULATIVE,
    "speculative_model_quantization": _SPECULATIVE,
    "swap_space": _OFFLOAD,
    "task": "use `runner: pooling` with `convert: embed` or `classify`; for text nothing is needed",
    "tokenizer_pool_extra_config": _TOKENIZERS,
    "tokenizer_pool_size": _TOKENIZERS,
    "tokenizer_pool_type": _TOKENIZERS,
    "typical_acceptance_sampler_posterior_alpha": _SPECULATIVE,
    "typical_acceptance_sampler_posterior_threshold": _SPECULATIVE,
    "use_v2_block_manager": _ALWAYS,
    "worker_use_ray": "use `distributed_executor_backend: ray`",
}
SECRETS = ("api_key", "hf_token")
_DEPRECATED = {
    "log_config_file": "use `logging_config: {pylogging_config_file: ...}`",
    "disable_cascade_attn": "remove it: there is no such attention any more",
}


@rule("R900", "an argument that vLLM has dropped", source="https://docs.vllm.ai/en/latest/cli/serve/")
def removed(facts: Facts) -> Iterator[Diagnostic]:
    """vLLM renames and drops arguments in most releases, and its parser then ends with a usage message of several
    screens. What took their place is told here. A key of the endpoint is a secret, and never stands in a recipe.
    """
    for key, mend in REMOVED.items():
        if key in SECRETS and facts.get(key) is not None:
            yield facts.report("R900", key, f"`{key}` is a secret, which a recipe never holds", help=mend)
        elif facts.node(key) is not None:
            yield facts.report("R900", key, f"vLLM no longer has `{key}`", help=mend)
    for key, mend in _DEPRECATED.items():
        if facts.has(key):
            yield facts.report("R900", key, f"vLLM is about to drop `{key}`", help=mend, severity="warning")
