"""`python -m endpoint endpoint.json -- COMMAND ...`: starts the servers, runs the command when they answer, stops them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

STATE = Path("endpoint-state.json")
# not short: vLLM 0.32's attention uses a processor's AMX tiles, which the kernel allows only after oneDNN asked for them,
# and that does so for products of many rows (illegal instruction otherwise)
PROBE = "one two three four five six seven eight nine ten " * 4


def state(**values: Any) -> None:
    part = STATE.with_suffix(".part")
    part.write_text(json.dumps({"pid": os.getpid(), **values}))
    part.replace(STATE)


def answers(spec: dict[str, Any], port: int) -> bool:
    """Healthy, and one token generated."""
    base = f"http://127.0.0.1:{port}"
    body = json.dumps({"model": spec["model"], "prompt": PROBE, "max_tokens": 1}).encode()
    request = urllib.request.Request(f"{base}/v1/completions", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(base + spec["health"], timeout=5):
            pass
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status == 200
    except OSError:
        return False


def main() -> int:
    file, _, *command = sys.argv[1:]
    spec = json.loads(Path(file).read_text())
    processes: list[subprocess.Popen[bytes]] = []

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        for replica in spec["replicas"]:
            log = Path(f"{replica['name']}.log").open("ab")
            env = {**os.environ, **replica["environment"]}
            processes.append(subprocess.Popen(replica["argv"], env=env, stdout=log, stderr=log, start_new_session=True))
        began = time.monotonic()
        while not all(answers(spec, r["port"]) for r in spec["replicas"]):
            if any(p.poll() is not None for p in processes) or time.monotonic() - began > spec["ready_timeout_s"]:
                state(status="failed", error=f"{spec['replicas'][0]['name']} did not start; see its log")
                return 1
            time.sleep(0.5)
        url = f"http://{spec['host']}:{spec['port']}"
        state(status="ready", url=url, model=spec["model"], ready_after_s=round(time.monotonic() - began, 1))
        child = subprocess.Popen(command, env={**os.environ, "ENDPOINT_URL": url, "ENDPOINT_MODEL": spec["model"]})
        try:
            return child.wait()
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()
    except KeyboardInterrupt:
        return 130
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(spec["drain_s"] + 10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
