"""Keys of Axolotl's plugins, with the plugin and without, and values that plugins look at together."""

from __future__ import annotations

from typing import Any


def _with(plugin: str, **keys: Any) -> dict[str, Any]:
    return {"plugins": [f"axolotl.integrations.{plugin}"], **keys}


_GYM = "nemo_gym.NemoGymPlugin"
_ROWS = [{"path": "data/rows.jsonl", "server_name": "arithmetic"}]

PLUGINS: list[dict[str, Any]] = [
    {"use_swanlab": True, "swanlab_project": "mine"},
    {"kd_trainer": True},
    {"expert_parallel_size": 1},
    {"diffusion": {"noise_schedule": "cosine"}},
    {"lm_eval_tasks": ["hellaswag"]},
    {"mora": {"use_mora": True}},
    {"nemo_gym_enabled": False},
    _with("swanlab.SwanLabPlugin"),
    _with("swanlab.SwanLabPlugin", use_swanlab=False),
    _with("swanlab.SwanLabPlugin", use_swanlab=True),
    _with("swanlab.SwanLabPlugin", swanlab_project="mine"),
    _with("swanlab.SwanLabPlugin", use_swanlab=False, swanlab_project=" "),
    _with("swanlab.SwanLabPlugin", use_swanlab=False, swanlab_mode="clouds"),
    _with("swanlab.SwanLabPlugin", use_swanlab=False, swanlab_mode="offline"),
    _with("kd.KDPlugin", kd_trainer=True, kd_alpha=0.9),
    _with("kd.KDPlugin", kd_trainer=1.0, kd_online_server="sglang"),
    _with("kd.KDPlugin", kd_online_server="other"),
    _with("diffusion.DiffusionPlugin"),
    _with("diffusion.DiffusionPlugin", diffusion={"min_mask_ratio": 0.95}),
    _with("diffusion.DiffusionPlugin", diffusion={"min_mask_ratio": 0.9, "max_mask_ratio": 0.9}),
    _with("diffusion.DiffusionPlugin", diffusion={"max_mask_ratio": 1.5}),
    _with("diffusion.DiffusionPlugin", diffusion={"noise_schedule": "square"}),
    _with("diffusion.DiffusionPlugin", diffusion={"num_diffusion_steps": 0}),
    _with("diffusion.DiffusionPlugin", diffusion={"made_up": 1}),
    _with("expert_parallel.ExpertParallelPlugin", expert_parallel_size=0),
    _with("expert_parallel.ExpertParallelPlugin", expert_parallel_size=2),
    _with("expert_parallel.ExpertParallelPlugin", expert_parallel_token_capacity=0),
    _with("expert_parallel.ExpertParallelPlugin", expert_parallel_backend="nccl"),
    _with("grokfast.GrokfastPlugin", grokfast_alpha=0.9),
    _with("hatchery.HatcheryPlugin", hatchery={"lora_rank": 0}),
    _with("hatchery.HatcheryPlugin", hatchery={"lora_rank": 16}),
    _with("lm_eval.LMEvalPlugin", lm_eval_tasks=["hellaswag"], lm_eval_batch_size=2),
    _with("lm_eval.LMEvalPlugin", lm_eval_tasks="hellaswag"),
    _with("mora.MoraPlugin", adapter="mora", mora={"mora_type": "sharing"}),
    _with("mora.MoraPlugin", mora={"mora_type": "round"}),
    _with(_GYM, nemo_gym_enabled=True),
    _with(_GYM, nemo_gym_enabled=True, nemo_gym_datasets=_ROWS),
    _with(_GYM, nemo_gym_enabled=True, nemo_gym_datasets=_ROWS, nemo_gym_auto_start=False),
    _with(_GYM, nemo_gym_enabled=False),
    _with("llm_compressor.LLMCompressorPlugin"),
    _with("densemixer.DenseMixerPlugin", dense_mixer=False),
    _with("densemixer.DenseMixerPlugin", dense_mixer=True),
    _with("kernels.KernelsPlugin", use_scattermoe=True, use_sonicmoe=True),
    _with("kernels.KernelsPlugin", expert_backend="scattermoe"),
    _with("kernels.KernelsPlugin", expert_backend="other"),
    _with("spectrum.SpectrumPlugin", spectrum_top_fraction=0.5),
    _with("spectrum.SpectrumPlugin", spectrum_top_fraction=0.5, spectrum_model_name="a/b"),
]
