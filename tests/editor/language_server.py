"""The real yaml-language-server from npm, spoken to as an editor does: JSON-RPC over its standard input and output."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

from runner.project import cache_dir

VERSION = "2.0.0"
PATIENCE_S = 60.0
SETTINGS = {
    "yaml": {
        "validate": True, "hover": True, "completion": True, "maxItemsComputed": 20000,
        "schemaStore": {"enable": False}, "format": {"enable": False},
    }
}  # fmt: skip


def install() -> list[str] | str:
    """The command that starts it, installed once into the cache; else why it can't be had."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None:
        return "there is no node"
    folder = cache_dir() / "tools" / f"yaml-language-server-{VERSION}"
    server = folder / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server"
    if not server.exists():
        if npm is None:
            return "there is no npm to install yaml-language-server with"
        wanted = [
            "npm",
            "install",
            "--no-audit",
            "--no-fund",
            "--prefix",
            str(folder),
            f"yaml-language-server@{VERSION}",
        ]
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(wanted, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0 or not server.exists():
            return "npm can't install yaml-language-server: " + (done.stderr.strip().splitlines() or ["no word"])[-1]
    return [node, str(server), "--stdio"]


class Editor:
    """One session; `open` takes text as it would stand in a file, saved or not."""

    def __init__(self, command: list[str], root: Path) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self.told: dict[str, list[dict[str, Any]]] = {}
        self.heard = threading.Condition()
        self.number = 0
        threading.Thread(target=self._listen, daemon=True).start()
        uri = root.as_uri()
        capabilities = {
            "textDocument": {
                "completion": {"completionItem": {"snippetSupport": False, "documentationFormat": ["markdown"]}},
                "hover": {"contentFormat": ["markdown"]},
                "publishDiagnostics": {},
            },
            "workspace": {"configuration": True, "didChangeConfiguration": {"dynamicRegistration": True}},
        }
        folders = [{"uri": uri, "name": "project"}]
        self.ask("initialize", processId=None, rootUri=uri, capabilities=capabilities, workspaceFolders=folders)
        self.tell("initialized")
        self.tell("workspace/didChangeConfiguration", settings=SETTINGS)

    def open(self, file: Path, text: str) -> None:
        document = {"uri": file.as_uri(), "languageId": "yaml", "version": 1, "text": text}
        self.tell("textDocument/didOpen", textDocument=document)

    def close(self, file: Path) -> None:
        self.tell("textDocument/didClose", textDocument={"uri": file.as_uri()})

    def keys_at(self, file: Path, line: int, column: int) -> dict[str, str]:
        """What is offered at a place: label -> its documentation."""
        position = {"line": line, "character": column}
        found = self.ask("textDocument/completion", textDocument={"uri": file.as_uri()}, position=position)
        items = found["items"] if isinstance(found, dict) else found or []
        return {item["label"]: _text(item.get("documentation")) for item in items}

    def hover(self, file: Path, line: int, column: int) -> str:
        position = {"line": line, "character": column}
        found = self.ask("textDocument/hover", textDocument={"uri": file.as_uri()}, position=position)
        return _text((found or {}).get("contents"))

    def diagnostics(self, file: Path) -> list[tuple[int, str]]:
        """Line, counted from 0, and message of each."""
        with self.heard:
            if not self.heard.wait_for(lambda: file.as_uri() in self.told, PATIENCE_S):
                raise TimeoutError(f"no diagnostics of {file.name}")
            return [(d["range"]["start"]["line"], d["message"]) for d in self.told[file.as_uri()]]

    def ask(self, method: str, **parameters: Any) -> Any:
        self.number += 1
        self._send({"id": self.number, "method": method, "params": parameters})
        while (answer := self.answers.get(timeout=PATIENCE_S))["id"] != self.number:
            continue
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer.get("result")

    def tell(self, method: str, **parameters: Any) -> None:
        self._send({"method": method, "params": parameters})

    def end(self) -> None:
        self.process.kill()
        self.process.wait()

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def _listen(self) -> None:
        out = self.process.stdout
        assert out is not None
        while header := out.readline():
            length = int(header.split(b":")[1])
            while out.readline().strip():
                pass
            body = out.read(length)
            if len(body) < length:
                return  # it was ended
            self._take(json.loads(body))

    def _take(self, message: dict[str, Any]) -> None:
        if "method" not in message:
            self.answers.put(message)
        elif message["method"] == "textDocument/publishDiagnostics":
            with self.heard:
                self.told[message["params"]["uri"]] = message["params"]["diagnostics"]
                self.heard.notify_all()
        elif "id" in message:  # it asks us: for its settings, or to take note of what it can do
            items = message["params"].get("items", []) if message["method"] == "workspace/configuration" else None
            result = None if items is None else [SETTINGS.get(item.get("section"), {}) for item in items]
            self._send({"id": message["id"], "result": result})


def _text(given: Any) -> str:
    return str(given.get("value", "")) if isinstance(given, dict) else str(given or "")
