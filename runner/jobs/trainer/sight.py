"""A frozen language model with gated cross-attention to a picture before its layers (Alayrac et al. 2022,
arXiv:2204.14198, section 2 and appendix A.1): a vision tower, a Perceiver resampler, and gates that begin closed."""

from typing import Any

import torch
from torch import nn
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_outputs import CausalLMOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.models.auto.configuration_auto import AutoConfig
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

VISION = {
    "image_size": 56, "patch_size": 14, "hidden_size": 128, "num_hidden_layers": 2, "latents": 8, "every": 1,
}  # fmt: skip
HEAD = 32  # width of one attention head of what is added


class SightedConfig(PreTrainedConfig):  # type: ignore[misc]
    model_type = "flamingo-small"

    def __init__(
        self, language: dict[str, Any] | None = None, vision: dict[str, Any] | None = None, **more: Any
    ) -> None:
        self.language, self.vision = language or {}, {**VISION, **(vision or {})}
        super().__init__(**more)


def heads(width: int) -> int:
    return next(n for n in range(max(1, width // HEAD), 0, -1) if width % n == 0)


class Attend(nn.Module):
    """`x` looks at `context`; both are normed first."""

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.norm, self.norm_context = nn.LayerNorm(width), nn.LayerNorm(context)
        self.attention = nn.MultiheadAttention(width, heads(width), kdim=context, vdim=context, batch_first=True)

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        seen = self.norm_context(context)
        found: torch.Tensor = self.attention(self.norm(x), seen, seen, need_weights=False)[0]
        return found


def feed_forward(width: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


class Tower(nn.Module):
    """Pictures `(batch, 3, side, side)` -> their latents `(batch, latents, width)`, by patches and a resampler."""

    def __init__(self, vision: dict[str, Any]) -> None:
        super().__init__()
        width, patch = vision["hidden_size"], vision["patch_size"]
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.places = nn.Parameter(torch.randn((vision["image_size"] // patch) ** 2, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, heads(width), 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, vision["num_hidden_layers"], enable_nested_tensor=False)
        self.latents = nn.Parameter(torch.randn(vision["latents"], width) * 0.02)
        self.resample, self.mix = Attend(width, width), feed_forward(width)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        patches = self.patches(pictures).flatten(2).transpose(1, 2) + self.places
        patches = self.layers(patches)
        latents = self.latents.expand(len(pictures), -1, -1)
        latents = latents + self.resample(latents, torch.cat([patches, latents], dim=1))
        found: torch.Tensor = latents + self.mix(latents)
        return found


class Gated(nn.Module):
    """What stands before a layer. tanh(0) = 0: at first the language model is what it was, to the bit."""

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.look, self.think = Attend(width, context), feed_forward(width)
        self.gate_look, self.gate_think = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        x = x + self.gate_look.tanh() * self.look(x, latents)
        return x + self.gate_think.tanh() * self.think(x)


class Sighted(PreTrainedModel):  # type: ignore[misc]
    config_class = SightedConfig
    main_input_name = "input_ids"

    def __init__(self, config: SightedConfig, language: Any = None) -> None:
        super().__init__(config)
        if language is None:
            given = dict(config.language)
            language = AutoModelForCausalLM.from_config(AutoConfig.for_model(given.pop("model_type"), **given))
        self.language = language.requires_grad_(False)
        self.tower = Tower(config.vision)
        width, count = language.config.hidden_size, language.config.num_hidden_layers
        self.gated = nn.ModuleDict(
            {str(i): Gated(width, config.vision["hidden_size"]) for i in range(0, count, config.vision["every"])}
        )
        self.all_tied_weights_keys: dict[str, str] = getattr(self, "all_tied_weights_keys", {})

    def forward(
        self,
        input_ids: torch.Tensor,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **more: Any,
    ) -> Any:
        """Without `pixel_values` the language model is on its own."""
        hooks = [] if pixel_values is None else self._looking(self.tower(pixel_values))
        try:
            logits = self.language(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits
        finally:
            for hook in hooks:
                hook.remove()
        loss = None
        if labels is not None:
            loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
        return CausalLMOutput(loss=loss, logits=logits)

    def _looking(self, latents: torch.Tensor) -> list[Any]:
        def before(gated: nn.Module) -> Any:
            return lambda _, given: (gated(given[0], latents), *given[1:])

        layers = blocks(self.language)
        return [layers[int(i)].register_forward_pre_hook(before(gated)) for i, gated in self.gated.items()]

    def openness(self) -> float:
        """How far the gates are open, 0 to 1, on average."""
        gates = [g.tanh().abs() for each in self.gated.values() for g in (each.gate_look, each.gate_think)]
        return float(torch.cat(gates).mean().detach())


def blocks(language: Any) -> nn.ModuleList:
    """The layers of a decoder, whatever the family calls them."""
    count = language.config.num_hidden_layers
    return next(m for m in language.modules() if isinstance(m, nn.ModuleList) and len(m) == count)
