"""Names that the engines know: optimizers, schedules, kernels, templates, formats. As of Axolotl 0.19 and TRL 1.9."""

from __future__ import annotations


def _words(text: str) -> list[str]:
    return text.split()


# transformers' OptimizerNames, then Axolotl's CustomSupportedOptimizers
OPTIMIZERS = _words(
    "adamw_torch adamw_torch_fused adamw_torch_xla adamw_torch_npu_fused adafactor adamw_anyprecision adamw_torch_4bit "
    "adamw_torch_8bit ademamix sgd adagrad adamw_bnb_8bit adamw_8bit ademamix_8bit lion_8bit lion_32bit "
    "paged_adamw_32bit paged_adamw_8bit paged_ademamix_32bit paged_ademamix_8bit paged_lion_32bit paged_lion_8bit "
    "rmsprop rmsprop_bnb rmsprop_bnb_8bit rmsprop_bnb_32bit galore_adamw galore_adamw_8bit galore_adafactor "
    "galore_adamw_layerwise galore_adamw_8bit_layerwise galore_adafactor_layerwise lomo adalomo grokadamw "
    "schedule_free_radam schedule_free_adamw schedule_free_sgd apollo_adamw apollo_adamw_layerwise stable_adamw "
    "optimi_adamw ao_adamw_4bit ao_adamw_8bit ao_adamw_fp8 adopt_adamw adamc came_pytorch muon dion sinkgd polora "
    "flash_adamw flash_adam flash_sgd flash_sgdw flash_lion q_galore_adamw8bit"
)

# transformers' SchedulerType, then Axolotl's own two
SCHEDULES = _words(
    "linear cosine cosine_with_restarts polynomial constant constant_with_warmup inverse_sqrt reduce_lr_on_plateau "
    "cosine_with_min_lr cosine_warmup_with_min_lr warmup_stable_decay greedy one_cycle rex"
)

# attention, by transformers' names
KERNELS = _words("eager sdpa flash_attention_2 flash_attention_3 flash_attention_4 flex_attention xformers sage fp8")

# Axolotl's chat templates
TEMPLATES = _words(
    "alpaca chatml mistral_v1 mistral_v2v3 mistral_v3_tekken mistral_v7_tekken gemma cohere llama3 llama3_2_vision "
    "llama4 phi_3 phi_35 deepseek_v2 deepseek_v3 jamba jinja qwen_25 qwen3 qwen3_5 falcon_h1 nemotron_h "
    "tokenizer_default exaone exaone4 metharme pixtral llava qwen2_vl gemma3 gemma3n gemma4 gemma4_unified command_a "
    "command_a_tool_use command_a_rag aya"
)

# Axolotl's dataset formats of supervised training
SUPERVISED = _words(
    "_synthetic alpaca alpaca_chat alpaca_instruct alpaca_w_system chat_template completion concisechoice context_qa "
    "creative_acr explainchoice gpteacher input_output jeopardy llama2_chat messages metharme oasst orcamini pretrain "
    "pygmalion reflection stepwise_supervised summarizetldr user_defined"
)

# TRL's losses for DPO
LOSSES = _words(
    "sigmoid hinge ipo exo_pair nca_pair robust bco_pair sppo_hard aot aot_unpaired apo_zero apo_down discopop sft "
    "sigmoid_norm"
)

# keys that Axolotl reads only while it builds an adapter
ADAPTER_ONLY = _words(
    "lora_r lora_alpha lora_dropout lora_fan_in_fan_out lora_target_linear lora_target_modules lora_target_parameters "
    "lora_modules_to_save lora_rank_pattern lora_alpha_pattern lora_model_dir peft_layers_to_transform "
    "peft_layers_pattern peft_use_dora peft_use_rslora peft_init_lora_weights peft_trainable_token_indices"
)

# families whose expert blocks Axolotl marks as ZeRO-3 leaves by itself
LEAVES = _words(
    "dbrx jamba jetmoe mixtral qwen2_moe qwen3_moe qwen3_5_moe qwen3_vl_moe qwen4_exp_text deepseek_v3 mistral4 "
    "gpt_oss lfm2_moe glm4_moe glm4_moe_lite glm_moe_dsa nemotron_h minimax_m2 bailing_hybrid"
)
