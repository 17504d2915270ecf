"""The server behind the page: on loopback only, for GET only, and for no page but its own.

Any web page may send requests to 127.0.0.1, or have a name of its own resolve there (DNS rebinding). So a request must
name a loopback host, must not come from another site, and no answer may be read, framed or kept by anyone else.
"""

import json
import socketserver
import sys
import webbrowser
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

import pyarrow as pa

from mmtt.errors import MmttError, UserError
from mmtt.html import STYLE
from mmtt.record import MASTER

from .catalog import Catalog, NotThere

LOOPBACK = "127.0.0.1"
IDLE_S = 60
_HOSTS = (LOOPBACK, "localhost", "::1")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
_JSON = "application/json"
_SCRIPTS = ("view.js", "base.js", "find.js", "record.js", "panes.js")
_FILES = {
    "/": ("view.html", "text/html"),
    "/view.css": ("view.css", "text/css"),
    **{f"/{name}": (name, "text/javascript") for name in _SCRIPTS},
}
# A picture is sent as what its first bytes say it is; whatever else a stranger stored there, as bytes.
_KINDS = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"BM": "image/bmp"}


def serve(root: Path, port: int, tell: Callable[[str], Any], *, browse: bool = False) -> None:
    """Serve the page about a dataset until Ctrl-C.

    Raises:
        UserError: no dataset, or the port is taken.
    """
    catalog = Catalog(root)
    with make_server(catalog, port) as server:
        address = f"http://{LOOPBACK}:{server.server_port}/"
        tell(f"{len(catalog.rows):,} rows of {root}: {address} (Ctrl-C ends it)")
        if browse:
            webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            tell("\nmmtt view has ended.")


class Server(ThreadingHTTPServer):
    """A thread for each connection; none of them outlives the process."""

    request_queue_size = 32

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over that a browser went away in the middle of an answer, as they do on every turn of a page."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def server_bind(self) -> None:
        """Bind without asking a name server who 127.0.0.1 is."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, self.server_address[1]


def make_server(catalog: Catalog, port: int) -> Server:
    """Return a server about a catalog that listens on loopback; port 0 takes a free one.

    Raises:
        UserError: the port is taken.
    """
    try:
        return Server((LOOPBACK, port), type("Handler", (_Handler,), {"catalog": catalog}))
    except OSError as error:
        raise UserError(f"Port {port} cannot be used ({error}). Name another one with --port; 0 takes any.") from error


class _Handler(BaseHTTPRequestHandler):
    catalog: ClassVar[Catalog]
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S

    def do_GET(self) -> None:
        """Answer one request."""
        try:
            parts = urlsplit(self.path)
            asked = dict(parse_qsl(parts.query, max_num_fields=32))
        except ValueError as error:
            return self._tell(HTTPStatus.BAD_REQUEST, f"This is no question: {error}.")
        if refusal := self._refusal(parts.path):
            return self._tell(HTTPStatus.FORBIDDEN, refusal)
        try:
            self._route(parts.path, asked)
        except NotThere:
            self._tell(HTTPStatus.NOT_FOUND, "There is no such thing here.")
        except UserError as error:
            self._tell(HTTPStatus.BAD_REQUEST, str(error))
        except (ConnectionError, TimeoutError):
            raise  # nobody is there to be told
        except (MmttError, pa.ArrowException, OSError) as error:
            self._tell(HTTPStatus.INTERNAL_SERVER_ERROR, f"The shards cannot be read: {error}")

    def _refusal(self, path: str) -> str:
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or not _is_loopback(hosts[0]):
            return "This server answers on 127.0.0.1 and localhost only."
        if path not in _FILES and self.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            return "This server answers to its own page only."
        body = self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers
        return "A question has no body here." if body or not self.path.startswith("/") else ""

    def _route(self, path: str, asked: dict[str, str]) -> None:
        if path in _FILES:
            name, kind = _FILES[path]
            return self._answer(HTTPStatus.OK, _file(name), f"{kind}; charset=utf-8")
        if path == "/api/facets":
            return self._json(self.catalog.facets())
        if path == "/api/records":
            return self._json(self.catalog.page(asked))
        variant = asked.get("variant", MASTER)
        match [unquote(part) for part in path.split("/")]:
            case ["", "api", "record", record_id]:
                return self._json(self.catalog.record(record_id, variant))
            case ["", "picture", record_id, column]:
                data = self.catalog.picture(record_id, variant, column)
                return self._answer(HTTPStatus.OK, data, _kind(data))
        raise NotThere

    def _json(self, value: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._answer(status, json.dumps(value, allow_nan=False).encode(), _JSON)

    def _tell(self, status: HTTPStatus, why: str) -> None:
        self.close_connection = True
        self._json({"error": why}, status)

    def _answer(self, status: HTTPStatus, data: bytes, kind: str) -> None:
        self.request_version = self.protocol_version  # else what was no HTTP/1 would get no headers
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what the standard library refuses, every method but GET among it, in our own way."""
        self.command = getattr(self, "command", None) or ""
        refused = code == HTTPStatus.NOT_IMPLEMENTED
        self._tell(HTTPStatus.METHOD_NOT_ALLOWED if refused else HTTPStatus(code), message or "")

    def version_string(self) -> str:
        """Name the program, not its versions."""
        return "mmtt"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
        """Keep quiet: a line for every picture helps nobody."""


def _is_loopback(host: str) -> bool:
    """Whether a Host header names this machine; on any port, because an SSH tunnel may have another one."""
    try:
        return urlsplit(f"//{host}").hostname in _HOSTS and "@" not in host
    except ValueError:
        return False


@cache
def _file(name: str) -> bytes:
    text = (resources.files(__package__) / name).read_text(encoding="utf-8")
    return (STYLE + text if name.endswith(".css") else text).encode()


def _kind(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _KINDS.items() if data.startswith(start)), "application/octet-stream")
