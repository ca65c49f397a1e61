"""Box files of one's own: read with a place for every fault, and written for the machine at hand."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

from runner.diagnostics import Diagnostic, Span
from runner.facts.boxes import Box, box_faults, box_names, load_box, make_box
from runner.facts.faults import BoxError, Fault
from runner.facts.gpus import find_gpu
from runner.gpus import Gpu
from runner.machine import Machine
from runner.recipe.document import Document
from runner.recipe.load import Refused, load, printable
from runner.recipe.naming import nearest_word

FOLDER = "boxes"
# what the driver keeps of a GPU's memory, where we don't know it from torch itself: 0.6 % of an H100, 3 % of a T4
DRIVER_SHARE = 0.02
# nvidia-smi and torch differ by less than this about the same card; more means another card of that name
SAME_CARD = 0.06
# one direction of an NVLink, in 10**9 bytes per second: of the cards with a bridge (RTX A6000, 3090), of Blackwell,
# and of all others since the V100
NVLINK_GB_S = {"sm_86": 14.0, "sm_100": 50.0, "sm_103": 50.0}
NVLINK_USUAL_GB_S = 25.0


def find_box(given: str, root: Path, told: list[Diagnostic] | None = None) -> Box:
    """The box that `--box` names: one that ships with the runner, one of `root`/boxes, or a file by its path.

    A path is looked for where the command runs, then below `root`. With `told`, faults that a box can be made without
    are added to it as warnings instead of raised. Raises Refused (R012, R018, R001 to R005).
    """
    if given in box_names():
        return load_box(given)
    own = {file.stem: file for file in sorted((root / FOLDER).glob("*.yaml"))}
    if given in own:
        return read_box(own[given], told)
    if given.endswith((".yaml", ".yml")) or "/" in given:
        here = os.path.exists(given)  # noqa: PTH110 - Path's raises on odd names
        return read_box(Path(given) if here else root / given, told)
    known = [*box_names(), *own]
    close = nearest_word(given, known)
    raise Refused(
        Diagnostic(
            "R012",
            f"unknown box `{printable(given)}`",
            Span("<command line>"),
            label=f"did you mean `{close}`?" if close else "",
            notes=("boxes: " + ", ".join(f"`{name}`" for name in known),),
            help="name one of these, or the path of a box file; `runner doctor --write-box` writes this machine's",
        )
    )


def read_box(file: Path, told: list[Diagnostic] | None = None) -> Box:
    """A box from its file; `told` as in find_box. Raises Refused with everything wrong about it (R018; R001 to R005 for
    what is not YAML)."""
    try:
        doc = load(file, file.stem)
    except Refused as refused:
        raise Refused(*map(_of_a_box, refused.diagnostics)) from None
    if told is not None:
        harmless = [fault for fault in box_faults(doc.plain()) if fault.harmless]
        told += [replace(_diagnostic(fault, doc), severity="warning") for fault in harmless]
    try:
        return make_box(file.stem, doc.plain(), lenient=told is not None)
    except BoxError as error:
        raise Refused(*(_diagnostic(fault, doc) for fault in error.faults)) from None


def _of_a_box(d: Diagnostic) -> Diagnostic:
    """The loader's words are about recipes."""
    message = re.sub(r"\b(a|the) recipe\b", r"\1 box file", d.message).replace("recipes are", "box files are")
    return replace(d, message=message, help="" if "runner new" in d.help else d.help)


def _diagnostic(fault: Fault, doc: Document) -> Diagnostic:
    node = doc.keys.get(fault.key) or (doc.find(fault.key) if fault.key else None)
    whole = replace(doc.root.span, width=1)
    at = whole if node is None else node.key if fault.of_key else node.span
    return Diagnostic("R018", printable(fault.message, 200), at, fault.label, help=printable(fault.help, 800))


# --- this machine's ---


def box_text(machine: Machine) -> str:
    """The text of a box file for this machine. What read_box makes of it is the machine, as torch will see it.

    A GPU that we have no facts for leaves two keys to fill in, which read_box asks for.
    """
    lines = ["# This machine, by `runner doctor --write-box`; `runner explain R018` says what else can be said.\n"]

    def say(key: str, value: object, why: str = "") -> None:
        line = f"{key}: {value}"
        lines.append(f"{line:<30}  # {why}\n" if why else f"{line}\n")

    say("gpus", len(machine.gpus))
    if machine.gpus:
        # equal ones, nearly always; else a run has room for what the smallest holds
        gpu = min(machine.gpus, key=lambda g: g.memory_gib)
        facts = find_gpu(gpu.name, gpu.memory_gib or None)
        names = sorted({g.name for g in machine.gpus})
        say("gpu", _yaml_text(gpu.name), f"the smallest of {', '.join(names)}" if len(names) > 1 else "")
        say("gpu_memory_gib", *_usable(gpu, machine.ram_gib))
        say("compute_capability", gpu.compute_capability or (facts.compute_capability if facts else ""))
        if facts is None:
            say("bf16_tflops", "", "fill in: 10**12 operations per second, dense, by its data sheet")
            say("memory_gb_s", "", "fill in: 10**9 bytes per second, by its data sheet")
        if len(machine.gpus) > 1:
            say("nvlink_gb_s", *_nvlink(machine, gpu, facts.nvlink_gb_s if facts else 0.0))
    say("cores", machine.cores)
    say("ram_gib", f"{machine.ram_gib:.1f}")
    say("disk_gib", int(machine.disk_free_gib), f"free at {printable(machine.disk)}")
    say("price_usd_per_hour", 0, "what an hour of it costs, all GPUs together; 0 where nothing is paid by the hour")
    return "".join(lines)


def unknown_gpu(machine: Machine) -> str | None:
    """The name of a GPU that `box_text` had to leave gaps for."""
    return next((g.name for g in machine.gpus if find_gpu(g.name, g.memory_gib or None) is None), None)


def _usable(gpu: Gpu, ram_gib: float) -> tuple[float, str]:
    """Memory that torch can use, in GiB, and where the figure is from."""
    facts = find_gpu(gpu.name, gpu.memory_gib or None)
    if not gpu.memory_gib:
        # a GPU that shares the host's memory has none of its own to report
        return (facts.memory_gib, "not reported; by its data sheet") if facts else (round(ram_gib, 1), "shared RAM")
    why = f"as torch sees it; nvidia-smi says {gpu.memory_gib:.2f}"
    if facts and abs(facts.memory_gib - gpu.memory_gib) < gpu.memory_gib * SAME_CARD:
        return min(facts.memory_gib, round(gpu.memory_gib, 2)), why
    return round(gpu.memory_gib * (1 - DRIVER_SHARE), 2), why


def _nvlink(machine: Machine, gpu: Gpu, by_facts: float) -> tuple[float, str]:
    if not machine.nvlink:
        return 0, "no active link: GPUs talk over PCIe"
    each = NVLINK_GB_S.get(gpu.compute_capability, NVLINK_USUAL_GB_S)
    return by_facts or machine.nvlink * each, f"{machine.nvlink} links per GPU"


def _yaml_text(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z]\w*( [\w().-]+)+", text) else json.dumps(text)
