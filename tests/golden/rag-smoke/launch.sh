#!/usr/bin/env bash
# Retrieval and an instruction-tuned CodeLlama 34B, in front of users
# phase5/rag-production-34b, profile smoke, box cpu. Rendered by runner VERSION.
# Works by hand, from any folder: bash launch.sh. Run again, it goes on from its newest checkpoint.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# The engine's environment; `runner env build rag` makes it. Set RUNNER_ENV to use another.
RUNNER_CACHE="${RUNNER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/llm-recipes}"
RUNNER_ENV="${RUNNER_ENV:-$RUNNER_CACHE/envs/rag-HASH}"
PYTHON="$RUNNER_ENV/bin/python"
if [ ! -x "$PYTHON" ]; then
  echo "launch.sh: no rag environment at $RUNNER_ENV; make it with: runner env build rag" >&2
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
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 HF_DATASETS_OFFLINE=1
export CUDA_VISIBLE_DEVICES=
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

step() { echo "=== $1"; }
# Interrupted, the trainer saves and ends well; without these the next step would begin.
trap 'exit 130' INT
trap 'exit 143' TERM

# killed and run again, it goes on: what is in the index already and has not changed is skipped
step ingest
"$PYTHON" -m rag ingest rag.json

step evaluate
# the language model is up while questions are asked, and stopped afterwards, whatever happens
PATH="$RUNNER_ENV_VLLM/bin:$PATH" "$PYTHON" -m endpoint endpoint.json -- "$PYTHON" -m rag evaluate rag.json

step judge
PATH="$RUNNER_ENV_VLLM/bin:$PATH" "$PYTHON" -m endpoint judge-endpoint.json -- "$PYTHON" -m rag judge rag.json

# Drawn by the runner's own Python, which has matplotlib; by hand, say where that is: RUNNER_PYTHON=.venv/bin/python
step plot
if [ -n "${RUNNER_PYTHON:-}" ]; then
  "$RUNNER_PYTHON" -m runner.report.rag_plots results/summary.json results
else
  echo "launch.sh: no plots without RUNNER_PYTHON" >&2
fi

step done
