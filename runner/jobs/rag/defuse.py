"""A stranger's text -> the same to a reader, with nothing in it that a chat template or a fence takes for its own."""

from __future__ import annotations

import re
from collections.abc import Sequence

# What chat templates of the common families write between turns. A tokenizer knows them by their exact letters, so one
# blank inside makes plain text of them.
_TOKENS = re.compile(
    r"[<\uff1c][|\uff5c][^<>\uff1c\uff1e\n]{1,64}?[|\uff5c][>\uff1e]"  # <|im_start|>, and DeepSeek's wide bars
    r"|<</?SYS>>"
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|ARGS|IMG|PREFIX|SUFFIX|MIDDLE)\]"
    r"|</?(?:s|bos|eos|pad|unk|start_of_turn|end_of_turn|tool_call|tool_response|tools|think|im_start|im_end)>",
    re.IGNORECASE,
)
# invisible, or turning the direction of what follows: a person who reads the source would not see what the model reads
_HIDDEN = re.compile(
    "[\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e0fff\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]"
)
# joiners belong into Persian and Hindi words, and into no Latin one
_JOINERS = re.compile("(?<=[\x00-\x7f])[\u200c\u200d]+|[\u200c\u200d]+(?=[\x00-\x7f])")
_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
# every line of a passage begins with it, so none of them can begin a turn, a fence or a number of ours
MARK = "| "


def defuse(text: str, special: Sequence[str] = ()) -> str:
    """`special` are further tokens, of the tokenizer at hand."""
    text = _LINE_ENDS.sub("\n", text)
    text = _JOINERS.sub("", _HIDDEN.sub("", text))
    text = _TOKENS.sub(_open, text)  # blanks come in and nothing goes out, so no new token can arise
    for token in special:
        if len(token.strip()) > 1:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


def _open(match: re.Match[str]) -> str:
    return f"{match[0][0]} {match[0][1:-1]} {match[0][-1]}"


def quoted(text: str, special: Sequence[str] = ()) -> str:
    """As data: each line behind the mark."""
    return "\n".join(MARK + line for line in defuse(text, special).strip("\n").split("\n"))


def one_line(text: str, special: Sequence[str] = (), longest: int = 160) -> str:
    """A title or a heading, which a document's author chose too."""
    return " ".join(defuse(text, special).split())[:longest]
