"""The page of a plan: what a person finds on it, at 80 columns, with colour and without."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest

from runner.plan.fit import Choice, Search
from runner.plan.types import Estimate
from runner.report.ink import Ink, brief_duration, count, duration, durations, money
from runner.report.plan_tables import catalogue, frontier
from runner.report.plan_text import bar, headline, page
from tests.plan.sample import FITTING, ON_CPU, TOO_LARGE, near

PLAIN = Ink()
TIGHT = replace(FITTING, fits="tight", memory=replace(FITTING.memory, reserved=near(80.0)))
HEAVY = replace(FITTING, fits="no", host=replace(FITTING.host, gib=near(500.0)))
ESCAPE = re.compile(r"\x1b\[[\d;]*m")


@pytest.mark.parametrize(
    ("plan", "line"),
    [
        (FITTING, "fits: yes, 60.0 of 79.1 GiB at peak (backward-last), 13.8 hours, $82.80"),
        (TIGHT, "fits: tight, 60.0 of 79.1 GiB at peak, 80.0 reserved, 13.8 hours, $82.80"),
        (TOO_LARGE, "fits: no, 101.0 of 79.1 GiB at peak (backward-last)"),
        (ON_CPU, "fits: yes, 1.4 of 4 GiB of host RAM"),
        (HEAVY, "fits: no, 500.0 of 442 GiB of host RAM"),
    ],
)
def test_the_verdict_is_the_first_line(plan: object, line: str) -> None:
    assert page(plan, PLAIN)[0] == line  # type: ignore[arg-type]


@pytest.mark.parametrize("plan", [FITTING, TIGHT, TOO_LARGE, ON_CPU])
def test_without_a_terminal_it_is_ascii_in_80_columns(plan: object) -> None:
    lines = page(plan, PLAIN)  # type: ignore[arg-type]
    assert all(line.isascii() and len(line) <= 80 and "\n" not in line for line in lines)
    coloured = page(plan, Ink(colour=True, width=80))  # type: ignore[arg-type]
    assert len(coloured) == len(lines)
    assert all(len(ESCAPE.sub("", line)) <= 80 for line in coloured)


def test_the_legend_explains_every_letter_of_the_bar() -> None:
    lines = page(FITTING, PLAIN)
    drawn = next(line for line in lines if line.startswith("["))
    cells = Counter(drawn[1 : drawn.index("]")])
    legend = {line[2]: line for line in lines if re.match(r"  \S .*GiB +[\d.]+%$", line)}
    assert set(cells) <= set(legend)
    width = sum(cells.values())
    for letter, number in cells.items():
        size = float(re.findall(r"([\d.]+) GiB", legend[letter])[0])
        assert number == pytest.approx(size / 79.1 * width, abs=1), letter
    # what is reserved beyond the peak is a part of its own, and with the free memory all adds up to the GPU
    assert "allocator and CUDA" in legend["+"]
    assert sum(float(re.findall(r"([\d.]+) GiB", line)[0]) for line in legend.values()) == pytest.approx(79.1)


def test_parts_beyond_the_gpus_end_point_at_it() -> None:
    drawn, pointer = bar([(50.0, (0, "W")), (50.0, (1, "A"))], 80.0, PLAIN)
    assert len(drawn) == 80
    assert re.fullmatch(r"\[W{34,36}A{34,36}\] 100.0 GiB", drawn)
    cells = drawn.index("]") - 1
    assert pointer.index("^") == pytest.approx(cells * 0.8, abs=1)
    assert "the GPU ends at 80.0 GiB" in pointer
    (only,) = bar([(1.0, (0, "W"))], 80.0, PLAIN)
    assert re.fullmatch(r"\[W\.+\] 80.0 GiB", only)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.99])
def test_the_pointer_stays_on_the_page(share: float) -> None:
    _, pointer = bar([(100.0, (0, "W"))], 100 * share, PLAIN)
    assert len(pointer) <= 80


def test_a_part_that_we_have_no_words_for_is_shown_by_its_name() -> None:
    plan = replace(FITTING, memory=replace(FITTING.memory, breakdown={"weights": 30.0, "kv_cache": 30.0}))
    text = "\n".join(page(plan, PLAIN))
    assert re.search(r"^  D kv cache +30.00 GiB +37.9%$", text, re.M)
    assert "WD" in text


def test_intervals_stand_beside_their_figures() -> None:
    text = "\n".join(page(FITTING, PLAIN))
    for told in (
        "60.0 GiB at peak (58.5 to 61.5)",
        "66.0 GiB in nvidia-smi (62.0 to 70.0)",
        "3,200 tokens/s per GPU (2,720 to 3,680)",
        "31.0% model (MFU), 42.0% hardware (HFU)",
        "13.8 hours (11.7 to 15.9 hours)",
        "$82.80 ($70.38 to $95.22) at $6.00 per hour",
        "19.0 kWh (16.1 to 21.8)",
        "2,430 steps of 64 samples, 319 M tokens",
        "data/smoke has 51,760 samples",
        "the vision tower is frozen",
    ):
        assert told in text


def test_without_a_gpu_there_is_no_bar_and_no_speed() -> None:
    text = "\n".join(page(ON_CPU, PLAIN))
    assert "GPU memory" not in text
    assert "tokens/s" not in text
    assert "not known without the data" in text
    assert "\n  processes 1.1, weights 0.3\n" in text, "what is next to nothing is left out"


def test_colour_says_the_verdict_and_tells_parts_apart() -> None:
    ink = Ink(colour=True)
    assert headline(FITTING, ink).startswith("fits: \x1b[1;32myes\x1b[0m")
    assert headline(TOO_LARGE, ink).startswith("fits: \x1b[1;31mno\x1b[0m")
    drawn = next(line for line in page(FITTING, ink) if line.startswith("["))
    assert len(set(re.findall(r"38;5;(\d+)m█", drawn))) == 5


def test_the_catalogue_has_a_line_for_each_plan() -> None:
    head, *lines = catalogue([FITTING, TOO_LARGE, ON_CPU], PLAIN)
    assert head.split() == ["recipe", "fits", "GPU", "GiB", "tok/s/GPU", "time", "cost", "disk"]
    assert lines[0].split() == ["phase4/lora-13b", "yes", "60.0/79.1", "3,200", "13.8", "h", "$82.80", "110.0"]
    assert lines[2].split() == ["phase4/lora-13b", "yes", "no", "GPU", "-", "-", "-", "110.0"]
    assert len({line.index("110.0") for line in lines}) == 1
    (_, line) = catalogue([HEAVY], PLAIN)
    assert line.split()[1:3] == ["no", "RAM"], "what is short, where it is not the GPU"


def test_the_frontier_marks_the_best_and_says_what_is_learned_differently() -> None:
    best = Choice({"adapter": "qlora", "load_in_4bit": True}, FITTING, ("the frozen weights are rounded to 4 bits",))
    other = Choice({"deepspeed": "zero3", "gradient_checkpointing_kwargs": None}, TOO_LARGE)
    lines = list(frontier(Search(best, (Choice({}, ON_CPU), other, best), 40), PLAIN))
    text = "\n".join(lines)
    marked = lines.index(next(line for line in lines if line.startswith("*")))
    assert lines[marked + 1].strip() == "adapter: qlora, load_in_4bit: true"
    assert lines[marked + 2].strip() == "learns differently: the frozen weights are rounded to 4 bits"
    assert "    as written\n" in text
    assert "    deepspeed: zero3, gradient_checkpointing_kwargs: null\n" in text
    assert text.count("learns differently") == 1
    assert lines[-1].startswith("40 plans compared")
    # a best one that is too far along the frontier to be on it is shown all the same
    assert sum(line.startswith("*") for line in frontier(Search(best, (other,), 40), PLAIN)) == 1


def test_a_key_and_its_value_stay_on_one_line() -> None:
    settings = {f"key_{i}": f"value-{i}" for i in range(20)}
    lines = list(frontier(Search(None, (Choice(settings, FITTING),), 1), PLAIN))
    told = [line.strip().rstrip(",") for line in lines if line.startswith("    ")]
    shown = [pair for line in told for pair in line.split(", ")]
    assert shown == [f"{key}: {value}" for key, value in settings.items()]
    assert max(map(len, lines)) <= 80


def test_figures_as_words() -> None:
    assert [duration(h) for h in (0.005, 0.5, 3.0, 47.9, 48.0, 100.0)] == [
        "18 seconds", "30 minutes", "3.0 hours", "47.9 hours", "2.0 days", "4.2 days",
    ]  # fmt: skip
    assert [brief_duration(h) for h in (0.005, 0.5, 3.0, 100.0)] == ["18 s", "30 min", "3.0 h", "4.2 d"]
    assert durations(Estimate(3.0, 2.0, 4.0)) == "2.0 to 4.0 hours"
    assert durations(Estimate(45.0, 40.0, 50.0)) == "40.0 hours to 2.1 days"
    assert [count(n) for n in (999_999, 1_130_000_000, 13_015_864_320, 318_504_960)] == [
        "999,999", "1.13 B", "13.0 B", "319 M",
    ]  # fmt: skip
    assert [money(usd) for usd in (3.1, 312.4, 12345.0)] == ["$3.10", "$312", "$12,345"]
