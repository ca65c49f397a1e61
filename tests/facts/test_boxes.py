"""GPUs and boxes: the facts that ship, names that people give, box files of one's own and what is wrong with them."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from runner.diagnostics import Diagnostic
from runner.facts import gpus
from runner.facts.boxes import KEYS, RATES, Box, box_names, load_box, make_box
from runner.facts.faults import BoxError
from runner.facts.gpus import GpuFacts, find_gpu, gpu_names
from runner.gpus import Gpu
from runner.machine import Machine, check_box
from runner.recipe.box_file import box_text, find_box, read_box, unknown_gpu
from runner.recipe.load import Refused
from tests.conftest import BODY, HEADER, Bench

SHIPPED = {"1xh100", "2xh100", "8xh100", "4x8xh100", "2xa100-80", "1xa100-40", "1xh200", "1x4090", "cpu"}
SHIPPED |= {"slurm-4x8xh100", "slurm-2xcpu", "sky-8xh100", "sky-2x8xh100"}
HERE = Machine(
    system="Linux",
    python="3.11.7",
    cores=52,
    ram_gib=441.93,
    ram_available_gib=430,
    disk_free_gib=2000.4,
    disk="/data",
    gpus=(Gpu("NVIDIA H100 80GB HBM3", 81559 / 1024, 79.1, "sm_90"),) * 2,
    nvlink=18,
)


def written(folder: Path, text: str, name: str = "mine") -> Path:
    file = folder / f"{name}.yaml"
    file.write_text(text)
    return file


def refused(folder: Path, text: str) -> list[Diagnostic]:
    with pytest.raises(Refused) as caught:
        read_box(written(folder, text))
    return caught.value.diagnostics


# --- GPUs ---


@pytest.mark.parametrize("name", gpu_names())
def test_the_facts_of_a_gpu_make_sense(name: str) -> None:
    facts = find_gpu(name)
    assert facts is not None
    assert find_gpu(facts.name, facts.memory_gib) == facts  # by the driver's name too
    assert facts.memory_gib > 9
    assert facts.memory_gb_s > 100
    assert facts.pcie_gb_s >= 16
    assert facts.watts >= 70
    assert facts.fp32_tflops > 0
    assert facts.fp16_tflops >= facts.bf16_tflops >= 0
    assert facts.fp16_tflops > facts.fp32_tflops
    assert facts.generation == facts.generation.lower()
    assert facts.nvlink_gb_s in (0, 150, 200, 300, 448, 450, 900)
    if facts.compute_capability >= "sm_80":
        assert facts.bf16_tflops == facts.fp16_tflops == pytest.approx(2 * facts.tf32_tflops, rel=0.03)
    if facts.fp8_tflops:
        assert facts.fp8_tflops == pytest.approx(2 * facts.bf16_tflops, rel=0.03)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3"),
        ("H100", "NVIDIA H100 80GB HBM3"),
        ("h100-80gb", "NVIDIA H100 80GB HBM3"),
        ("H100-80GB-SXM", "NVIDIA H100 80GB HBM3"),
        ("nvidia h100 pcie", "NVIDIA H100 PCIe"),
        ("H100 NVL", "NVIDIA H100 NVL"),
        ("NVIDIA A100-SXM4-80GB", "NVIDIA A100-SXM4-80GB"),
        ("A100-SXM-80GB", "NVIDIA A100-SXM4-80GB"),
        ("A100-80GB", "NVIDIA A100-SXM4-80GB"),
        ("A100 80GB", "NVIDIA A100-SXM4-80GB"),
        ("a100_80gb", "NVIDIA A100-SXM4-80GB"),
        ("A100-40GB", "NVIDIA A100-SXM4-40GB"),
        ("A100", "NVIDIA A100-SXM4-40GB"),  # as SkyPilot
        ("NVIDIA A100 80GB PCIe", "NVIDIA A100 80GB PCIe"),
        ("NVIDIA A100-PCIE-40GB", "NVIDIA A100-PCIE-40GB"),
        ("NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 4090"),
        ("GeForce RTX 4090", "NVIDIA GeForce RTX 4090"),
        ("RTX4090", "NVIDIA GeForce RTX 4090"),
        ("4090", "NVIDIA GeForce RTX 4090"),
        ("NVIDIA RTX A6000", "NVIDIA RTX A6000"),
        ("A6000", "NVIDIA RTX A6000"),
        ("RTX 6000 Ada", "NVIDIA RTX 6000 Ada Generation"),
        ("Tesla V100-SXM2-32GB", "Tesla V100-SXM2-32GB"),
        ("V100", "Tesla V100-SXM2-16GB"),
        ("NVIDIA Tesla T4", "Tesla T4"),
        ("L4", "NVIDIA L4"),
        ("l40s", "NVIDIA L40S"),
        ("A10", "NVIDIA A10"),
        ("A10G", "NVIDIA A10G"),
        ("H200", "NVIDIA H200"),
        ("GH200", "NVIDIA GH200 480GB"),
        ("MI300X", "AMD Instinct MI300X"),
        # other hardware, though the name begins the same
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA GeForce RTX 4090 D", None),
        ("NVIDIA GeForce RTX 4080 SUPER", None),
        ("NVIDIA A100-SXM4-80GB MIG 3g.40gb", None),
        ("NVIDIA GB10", None),
        ("", None),
        ("../boxes/cpu", None),
    ],
)
def test_a_gpu_is_found_by_what_people_call_it(name: str, found: str | None) -> None:
    facts = find_gpu(name)
    assert (facts.name if facts else None) == found


@pytest.mark.parametrize(
    ("name", "memory_gib", "found"),
    [
        ("A100", 80, "NVIDIA A100-SXM4-80GB"),
        ("A100", 39.4, "NVIDIA A100-SXM4-40GB"),
        ("A100 PCIe", 80, "NVIDIA A100 80GB PCIe"),
        ("V100", 32, "Tesla V100-SXM2-32GB"),
        ("H100", 93.6, "NVIDIA H100 NVL"),
        ("A100-80GB", 40, "NVIDIA A100-SXM4-80GB"),  # a name that says which outweighs the memory
    ],
)
def test_memory_tells_cards_of_one_name_apart(name: str, memory_gib: float, found: str) -> None:
    facts = find_gpu(name, memory_gib)
    assert facts is not None
    assert facts.name == found


def test_names_lead_to_one_card_of_each_size() -> None:
    entries = [gpus._read(file) for file in gpus._files().values()]
    for _, names in entries:
        for name in names:
            same = [facts.memory_gib for facts, others in entries if name in others]
            assert len(same) == len(set(same)), name


# --- boxes that ship ---


def test_the_boxes_that_ship() -> None:
    assert set(box_names()) == SHIPPED
    for name in SHIPPED - {"cpu", "slurm-2xcpu"}:
        box = load_box(name)
        assert (box.name, box.total_gpus) == (name, box.gpus * box.nodes)
        assert box.facts is not None
        assert (box.gpu, box.gpu_memory_gib) == (box.facts.name, box.facts.memory_gib)
        assert box.facts.bf16_tflops > 100
        assert 0.3 < box.price_usd_per_hour / box.total_gpus < 8
        assert box.cores >= box.gpus
        assert box.ram_gib > 0
        assert box.disk_gib > 100
        assert (box.network_gb_s > 0) == (box.nodes > 1)
    with pytest.raises(KeyError):
        load_box("3xh100")


def test_the_box_of_the_learning_plan_is_what_it_was() -> None:
    box = load_box("2xh100")
    assert replace(box, facts=None, price_usd_per_hour=0, disk_gib=0) == Box(
        "2xh100", 2, "NVIDIA H100 80GB HBM3", 79.1, "sm_90", 52, 442.0, disk_gib=0
    )


def test_several_nodes() -> None:
    box = load_box("4x8xh100")
    assert (box.nodes, box.gpus, box.total_gpus, box.network_gb_s) == (4, 8, 32, 400)


def test_a_box_with_a_scheduler_is_the_same_machine() -> None:
    plain, given_out = load_box("4x8xh100"), load_box("slurm-4x8xh100")
    assert given_out.scheduler is not None
    assert given_out.scheduler.type == "slurm"
    assert replace(given_out, name=plain.name, scheduler=None) == plain
    assert plain.accelerators == load_box("sky-8xh100").accelerators == "H100:8"
    assert load_box("1xa100-40").accelerators == "A100:1"
    assert load_box("cpu").accelerators == ""


def test_the_box_without_a_gpu_has_its_processor() -> None:
    box = load_box("cpu")
    core = find_gpu("cpu")
    assert (box.gpus, box.gpu, box.gpu_memory_gib, box.compute_capability) == (0, "none", 0, "none")
    assert box.facts is not None
    assert core is not None
    assert box.facts.fp32_tflops == 2 * core.fp32_tflops
    assert box.facts.memory_gb_s == core.memory_gb_s
    assert box.facts.memory_gib == box.ram_gib


def test_one_box_reads_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    gpus._read.cache_clear()
    load_box.cache_clear()
    real = gpus.read_facts
    monkeypatch.setattr(gpus, "read_facts", lambda file: [read.append(file), real(file)][1])
    load_box("2xh100")
    assert [file.name for file in read] == ["h100-sxm.yaml"]


# --- box files of one's own ---


def test_two_lines_are_a_box(tmp_path: Path) -> None:
    box = read_box(written(tmp_path, "gpu: A100-80GB\ngpus: 4\n"))
    facts = find_gpu("A100-80GB")
    assert box == Box("mine", 4, "NVIDIA A100-SXM4-80GB", 79.15, "sm_80", 32, 512.0, facts=facts, assumed=box.assumed)
    assert (box.nodes, box.disk_gib, box.price_usd_per_hour, box.network_gb_s) == (1, 500, 0, 0)
    assert read_box(written(tmp_path, "gpus: 0\n")).cores == 4


def test_a_file_outweighs_the_facts(tmp_path: Path) -> None:
    text = "name: cluster\ngpu: H100\ngpus: 8\nnodes: 2\nnetwork_gb_s: 50\nbf16_tflops: 900\ngpu_memory_gib: 40\n"
    box = read_box(written(tmp_path, text + "nvlink_gb_s: 0\nprice_usd_per_hour: 12.5\ncompute_capability: sm_89\n"))
    assert box.facts is not None
    assert (box.name, box.total_gpus, box.price_usd_per_hour) == ("cluster", 16, 12.5)
    assert (box.facts.bf16_tflops, box.facts.nvlink_gb_s, box.facts.memory_gb_s) == (900, 0, 3352)
    assert (box.gpu_memory_gib, box.facts.memory_gib) == (40, 40)
    assert (box.compute_capability, box.facts.compute_capability) == ("sm_89", "sm_89")


def test_a_gpu_that_nobody_knows(tmp_path: Path) -> None:
    text = (
        "gpu: Acme 9000\ngpus: 1\ngpu_memory_gib: 64\ncompute_capability: sm_89\nbf16_tflops: 200\nmemory_gb_s: 1500\n"
    )
    box = read_box(written(tmp_path, text))
    assert box.facts is not None
    assert (box.gpu, box.facts.generation, box.facts.fp16_tflops) == ("Acme 9000", "ada", 200)
    assert (box.facts.fp8_tflops, box.facts.nvlink_gb_s, box.facts.pcie_gb_s) == (0, 0, 32)


def test_every_rate_can_be_said() -> None:
    assert {"memory_gib", "compute_capability", "name", "generation", *RATES} == {f.name for f in fields(GpuFacts)}
    given = {"gpus": 1, "gpu": "H100", **dict.fromkeys(RATES, 7)}
    box = make_box("x", given)
    assert box.facts is not None
    assert {getattr(box.facts, key) for key in RATES} == {7}


@pytest.mark.parametrize(
    ("text", "place", "message", "advice"),
    [
        ("gpu: H100\n", (1, 1), "the box does not say how many `gpus` it has", "add `gpus: 1`"),
        ("gpus: 2\n", (1, 7), "the box does not say which `gpu` it has", "`gpu: A100-80GB`"),
        ("gpus: two\ngpu: H100\n", (1, 7), "`gpus` must be a whole number", ""),
        ("gpus: 1.5\ngpu: H100\n", (1, 7), "`gpus` must be a whole number", ""),
        ("gpus: true\ngpu: H100\n", (1, 7), "`gpus` must be a whole number", ""),
        ("gpus: -1\ngpu: H100\n", (1, 7), "`gpus` must be at least 0, not -1", ""),
        ("gpus: 1\ngpu: H100\nram_gib: 0\n", (3, 10), "`ram_gib` must be more than 0, not 0", ""),
        ("gpus: 1\ngpu: H100\nram_gib:\n", (3, 1), "`ram_gib` must be a number", ""),
        ("gpus: 1\ngpu: H100\nram_gib: [1]\n", (3, 10), "`ram_gib` must be a number", ""),
        ("gpus: 1\ngpu: 4090\n", (2, 6), "`gpu` must be text", "`gpu: A100-80GB`"),
        ("gpus: 1\ngpu: H100\ncompute_capability: 9.0\n", (3, 21), "`compute_capability` must be text", "sm_90"),
        ("gpus: 1\ngpu: H100\ncompute_capability: '9.0'\n", (3, 21), "`compute_capability` can't be `9.0`", "sm_90"),
        ("gpus: 1\ngpu: H100\ngpu_memory_gb: 80\n", (3, 1), "unknown key `gpu_memory_gb`", "to `gpu_memory_gib`"),
        ("gpus: 1\ngpu: H100\nmemory_gib: 80\n", (3, 1), "unknown key `memory_gib`", "to `gpu_memory_gib`"),
        ("gpus: 1\ngpu: H100\nprice: 80\n", (3, 1), "unknown key `price`", "to `price_usd_per_hour`"),
        ("gpus: 1\ngpu: H100\ncolour: red\n", (3, 1), "unknown key `colour`", "remove `colour`; a box has `name`"),
        ("gpus: 1\ngpu: H1000\n", (2, 6), "there are no facts about the GPU `H1000`", "`bf16_tflops`, `memory_gb_s`"),
        ("gpus: 0\ngpu: H100\n", (2, 1), "a box without GPUs has no `gpu`", "remove it"),
        ("gpus: 1\ngpu: CPU\n", (2, 6), "`cpu` is no GPU", "set `gpus: 0`"),
        ("gpus: 0\nscheduler: slurm\n", (2, 12), "`scheduler` must be a mapping", "{type: slurm}"),
        ("gpus: 0\nscheduler: {partition: a}\n", (2, 12), "`scheduler` does not say its `type`", "`slurm`, `sky`"),
        ("gpus: 0\nscheduler: {type: slurn}\n", (2, 19), "unknown scheduler `slurn`", "`slurm`"),
        (
            "gpus: 0\nscheduler: {type: slurm, time: 5}\n",
            (2, 26),
            "unknown key `time`",
            "to `time_limit`",
        ),
        ("gpus: 0\nscheduler: {type: slurm, gpus: 5}\n", (2, 26), "unknown key `gpus`", "are the box's own"),
        ("gpus: 0\nscheduler: {type: slurm, exclusive: 1}\n", (2, 37), "`exclusive` must be true or false", ""),
        ("gpus: 0\nscheduler: {type: slurm, qos: a b}\n", (2, 31), "`qos` must be one word", "without blanks"),
        ("gpus: 0\nscheduler: {type: slurm, time_limit: 1h}\n", (2, 38), "`time_limit` can't be `1h`", "24:00:00"),
        ("gpus: 0\nscheduler: {type: slurm, env: {A-B: x}}\n", (2, 32), "`A-B` is no name of a variable", "NCCL"),
        ("gpus: 0\nscheduler: {type: sky, bucket: mine}\n", (2, 32), "`bucket` can't be `mine`", "s3://my-bucket"),
        ("gpus: 1\ngpu: H100\nnodes: 2\n", (3, 8), "a box of 2 nodes needs the speed of its network", "network_gb_s"),
    ],
)
def test_what_is_wrong_with_a_box(tmp_path: Path, text: str, place: tuple[int, int], message: str, advice: str) -> None:
    (found,) = refused(tmp_path, text)
    assert (found.code, found.message, found.span.line, found.span.column) == ("R018", message, *place)
    assert advice in found.help


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    found = refused(tmp_path, "gpus: 1\ngpu: H1000\nnodes: 2\nram_gb: 5\ncores: 0\n")
    assert [d.span.line for d in found] == [4, 5, 3, 2]
    assert (found[0].label, found[3].label) == ("did you mean `ram_gib`?", "did you mean `h100`?")
    with pytest.raises(BoxError, match="unknown key `a`; the box does not say"):
        make_box("x", {"a": 1})


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("", "R003", "the file is empty"),
        ("- a\n", "R003", "a box file is a mapping of keys to values, this is a list"),
        ("gpus: [\n", "R002", "not valid YAML"),
        ("gpus: 1\ngpus: 2\n", "R005", "key `gpus` is given twice"),
    ],
)
def test_what_is_not_yaml(tmp_path: Path, text: str, code: str, message: str) -> None:
    found = refused(tmp_path, text)[0]
    assert found.code == code
    assert message in found.message
    assert "recipe" not in found.message + found.help


def test_a_box_is_found_by_name_or_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "boxes").mkdir()
    mine = written(tmp_path / "boxes", "gpus: 1\ngpu: L4\n")
    assert find_box("2xh100", tmp_path) == load_box("2xh100")
    assert find_box("mine", tmp_path).gpu == "NVIDIA L4"
    assert find_box("boxes/mine.yaml", tmp_path) == find_box(str(mine), tmp_path) == find_box("mine", tmp_path)
    monkeypatch.chdir(tmp_path / "boxes")
    assert find_box("./mine.yaml", Path("/nowhere")).name == "mine"
    for given, code, word in (("2xh1000", "R012", "did you mean `2xh100`?"), ("no/where.yaml", "R001", "")):
        with pytest.raises(Refused) as caught:
            find_box(given, tmp_path)
        (found,) = caught.value.diagnostics
        assert (found.code, found.label) == (code, word)
        assert "recipe" not in found.message


# --- this machine's ---


def test_this_machine_reads_back(tmp_path: Path) -> None:
    box = read_box(written(tmp_path, box_text(HERE)))
    facts = find_gpu("H100")
    assert box == Box("mine", 2, "NVIDIA H100 80GB HBM3", 79.1, "sm_90", 52, 441.9, disk_gib=2000.0, facts=facts)
    assert [d.code for d in check_box(HERE, box)] == []
    assert unknown_gpu(HERE) is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"nvlink": 0}, {"nvlink_gb_s": 0, "memory_gib": 79.1}),
        ({"gpus": HERE.gpus[:1], "nvlink": 0}, {"nvlink_gb_s": 450}),
        ({"gpus": (Gpu("NVIDIA RTX A6000", 47.99, 47, "sm_86"),) * 2, "nvlink": 4}, {"nvlink_gb_s": 56}),
        ({"gpus": (Gpu("NVIDIA A100 80GB PCIe", 80.0, 79, "sm_80"),) * 2, "nvlink": 12}, {"nvlink_gb_s": 300}),
        ({"gpus": (Gpu("NVIDIA A100-SXM4-40GB", 20.0, 20, "sm_80"),)}, {"memory_gib": 19.6}),  # a slice of it
        ({"gpus": (HERE.gpus[0], Gpu("NVIDIA L4", 22.49, 22, "sm_89"))}, {"name": "NVIDIA L4"}),
        ({"gpus": (Gpu("NVIDIA L4", 0.0, 0.0, ""),)}, {"memory_gib": 22.0, "compute_capability": "sm_89"}),
        ({"gpus": ()}, {"name": "cpu", "memory_gib": 441.9}),
    ],
)
def test_other_machines_read_back(tmp_path: Path, change: dict[str, object], expected: dict[str, object]) -> None:
    machine = replace(HERE, **change)  # type: ignore[arg-type]
    box = read_box(written(tmp_path, box_text(machine)))
    assert box.gpus == len(machine.gpus)
    assert {key: getattr(box.facts, key) for key in expected} == expected


def test_a_machine_with_a_gpu_that_nobody_knows(tmp_path: Path) -> None:
    machine = replace(HERE, gpus=(Gpu("NVIDIA GB10: #1", 0.0, 0.0, "sm_121"),))
    text = box_text(machine)
    assert unknown_gpu(machine) == "NVIDIA GB10: #1"
    assert {d.message for d in refused(tmp_path, text)} == {
        "`bf16_tflops` must be a number",
        "`memory_gb_s` must be a number",
    }
    text = text.replace("bf16_tflops: ", "bf16_tflops: 100 ").replace("memory_gb_s: ", "memory_gb_s: 270 ")
    box = read_box(written(tmp_path, text))
    assert (box.gpu, box.gpu_memory_gib) == ("NVIDIA GB10: #1", 441.9)
    assert set(KEYS) >= {line.partition(":")[0] for line in text.splitlines()[1:]}


def test_a_plan_goes_on_without_what_a_box_file_need_not_say(bench: Bench) -> None:
    bench.write("r", HEADER + BODY)
    (bench.project.root / "odd.yaml").write_text("gpu: L40\ngpus: 8\nnodes: 2\nvendor: nvidia\n")
    done = bench.call("plan", "r", "--box", "odd.yaml")
    assert "odd.yaml:4:1: warning[R018]: unknown key `vendor`" in done.stderr
    assert "needs the speed of its network" in done.stderr
    assert done.stdout.startswith("fits: ")
    box = make_box("odd", {"gpu": "L40", "gpus": 8, "nodes": 2, "vendor": "x"}, lenient=True)
    assert box.network_gb_s == 8 * 50
    assert box.assumed == {"cores", "ram_gib", "disk_gib"}


def test_what_a_box_file_leaves_out_decides_nothing(bench: Bench) -> None:
    """Nobody said that the machine has 128 GiB of RAM for each GPU: too little of what is assumed is no verdict."""
    keys = "deepspeed: zero3_offload_all\nbf16: true\ngradient_checkpointing: true\n"
    bench.write("r", HEADER + BODY.replace("Llama-2-13b", "Llama-2-70b") + keys)
    for more, fits in (("", "yes"), ("ram_gib: 128\n", "no")):
        (bench.project.root / "own.yaml").write_text(f"gpu: H100\ngpus: 1\n{more}")
        done = json.loads(bench.call("plan", "r", "--box", "own.yaml", "--json").stdout)
        assert done["fits"] == fits
        assert done["host"]["ram_gib"] > 128
