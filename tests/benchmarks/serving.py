"""What our proxy and supervision cost: `python -m tests.benchmarks.serving [ROUNDS]`.

Bare `vllm serve` beside `runner serve` of the same tiny model, with a key and so behind HAProxy, asked alternately by
the same client; throughput is to lose under 2%. Time to ready is to grow by less than 1 s; it is of servers that start
one after the other. Servers take both of two cores, so that their threads are bound to no core.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.engine.serving import MODEL, Server, free, make_server, three_ports, vllm_environment

ROUNDS = 10
KEY = "a-key-of-this-benchmark"
CLIENT = """\
import asyncio, os, sys, time
from openai import AsyncOpenAI
url, model, requests, at_once = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
client = AsyncOpenAI(base_url=url + "/v1", api_key=os.environ["ENDPOINT_KEY"], max_retries=0)
async def main():
    numbers = iter(range(requests))
    async def work():
        for i in numbers:
            await client.completions.create(
                model=model, prompt=f"number {i}", max_tokens=64, temperature=0, extra_body={"ignore_eos": True})
    await work() if at_once == 1 else await asyncio.gather(*(work() for _ in range(at_once)))
    began = time.perf_counter()
    numbers = iter(range(requests))
    await asyncio.gather(*(work() for _ in range(at_once)))
    print(requests * 64 / (time.perf_counter() - began))
asyncio.run(main())
"""


def throughput(server: Server, port: int, requests: int = 96, at_once: int = 16) -> float:
    """Tokens per second, the first pass (warming) not counted."""
    done = subprocess.run(
        [str(server.vllm.python), "-c", CLIENT, f"http://127.0.0.1:{port}", MODEL, str(requests), str(at_once)],
        env={**os.environ, "ENDPOINT_KEY": KEY},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def answers(port: int) -> bool:
    body = json.dumps({"model": MODEL, "prompt": "Hello", "max_tokens": 1}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/completions", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def start_bare(spec: dict[str, Any], server: Server, port: int, folder: Path) -> tuple[subprocess.Popen[bytes], float]:
    """The replica's own command line and environment, and nothing of ours; seconds until it answers with a token."""
    argv = list(spec["replicas"][0]["argv"])
    argv[argv.index("--port") + 1] = str(port)
    jobs = Path(__file__).resolve().parents[2] / "runner" / "jobs"
    env = {**os.environ, **spec["replicas"][0]["environment"], "VLLM_API_KEY": KEY, "PYTHONPATH": str(jobs)}
    env["PATH"] = f"{server.vllm.path}/bin:{env['PATH']}"
    began = time.perf_counter()
    process = subprocess.Popen(argv, cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not answers(port):
        assert process.poll() is None, "vLLM ended"
        time.sleep(0.02)
    return process, time.perf_counter() - began


def start_ours(server: Server) -> tuple[float, float]:
    """Seconds of `runner serve --detach` as a whole, and from the first server's start until it was ready."""
    began = time.perf_counter()
    started = server.start("--set", f"api_key_file={server.project.root}/key", "--detach")
    said, _ = started.communicate()
    assert started.returncode == 0, said
    return time.perf_counter() - began, float(server.state["ready_after_s"])


def spec_of(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(spec_file(server).read_text())
    return found


def spec_file(server: Server) -> Path:
    return max(server.project.artifacts.rglob("endpoint.json"))


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # stops the servers on the way out
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "project"
        root.mkdir()
        server = make_server(root, vllm_environment())
        key = root / "key"
        key.touch(mode=0o600)
        key.write_text(KEY)
        start_ours(server)  # builds the tiny model, and warms the disk
        server.call("stop", MODEL)
        bare, process = [], None
        ours = []
        for i in range(2):
            if process is not None:
                process.terminate()
                process.wait()
            process, seconds = start_bare(spec_of(server), server, port := three_ports(), root)
            bare.append(seconds)
            if i == 0:
                process.terminate()
                process.wait()
                ours.append(start_ours(server))
                server.call("stop", MODEL)
        process.terminate()
        process.wait()
        ours.append(start_ours(server))
        process, _ = start_bare(spec_of(server), server, port, root)
        report_ready(bare, ours)
        try:
            report_throughput(server, port, rounds)
        finally:
            process.terminate()
            process.wait()
            server.call("stop", MODEL)
            assert free(port)


def report_ready(bare: list[float], ours: list[tuple[float, float]]) -> None:
    whole, inside = [w for w, _ in ours], [i for _, i in ours]
    print(f"ready, bare vLLM     {statistics.mean(bare):6.2f} s  {[round(b, 2) for b in bare]}")
    print(f"ready, runner serve  {statistics.mean(whole):6.2f} s  {[round(w, 2) for w in whole]}")
    print(f"  of it the servers  {statistics.mean(inside):6.2f} s  {[round(i, 2) for i in inside]}")


def cpu_seconds(server: Server) -> dict[str, float]:
    """What the supervisor, the proxy and vLLM have used so far: told apart by session, and not changed by what else the
    machine does."""
    supervisor = int(server.state["pid"])
    engines = {int(replica["pid"]) for replica in server.state["replicas"]}
    found, folder = {"supervisor": 0.0, "proxy": 0.0, "engine": 0.0}, spec_file(server).parent
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
            proxy = b"haproxy" in (entry / "cmdline").read_bytes() and (entry / "cwd").readlink() == folder
        except OSError:
            continue
        if int(stat[3]) in engines or proxy or int(entry.name) == supervisor:
            name = "proxy" if proxy else "supervisor" if int(entry.name) == supervisor else "engine"
            found[name] += (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
    return found


def report_throughput(server: Server, port: int, rounds: int) -> None:
    pairs, before = [], cpu_seconds(server)
    for i in range(rounds):
        order = (port, server.port) if i % 2 == 0 else (server.port, port)
        found = {at: throughput(server, at) for at in order}
        pairs.append((found[port], found[server.port]))
    spent = {name: now - before[name] for name, now in cpu_seconds(server).items()}
    lost = [100 * (1 - ours / bare) for bare, ours in pairs]
    print(f"tokens/s, bare       {statistics.median(b for b, _ in pairs):8.1f}  {[round(b) for b, _ in pairs]}")
    print(f"tokens/s, ours       {statistics.median(o for _, o in pairs):8.1f}  {[round(o) for _, o in pairs]}")
    spread = statistics.stdev(lost) / len(lost) ** 0.5 if len(lost) > 1 else 0.0
    print(f"lost                 {statistics.mean(lost):8.2f} %  +- {spread:.2f} (standard error)")
    print(f"  median             {statistics.median(lost):8.2f} %")
    ours, engine = spent["supervisor"] + spent["proxy"], spent["engine"]
    print(
        f"CPU, ours / vLLM's   {100 * ours / engine:8.2f} %  { ({name: round(s, 2) for name, s in spent.items()}) } s"
    )


if __name__ == "__main__":
    main()
