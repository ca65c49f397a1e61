"""Figures in the page: they follow its colours, keep out of one another's way, and nothing in them acts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner.report.figure import write_figure
from runner.report.page.svg import drawn, for_page, read_svg

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9">'


def line(figure: Any) -> None:
    axes = figure.subplots()
    axes.plot([0, 1], [1, 0], "o-", color="#1d4ed8", label="<b>& more")
    axes.legend()


def test_what_we_draw_takes_the_pages_colours() -> None:
    svg = drawn((3, 2), line, "x-")
    assert "var(--blue)" in svg
    assert "var(--line)" in svg
    assert "#ffffff" not in svg
    assert "&lt;b&gt;&amp; more" in svg
    assert "<b>" not in svg
    assert svg.startswith("<svg ")
    assert 'class="chart"' in svg
    assert "width=" not in svg.partition(">")[0]


def test_two_figures_do_not_share_an_id(tmp_path: Path) -> None:
    [_, file] = write_figure((3, 2), line, tmp_path / "f.png")
    one, two = read_svg(file, "one-"), read_svg(file, "two-")
    assert one is not None
    assert two is not None
    assert one.count('id="one-') == two.count('id="two-') == file.read_text().count(' id="')
    assert one.count('href="#one-') == file.read_text().count('href="#')
    assert "url(#one-" in one
    assert one.replace("one-", "two-") == two


@pytest.mark.parametrize(
    "inside",
    [
        "<script>alert(1)</script>",
        '<g onload="alert(1)"/>',
        '<g ONLOAD="alert(1)"/>',
        '<image href="https://example.org/x.png"/>',
        '<image xlink:href="data:image/svg+xml;base64,AAAA"/>',
        '<use xlink:href="other.svg#x"/>',
        '<a href="javascript:alert(1)"><path d=""/></a>',
        "<foreignObject><p>x</p></foreignObject>",
        '<rect style="fill: url(https://example.org/x)"/>',
        '<rect style="fill: URL(https://example.org/x)"/>',
        '<animate attributeName="href" to="javascript:alert(1)"/>',
        '<p xmlns="http://www.w3.org/1999/xhtml">x</p>',
    ],
)
def test_what_acts_or_is_fetched_is_refused(inside: str) -> None:
    assert for_page(f"{HEAD}{inside}</svg>", "x-") is None


def test_what_is_no_svg_is_refused(tmp_path: Path) -> None:
    for text in ("", "<html/>", "<svg/>", HEAD, f'<!DOCTYPE x [<!ENTITY a "b">]>{HEAD}</svg>'):
        assert for_page(text, "x-") is None, text
    (tmp_path / "secret").write_text(f"{HEAD}</svg>")
    (tmp_path / "link.svg").symlink_to(tmp_path / "secret")
    assert read_svg(tmp_path / "link.svg", "x-") is None
    assert read_svg(tmp_path / "nothing.svg", "x-") is None
    assert read_svg(tmp_path / "secret", "x-") is not None


def test_a_style_can_not_reach_the_page() -> None:
    found = for_page(f"{HEAD}<defs><style>body {{ display: none }}</style></defs></svg>", "x-")
    assert found is not None
    assert "display" not in found
