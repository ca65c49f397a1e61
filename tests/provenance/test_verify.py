"""`runner verify`: every way in which a run can stop being what its record says is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

import pytest

from runner.provenance.verify import verify
from runner.record import RECORD, Run, read_run
from tests.cli.conftest import Invoke
from tests.conftest import BODY, HEADER, Bench
from tests.provenance.made import made_run

DPO = (HEADER + BODY).replace("meta-llama/Llama-2-13b-hf", "${needs.sft.model}") + "needs: {sft: sft}\n"


@pytest.fixture
def chain(bench: Bench) -> Run:
    """A run that stands on another's merged model."""
    bench.write("sft", HEADER + BODY + "merge: true\n")
    bench.write("next", DPO)
    made_run(bench.project, "sft")
    return made_run(bench.project, "next")


def told(run: Run, *, deep: bool = False) -> list[tuple[str, str]]:
    again = read_run(run.path)
    assert again is not None
    return [(d.code, d.message) for d in verify(again, deep=deep)]


def edit(run: Run, change: Callable[[dict], None]) -> None:  # type: ignore[type-arg]
    record = json.loads((run.path / RECORD).read_text())
    change(record)
    (run.path / RECORD).write_text(json.dumps(record))


def upstream(run: Run) -> Run:
    (each,) = run.record["upstream"]
    found = read_run((run.path / each["path"]).resolve())
    assert found is not None
    return found


def test_what_was_left_alone_is_as_recorded(chain: Run) -> None:
    assert told(chain, deep=True) == []


@pytest.mark.parametrize(
    ("file", "code", "words"),
    [
        ("output/adapter_model.safetensors", "R458", "`adapter_model.safetensors` of output `adapter` {}"),
        ("output/README.md", "R459", "`README.md` {}"),
        ("axolotl.yaml", "R459", "`axolotl.yaml` {}"),
        ("jobs/meter.py", "R459", "`meter.py` {}"),
        ("provenance/recipe.yaml", "R459", "`recipe.yaml` {}"),
        ("provenance/sources/next.yaml", "R459", "`next.yaml` {}"),
    ],
)
def test_a_file_that_was_changed_or_removed(chain: Run, file: str, code: str, words: str) -> None:
    place = chain.path / file
    with place.open("a") as out:
        out.write(" ")
    assert told(chain) == [(code, words.format("was changed after the run"))]
    place.unlink()
    assert told(chain) == [(code, words.format("is gone"))]


def test_a_file_that_was_added_to_an_output(chain: Run) -> None:
    (chain.path / "output/more.safetensors").write_text("")
    assert told(chain) == [("R458", "`more.safetensors` of output `adapter` was added after the run")]
    (chain.path / "output/checkpoint-9").mkdir()
    (chain.path / "output/more.safetensors").unlink()
    assert told(chain) == []


def test_an_output_that_is_gone(chain: Run) -> None:
    shutil.rmtree(chain.path / "output")
    assert ("R458", "output `adapter` is gone") in told(chain)


def test_upstream_weights_that_are_no_longer_those_that_were_taken(chain: Run) -> None:
    below = upstream(chain)
    (below.path / "output/merged/adapter_model.safetensors").write_text("others")
    message = f"output `model` of upstream `sft` (run {below.id}) is no longer what was taken"
    assert told(chain) == [("R460", message)]
    assert ("R458", "`adapter_model.safetensors` of output `model` was changed after the run") in told(chain, deep=True)


def test_an_upstream_run_that_was_made_again_in_place(chain: Run) -> None:
    below = upstream(chain)
    edit(below, lambda r: r["outputs"][1].update(sha256="0" * 64))
    assert (
        "R460",
        f"output `model` of upstream `sft` (run {below.id}) is recorded otherwise than it was taken",
    ) in told(chain)
    edit(below, lambda r: r.update(identity="0" * 64))
    assert ("R460", f"upstream `sft` (run {below.id}) is another run than the one that was taken") in told(chain)


def test_an_upstream_run_that_is_gone(chain: Run) -> None:
    below = upstream(chain)
    shutil.rmtree(below.path)
    assert told(chain) == [("R460", f"upstream `sft` (run {below.id}) is gone")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(run="20200101-000000"), "the record is of run `20200101-000000`, and lies in `{id}`"),
        (lambda r: r.update(status="done"), "the record's status `done` is none"),
        (lambda r: r.update(outputs=[]), "the run is recorded as finished, and has no outputs"),
        (lambda r: r.pop("values"), "the record has no `values`"),
        (
            lambda r: r["outputs"][0]["files"].pop("adapter_config.json"),
            "the hash of output `adapter` is not that of the files that it lists",
        ),
    ],
)
def test_a_record_that_contradicts_itself(chain: Run, change: Callable[[dict], None], message: str) -> None:  # type: ignore[type-arg]
    edit(chain, change)
    assert ("R461", message.format(id=chain.id)) in told(chain)


def test_artifacts_can_be_moved(bench: Bench, chain: Run) -> None:
    elsewhere = bench.project.root / "elsewhere"
    bench.project.artifacts.rename(elsewhere)
    moved = read_run(elsewhere / "next/full" / chain.id)
    assert moved is not None
    assert verify(moved, deep=True) == []


def test_a_run_of_an_earlier_runner(chain: Run) -> None:
    """No hashes of files, an engine's README.md counted, upstream runs by name alone."""

    def older(record: dict) -> None:  # type: ignore[type-arg]
        for key in ("files", "provenance", "cards", "identity", "inputs", "seeds", "environments"):
            record.pop(key)
        for output in record["outputs"]:
            output.pop("files")
        record["upstream"] = [{k: u[k] for k in ("alias", "recipe", "run")} for u in record["upstream"]]

    edit(chain, older)
    assert told(chain, deep=True) == []
    (chain.path / "output/adapter_model.safetensors").write_text("others")
    assert told(chain) == [("R458", "output `adapter` is no longer what the run left")]


def test_the_command(bench: Bench, chain: Run, invoke: Invoke) -> None:
    well = invoke("verify", "next")
    assert well.code == 0, well.err
    assert "as recorded; 1 output (2 files" in well.out
    (chain.path / "output/adapter_config.json").write_text("{} ")
    ill = invoke("verify", str(chain.path))
    assert ill.code == 1
    assert "error[R458]" in ill.err
    assert "1 difference" in ill.err
    none = invoke("verify", "nothing")
    assert (none.code, "error[R001]" in none.err) == (1, True)
    (bench.project.root / "empty").mkdir()
    for name, code in (("empty", "R454"), ("a\0b", "R011"), ("next/smoke", "R410"), ("b" * 5000, "R011")):
        told = invoke("verify", name)
        assert (told.code, f"error[{code}]" in told.err) == (1, True), told.err
