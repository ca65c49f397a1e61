"""HTML -> the text that a person reads, a line for each block, with its headings; places are those of that text."""

from __future__ import annotations

from html.parser import HTMLParser

from . import Parsed
from .markdown import nested

HIDDEN = {"script", "style", "template", "noscript", "head", "svg", "nav", "iframe", "object"}
# ended by a blank line, and by the end of a line
SPACED = {"p", "pre", "blockquote", "table", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "section", "article"}
BLOCKS = SPACED | {
    *("address", "aside", "body", "br", "dd", "details", "div", "dl", "dt", "fieldset", "figcaption", "figure"),
    *("footer", "form", "header", "hr", "li", "main", "summary", "tbody", "tfoot", "thead", "tr"),
}
EMPTY = {"br", "hr", "img", "input", "meta", "link", "wbr", "area", "base", "col", "embed", "source", "track"}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text, self.title = "", ""
        self.marks: list[tuple[int, int, str]] = []
        self._hidden: list[str] = []
        self._in_title, self._pre = False, 0
        self._heading: tuple[int, int, int] | None = None  # character, level, part
        self._parts: list[str] = []
        self._length = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "title" and not self.title:
            self._in_title = True
        if tag in HIDDEN and tag not in EMPTY:
            self._hidden.append(tag)
        if self._hidden:
            return
        self._break(tag)
        if tag in ("td", "th"):
            self._put(" ")
        self._pre += tag == "pre"
        if len(tag) == 2 and tag[0] == "h" and tag[1] in "123456":
            self._heading = (self._length, int(tag[1]), len(self._parts))

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        if tag in self._hidden:
            # up to the one that is closed: what was left open in it ends with it
            del self._hidden[len(self._hidden) - 1 - self._hidden[::-1].index(tag) :]
            return
        if self._hidden:
            return
        if self._heading and tag == f"h{self._heading[1]}":
            start, level, part = self._heading
            title = " ".join("".join(self._parts[part:]).split())
            self.marks.append((start, level, title))
            self._heading = None
        if tag == "pre":
            self._pre = max(0, self._pre - 1)
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        if self._hidden:
            return
        if self._pre:
            self._put(data)
            return
        words = " ".join(data.split())
        if words:
            before = " " if data[0].isspace() and not self._ends(" ") and not self._ends("\n") else ""
            self._put(before + words + (" " if data[-1].isspace() else ""))
        elif data and not self._ends("\n") and not self._ends(" "):
            self._put(" ")

    def _break(self, tag: str) -> None:
        if tag not in BLOCKS or not self._length:
            return
        for _ in range(2 if tag in SPACED else 1):
            if not self._ends("\n\n"):
                if tag not in SPACED and self._ends("\n"):
                    return
                self._put("\n")

    def _ends(self, with_: str) -> bool:
        return "".join(self._parts[-3:]).endswith(with_) if self._length else True

    def _put(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)

    def close(self) -> None:
        super().close()
        self.text = "".join(self._parts)


def parse(source: str) -> Parsed:
    reader = _Reader()
    reader.feed(source)
    reader.close()
    title = " ".join(reader.title.split())
    first = next((name for _, level, name in reader.marks if level == 1), "")
    return Parsed(reader.text, title or first, nested(reader.marks, len(reader.text)))
