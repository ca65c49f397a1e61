"""Bad input, command by command: a diagnostic and exit code 1 or 2; nothing run, nothing written."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Invoke, Said
from tests.conftest import BODY, HEADER, ROOT, Bench

pytestmark = pytest.mark.slow

COMMANDS = (
    ("validate", "phase9/bad"),
    ("validate", "recipes/phase9/bad.yaml"),
    ("show", "phase9/bad"),
    ("render", "phase9/bad"),
    ("run", "phase9/bad", "--profile", "smoke"),
    ("doctor", "phase9/bad"),
)
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{above}: &{above} [{','.join([f'*{below}'] * 9)}]\n" for above, below in zip("bcdefgh", "abcdefg", strict=True)
)
FILES = {
    "empty": b"",
    "spaces": b"  \n\n",
    "prose": b"Once upon a time there was a recipe.\n",
    "not yaml": b"recipe: 1\nkind: [finetune\ntitle: {\n",
    "binary": bytes(range(256)),
    "png": b"\x89PNG\r\n\x1a\n\x00\x00",
    "utf-16": "recipe: 1\n".encode("utf-16"),
    "list": b"- recipe: 1\n- kind: dpo\n",
    "number": b"42\n",
    "bomb": BOMB.encode(),
    "deep": b"a: " + b"[" * 20_000,
    "deep blocks": b"- " * 2_000 + b"x\n",
    "tags": b"recipe: !!python/object/apply:os.system ['touch owned']\n",
    "unknown kind": b"recipe: 1\nkind: banana\ntitle: x\n",
    "no kind": b"recipe: 1\ntitle: x\n",
    "kind of another shape": b"recipe: 1\nkind: {a: [1]}\ntitle: x\n",
    "newer": b"recipe: 99\nkind: finetune\ntitle: x\n",
    "not a number": b"recipe: 1\nkind: finetune\ntitle: x\nlearning_rate: .nan\n",
    "infinite": b"recipe: 1\nkind: finetune\ntitle: x\nlearning_rate: .inf\n",
    "half a character": b'recipe: 1\nkind: finetune\ntitle: "\\ud800"\n',
    "its own parent": b"recipe: 1\nkind: finetune\ntitle: x\nextends: phase9/bad\n",
    "parent elsewhere": b"recipe: 1\nkind: finetune\ntitle: x\nextends: ../../../../etc/passwd\n",
    "terminal": b'recipe: 1\nkind: finetune\ntitle: x\n"\\e]0;owned\\a\\e[2J": 1\n',
}


def tree(root: Path) -> set[str]:
    return {str(p.relative_to(root)) for p in root.rglob("*")}


def civil(said: Said, code: int = 1) -> None:
    assert said.code == code, said.err
    for words in ("Traceback", "bug in the runner", "\x1b", "\a"):
        assert words not in said.out + said.err
    assert "error[R" in said.err


def place(bench: Bench, content: bytes) -> Path:
    file = bench.project.recipe_file("phase9/bad")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_a_bad_file(bench: Bench, invoke: Invoke, content: bytes) -> None:
    place(bench, content)
    before = tree(bench.project.root)
    for command in COMMANDS:
        civil(invoke(*command))
    for command in (("list",), ("list", "--json"), ("graph",)):
        said = invoke(*command)
        assert (said.code, said.err) == (0, "")
        assert "\x1b" not in said.out
    assert tree(bench.project.root) == before


def test_a_file_of_fifty_megabytes(bench: Bench, invoke: Invoke) -> None:
    with place(bench, b"a: 1\n").open("r+b") as out:
        out.truncate(50 * 1024 * 1024)
    for command in (*COMMANDS, ("new", "phase9/copy", "--from", "phase9/bad")):
        civil(invoke(*command))


def test_a_bad_file_is_no_parent_and_no_need_and_no_source(bench: Bench, invoke: Invoke) -> None:
    for content in FILES.values():
        place(bench, content)
        bench.write("child", HEADER + "extends: phase9/bad\n")
        bench.write("needy", HEADER + BODY + "needs: {x: phase9/bad}\n")
        said = invoke("validate", "child", "needy")
        assert said.code in (0, 1)
        assert "Traceback" not in said.err
        assert "bug" not in said.err
        assert invoke("new", "copy", "--from", "phase9/bad").code in (0, 1)
        bench.project.recipe_file("copy").unlink(missing_ok=True)


@pytest.mark.parametrize(
    "name", ["My Recipe", "a;touch owned;", "$(touch owned)", "UPPER", "a b", "x:=y", "a\nb", "-rf", "a%b"]
)
def test_a_recipes_file_with_a_name_that_make_would_misread(bench: Bench, invoke: Invoke, name: str) -> None:
    bench.write("good")
    bench.write(name)
    said = invoke("validate")
    civil(said)
    assert "error[R011]" in said.err
    assert said.err.rstrip().endswith("2 recipes: 1 error")
    assert invoke("list", "--names").out == "good\n"
    graph = invoke("graph").out
    assert name not in graph
    assert "RECIPES := good\n" in graph


@pytest.mark.parametrize(
    "need",
    ["x;touch owned", "x\n\ttouch owned", "$(shell touch owned)", "x\nV != touch owned\ny", "../x", "a b", "x: y"],
)
def test_a_need_cannot_write_the_makefile(bench: Bench, invoke: Invoke, need: str) -> None:
    bench.write("r", HEADER + BODY + f"needs: {{x: {json.dumps(need)}}}\n")
    civil(invoke("validate"))
    graph = bench.project.root / "graph.mk"
    graph.write_text(invoke("graph").out)
    assert "owned" not in graph.read_text()
    done = subprocess.run(
        ["make", "-f", str(graph), "RUNNER=true", "artifacts/r/full/done"],
        cwd=bench.project.root, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "owned" not in tree(bench.project.root)


@pytest.mark.parametrize(
    "name", ["../x", "/tmp/x", "a/../../x", "Upper", "a b", "x;y", "", ".hidden", "a//b", "a/", "x" * 200, "a/b/c/d/e"]
)
def test_a_new_recipe_stays_in_its_folder(bench: Bench, invoke: Invoke, name: str) -> None:
    bench.write("r")
    before = tree(bench.project.root.parent)
    civil(invoke("new", "--from", "r", "--", name))
    assert tree(bench.project.root.parent) == before


def test_a_file_elsewhere_is_rendered_but_never_written_elsewhere(bench: Bench, invoke: Invoke, tmp_path: Path) -> None:
    file = tmp_path / "...yaml"
    file.write_text(HEADER + BODY)
    assert invoke("validate", str(file)).code == 0
    assert "# recipe, profile full" in invoke("render", str(file), "--file", "launch.sh").out


@pytest.mark.parametrize(
    "text", ["lora_r", "lora_r=[", "extends=x", "datasets.0.path=x", "lora_r=1\nb: 2", "\0=1", "a=\0"]
)
def test_sets_that_mean_nothing(bench: Bench, invoke: Invoke, text: str) -> None:
    bench.write("r")
    for command in ("validate", "show", "render"):
        civil(invoke(command, "r", "--set", text))


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("vaildate",),
        ("validate", "--profile", "smok"),
        ("validate", "--nonsense"),
        ("render", "r", "--file", "../../etc/passwd"),
        ("run",),
        ("run", "a", "b"),
        ("explain", "R999"),
        ("new", "x"),
        ("list", "extra"),
    ],
)
def test_usage(bench: Bench, invoke: Invoke, arguments: tuple[str, ...]) -> None:
    bench.write("r")
    said = invoke(*arguments)
    assert said.code == 2
    assert said.out == ""
    assert "Traceback" not in said.err


@pytest.mark.parametrize("where", ["R", "PROFILE"])
@pytest.mark.parametrize(
    "hostile",
    ["a:=$(shell touch owned)", "a!=touch owned;true ", "$(shell touch owned)", "x;touch owned", "`touch owned`"],
)
def test_make_runs_nothing_that_a_variable_holds(tmp_path: Path, where: str, hostile: str) -> None:
    """`-n` is the sharper case: `validate` is not run, and a line with $(MAKE) is."""
    if not (ROOT / ".venv/bin/runner").exists():
        pytest.skip("needs `make setup`")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    given = {"R": "phase4/dpo-13b", "PROFILE": "smoke", where: hostile.replace("owned", str(tmp_path / "owned"))}
    done = subprocess.run(
        ["make", "-n", "recipe", *(f"{k}={v}" for k, v in given.items())],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert list(tmp_path.iterdir()) == []
