"""`runner why`: which run is meant, and what is told of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runner.failures import by_name
from runner.launch.local import MARK
from runner.record import write_json
from tests.cli.conftest import Invoke
from tests.conftest import BODY, HEADER, Bench

MEMORY = by_name("gpu-memory")
FULL = by_name("disk-full")
assert MEMORY is not None
assert FULL is not None
EIGHT = BODY.replace("micro_batch_size: 1", "micro_batch_size: 8\nbf16: true")
BIG = f"box: 1xa100-40\n{EIGHT}"


def leave(bench: Bench, recipe: str = "r", id: str = "20260102-030405", log: str = "", **record: Any) -> Path:
    """A run as the runner leaves it."""
    folder = bench.project.artifacts / recipe / str(record.get("profile", "full")) / id
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text(log)
    told = {"recipe": recipe, "profile": "full", "kind": "finetune", "run": id, "status": "failed", "exit_code": 1}
    write_json(folder / "run.json", {**told, "started": "2026-01-02T03:04:05+00:00", **record})
    return folder


def test_what_cause_knob_lines_and_how_to_go_on(bench: Bench, invoke: Invoke) -> None:
    bench.write("r", HEADER + BODY)
    log = "=== train\n" + "".join(f"step {n}\n" for n in range(50)) + FULL.excerpt.splitlines()[-1] + "\n"
    leave(bench, log=log, part="train", seconds=61.2, error="OSError: [Errno 28] No space left on device")
    said = invoke("why")
    assert said.code == 0
    assert "r (full) failed in step `train` (exit code 1), after 61 s" in said.out
    words = " ".join(said.out.split())
    assert FULL.title in words
    assert FULL.cause.split(".")[0] in words
    assert FULL.knob.split(",")[0] in words
    last = log.rstrip("\n").count("\n") + 1
    assert f"artifacts/r/full/20260102-030405/log.txt:{last}" in said.out
    assert f"> {last} | " in said.out
    assert "  51 | step 49" in said.out
    assert "make recipe R=r" in said.out


def test_out_of_memory_comes_with_the_plan_and_the_smallest_change_that_fits(bench: Bench, invoke: Invoke) -> None:
    bench.write("r", HEADER + BIG)
    leave(bench, log=MEMORY.excerpt)
    said = invoke("why", "r")
    words = " ".join(said.out.split())
    assert "of GPU memory on each GPU, `1xa100-40` has" in words
    assert "which does not fit" in words
    assert "weights 24." in words
    told = json.loads(invoke("why", "r", "--json").out)
    plan = told["plan"]
    assert plan["foreseen"] is True
    assert sum(plan["parts"].values()) == pytest.approx(plan["needs"])
    assert plan["needs"] > plan["has"] > plan["then"] > 0
    # the same knob that `runner plan` names for this recipe
    planned = invoke("plan", "r").err
    assert "help: set `" in planned
    for key, value in plan["change"].items():
        assert f"`{key}: {str(value).lower()}`" in planned


def test_where_the_plan_was_wrong_the_change_takes_a_tenth_less(bench: Bench, invoke: Invoke) -> None:
    bench.write("r", f"{HEADER}box: 2xh100\n{EIGHT}")
    leave(bench, log=MEMORY.excerpt)
    plan = json.loads(invoke("why", "r", "--json").out)["plan"]
    assert plan["foreseen"] is False
    assert plan["has"] > plan["needs"]
    assert plan["then"] <= 0.9 * plan["needs"]


def test_values_are_those_of_the_run_whatever_the_recipe_says_by_now(bench: Bench, invoke: Invoke) -> None:
    bench.write("r", HEADER + BIG)
    leave(bench, log=MEMORY.excerpt)
    small = json.loads(invoke("why", "r", "--json").out)["plan"]["needs"]
    shown = json.loads((bench.project.artifacts / "r/full/20260102-030405/run.json").read_text())
    values = {"base_model": "meta-llama/Llama-2-13b-hf", "adapter": "lora", "lora_r": 8, "lora_target_linear": True}
    values |= {"sequence_len": 4096, "micro_batch_size": 8, "gradient_accumulation_steps": 1, "bf16": True}
    write_json(bench.project.artifacts / "r/full/20260102-030405/run.json", {**shown, "values": values})
    assert json.loads(invoke("why", "r", "--json").out)["plan"]["needs"] > small


def test_one_that_we_do_not_know(bench: Bench, invoke: Invoke) -> None:
    leave(bench, log=f"one\ntwo\n\x1b[31mOddError: nobody knows\x1b[0m\n{'bye' * 9}\n", error="OddError: nobody knows")
    said = invoke("why")
    assert "what     OddError: nobody knows" in said.out
    assert "not one of the failures we know" in " ".join(said.out.split())
    assert "> 3 | OddError: nobody knows\n" in said.out
    assert json.loads(invoke("why", "--json").out)["failure"] is None


def test_numbers_that_are_none(bench: Bench, invoke: Invoke) -> None:
    folder = leave(bench, log="RuntimeError: odd\n")
    rows = [{"step": 9, "loss": 2.25, "learning_rate": 1e-4}, {"step": 10, "grad_norm": float("nan"), "loss": 2.25}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = invoke("why")
    words = " ".join(said.out.split())
    assert "no number from step 10 on; 2.25 at step 9, gradient norm nan, learning rate 0.0001" in words
    told = json.loads(invoke("why", "--json").out)
    assert told["failure"]["name"] == "not-finite"
    assert (told["loss"]["step"], told["loss"]["grad_norm"]) == (10, "nan")


def test_the_newest_that_failed_of_all(bench: Bench, invoke: Invoke) -> None:
    leave(bench, "a/x", "20260102-000000", log="OddError: first\n", error="OddError: first")
    leave(bench, "b", "20260103-000000", log="OddError: second\n", error="OddError: second")
    leave(bench, "c", "20260104-000000", status="finished")
    leave(bench, "b", "20260101-000000", profile="smoke", error="OddError: of smoke")
    assert "OddError: second" in invoke("why").out
    assert "OddError: of smoke" in invoke("why", "--profile", "smoke").out
    assert "OddError: first" in invoke("why", "a/x").out
    assert "OddError: first" in invoke("why", "artifacts/a/x/full/20260102-000000").out


def test_one_that_finished_and_one_that_was_interrupted(bench: Bench, invoke: Invoke) -> None:
    bench.write("r", HEADER + BODY)
    leave(bench, id="20260101-000000", status="interrupted")
    said = invoke("why")
    assert "was interrupted" in said.out
    assert "make recipe R=r  (goes on from its newest checkpoint)" in said.out
    leave(bench, id="20260102-000000", status="finished")
    said = invoke("why", "r")
    assert "finished: nothing failed" in said.out
    assert "go on" not in said.out


def test_a_record_that_says_running_is_believed_as_far_as_processes_are_there(bench: Bench, invoke: Invoke) -> None:
    folder = leave(bench, log="=== train\n", status="running")
    assert "broke off" in invoke("why").out
    sleeper = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], env={MARK: str(folder)}, stdout=subprocess.DEVNULL
    )
    try:
        assert "is running" in invoke("why", "r").out
    finally:
        sleeper.kill()
        sleeper.wait()


def test_an_endpoint_is_told_from_its_servers_log(bench: Bench, invoke: Invoke) -> None:
    folder = leave(bench, "serve/s", log="error: server-0 ended\n", kind="serve", status="failed")
    port = by_name("port-in-use")
    assert port is not None
    (folder / "server-0.log").write_text("INFO up\n" + port.excerpt)
    state = {"status": "failed", "error": "server-0 ended", "replicas": []}
    (folder / "endpoint-state.json").write_text(json.dumps(state))
    said = invoke("why", "serve/s")
    assert port.title in said.out
    assert "server-0.log:" in said.out
    assert "make serve MODEL=s" in said.out


def test_a_service_that_answers_from_a_finished_index(bench: Bench, invoke: Invoke) -> None:
    folder = leave(bench, "rag", kind="rag", status="finished")
    gone = by_name("postgres-gone")
    assert gone is not None
    (folder / "serve.log").write_text("up\n" + gone.excerpt)
    (folder / "service").mkdir()
    record = {"recipe": "rag", "profile": "full", "kind": "rag", "run": "service", "status": "failed"}
    write_json(folder / "service" / "run.json", record)
    write_json(folder / "service" / "endpoint-state.json", {"status": "failed", "error": "it ended", "replicas": []})
    said = invoke("why", "rag")
    assert gone.title in said.out
    assert "serve.log:" in said.out
    assert "make rag R=rag" in said.out
    write_json(folder / "service" / "endpoint-state.json", {"status": "stopped", "error": None, "replicas": []})
    assert "nothing failed" in invoke("why", "rag").out


def test_a_sweep_names_its_children_and_what_ended_each(bench: Bench, invoke: Invoke) -> None:
    bench.write("w", HEADER + BODY)
    folder = leave(bench, "w", log="=== children\nchild a failed\n", kind="sweep", error="1 of the sweep's children")
    (folder / "points.json").write_text("{}")
    leave(bench, "w/a", log=FULL.excerpt)
    leave(bench, "w/b", status="finished")
    said = invoke("why", "w")
    words = " ".join(said.out.split())
    assert f"children w/a: {FULL.title}" in words
    assert "w/b" not in words
    assert "`runner why w/a` tells more" in words
    child = invoke("why", "w/a")
    assert FULL.title in child.out
    assert "make recipe R=w" in child.out, "a child has no recipe: its sweep makes it again"


def test_a_run_with_changed_keys_goes_on_with_the_same(bench: Bench, invoke: Invoke) -> None:
    bench.write("r", HEADER + BODY)
    leave(bench, as_written=False)
    assert "runner run r --set" in invoke("why").out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), "R440", "no run has failed here"),
        (("r",), "R410", "`r` has not run yet"),
        (("r", "--profile", "smoke"), "R410", "`r` has not run in profile `smoke` yet"),
        (("recipes",), "R454", "there is no run in `recipes`"),
        (("nowhere",), "R001", "nowhere"),
    ],
)
def test_nothing_to_tell(bench: Bench, invoke: Invoke, arguments: tuple[str, ...], code: str, said: str) -> None:
    bench.write("r", HEADER + BODY)
    told = invoke("why", *arguments)
    assert told.code == 1
    assert said in told.err
    assert f"error[{code}]" in told.err


def test_secrets_and_endless_lines_are_not_shown(bench: Bench, invoke: Invoke) -> None:
    secret = "hf_" + "a" * 30
    where = '  File "/home/me/envs/e/lib/python3.11/site-packages/torch/nn/module.py", line 7'
    log = f"{where}{'x' * 9000}\ntoken {secret}\n50%\r100%\n{FULL.excerpt.splitlines()[0]}\n"
    failure = {"name": FULL.name, "title": FULL.title, "log": "log.txt", "line": 4, "retry": False}
    leave(bench, log=log, failure=failure)
    said = invoke("why")
    assert "log.txt:4" in said.out, "a bar that was drawn over is one line, as in an editor"
    assert '1 |   File "torch/nn/module.py", line 7xxx' in said.out
    assert secret not in said.out
    assert "50%" not in said.out
    assert all(len(line) <= 100 for line in said.out.splitlines())


def test_many_runs_are_found_fast(bench: Bench, invoke: Invoke) -> None:
    """The newest are looked at first; what a run left below its folder is not."""
    for n in range(300):
        leave(bench, f"m/r{n % 10}", f"20250101-{n:06d}", status="finished")
    leave(bench, "m/last", "20260101-000000", error="OddError: last")
    deep = bench.project.artifacts / "m/last/full/20260101-000000/output/20990101-000000"
    deep.mkdir(parents=True)
    (deep / "run.json").write_text("{}")
    assert "OddError: last" in invoke("why").out


def test_a_recipe_is_named_with_its_profile_here_and_in_compare(bench: Bench, invoke: Invoke) -> None:
    bench.write("r", HEADER + BODY)
    leave(bench, id="20260102-030405", status="finished", profile="smoke", values={"base_model": "x"})
    leave(bench, id="20260103-030405", profile="full", values={"base_model": "y"})
    assert "r (smoke) finished" in invoke("why", "r/smoke").out
    assert "r (full) failed" in invoke("why", "r/full", "--profile", "smoke").out
    said = invoke("compare", "r/smoke", "r/full")
    assert said.code == 0
    assert "base_model" in said.out
