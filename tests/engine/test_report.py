"""Real smoke runs compared, listed and shown: the page in headless Chromium without a network, and live while one runs.

REPORT_SHOTS=FOLDER keeps a picture of the page for each width and theme.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from runner.record import RECORD, write_json
from tests.engine.conftest import RUNNER, Smoke
from tests.engine.rag_browser import WIDTHS, chromium, grave, needs_chromium

SECTIONS = (
    "plan", "runs", "curves", "predicted", "compared", "scaling", "evaluations", "quantization", "benchmarks",
    "retrieval", "lineage",
)  # fmt: skip


def test_finetunes_are_compared_with_what_they_took(smoked: Smoke, tmp_path: Path) -> None:
    plot = tmp_path / "losses.png"
    done = smoked.call("compare", "phase4/qlora-13b", "phase4/lora-13b", "--profile", "smoke", "--plot", str(plot))
    assert done.returncode == 0, done.stderr
    for line in (
        r"eval_loss +\d\S* +\d\S* +-?\d\S* +\d\S*",
        r"speed \(tok/s per GPU\) +\d\S* +\d\S*",
        r"adapter +qlora +lora +recipes/phase4/qlora-13b\.yaml:\d+ +recipes/phase4/lora-13b\.yaml:\d+",
        r"load_in_4bit +true +-",
        r"host RAM \(GiB\) +\d\S* +\d\S* +\d\S*",
    ):
        assert re.search(f"^{line}", done.stdout, re.M), (line, done.stdout)
    assert " alike" in done.stdout, "what chance does, or that it is not known"
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_zero_stages_are_compared_by_a_recipe(smoked: Smoke) -> None:
    output = smoked.run("phase2/compare-zero").path / "output"
    rows = {row["figure"]: row for row in json.loads((output / "figures/table.json").read_text())["rows"]}
    # what is sharded changes nothing in what is computed
    assert rows["eval_loss"]["ZeRO-3"] == pytest.approx(rows["eval_loss"]["ZeRO-2"], abs=0.02)
    settings = json.loads((output / "settings/table.json").read_text())["rows"]
    assert [(row["key"], row["ZeRO-2"], row["ZeRO-3"]) for row in settings] == [
        ("deepspeed", "zero2_offload", "zero3_offload")
    ]
    assert settings[0]["ZeRO-3 set at"].startswith("recipes/phase2/zero3-13b.yaml:")
    assert {"losses.svg", "costs.svg"} <= {file.name for file in output.iterdir()}


def test_evaluations_stand_beside_what_the_finetunes_took(smoked: Smoke) -> None:
    output = smoked.run("phase4/compare-qlora-full").path / "output"
    assert json.loads((output / "pairs/table.json").read_text())["rows"]
    row = json.loads((output / "table.json").read_text())["rows"][2]
    assert row["run"] == "QLoRA"
    assert row["speed (tok/s per GPU)"] > 0
    assert "smoke_choices acc" in row


def test_runs_lists_them(smoked: Smoke) -> None:
    listed = json.loads(smoked.call("runs", "--limit", "0", "--json").stdout)
    lora = next(row for row in listed if row["recipe"] == "phase4/lora-13b")
    assert lora["status"] == "finished"
    assert lora["headline"].startswith("loss ")
    assert 0.5 < lora["ratios"]["host.ram_gib"] < 2


def test_tensorboard_gets_what_is_reported(smoked: Smoke) -> None:
    run = smoked.run("phase4/lora-13b")
    [events] = run.path.rglob("events.out.tfevents.*")
    assert events.stat().st_size > 1000
    assert b"train/loss" in events.read_bytes()


@pytest.fixture(scope="module")
def page(smoked: Smoke) -> Path:
    done = smoked.call("report")
    assert done.returncode == 0, done.stderr
    return smoked.project.artifacts / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


class Shown:
    """The page as a person has it before them, `asked` what the browser fetched, `errors` what its console said."""

    def __init__(self, browser: Browser, url: str, width: str = "desktop", theme: str = "light", **more: Any) -> None:
        wide, high = WIDTHS[width]
        self.context: BrowserContext = browser.new_context(
            viewport={"width": wide, "height": high}, color_scheme=theme, **more
        )
        self.page: Page = self.context.new_page()
        self.asked: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(url)

    def axe(self) -> list[str]:
        return grave(self.page)

    def first(self, table: str) -> str:
        return self.page.locator(f"{table} tbody tr:not([hidden])").first.inner_text()


@needs_chromium
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_without_a_network(
    left_out: frozenset[str], page: Path, browser: Browser, width: str, theme: str
) -> None:
    shown = Shown(browser, page.as_uri(), width, theme, offline=True)
    sections = shown.page.locator("main section").evaluate_all("all => all.map(each => each.id)")
    absent = {"scaling"} if "phase2/scaling-sweep" in left_out else set()
    assert set(SECTIONS) - absent <= set(sections)
    assert shown.page.locator("#curves svg").count() >= 6
    assert shown.page.locator("#lineage .node").count() > 10
    assert shown.page.evaluate("document.scrollingElement.scrollWidth - innerWidth") <= 0
    assert shown.asked == [page.as_uri()]
    assert shown.errors == []
    if folder := os.environ.get("REPORT_SHOTS"):
        shown.page.screenshot(path=f"{folder}/{width}-{theme}.png", full_page=True)
    # text of charts too: what is drawn in the page's ink can be read on its paper
    ink = "element => getComputedStyle(element).color"
    paper = "element => getComputedStyle(element.closest('section')).backgroundColor"
    chart = shown.page.locator("#curves .chart").first
    assert chart.evaluate(ink) != chart.evaluate(paper)
    assert shown.axe() == []
    shown.context.close()


@needs_chromium
def test_tables_are_sorted_and_filtered_by_the_keyboard(page: Path, browser: Browser) -> None:
    shown = Shown(browser, page.as_uri())
    head = shown.page.locator("table.runs thead th").nth(4)
    head.locator("button").focus()
    shown.page.keyboard.press("Enter")
    expect(head).to_have_attribute("aria-sort", "ascending")
    shown.page.keyboard.press("Enter")
    expect(head).to_have_attribute("aria-sort", "descending")
    hours = shown.page.locator("table.runs tbody tr td[data-k=time]").evaluate_all("all => all.map(e => +e.dataset.v)")
    assert hours == sorted(hours, reverse=True)
    shown.page.get_by_label("Show only").focus()
    shown.page.keyboard.type("lora-13b finished")
    expect(shown.page.locator("#shown")).to_have_text(re.compile(r"^\d+ of \d+$"))
    assert "lora-13b" in shown.first("table.runs")
    assert shown.errors == []
    shown.context.close()


@needs_chromium
def test_watching_a_run_go_on(smoked: Smoke, browser: Browser) -> None:
    """A run that is written while the page is open appears and moves, and what a person typed stays."""
    run = smoked.project.artifacts / "phase4/watched/smoke/20990101-000000"
    serving = subprocess.Popen(
        [*RUNNER, "report", "--watch", "--port", "0"],
        cwd=smoked.project.root, env={**smoked.env, "PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert serving.stdout is not None
    address = serving.stdout.readline().split()[0]
    try:
        shown = Shown(browser, address)
        shown.page.get_by_label("Show only").fill("watched")
        expect(shown.page.locator("#shown")).to_have_text(re.compile("^0 of"))
        run.mkdir(parents=True)
        started = "2099-01-01T00:00:00+00:00"
        write_json(
            run / RECORD, {"status": "running", "recipe": "phase4/watched", "profile": "smoke", "started": started}
        )
        (run / "metrics.jsonl").write_text('{"step": 1, "max_steps": 4, "loss": 3.5}\n')
        expect(shown.page.locator("#going")).to_contain_text("step 1 of 4, loss 3.500")
        expect(shown.page.locator("#shown")).to_have_text(re.compile("^1 of"))
        with (run / "metrics.jsonl").open("a") as out:
            out.write('{"step": 3, "max_steps": 4, "loss": 2.5}\n')
        expect(shown.page.locator("#going")).to_contain_text("step 3 of 4, loss 2.500")
        assert shown.page.get_by_label("Show only").input_value() == "watched"
        assert all(url.startswith(address) for url in shown.asked)
        assert shown.errors == []
        shown.context.close()
    finally:
        serving.send_signal(signal.SIGINT)
        said, _ = serving.communicate(timeout=60)
        shutil.rmtree(run.parents[1], ignore_errors=True)
    assert (serving.returncode, said) == (0, "ended\n")
