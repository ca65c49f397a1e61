"""A row as the engine made it, in words: marks, colours, ends, what is cut, and nothing that steers a terminal."""

from __future__ import annotations

from dataclasses import replace

from runner.launch.training_row import End, Part, Run, TrainingRow
from runner.report.ink import Ink
from runner.report.training_row_text import as_text

PART = Part(
    name="text",
    ids=(4, 10, 2, 4, 11, 12, 2),
    tokens=("<start>", "hi", "<end>", "<start>", "hel", "lo", "<end>"),
    learned=(False, False, False, False, True, True, True),
    runs=(Run("<start>hi<end>\n<start>", 0, False), Run("hello<end>", 4, True)),
    ends=(End("<end>", True),),
)
ROW = TrainingRow(
    dataset="/data/chat.jsonl",
    type="chat_template",
    index=3,
    rows=1200,
    sequence_len=8,
    long="drop",
    eos="<end>",
    learns="labels",
    parts=(PART,),
)


def told(row: TrainingRow, colour: bool = False) -> str:
    return "\n".join(as_text(row, "phase4/x", "smoke", "Axolotl 1.0", Ink(colour)))


def test_without_colour_brackets_mark_what_is_learned() -> None:
    assert told(ROW) == (
        "phase4/x (smoke): row 3 of 1,200 of chat.jsonl, type `chat_template`\n"
        "as Axolotl 1.0 makes it; what carries loss is between [[ and ]]\n"
        "\n"
        "--- text: 7 tokens, 3 learned (43%)\n"
        "<start>hi<end>\n"
        "<start>[[hello<end>]]\n"
        "\n"
        "ends: `<end>`, learned once\n"
        "sequence_len 8: nothing is cut, room for 1 token"
    )


def test_on_a_terminal_colours_do_line_by_line() -> None:
    said = told(ROW, colour=True)
    assert "\x1b[1;32mhello<end>\x1b[0m" in said
    assert "\x1b[2m<start>hi<end>\x1b[0m\n\x1b[2m<start>\x1b[0m" in said
    assert "[[" not in said


def test_an_end_that_is_not_learned_is_said() -> None:
    masked = replace(PART, ends=(End("<end>", False),))
    assert "`<end>` follows, and is not learned" in told(replace(ROW, parts=(masked,)))
    none = replace(PART, ends=(End(None, False), End("<end>", True)))
    assert "1 of 2 without: no token that ends a turn is learned" in told(replace(ROW, parts=(none,)))


def test_a_row_of_which_nothing_is_learned() -> None:
    none = replace(PART, learned=(False,) * 7, runs=(Run("hi", 0, False),), ends=())
    assert "nothing of it is learned: packing leaves the row out" in told(replace(ROW, parts=(none,)))


def test_what_becomes_of_a_row_that_is_too_long() -> None:
    short = replace(ROW, sequence_len=5)
    assert "2 tokens too long; the row is left out of training" in told(short)
    assert "2 tokens cut, 2 of them learned" in told(replace(short, long="truncate"))
    assert "the run stops at it" in told(replace(short, long="raise"))


def test_scores_and_prompts_have_no_learned_tokens() -> None:
    none = replace(PART, learned=(False,) * 7, ends=())
    assert "one score for each, read at its last token" in told(replace(ROW, learns="score", parts=(none,)))
    said = told(replace(ROW, learns="rewards", parts=(none,)))
    assert "what the model writes after it is what learns" in said
    assert "left out" not in said


def test_text_of_the_data_does_not_steer_a_terminal() -> None:
    hostile = replace(PART, runs=(Run("a\x1b]0;title\x07\x9bb\u202ec\td\n", 0, True),))
    said = told(replace(ROW, dataset="x", parts=(hostile,)))
    assert "\\x1b]0;title\\x07\\x9bb\\u202ec\td" in said
    assert not any(c in said for c in "\x1b\x07\x9b\u202e")
