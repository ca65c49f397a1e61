#!/usr/bin/env bash
# One child of the sweep, as an ordinary run: bash child.sh NAME. A finished one is not run again.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
RUNNER="${RUNNER_ENV:+$RUNNER_ENV/bin/python -m }runner"
name="$1"

# A slot is a lock that is held while the child runs, and stands for 8 of the box's GPUs.
mkdir -p slots
slot=-1
while [ "$slot" -lt 0 ]; do
  for n in 0; do
    exec 9> "slots/$n"
    if flock --nonblock 9; then slot="$n"; break; fi
  done
  [ "$slot" -ge 0 ] || sleep 0.5
done
first=$((slot * 8))
export CUDA_VISIBLE_DEVICES="$(seq --separator=, "$first" "$((first + 8 - 1))")"

echo "child $name starts"
$RUNNER run --profile full --as phase2/compute-optimal-2b-7b/"$name" --wait children/"$name".yaml 9>&-
code=$?
if [ "$code" -ne 0 ]; then echo "child $name failed"; exit "$code"; fi
$RUNNER collect --profile full --run . --tick phase2/compute-optimal-2b-7b
