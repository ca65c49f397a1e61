"""How the command feels: help, typos, completion, colours, pipes that close, bugs without a traceback, start-up."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import BashComplete

from runner.cli.main import COMMANDS, SECTIONS, cli, sections
from runner.project import Project
from tests.cli.conftest import Invoke
from tests.conftest import ROOT, Bench

RECIPES = {Project(ROOT).recipe_name(file) for file in Project(ROOT).all_recipes()}
ENV = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}


def shell(line: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A line of bash in which `runner` is this one."""
    prelude = f'runner() {{ "{sys.executable}" -m runner "$@"; }}; set -o pipefail; '
    return subprocess.run(
        ["bash", "-c", prelude + line], cwd=ROOT, env=ENV | more, capture_output=True, text=True, timeout=60
    )


def leaves() -> list[tuple[str, ...]]:
    """Every command that can be called, those of groups too."""
    found: list[tuple[str, ...]] = []
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        below = list(command.commands) if isinstance(command, click.Group) else []
        found += [(name,), *((name, each) for each in below)]
    return found


def test_help_has_a_section_for_every_command() -> None:
    listed = [name for names in sections().values() for name in names]
    assert sorted(listed) == sorted(COMMANDS)
    assert list(sections()) == list(SECTIONS), "a command stands under no heading: put it into SECTIONS"


@pytest.mark.parametrize("path", leaves(), ids=" ".join)
def test_every_help_has_examples_that_work(path: tuple[str, ...], invoke: Invoke) -> None:
    said = invoke(*path, "--help")
    _, _, examples = said.out.partition("Example")
    lines = re.findall(r"^ +((?:make |runner |eval ).*)$", examples, re.M)
    assert lines, said.out
    for line in lines:
        words = re.split(r"\s{2,}", line)[0].split()
        if words[0] == "runner":
            check_example(words[1:])


def check_example(words: list[str]) -> None:
    command = cli.get_command(click.Context(cli), words[0])
    if isinstance(command, click.Group):
        words = words[1:]
        command = command.commands[words[0]]
    assert command is not None
    options = {name for parameter in command.params for name in parameter.opts}
    assert [w for w in words[1:] if w.startswith("--") and w not in options] == []
    named = [w for w in words[1:] if re.fullmatch(r"phase\d/[a-z0-9-]+", w) and w != "phase4/my-dpo"]
    assert [name for name in named if name not in RECIPES | {"phase4/mine"}] == []


@pytest.mark.parametrize("width", [60, 80, 200])
def test_help_keeps_to_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch, invoke: Invoke) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda *_: os.terminal_size((width, 24)))
    lines = invoke("--help").out.splitlines()
    prose = [line for line in lines if not line.startswith("    runner ")]
    assert max(map(len, prose)) <= min(width, 100)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["vaildate"], "did you mean 'validate'?"),
        (["plan", "phase4/dpo-13b", "--bx", "8xh100"], "'--box'"),
        (["show", "phase4/dpo-13b", "--profile", "smok"], "did you mean 'smoke'?"),
        (["show", "phase4/dpo13b"], "did you mean `phase4/dpo-13b`?"),
        (["show", "dpo-13b"], "did you mean `phase4/dpo-13b`?"),
        (["show", "phase3/dpo13b"], "did you mean `phase4/dpo-13b`?"),
        (["plan", "phase4/dpo-13b", "--box", "2xh10"], "2xh100"),
        (["env", "build", "axolotll"], "did you mean 'axolotl'?"),
        (["completion", "bsh"], "did you mean 'bash'?"),
        (["explain", "R1166"], "R116"),
    ],
)
def test_typos_are_suggested(bench: Bench, invoke: Invoke, typed: list[str], meant: str) -> None:
    bench.project.recipes.rmdir()
    bench.project.recipes.symlink_to(ROOT / "recipes")
    said = invoke(*typed)
    assert said.code in (1, 2)
    assert meant.lower() in said.err.lower()
    assert "error" in said.err
    assert "Traceback" not in said.err


def completed(line: str) -> list[str]:
    """What the shell is offered after `line`, the last word of which may be begun."""
    *words, begun = line.split(" ")[1:]
    return [item.value for item in BashComplete(cli, {}, "runner", "_RUNNER_COMPLETE").get_completions(words, begun)]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("runner va", ["validate"]),
        ("runner run phase4/dpo", ["phase4/dpo-13b", "phase4/dpo-34b"]),
        ("runner serve codel", ["codellama-34b"]),
        ("runner plan phase4/dpo-13b --box 8x", ["8xh100"]),
        ("runner run phase4/dpo-13b --profile s", ["smoke"]),
        ("runner explain R48", ["R480", "R481", "R482", "R483"]),
        ("runner note chin", ["chinchilla", "chinchilla-replication"]),
        ("runner env build ax", ["axolotl"]),
    ],
)
def test_the_shell_is_offered(line: str, offered: list[str]) -> None:
    assert completed(line) == offered


def test_bash_asks_and_is_answered() -> None:
    """As its script asks, with nothing on stderr."""
    given = {"_RUNNER_COMPLETE": "bash_complete", "COMP_WORDS": "runner va", "COMP_CWORD": "1"}
    done = shell("runner", **given)
    assert (done.stdout, done.stderr) == ("plain,validate\n", "")


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(invoke: Invoke, kind: str) -> None:
    said = invoke("completion", kind)
    assert (said.code, f"_RUNNER_COMPLETE={kind}_complete" in said.out) == (0, True)
    if kind == "bash":
        assert subprocess.run(["bash", "-n"], input=said.out, text=True).returncode == 0


def test_a_reader_that_leaves_is_no_error() -> None:
    done = shell("runner explain | head -1")
    assert done.stdout.startswith("R001")
    assert done.stderr == ""
    assert done.returncode in (0, 141)  # all of it may fit into the pipe
    assert shell("runner note | true").stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told_and_no_bug() -> None:
    done = shell("runner note > /dev/full")
    assert done.returncode == 1
    assert done.stderr == "error: can't write the output: No space left on device\n"


def test_closed_streams_are_no_bug() -> None:
    done = shell("runner note >&-")
    assert (done.returncode, done.stderr) == (0, "")
    assert shell("runner path --week 3 2>&-").stdout.startswith("Week 3 of 20")


def test_colours_only_where_they_are_wanted() -> None:
    """`script` gives the command a terminal."""
    if not Path("/usr/bin/script").exists():
        pytest.skip("no script(1) here")
    call = f'script -qec "{sys.executable} -m runner path --week 3" /dev/null'
    assert "\x1b[1m" in shell(call, TERM="xterm-256color", NO_COLOR="").stdout
    assert "\x1b[" not in shell(call, TERM="xterm-256color", NO_COLOR="1").stdout
    assert "\x1b[" not in shell("runner path --week 3", TERM="xterm-256color").stdout


def test_help_starts_in_an_instant() -> None:
    """By processor time, since tests run side by side; 0.06 s on an idle machine, and the promise is 0.15 s."""
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "runner", "--help"], cwd=ROOT, env=ENV, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < 0.15


def test_help_imports_nothing_that_it_does_not_need() -> None:
    code = "import sys; sys.argv = ['runner', '--help']\n"
    code += "try:\n import runner.cli.main as m; m.main()\nexcept SystemExit: pass\n"
    code += "print([n for n in ('ruamel', 'rich', 'numpy', 'jinja2', 'yaml', 'json', 'difflib') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=ENV, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
