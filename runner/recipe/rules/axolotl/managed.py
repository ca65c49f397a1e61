"""Rule about keys that the runner sets itself."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics import Diagnostic
from runner.recipe.rules import Facts, rule

MANAGED = {
    "output_dir": "each run has its own directory, and what it leaves goes to `output/` in there",
    "dataset_prepared_path": "prepared data goes to `prepared/` in the run's directory",
    "resume_from_checkpoint": "a run that is started again goes on from its newest checkpoint",
    "auto_resume_from_checkpoints": "a run that is started again goes on from its newest checkpoint",
    "merge_lora": "`merge: true` merges the adapter after training",
    "world_size": "the launcher sets it, from the GPUs of the box",
    "local_rank": "the launcher sets it for each process",
    "is_preprocess": "the engine sets it while it prepares data",
    "axolotl_config_path": "the engine sets it to the file that was rendered",
    "total_num_tokens": "the engine counts them",
    "total_supervised_tokens": "the engine counts them",
}


@rule(
    "R016",
    "a key that the runner sets",
    source="https://docs.axolotl.ai/docs/config-reference.html",
    severity="warning",
)
def managed_key(facts: Facts) -> Iterator[Diagnostic]:
    """Some of the engine's keys are about one run on one machine: where it writes, which process this is, whether it
    goes on from a checkpoint. A recipe describes what to make and outlives the run, so the runner sets these itself and
    a value in the recipe changes nothing.
    """
    for key, why in MANAGED.items():
        if facts.get(key) is not None:
            yield facts.report(
                "R016", key, f"the runner sets `{key}`", note=why, help=f"remove `{key}`", severity="warning"
            )
