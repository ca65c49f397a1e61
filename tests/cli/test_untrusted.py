"""Recipes are untrusted: no value becomes shell, template code, a place outside the run, or anything but itself."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from runner.launch.local import launch
from runner.project import Project
from runner.recipe.graph import Library
from runner.recipe.kinds import kind_names
from runner.recipe.load import MAX_BYTES, Refused, parse
from tests.cli.conftest import Invoke
from tests.conftest import BODY, HEADER, ROOT, Bench
from tests.planted import composed, more_keys, must_be_harmless, numbered, plant, rendered, run_by_hand

pytestmark = pytest.mark.slow

MARK = "planted"
# at most 90 characters, which is what a sweep takes of its title
PAYLOADS = {
    "shell": f"$(touch {MARK})`touch {MARK}`'; touch {MARK}; \"|| # {{{{ 7*7 }}}}{{% set x = 1 %}}{{# x #}}",
    "lines": f"a\n- b: !!python/object/apply:os.system [touch {MARK}]\r\n\tc: &d [*d]\n...\n---\n\u2028e\x85",
    "places": f"../../../{MARK}/%2e/~/$HOME/%(x)s{{x}}\\..\\*?__import__('os').system('touch {MARK}')",
}
assert all(len(payload) <= 90 for payload in PAYLOADS.values())
NAMES = [PROJECT.recipe_name(f) for PROJECT in [Project(ROOT)] for f in PROJECT.all_recipes()]
OF_KIND = {kind: min(n for n in NAMES if composed(n).keys["kind"].value == kind) for kind in kind_names()}


@pytest.fixture(scope="module")
def library() -> Library:
    return Library(Project(ROOT), "full")


@pytest.mark.parametrize("kind", OF_KIND)
def test_a_payload_stays_a_value(kind: str, library: Library, tmp_path: Path) -> None:
    """In each text of a recipe of the kind, and in each key of its schema that takes text."""
    name = OF_KIND[kind]
    plain = more_keys(composed(name).root.plain())
    for label, payload in PAYLOADS.items():
        planted = plant(name, plain, payload, library)
        assert planted is not None, (name, label)
        assert ("title",) in planted.places
        for profile in ("full", "smoke"):
            files = must_be_harmless(planted, profile)
            assert files is not None, (name, label, profile)
            if label != "places" and profile == "full":
                called = run_by_hand(tmp_path / label, files, MARK)
                assert called, "launch.sh called nothing"
                if kind == "multimodal":
                    assert files["axolotl.yaml"].count(MARK) > 10


def test_a_nul_character_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        parse('recipe: 1\nkind: finetune\ntitle: "a\\0b"\n"k\\0": 1\n', "r.yaml", "r")
    assert [d.code for d in refused.value.diagnostics] == ["R003", "R003"]


def test_a_family_of_models_is_no_path() -> None:
    """A tiny model's folder is called by its family, which is a word of the recipe's."""
    doc = composed("phase1/gpt-nano")
    plain = doc.root.plain()
    plain |= {"architecture": {**plain["architecture"], "model_type": "../../../outside"}, "tokenizer_config": "x"}
    files = rendered(numbered(doc.name, plain), "smoke")
    assert isinstance(files, dict)
    folder = Path(json.loads(files["tiny.json"])["path"])
    assert folder.parent == ROOT / "artifacts" / ".smoke"


def test_100_000_keys_and_deep_nesting_are_refused_soon(bench: Bench, invoke: Invoke) -> None:
    started = time.process_time()
    bench.write("r", HEADER + BODY + "".join(f"k{i}: 1\n" for i in range(100_000)))
    said = invoke("validate", "r")
    assert said.code == 1
    assert "error[R001]" in said.err
    for text in ("\n".join(f"k{i}: 1" for i in range(5000)), "a: " * 3 + "[" * 5000, "{a: " * 40 + "1" + "}" * 40):
        with pytest.raises(Refused):
            parse(text[:MAX_BYTES] + "\n]", "r.yaml", "r")
    assert time.process_time() - started < 20


def test_enormous_numbers(bench: Bench, invoke: Invoke) -> None:
    for number in ("1e400", "-.inf", ".NaN", "9" * 60, "0x" + "f" * 60):
        bench.write("r", HEADER + BODY.replace("lora_r: 8", f"lora_r: {number}"))
        said = invoke("validate", "r")
        assert said.code == 1, number
        assert "error[R00" in said.err


def test_a_link_that_leads_to_itself_and_one_to_a_device(bench: Bench, invoke: Invoke) -> None:
    for target in ("loop.yaml", "/dev/null", "/proc/self/mem", "."):
        link = bench.project.recipe_file("loop")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        said = invoke("validate", str(link))
        assert said.code == 1, target
        assert "error[R0" in said.err
        assert "Traceback" not in said.err


TOKENS = {
    "HF_TOKEN": "hf_PLANTEDplantedPLANTEDplanted0",
    "WANDB_API_KEY": "0123456789abcdef0123456789abcdef01234567",
    "OPENAI_API_KEY": "sk-planted-PLANTED-planted-PLANTED",
    "AWS_SECRET_ACCESS_KEY": "planted/PLANTED+planted/PLANTED+planted0",
    "AWS_ACCESS_KEY_ID": "AKIAPLANTEDPLANTED00",
}


def test_no_secret_of_the_environment_in_a_runs_folder(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The engine prints all it has, in one go and letter by letter; a child of it writes a log of its own."""
    for name, value in TOKENS.items():
        monkeypatch.setenv(name, value)
    run = tmp_path / "run"
    run.mkdir()
    (run / "launch.sh").write_text(
        "echo '=== train'; env; env > server.log; echo hf_ANOTHERanotherANOTHERanother1\n"
        "for c in $(echo $HF_TOKEN | fold -w 3); do printf %s $c; sleep 0.12; done; echo; echo kept\n"
        "echo '{\"loss\": 1.5, \"step\": 1}' >> metrics.jsonl; printf 'no end %s' $OPENAI_API_KEY\n"
    )
    parts: list[str] = []
    assert launch(run, lambda progress: parts.append(progress.part)).code == 0
    for file in run.iterdir():
        text = file.read_text() if file.name != "launch.sh" else ""
        for value in (*TOKENS.values(), "hf_ANOTHERanotherANOTHERanother1"):
            assert value not in text, file.name
    log = (run / "log.txt").read_text()
    assert "HF_TOKEN=" + "*" * 32 in log
    assert "\nkept\n" in log
    assert parts[-1] == "train"
    assert (run / "metrics.jsonl").read_text() == '{"loss": 1.5, "step": 1}\n'


def test_no_secret_in_what_is_told(bench: Bench, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", TOKENS["WANDB_API_KEY"])
    planted = [TOKENS["WANDB_API_KEY"], TOKENS["HF_TOKEN"], "hunter2hunter2"]
    bench.write(
        "r", HEADER + BODY + f"wandb_entty: {planted[0]}\nlora_alpha: {planted[1]}\nopenai_api_key: {planted[2]}\n"
    )
    for command in (("validate", "r"), ("validate", "r", "--set", f"lora_r={planted[1]}"), ("run", "r"), ("show", "r")):
        for style in ("text", "json", "github", "sarif") if command[0] == "validate" else ("",):
            said = invoke(*command, *(("--format", style) if style else ()))
            assert said.code == 1, command
            for secret in planted:
                assert secret not in said.out + said.err, (command, style)


def test_any_folder_may_be_named_for_tasks(bench: Bench, invoke: Invoke) -> None:
    """A folder that is called as a file of tasks, files that include each other, and the whole disk."""
    tasks = bench.project.root / "tasks"
    (tasks / "folder.yaml").mkdir(parents=True)
    (tasks / "a.yaml").write_text("task: a\ninclude: b.yaml\n")
    (tasks / "b.yaml").write_text("task: b\ninclude: a.yaml\n")
    (tasks / "gone.yaml").symlink_to("nowhere")
    text = "recipe: 1\nkind: eval\ntitle: A test\nmodel: llama-2-13b\ntasks: [a]\ninclude_path: {}\n"
    bench.write("r", text.format("tasks"))
    assert invoke("validate", "r").code == 0
    started = time.process_time()
    bench.write("r", text.format("/"))
    said = invoke("validate", "r")
    assert "bug" not in said.err
    assert time.process_time() - started < 10
