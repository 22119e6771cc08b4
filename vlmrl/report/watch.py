"""The report of a run that is still being written, served to browsers on this machine.

Two addresses are answered and nothing else: `/`, the page, and `/version`, which says whether there is a newer one. No
file is served by its path, so nothing outside the page can be asked for. Requests that name another host are refused,
so that a web site cannot reach the server by a name of its own that points here (DNS rebinding).
"""

import hashlib
import time
from collections.abc import Callable
from contextlib import closing
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

from vlmrl.errors import UserError
from vlmrl.report.charts import ChartStudio
from vlmrl.report.document import document
from vlmrl.report.illustration import Illustrator
from vlmrl.report.markup import element
from vlmrl.report.page import run_page
from vlmrl.report.pictures import PictureLibrary
from vlmrl.report.run_folder import RunFolder
from vlmrl.report.sampling import Limits

HOST = "127.0.0.1"
POLL_SECONDS = 2.0
"""Between two looks at the run folder."""
RESTS = 9
"""A new page is made no sooner than so many times the seconds that the last one took: one core is a tenth busy."""
LIMITS = Limits(steps=20, rows=20, charts=100, groups_bytes=4_000_000, rows_bytes=2_000_000)
"""Less than a report shows, since the page is made and loaded again and again."""
MOST_PICTURES = 2000
"""Thumbnails that are kept from page to page."""


class LivePage:
    """The newest page of a run folder. It is made in one thread, by `refresh`, and read in others."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.content = b""
        self.version = ""
        self._library = PictureLibrary()
        self._studio = ChartStudio(self._library)
        self._next = 0.0

    def close(self) -> None:
        """Ends the sandbox that charts are drawn in."""
        self._studio.close()

    def refresh(self) -> None:
        """Makes a new page if the run has changed since the last one."""
        now, version = time.monotonic(), _version(self.run)
        if version == self.version or now < self._next:
            return
        if len(self._library) > MOST_PICTURES:
            self.close()
            self._library = PictureLibrary()
            self._studio = ChartStudio(self._library)
        try:
            folder = RunFolder(self.run)
            page = run_page(folder, Illustrator(folder, self._library, self._studio), LIMITS, version)
        except (UserError, OSError) as error:  # deleted, or not there yet: the next look may find it again
            page = _waiting(self.run, error, version)
        self.content, self.version = page.encode(), version
        self._next = now + RESTS * (time.monotonic() - now)


def serve(run: Path, port: int, ready: Callable[[str], None], stop: Event) -> None:
    """Serves the page of `run` until `stop` is set; `ready` gets its address. Port 0 takes a free one.

    Raises UserError if the port is taken.
    """
    with closing(LivePage(run)) as page:
        page.refresh()
        try:
            server = _Server(page, port)
        except (OSError, OverflowError) as error:
            raise UserError(f"port {port} cannot be used ({error}); choose another with --port N") from error
        with server:
            Thread(target=server.serve_forever, daemon=True).start()
            ready(f"http://{HOST}:{server.server_port}/")
            # The page is made here and not in a request's thread: the sandbox's workers end with the thread that
            # started them.
            try:
                while not stop.wait(POLL_SECONDS):
                    page.refresh()
            finally:
                server.shutdown()


class _Server(ThreadingHTTPServer):
    def __init__(self, page: LivePage, port: int) -> None:
        super().__init__((HOST, port), _Handler)
        self.page = page
        self.names = {f"{HOST}:{self.server_port}", f"localhost:{self.server_port}"}


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        if self.headers.get("Host") not in self.server.names:
            self._answer(HTTPStatus.FORBIDDEN, "text/plain", b"this server answers to its own address only\n")
        elif self.path == "/":
            self._answer(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page.content)
        elif self.path == "/version":
            self._answer(HTTPStatus.OK, "text/plain", self.server.page.version.encode())
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"nothing here\n")

    def _answer(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not worth a line in the terminal."""


def _version(run: Path) -> str:
    """Another one whenever a page about the run may be another one."""
    state = []
    for name in ("metrics.jsonl", "timings.jsonl", "config.yaml", "summary.json", "rollouts", "evals"):
        try:
            found = (run / name).stat()
        except OSError:
            continue
        state.append((name, found.st_mtime_ns, found.st_size))
    return hashlib.sha256(repr(state).encode()).hexdigest()[:16]


def _waiting(run: Path, error: Exception, version: str) -> str:
    return document(
        f"{run.resolve().name} · vlmrl",
        element(
            "header",
            element("p", "vlmrl run report", class_="eyebrow"),
            element("h1", run.resolve().name),
            element("p", f"There is no run to show: {error}. Waiting for one.", class_="notice"),
            class_="hero",
        ),
        version=version,
    )
