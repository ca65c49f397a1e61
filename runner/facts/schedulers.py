"""Who gives a box's nodes out: the `scheduler` of a box file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runner.facts.faults import Fault, listed, near

# what each takes beside `type`: its name, and what it may be
TEXT, COUNT, YES_NO, VARIABLES = "text", "a whole number", "true or false", "a mapping of names to text"
KEYS: dict[str, dict[str, str]] = {
    "slurm": {
        "partition": TEXT, "account": TEXT, "qos": TEXT, "reservation": TEXT, "constraint": TEXT, "time_limit": TEXT,
        "gpu_type": TEXT, "cpus_per_node": COUNT, "exclusive": YES_NO, "save_before_s": COUNT, "max_requeues": COUNT,
        "env": VARIABLES,
    },
    "sky": {
        "infra": TEXT, "accelerator": TEXT, "spot": YES_NO, "bucket": TEXT, "volume": TEXT, "max_restarts": COUNT,
        "env": VARIABLES,
    },
}  # fmt: skip
# one word each, since they stand in `#SBATCH` lines, where a second would be another option
_WORD = re.compile(r"[\w.,:/|&*\[\]()@+=-]+")
# sbatch(1): minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes, days-hours:minutes:seconds
_TIME = re.compile(r"\d+|\d+:\d{2}|\d+:\d{2}:\d{2}|\d+-\d+(:\d{2}){0,2}|UNLIMITED")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_BUCKET = re.compile(r"(s3|gs|r2|az|cos|oci|nebius)://[a-z0-9][a-z0-9./_-]+")
# Before the limit a job is told to save. Writing the states of tens of billions of parameters takes minutes.
SAVE_BEFORE_S = 300
MAX_REQUEUES = 5


@dataclass(frozen=True, slots=True)
class Scheduler:
    """`slurm` or `sky`, and how nodes are asked for; empty text and 0 leave it to the cluster.

    Slurm: `save_before_s` seconds before `time_limit` a checkpoint is asked for, after which the job is queued again;
    it is, too, after the loss of a node, `max_requeues` times in all. SkyPilot: `infra` as `sky launch --infra` takes
    it (`k8s`, `aws/us-east-1`); artifacts/ outlives a machine in a `bucket`, or in a `volume`, which several nodes can
    share. `env`: variables of every process, NCCL's above all.
    """

    type: str
    partition: str = ""
    account: str = ""
    qos: str = ""
    reservation: str = ""
    constraint: str = ""
    time_limit: str = ""
    gpu_type: str = ""
    cpus_per_node: int = 0
    exclusive: bool = False
    save_before_s: int = SAVE_BEFORE_S
    max_requeues: int = MAX_REQUEUES
    infra: str = ""
    accelerator: str = ""
    spot: bool = False
    bucket: str = ""
    volume: str = ""
    max_restarts: int = 3
    env: tuple[tuple[str, str], ...] = ()


def make_scheduler(given: Mapping[str, Any] | None) -> Scheduler | None:
    """Of a mapping in which `scheduler_faults` finds nothing; keys that it does not know are left out."""
    if not given:
        return None
    known = {key: value for key, value in given.items() if key in KEYS[given["type"]]}
    if "env" in known:
        known["env"] = tuple((str(name), str(value)) for name, value in known["env"].items())
    return Scheduler(given["type"], **known)


def scheduler_faults(given: Any, nodes: Any = 1) -> list[Fault]:
    """What is wrong with the scheduler of a box of so many nodes."""
    if given is None:
        return []
    types = listed(list(KEYS))
    if not isinstance(given, Mapping):
        return [Fault("scheduler", "`scheduler` must be a mapping", help="for instance `scheduler: {type: slurm}`")]
    if "type" not in given:
        return [Fault("scheduler", "`scheduler` does not say its `type`", help=f"add `type`, one of {types}")]
    if given["type"] not in KEYS:
        close = near(str(given["type"]), list(KEYS))
        label = f"did you mean `{close}`?" if close else ""
        return [Fault("scheduler.type", f"unknown scheduler `{given['type']}`", label, f"one of {types}")]
    found = [fault for key, value in given.items() if key != "type" for fault in _of_key(given["type"], key, value)]
    if given["type"] == "sky" and isinstance(nodes, int) and nodes > 1 and "volume" not in given:
        help = "add `volume`, the name of one that all nodes can write at once; `sky volumes apply` makes it"
        found.append(Fault("scheduler", f"the {nodes} nodes of a SkyPilot task need a `volume` to share", help=help))
    return found


def _of_key(kind: str, key: Any, value: Any) -> list[Fault]:
    at, known = f"scheduler.{key}", KEYS[kind]
    if key not in known:
        close = near(str(key), list(known))
        label = f"did you mean `{close}`?" if close else ""
        own = f"`nodes` and `gpus` are the box's own; a `{kind}` scheduler has {listed(list(known))}"
        help = f"rename `{key}` to `{close}`" if close else f"remove `{key}`: {own}"
        return [Fault(at, f"unknown key `{key}`", label, help, of_key=True, harmless=True)]
    if not _is(value, known[key]):
        return [Fault(at, f"`{key}` must be {known[key]}")]
    if known[key] == VARIABLES:
        return [
            Fault(f"{at}.{name}", f"`{name}` is no name of a variable", help="for instance `NCCL_IB_HCA`", of_key=True)
            for name in value
            if not _VARIABLE.fullmatch(str(name))
        ]
    if key == "time_limit" and not _TIME.fullmatch(value):
        return [Fault(at, f"`time_limit` can't be `{value}`", help='for instance `"24:00:00"`, or `"2-00"`: two days')]
    if key == "bucket" and not _BUCKET.fullmatch(value):
        return [Fault(at, f"`bucket` can't be `{value}`", help="for instance `s3://my-bucket`")]
    if known[key] == TEXT and not _WORD.fullmatch(value):
        return [Fault(at, f"`{key}` must be one word", help="write it without blanks, quotes and `$`")]
    return []


def _is(value: Any, what: str) -> bool:
    if what == COUNT:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if what == YES_NO:
        return isinstance(value, bool)
    if what == VARIABLES:
        return isinstance(value, Mapping) and all(isinstance(each, str | int) for each in value.values())
    return isinstance(value, str) and bool(value.strip())
