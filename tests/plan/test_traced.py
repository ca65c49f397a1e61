"""The memory model against what transformers, PEFT, bitsandbytes and Liger allocate, to the byte."""

from __future__ import annotations

from statistics import median

from runner.plan.memory.peak import peak
from tests.plan.traced import other, traced


def off(wanted: str = "") -> list[tuple[float, str]]:
    found = []
    for row, w in traced():
        if other(row) or (wanted and wanted not in row["model"]):
            continue
        error = abs(peak(w).bytes / int(row["peak_bytes"]) - 1)
        found.append(
            (error, " ".join(row[k] for k in ("model", "method", "checkpointing", "attention", "quant", "loss")))
        )
    return sorted(found)


def test_the_peak_is_what_the_libraries_allocate() -> None:
    errors = off()
    assert len(errors) > 120
    assert median(e for e, _ in errors) < 0.005
    assert errors[int(0.9 * len(errors))][0] < 0.03, errors[-10:]


def test_llamas_are_exact_to_a_percent() -> None:
    errors = off("llama-2-7b")
    assert len(errors) > 25
    assert errors[int(0.9 * len(errors))][0] < 0.015, errors[-6:]


def test_what_is_kept_for_backward_is_what_autograd_keeps() -> None:
    """Where nothing is recomputed, all that forward leaves behind."""
    compared = 0
    for row, w in traced():
        if other(row) or row["checkpointing"] != "none" or row["loss"] != "default" or row["attention"] != "flash":
            continue
        if "llama" not in row["model"]:
            continue
        start = int(row["notes"].split("before_loss=")[1].split()[0])
        moments = peak(w).moments["loss"]
        assert abs(moments["activations"] / start - 1) < 0.01, row
        compared += 1
    assert compared > 10
