"""A Llama-shaped GPT with one idea changed: attention and MLP of a block work side by side, not one after the other.

Both read what comes into the block, each through its norm, and what they say is added at once:
`x + attention(norm(x)) + mlp(norm'(x))`, as in GPT-J and GPT-NeoX (Black et al. 2022, arXiv:2204.06745, section 2.1).
It has as many parameters as a Llama of its sizes, and as many operations, but half as many steps that wait for another.

This file is saved beside the weights, and whoever loads them with `trust_remote_code` runs that copy.
"""

from typing import Any

from torch import Tensor, nn
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaForCausalLM, LlamaModel


class ParallelGPTConfig(LlamaConfig):
    model_type = "parallel_gpt"


class ParallelBlock(LlamaDecoderLayer):
    def forward(self, hidden_states: Tensor, **kwargs: Any) -> Tensor:
        attended, _ = self.self_attn(hidden_states=self.input_layernorm(hidden_states), **kwargs)
        return hidden_states + attended + self.mlp(self.post_attention_layernorm(hidden_states))


class ParallelGPTModel(LlamaModel):
    config_class = ParallelGPTConfig
    _no_split_modules = ("ParallelBlock",)

    def __init__(self, config: ParallelGPTConfig) -> None:
        super().__init__(config)
        self.layers = nn.ModuleList(ParallelBlock(config, i) for i in range(config.num_hidden_layers))
        self.post_init()


class ParallelGPTForCausalLM(LlamaForCausalLM):
    config_class = ParallelGPTConfig
    _no_split_modules = ("ParallelBlock",)

    def __init__(self, config: ParallelGPTConfig) -> None:
        super().__init__(config)
        self.model = ParallelGPTModel(config)
        self.post_init()
