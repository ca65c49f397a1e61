"""The header, the schema, and what is said of each fault: its place, once, with the mend."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.diagnostics import Diagnostic, SourceLines, Span, render_github, render_text
from runner.project import Project
from runner.recipe.check import check
from runner.recipe.compose import compose
from runner.recipe.graph import Library, check_needs
from runner.recipe.kinds import kind_names, kind_schema
from runner.recipe.load import Refused, parse
from runner.recipe.resolve import resolve
from runner.render import render
from tests.conftest import BODY, HEADER, ROOT

DPO = """\
recipe: 1
kind: dpo
title: A test
base_model: meta-llama/Llama-2-13b-hf
rl: dpo
learning_rate: 5e-6
datasets: [{path: HuggingFaceH4/ultrafeedback_binarized, type: chat_template.argilla_chat}]
"""


def told(text: str) -> list[Diagnostic]:
    return check(parse(text, "x.yaml", "x"))


def the(text: str) -> Diagnostic:
    (only,) = told(text)
    return only


def test_nothing_to_say() -> None:
    assert told(HEADER + BODY) == []
    assert told(DPO) == []


def test_an_unknown_key_has_place_width_and_the_key_meant() -> None:
    d = the(HEADER + BODY + "micro_batch_sise: 4\n")
    assert (d.code, d.message) == ("R004", "unknown key `micro_batch_sise`")
    assert (d.span.line, d.span.column, d.span.width) == (16, 1, 16)
    assert d.label == "did you mean `micro_batch_size`?"
    assert d.help == "rename `micro_batch_sise` to `micro_batch_size`"


def test_an_unknown_key_like_no_other() -> None:
    d = the(HEADER + BODY + "qqqqqq: 4\n")
    assert (d.code, d.label, d.help) == ("R004", "", "remove `qqqqqq`")


@pytest.mark.parametrize(("other", "codes"), [("sdp_attention", set()), ("xformers_attention", {"R113"})])
def test_of_two_older_switches_the_one_that_axolotl_takes_counts(other: str, codes: set[str]) -> None:
    """xformers goes before flash attention in Axolotl's own order, and sdp after it."""
    body = BODY + f"context_parallel_size: 2\nflash_attention: true\n{other}: true\n"
    assert {d.code for d in told(HEADER + body) if d.is_error} == codes


def test_unknown_keys_deep_inside() -> None:
    d = the((HEADER + BODY).replace("    type: alpaca", "    typ: alpaca"))
    assert (d.code, d.message) == ("R004", "unknown key `typ` in `datasets.0`")
    assert (d.span.line, d.span.column, d.span.width) == (11, 5, 3)
    assert d.help == "rename `typ` to `type`"


def test_a_key_of_other_kinds() -> None:
    d = the(HEADER + BODY + "reinit_weights: true\n")
    assert (d.code, d.message) == ("R004", "`reinit_weights` is not a key of kind `finetune`")
    assert "`pretrain`" in d.notes[0]


@pytest.mark.parametrize(
    ("line", "message", "help"),
    [
        ("lora_r: eight", '`lora_r` must be a whole number, not the text "eight"', ""),
        ("lora_r: '8'", '`lora_r` must be a whole number, not the text "8"', "write 8 without quotes"),
        ("lora_r: 8.5", "`lora_r` must be a whole number, not `8.5`", ""),
        ("lora_r: [8]", "`lora_r` must be a whole number, not a list", ""),
        ("lora_r: {a: 1}", "`lora_r` must be a whole number, not a mapping", ""),
        ("lora_r: true", "`lora_r` must be a whole number, not `true`", ""),
        ("sample_packing: no", '`sample_packing` must be `true` or `false`, not the text "no"', "write `false`"),
        ("sample_packing: On", '`sample_packing` must be `true` or `false`, not the text "On"', "write `true`"),
        ("learning_rate: fast", '`learning_rate` must be a number, not the text "fast"', ""),
        ("title: 5", "`title` must be text, not `5`", ""),
        ("title:", "`title` must be text, not nothing", ""),
        ("needs: [a]", "`needs` must be a mapping, not a list", ""),
        ("needs: {a: 3}", "`needs.a` must be text, not `3`", ""),
        ("extends: 3", "`extends` must be text, not `3`", ""),
        ("profiles: 3", "`profiles` must be a mapping, not `3`", ""),
    ],
)
def test_wrong_types(line: str, message: str, help: str) -> None:
    key = line.split(":")[0]
    text = "".join(kept + "\n" for kept in (HEADER + BODY).splitlines() if not kept.startswith(f"{key}:"))
    d = the(text + line + "\n")
    assert (d.code, d.message, d.help) == ("R007", message, help)
    assert d.span.line == text.count("\n") + 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rl: dpo", "rl: dop", "`rl` can't be `dop`"),
        ("rl: dpo", "rl: grpo", "`rl` can't be `grpo`"),
        ("learning_rate: 5e-6", "learning_rate: 0", "`learning_rate` must be more than 0, not 0"),
        ("title: A test", 'title: ""', "`title` must not be empty"),
        ("recipe: 1", "recipe: true", "`recipe` can't be `true`"),
        ("recipe: 1", "recipe: 0", "`recipe` can't be `0`"),
        ("title: A test", "title: A test\nweek: 99", "`week` must be at most 20, not 99"),
    ],
)
def test_values_that_are_not_allowed(old: str, new: str, message: str) -> None:
    d = the(DPO.replace(old, new))
    assert (d.code, d.message) == ("R008", message)


def test_the_word_meant_is_suggested() -> None:
    d = the(DPO.replace("rl: dpo", "rl: dop"))
    assert d.label == "did you mean `dpo`?"
    assert d.help == "use `dpo` or `ipo` or `kto` or `orpo` or `simpo`"
    assert (d.span.line, d.span.column, d.span.width) == (5, 5, 3)


def test_a_long_title_is_told_short() -> None:
    d = the(DPO.replace("title: A test", "title: " + "word " * 100))
    assert d.code == "R008"
    assert len(d.message) < 250


def test_required_keys_come_with_what_they_are() -> None:
    found = told("kind: dpo\n")
    missing = [d for d in found if d.code == "R006"]
    assert [d.message.split("`")[1] for d in missing] == sorted(
        ["recipe", "title", "learning_rate", "base_model", "rl"]
    )
    assert all(d.span.line == 1 and d.help.startswith("add `") for d in missing)
    assert "(Format version of the recipe" in next(d.help for d in missing if "`recipe`" in d.message)


@pytest.mark.parametrize(
    ("text", "code", "place", "label"),
    [
        ("recipe: 1\ntitle: x\n", "R009", (1, 1), ""),
        ("recipe: 1\nkind: finetun\n", "R009", (2, 7), "did you mean `finetune`?"),
        ("recipe: 1\nkind: [dpo]\n", "R009", (2, 7), ""),
        ("recipe: 1\nkind: ../dpo\n", "R009", (2, 7), ""),
        ("recipe: 1\nkind:\n", "R009", (2, 1), ""),
        ("recipe: 2\nkind: dpo\n", "R010", (1, 1), ""),
        ("recipe: 999999999999\nkind: dpo\nbananas: 3\n", "R010", (1, 1), ""),
    ],
)
def test_a_header_that_leaves_nothing_to_check_by(text: str, code: str, place: tuple[int, int], label: str) -> None:
    d = the(text)
    assert (d.code, (d.span.line, d.span.column), d.label) == (code, place, label)
    assert d.help


def test_an_unknown_box() -> None:
    d = the(HEADER + BODY + "box: 2xh10\n")
    assert (d.code, d.label) == ("R012", "did you mean `2xh100`?")
    assert "`cpu`" in d.notes[0]


def test_everything_in_one_pass_by_place() -> None:
    text = HEADER.replace("title: A test\n", "") + BODY.replace("lora_r: 8", "lora_r: x").replace(
        "alpaca\n", "alpcaa\n"
    )
    text += "box: moon\nload_in_4bit: true\nlora_drop_out: 0.1\n"
    found = told(text)
    assert [d.code for d in found] == ["R006", "R007", "R145", "R012", "R122", "R004"]
    assert [d.span.line for d in found] == sorted(d.span.line for d in found)


def test_one_cause_is_told_once() -> None:
    """A key of the wrong type is not also missing, out of range, or in conflict with others."""
    assert [d.code for d in told(DPO.replace("rl: dpo", "rl: [dpo]"))] == ["R007"]
    assert [d.code for d in told((HEADER + BODY).replace("adapter: lora", "adapter: 3"))] == ["R007"]
    assert [d.code for d in told((HEADER + BODY).replace("adapter: lora", "adaptor: lora"))] == ["R004"]
    assert [d.code for d in told((HEADER + BODY).replace("    type: alpaca", "    type: [3, {}]"))] == ["R007"]


def test_two_faults_of_one_line_are_two() -> None:
    found = told(HEADER + BODY + "trl: {betta: 1, num_generation: 2}\n")
    assert [(d.code, d.span.column) for d in found] == [("R004", 7), ("R004", 17)]


def test_a_file_of_nothing_but_faults_is_not_told_to_its_end() -> None:
    assert len(told(HEADER + BODY + "".join(f"zz{i}: 1\n" for i in range(2000)))) == 100
    with pytest.raises(Refused) as caught:
        parse("a: 1\n" * 5000, "x.yaml", "x")
    assert len(caught.value.diagnostics) == 100


def test_untrusted_words_are_shown_on_one_clean_line() -> None:
    hostile = '"a\\e[31m\\nb' + "c" * 300 + '"'
    for text in (
        HEADER + BODY + f"{hostile}: 1\n",
        HEADER + BODY + f"trl: {{{hostile}: 1}}\n",
        HEADER + BODY + f"needs: {{{hostile}: 3}}\n",
        DPO.replace("rl: dpo", f"rl: {hostile}"),
        f"recipe: 1\nkind: {hostile}\n",
        HEADER + BODY + f"box: {hostile}\n",
    ):
        d = the(text)
        shown = render_text(d, SourceLines())
        assert "\x1b" not in shown
        assert all(line.isprintable() for line in shown.splitlines())
        assert len(d.message) < 300


def test_a_window_is_shown_of_a_long_line(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    line = "trl: {" + "beta: 0.1, " + " " * 5000 + "betta: 1}"
    file.write_text(line + "\n")
    shown = render_text(Diagnostic("R004", "unknown", Span(str(file), 1, line.index("betta") + 1, 5)), SourceLines())
    source, caret = shown.splitlines()[2:4]
    assert max(len(source), len(caret)) < 180
    assert source[caret.index("^") :].startswith("betta")
    assert caret.count("^") == 5


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b""])
def test_a_caret_stands_under_its_word(tmp_path: Path, start: bytes) -> None:
    file = tmp_path / "r.yaml"
    file.write_bytes(start + "{título: x, kínd: dpo}\r\n".encode())
    d = Diagnostic("R004", "unknown", Span(str(file), 1, 13, 4), label="here")
    source, caret = render_text(d, SourceLines()).splitlines()[2:4]
    assert source == "1 | {título: x, kínd: dpo}"
    assert source[caret.index("^") :].startswith("kínd")
    assert caret.endswith("^^^^ here")


def test_an_annotation_is_one_line() -> None:
    d = Diagnostic("R004", "50% of\nit", Span("a,b:c.yaml", 3, 2), notes=("note",), help="mend: it")
    line = render_github(d)
    assert "\n" not in line
    place = "file=a%2Cb%3Ac.yaml,line=3,endLine=3,col=2,endColumn=3"
    assert line == f"::error {place},title=R004::50%25 of%0Ait%0Anote%0Ahelp: mend: it"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.slow
@settings(max_examples=150, deadline=3000)
@given(st.data())
def test_any_value_of_any_key_is_accepted_or_refused(data: st.DataObject) -> None:
    """What passes the check also renders, in both profiles."""
    kind = data.draw(st.sampled_from(kind_names()))
    key = data.draw(st.sampled_from(sorted(kind_schema(kind)["properties"])))
    project = Project(ROOT)
    recipe = next(f for f in project.all_recipes() if f"\nkind: {kind}\n" in f.read_text())
    text = to_lines({**compose(project, recipe).plain(), key: data.draw(VALUES)})
    try:
        doc = parse(text, "x.yaml", "x")
        library = Library(project)
        if any(d.is_error for d in check(doc, ROOT)) or list(check_needs(library, doc)):
            return
        for profile in ("full", "smoke"):
            assert render(resolve(project, doc, profile, lambda recipe, profile: None, library=library))
    except Refused:
        pass


def to_lines(values: dict[str, object]) -> str:
    import json

    return "".join(f"{json.dumps(key)}: {json.dumps(value)}\n" for key, value in values.items())
