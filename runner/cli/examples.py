"""Examples that `--help` of each command shows; one that explains itself needs no more words."""

from __future__ import annotations

EXAMPLES = {
    "list": ("runner list", "runner list --names"),
    "show": ("runner show phase4/dpo-13b", "runner show phase4/dpo-13b --profile smoke --resolved"),
    "plan": (
        "runner plan phase4/dpo-13b",
        "runner plan phase4/dpo-13b --box 8xh100 --set sequence_len=4096",
        "runner plan phase4/full-13b --fit",
        "runner plan --all",
    ),
    "capacity": (
        "runner capacity codellama/CodeLlama-34b-Instruct-hf",
        "runner capacity meta-llama/Llama-2-70b-hf --quantization fp8 --max-model-len 4096",
    ),
    "validate": (
        "runner validate",
        "runner validate phase4/dpo-13b --needs --strict",
        "runner validate phase4/dpo-13b --engine",
    ),
    "explain": ("runner explain R116", "runner explain"),
    "new": ("runner new phase4/my-dpo --from phase4/dpo-13b",),
    "import": ("runner import axolotl.yml --as phase4/mine",),
    "export": ("runner export phase4/dpo-13b --to axolotl --out dpo.yml",),
    "render": ("runner render phase4/dpo-13b --out /tmp/x", "runner render phase4/dpo-13b --file launch.sh"),
    "run": (
        "runner run phase4/lora-13b --profile smoke",
        "runner run phase4/lora-13b",
        "runner run phase4/lora-13b --profile smoke --set max_steps=10",
    ),
    "probe": ("runner probe phase1/gpt-1b --steps 20 --write",),
    "curve": ("runner curve phase1/gpt-nano", "runner curve phase1 --profile smoke"),
    "serve": (
        "runner serve codellama-34b",
        "runner serve phase4/dpo-13b --detach",
        "runner serve llama-2-13b --profile smoke",
    ),
    "rag": ("runner rag phase5/rag-smoke-docs --profile smoke", "runner rag phase5/rag-production-34b --detach"),
    "ps": ("runner ps", "runner ps --json"),
    "stop": ("runner stop codellama-34b", "runner stop all"),
    "sample": ('runner sample phase1/gpt-shakespeare --prompt "ROMEO:" --samples 3',),
    "collect": ("runner collect phase2/scaling-sweep --out runs.csv",),
    "compare": ("runner compare phase4/eval-lora-13b phase4/eval-full-13b",),
    "last": ("runner last phase4/dpo-13b --profile smoke",),
    "runs": ("runner runs", "runner runs --recipe phase4 --since 7d"),
    "lock": ("runner lock phase4/dpo-13b", "runner lock --check"),
    "reproduce": (
        "runner reproduce phase1/gpt-nano --profile smoke",
        "runner reproduce phase4/lora-13b --tolerance 0.01",
    ),
    "verify": ("runner verify phase4/dpo-13b", "runner verify phase4/dpo-13b --deep"),
    "card": ("runner card phase4/dpo-13b", "runner card phase4/dpo-13b --write"),
    "gc": ("runner gc --keep 2 --older-than 30d", "runner gc --failed --checkpoints --yes"),
    "report": ("runner report", "runner report --watch"),
    "why": ("runner why phase4/dpo-13b", "runner why"),
    "graph": ("runner graph --out graph.mk",),
    "fit": ("runner fit phase2/scaling-sweep --compare", "runner fit runs.csv --law chinchilla --out fit/"),
    "optimal": ("runner optimal --fit fit/fit.json --hours 72 --box 2xh100",),
    "calibrate": ("runner calibrate", "runner calibrate --write"),
    "doctor": ("runner doctor", "runner doctor phase4/full-13b", "runner doctor --write-box"),
    "env": ("runner env list", "runner env build axolotl"),
    "env list": ("runner env list",),
    "env build": ("runner env build vllm",),
    "env path": ("runner env path axolotl",),
    "env remove": ("runner env remove vllm",),
    "completion": (
        'eval "$(runner completion bash)"      # in ~/.bashrc',
        'eval "$(runner completion zsh)"       # in ~/.zshrc',
        "runner completion fish > ~/.config/fish/completions/runner.fish",
    ),
}


def epilog_of(name: str) -> str | None:
    """Of a command, as click shows it below its options; None where there is none."""
    lines = EXAMPLES.get(name)
    if not lines:
        return None
    return "\n".join(["\b", "Examples:" if len(lines) > 1 else "Example:", *(f"  {line}" for line in lines)])
