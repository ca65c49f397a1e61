"""The page served while runs go on: on loopback alone, to this machine's own browsers, built anew when runs changed."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from runner.diagnostics import Diagnostic, Span
from runner.project import Project
from runner.recipe.load import Refused
from runner.record import LOG, METRICS
from runner.report.history import history
from runner.report.page.contents import contents
from runner.report.page.html import html

HOST = "127.0.0.1"
# by these a browser of this machine asks; a page elsewhere whose name was made to lead here asks by its own
NAMES = ("127.0.0.1", "localhost")
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


class Pages:
    """The newest page, built at most once for each state of the runs; requests wait for the one who builds."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._lock = threading.Lock()
        self._built: tuple[str, str] | None = None

    def version(self) -> str:
        """A hash of what the page depends on: every run's summary, and how far those that go on have written."""
        with self._lock:
            return self._version()

    def page(self) -> str:
        with self._lock:
            version = self._version()
            if self._built is None or self._built[0] != version:
                self._built = (version, html(contents(self._project), live=True))
            return self._built[1]

    def _version(self) -> str:
        digest = hashlib.sha256()
        for each in history(self._project):
            digest.update(repr(each).encode())
            if each.status == "running":
                for name in (METRICS, LOG):
                    file = self._project.artifacts / each.place / name
                    digest.update(str(file.stat().st_size if file.exists() else 0).encode())
        return digest.hexdigest()


@contextmanager
def watching(project: Project, port: int) -> Iterator[tuple[str, ThreadingHTTPServer]]:
    """(address, server); closed at the end. Port 0 takes any that is free. Raises Refused (R473) where it is taken."""
    try:
        server = ThreadingHTTPServer((HOST, port), _handler(Pages(project)))
    except OSError as error:
        raise Refused(
            Diagnostic(
                "R473",
                f"port {port} can't be listened on: {error.strerror or error}",
                Span("<command line>"),
                help=f"end what has it, or choose another: --port {port + 1 if port < 65535 else 8701}",
            )
        ) from None
    server.daemon_threads = True
    try:
        yield f"http://{HOST}:{server.server_address[1]}/", server
    finally:
        server.server_close()


def _handler(pages: Pages) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_GET(self) -> None:
            if not self._ours():
                self._answer(HTTPStatus.FORBIDDEN, "text/plain", "this page is for the machine that it runs on\n")
            elif self.path in ("/", "/index.html"):
                self._answer(HTTPStatus.OK, "text/html", pages.page())
            elif self.path == "/version":
                self._answer(HTTPStatus.OK, "text/plain", pages.version())
            else:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", "there is only /\n")

        def _ours(self) -> bool:
            name, _, port = self.headers.get("Host", "").partition(":")
            address: Any = self.server.server_address
            return name in NAMES and port == str(address[1])

        def _answer(self, status: HTTPStatus, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            for name, value in {**_HEADERS, "Content-Type": f"{kind}; charset=utf-8"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """A line for each request tells nobody anything."""

    return Handler
