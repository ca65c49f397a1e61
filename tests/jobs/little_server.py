"""A server as small as can be, for tests of how servers are supervised; it speaks as much HTTP as that takes.

`python little_server.py PORT [--start S] [--answer S] [--dies-on-request] [--dies-after S] [--ignores-term]`
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

parser = argparse.ArgumentParser()
parser.add_argument("port", type=int)
parser.add_argument("--start", type=float, default=0.0)
parser.add_argument("--answer", type=float, default=0.0)
parser.add_argument("--dies-on-request", action="store_true")
parser.add_argument("--dies-after", type=float)
parser.add_argument("--dies-at-start", action="store_true")
parser.add_argument("--ignores-term", action="store_true")
parser.add_argument("--helper", action="store_true")
parser.add_argument("--tells", help="a variable that it writes to its log at the start and with each answer")
options = parser.parse_args()
served = under_way = 0
if options.tells:
    print("token", os.environ[options.tells], flush=True)
KEY = os.environ.get("VLLM_API_KEY")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path == "/health":
            self.say(200, b"")
        elif self.path == "/metrics":
            text = f'vllm:num_requests_running{{engine="0"}} {under_way}.0\nvllm:generation_tokens_total{{}} {served}\n'
            self.say(200, text.encode())
        elif self.path == "/environ":
            self.say(200, json.dumps(dict(os.environ)).encode())
        elif KEY and self.headers.get("Authorization") != f"Bearer {KEY}":
            self.say(401, b"{}")
        else:
            self.say(200, json.dumps({"data": [{"id": "little"}]}).encode())

    def do_POST(self) -> None:
        global served, under_way
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if options.dies_on_request:
            print("(EngineCore pid=1) RuntimeError: no kernel image is available", flush=True)
            os._exit(3)
        under_way += 1
        if body.get("max_tokens") != 1:
            time.sleep(options.answer)
        served += 1
        under_way -= 1
        self.say(200, json.dumps({"choices": [{"text": str(os.getpid())}]}).encode())

    def log_message(self, format: str, *arguments: object) -> None:
        print(format % arguments, flush=True)


def stop(*_: object) -> None:
    def when_idle() -> None:
        while under_way:
            time.sleep(0.02)
        os._exit(0)

    threading.Thread(target=when_idle).start()


if options.dies_at_start:
    print("ValueError: the number of heads must be divisible by 3", flush=True)
    print("RuntimeError: Engine core initialization failed. See root cause above.", flush=True)
    sys.exit(1)
signal.signal(signal.SIGTERM, signal.SIG_IGN if options.ignores_term else stop)
if options.helper:  # in the same session, its environment lost: as vLLM's engine, which writes its title over it
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env={})
    # and one in a session of its own
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
time.sleep(options.start)
if options.dies_after is not None:
    threading.Timer(options.dies_after, lambda: os._exit(7)).start()
ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()
