#!/usr/bin/env bash
# Retrieval and an instruction-tuned CodeLlama 34B, in front of users
# phase5/rag-production-34b, profile smoke, box cpu. Rendered by runner VERSION.
# Works by hand, from any folder: bash serve.sh. It serves until Ctrl-C.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# The engine's environment; `runner env build rag` makes it. Set RUNNER_ENV to use another.
RUNNER_CACHE="${RUNNER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/llm-recipes}"
RUNNER_ENV="${RUNNER_ENV:-$RUNNER_CACHE/envs/rag-HASH}"
PYTHON="$RUNNER_ENV/bin/python"
if [ ! -x "$PYTHON" ]; then
  echo "serve.sh: no rag environment at $RUNNER_ENV; make it with: runner env build rag" >&2
  exit 1
fi
# What else the run needs: another environment, made by `runner env build vllm`.
RUNNER_ENV_VLLM="${RUNNER_ENV_VLLM:-$RUNNER_CACHE/envs/vllm-HASH}"
if [ ! -x "$RUNNER_ENV_VLLM/bin/python" ]; then
  echo "serve.sh: no vllm environment at $RUNNER_ENV_VLLM; make it with: runner env build vllm" >&2
  exit 1
fi
export PATH="$RUNNER_ENV/bin:$PATH"
export PYTHONPATH="$PWD/jobs${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONUNBUFFERED=1
export AXOLOTL_DO_NOT_TRACK=1 DO_NOT_TRACK=1
export TOKENIZERS_PARALLELISM=false
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 HF_DATASETS_OFFLINE=1
export CUDA_VISIBLE_DEVICES=
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

step() { echo "=== $1"; }
# Interrupted, the trainer saves and ends well; without these the next step would begin.
trap 'exit 130' INT
trap 'exit 143' TERM
# Options go to the service: bash serve.sh --port 8200

step serve
# the language model first, started again should it die; the service while it is there, and nothing of both afterwards
PATH="$RUNNER_ENV_VLLM/bin:$PATH" exec "$PYTHON" -m endpoint --keep endpoint.json -- "$PYTHON" -m rag serve rag.json "$@"
