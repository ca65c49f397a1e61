#!/usr/bin/env bash
# The Python standard library as tokens, with a byte-level BPE of its own
# phase1/data-stdlib, profile smoke, box cpu. Rendered by runner VERSION.
# Works by hand, from any folder: bash launch.sh. Run again, it goes on from its newest checkpoint.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# The engine's environment; `runner env build datatrove` makes it. Set RUNNER_ENV to use another.
RUNNER_CACHE="${RUNNER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/llm-recipes}"
RUNNER_ENV="${RUNNER_ENV:-$RUNNER_CACHE/envs/datatrove-HASH}"
PYTHON="$RUNNER_ENV/bin/python"
if [ ! -x "$PYTHON" ]; then
  echo "launch.sh: no datatrove environment at $RUNNER_ENV; make it with: runner env build datatrove" >&2
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
# one core for each task: what it calls may not start threads of its own
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 RAYON_NUM_THREADS="${RAYON_NUM_THREADS:-2}"

step read   # stdlib, filtered
"$PYTHON" -m prepare read

step exact_dedup   # remove equal documents
"$PYTHON" -m prepare exact_dedup

step minhash_dedup   # remove nearly equal documents
"$PYTHON" -m prepare minhash_dedup

step tokenizer   # train a BPE of 2,048 tokens
"$PYTHON" -m prepare tokenizer

step tokenize   # documents to tokens, by split
"$PYTHON" -m prepare tokenize

step finish   # compare the counts, hash the shards, write the manifest
"$PYTHON" -m prepare finish

step done
