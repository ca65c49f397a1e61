"""What SkyPilot is asked for: machines, what lies on them, and the variables of a task."""

from __future__ import annotations

from typing import Any

from runner.recipe.resolve import Recipe

# where a task finds the folder that it was launched from
ARTIFACTS = "~/sky_workdir/artifacts"
LEAST_DISK_GIB = 100


def sky_task(recipe: Recipe, nodes: int) -> dict[str, Any]:
    """The task less its `setup` and `run`, by https://docs.skypilot.co/en/latest/reference/yaml-spec.html."""
    box, scheduler = recipe.box, recipe.box.scheduler
    assert scheduler is not None
    task: dict[str, Any] = {
        "name": recipe.name.replace("/", "-").replace(".", "-").replace("_", "-"),
        "workdir": ".",
        "num_nodes": nodes,
        "resources": _resources(recipe),
        "envs": {"R": recipe.name, "PROFILE": recipe.profile, "BOX": box.name, **dict(scheduler.env)},
    }
    if recipe.profile != "smoke":
        task["secrets"] = {"HF_TOKEN": None}  # given at launch
    if scheduler.volume:
        task["volumes"] = {ARTIFACTS: scheduler.volume}
    if scheduler.bucket:
        # of the modes of a bucket the one in which files can be appended to
        task["file_mounts"] = {ARTIFACTS: {"source": scheduler.bucket, "mode": "MOUNT_CACHED"}}
    return task


def _resources(recipe: Recipe) -> dict[str, Any]:
    box, scheduler = recipe.box, recipe.box.scheduler
    assert scheduler is not None
    wanted: dict[str, Any] = {"infra": scheduler.infra} if scheduler.infra else {}
    if box.gpus:
        wanted["accelerators"] = box.accelerators
    else:
        wanted |= {"cpus": f"{box.cores}+", "memory": f"{box.ram_gib:.0f}+"}
    # Kubernetes has no disks of a chosen size
    if not scheduler.infra.startswith(("k8s", "kubernetes")):
        wanted["disk_size"] = max(LEAST_DISK_GIB, int(box.disk_gib))
    if scheduler.spot:
        wanted["use_spot"] = True
    return {**wanted, "job_recovery": {"max_restarts_on_errors": scheduler.max_restarts}}
