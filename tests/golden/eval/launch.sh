#!/usr/bin/env bash
# Answers of the 13B DPO model against those of the LoRA finetune, judged by Mixtral 8x7B
# phase4/judge-dpo-13b, profile full, box 2xh100. Rendered by runner VERSION.
# Works by hand, from any folder: bash launch.sh. Run again, it goes on from its newest checkpoint.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# The engine's environment; `runner env build llmcompressor` makes it. Set RUNNER_ENV to use another.
RUNNER_CACHE="${RUNNER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/llm-recipes}"
RUNNER_ENV="${RUNNER_ENV:-$RUNNER_CACHE/envs/llmcompressor-HASH}"
PYTHON="$RUNNER_ENV/bin/python"
if [ ! -x "$PYTHON" ]; then
  echo "launch.sh: no llmcompressor environment at $RUNNER_ENV; make it with: runner env build llmcompressor" >&2
  exit 1
fi
# What else the run needs: another environment, made by `runner env build vllm`.
RUNNER_ENV_VLLM="${RUNNER_ENV_VLLM:-$RUNNER_CACHE/envs/vllm-HASH}"
if [ ! -x "$RUNNER_ENV_VLLM/bin/python" ]; then
  echo "launch.sh: no vllm environment at $RUNNER_ENV_VLLM; make it with: runner env build vllm" >&2
  exit 1
fi
export PATH="$RUNNER_ENV/bin:$PATH"
export PYTHONPATH="$PWD/jobs${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONUNBUFFERED=1
export AXOLOTL_DO_NOT_TRACK=1 DO_NOT_TRACK=1
export TOKENIZERS_PARALLELISM=false
export PYTORCH_ALLOC_CONF="${PYTORCH_ALLOC_CONF:-expandable_segments:True}"

step() { echo "=== $1"; }
# Interrupted, the trainer saves and ends well; without these the next step would begin.
trap 'exit 130' INT
trap 'exit 143' TERM
rm -rf results generated

step evaluate
# the server is up while lm-eval asks, and stopped afterwards, whatever happens
PATH="$RUNNER_ENV_VLLM/bin:$PATH" "$PYTHON" -m endpoint endpoint.json -- "$PYTHON" -m evaluation ask lm_eval.yaml

step judge
PATH="$RUNNER_ENV_VLLM/bin:$PATH" "$PYTHON" -m endpoint judge-endpoint.json -- "$PYTHON" -m judge judge.json results

step summarise
"$PYTHON" -m evaluation summarise results
step done
