"""Plain data -> YAML that a reader of 1.1 and one of 1.2 take for the same values."""

from __future__ import annotations

import re
from typing import Any

import yaml

# text that only YAML 1.2 takes for a number
_NUMBER = re.compile(r"[-+]?(?:\.\d+|\d[\d_]*\.?\d*)(?:[eE][-+]?\d+)?|0o[0-7]+|0x[0-9a-fA-F]+")


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)  # the items of a list stand further in than its key


class _OneLine(_Dumper):
    """Text with line breaks stays in one line, quoted."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    if _NUMBER.fullmatch(text) or re.search("[\x85\u2028\u2029]", text):
        style = '"'
    elif "\n" in text:
        style = '"' if isinstance(dumper, _OneLine) else "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
_OneLine.add_representer(str, _text)


def dump(values: Any, *, one_line: bool = False) -> str:
    """Block YAML in the order given; with `one_line` no text goes over several."""
    dumper = _OneLine if one_line else _Dumper
    return yaml.dump(
        values, Dumper=dumper, sort_keys=False, allow_unicode=True, width=1_000_000, default_flow_style=False
    )
