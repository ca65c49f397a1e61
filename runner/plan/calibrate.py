"""Measurements -> fitted efficiencies, with the error before and after, each source judged by a fit without it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from runner.facts.boxes import make_box
from runner.facts.families import architecture_of
from runner.plan.efficiency import Efficiency
from runner.plan.least_squares import fit
from runner.plan.measured import Measurement, unfit
from runner.plan.memory.peak import Peak, peak
from runner.plan.memory.reserved import reserved_bytes
from runner.plan.reading import workload_of
from runner.plan.speed import ideal_seconds, kind_of
from runner.plan.work import work
from runner.plan.workload import Workload

GIB = 2**30
# What each factor is where nothing was measured: matrix products near two thirds of the peak rate, attention near a
# third, memory-bound work near half of the bandwidth, links nearly free where they overlap with computation.
EXPECTED = {
    "matmul": 1.45, "matmul_fp8": 1.9, "attention": 2.8, "adapters": 3.0, "elementwise": 2.2, "logits": 1.5,
    "dequantize": 1.5, "optimizer": 1.3, "local": 0.8, "remote": 1.0, "host": 1.3, "kernels": 1.0,
}  # fmt: skip
_KINDS = {"matmul": ("ampere", "hopper", "ada"), "attention": ("ampere", "hopper", "ada"), "local": ("nvlink", "pcie")}
# without NVLink most machines copy through the host
_EXPECTED_OF = {("local", "pcie"): 3.0}
# how much one expectation weighs, in rows; and how many rows one source may weigh, so that none outvotes the others
TRUST = 0.3
LARGEST_SOURCE = 40
COVERED = 0.9


@dataclass(frozen=True, slots=True)
class Sample:
    """A measurement, the peak planned for it and its ideal seconds per micro batch, by (kind of work, generation or
    link)."""

    measurement: Measurement
    workload: Workload
    peak: Peak
    ideal: dict[tuple[str, str], float]
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Error:
    """Absolute errors as shares: of `count` rows, the median and what 90% stay within."""

    count: int
    median: float
    covered: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """`by_source` holds (before, after) per source and figure (`peak`, `reserved`, `speed`); after is, for speed, by a
    fit that has not seen the source."""

    fitted: Efficiency
    by_source: dict[str, dict[str, tuple[Error, Error]]]
    total: dict[str, tuple[Error, Error]]


def samples(measurements: Iterable[Measurement]) -> list[Sample]:
    """Those that can be planned and that nothing speaks against."""
    found = []
    for m in measurements:
        if unfit(m):
            continue
        box = make_box("measured", m.box)
        w = workload_of("finetune", m.settings, architecture_of(m.config), box, max(1, box.total_gpus))
        if box.facts is None or box.gpus == 0:
            continue
        ideal = ideal_seconds(w, work(w), box.facts)
        by_kind = {(name, kind_of(name, box.facts)): seconds for name, seconds in ideal.items() if seconds}
        seconds = w.step_tokens / w.ranks / w.accumulation / m.tokens_per_s if m.tokens_per_s else None
        found.append(Sample(m, w, peak(w), by_kind, seconds))
    return found


def calibrate(measurements: Iterable[Measurement], before: Efficiency) -> Calibration:
    """Raises ValueError where nothing of it was measured."""
    known = samples(measurements)
    timed = [s for s in known if s.seconds]
    if not known:
        raise ValueError("no row can be planned")
    fitted = _fit(timed, before) if timed else before
    by_source: dict[str, dict[str, tuple[Error, Error]]] = {}
    unseen: list[tuple[Sample, float]] = []
    for source in sorted({s.measurement.source for s in known}):
        mine = [s for s in known if s.measurement.source == source]
        others = [s for s in timed if s.measurement.source != source]
        blind = _fit(others, before) if others and any(s.seconds for s in mine) else fitted
        unseen += [(s, _seconds(s, blind) / s.seconds - 1) for s in mine if s.seconds]
        by_source[source] = _errors(mine, before, blind)
    total = _errors(known, before, fitted)
    if unseen:
        total["speed"] = (total["speed"][0], _error([e for _, e in unseen]))
    interval = dict(before.interval)
    for name, (_, after) in total.items():
        interval[name] = round(after.covered, 3)
    return Calibration(replace(fitted, interval=interval), by_source, total)


def _errors(rows: Sequence[Sample], before: Efficiency, after: Efficiency) -> dict[str, tuple[Error, Error]]:
    found = {}
    exact = [s.peak.bytes / GIB / s.measurement.allocated - 1 for s in rows if s.measurement.allocated]
    if exact:
        found["peak"] = (_error(exact), _error(exact))
    held = [s for s in rows if s.measurement.reserved and s.measurement.ran]
    if held:
        found["reserved"] = (
            _error([_reserved_off(s, before) for s in held]),
            _error([_reserved_off(s, after) for s in held]),
        )
    timed = [s for s in rows if s.seconds]
    if timed:
        found["speed"] = (
            _error([_seconds(s, before) / (s.seconds or 1) - 1 for s in timed]),
            _error([_seconds(s, after) / (s.seconds or 1) - 1 for s in timed]),
        )
    return found


def _reserved_off(sample: Sample, fitted: Efficiency) -> float:
    return reserved_bytes(sample.workload, sample.peak, fitted.slack) / GIB / (sample.measurement.reserved or 1) - 1


def _error(errors: Sequence[float]) -> Error:
    sizes = sorted(map(abs, errors))
    return Error(len(sizes), median(sizes), sizes[min(len(sizes) - 1, int(COVERED * len(sizes)))])


def _seconds(sample: Sample, fitted: Efficiency) -> float:
    return sum(seconds * fitted.of(*key) for key, seconds in sample.ideal.items())


def _fit(timed: Sequence[Sample], before: Efficiency) -> Efficiency:
    names = [(name, kind) for name in EXPECTED for kind in _KINDS.get(name, ("",))]
    counts = Counter(s.measurement.source for s in timed)
    rows = [[_part(s, key) / (s.seconds or 1) for key in names] for s in timed]
    weights = [min(1.0, LARGEST_SOURCE / counts[s.measurement.source]) for s in timed]
    found = dict(
        zip(names, fit(rows, weights, [_EXPECTED_OF.get(key, EXPECTED[key[0]]) for key in names], TRUST), strict=True)
    )
    changed: dict[str, float | dict[str, float]] = {}
    for name in EXPECTED:
        kinds = _KINDS.get(name)
        if kinds:
            changed[name] = {kind: round(found[name, kind], 3) for kind in kinds} | {"default": EXPECTED[name]}
        elif isinstance(getattr(before, name), dict):
            changed[name] = {"default": round(found[name, ""], 3)}
        else:
            changed[name] = round(found[name, ""], 3)
    return replace(before, **changed)  # type: ignore[arg-type]


def _part(sample: Sample, key: tuple[str, str]) -> float:
    """Work of a kind; where efficiencies are not told apart by kind, of all kinds."""
    name, kind = key
    if kind:
        return sample.ideal.get(key, 0.0)
    return sum(seconds for (other, _), seconds in sample.ideal.items() if other == name)
