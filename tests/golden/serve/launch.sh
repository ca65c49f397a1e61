#!/usr/bin/env bash
# CodeLlama 34B Instruct over both GPUs
# serve/codellama-34b, profile full, box 2xh100. Rendered by runner VERSION.
# Works by hand, from any folder: bash launch.sh. It serves until Ctrl-C.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# The engine's environment; `runner env build vllm` makes it. Set RUNNER_ENV to use another.
RUNNER_CACHE="${RUNNER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/llm-recipes}"
RUNNER_ENV="${RUNNER_ENV:-$RUNNER_CACHE/envs/vllm-HASH}"
PYTHON="$RUNNER_ENV/bin/python"
if [ ! -x "$PYTHON" ]; then
  echo "launch.sh: no vllm environment at $RUNNER_ENV; make it with: runner env build vllm" >&2
  exit 1
fi
export PATH="$RUNNER_ENV/bin:$PATH"
export PYTHONPATH="$PWD/jobs${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONUNBUFFERED=1
export AXOLOTL_DO_NOT_TRACK=1 DO_NOT_TRACK=1
export TOKENIZERS_PARALLELISM=false

step() { echo "=== $1"; }
# Interrupted, the trainer saves and ends well; without these the next step would begin.
trap 'exit 130' INT
trap 'exit 143' TERM
export VLLM_NO_USAGE_STATS=1

# A command after `--` runs against the endpoint once it is ready, which then stops: bash launch.sh -- curl ...
step serve
# replica-0, port 8000: vllm serve codellama/CodeLlama-34b-Instruct-hf --host 127.0.0.1 --port 8000 --served-model-name codellama-34b --shutdown-timeout 20 --tensor-parallel-size 2 --max-model-len 16384
exec "$PYTHON" -m endpoint endpoint.json "$@"
