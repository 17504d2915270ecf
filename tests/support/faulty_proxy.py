"""A real HTTP proxy in front of a real server, that fails as it is told: what a bad network does to good programs."""

import http.client
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Fault:
    """What happens to requests of a method whose path matches: to the first `times` of them, after `skip` others.

    how: `drop` (the server never hears of it), `lose` (done, but no answer comes), `stall` (done, and the answer comes
    too late), a status number (the server never hears of it), `500 after` (done, then that status), or a function from
    the answer's body to another one.
    """

    method: str
    path: str
    how: "str | int | Callable[[bytes], bytes]"
    times: int = 1
    skip: int = 0
    hits: int = field(default=0, init=False)

    def strikes(self, method: str, path: str) -> bool:
        if method != self.method or not re.search(self.path, path):
            return False
        self.hits += 1
        return self.skip < self.hits <= self.skip + self.times


@dataclass
class Proxy:
    url: str
    faults: list[Fault]
    requests: list[tuple[str, str]]

    def expect(self, *faults: Fault) -> None:
        self.faults[:] = faults

    @property
    def struck(self) -> bool:
        return all(fault.hits > fault.skip for fault in self.faults)


@contextmanager
def proxy(upstream: str, stall_s: float = 3.0) -> Iterator[Proxy]:
    target = urlsplit(upstream)
    state = Proxy("", [], [])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def handle_one_request(self):
            try:
                super().handle_one_request()
            except (ConnectionError, TimeoutError):
                self.close_connection = True

        def _serve(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            state.requests.append((self.command, self.path))
            how = next((f.how for f in state.faults if f.strikes(self.command, self.path)), None)
            if how == "drop":
                return self._cut()
            if isinstance(how, int):
                return self._answer(how, [("Content-Type", "application/json")], b'{"detail": "injected"}')
            status, headers, answer = self._forward(body)
            if how == "lose":
                return self._cut()
            if how == "stall":
                time.sleep(stall_s)
            if callable(how):
                answer = how(answer)
            if how == "500 after":
                status = 500
            return self._answer(status, headers, answer)

        def _forward(self, body):
            connection = http.client.HTTPConnection(target.hostname, target.port, timeout=120)
            headers = {
                k: v for k, v in self.headers.items() if k.lower() not in ("host", "accept-encoding", "connection")
            }
            connection.request(self.command, self.path, body, {**headers, "Host": target.netloc})
            response = connection.getresponse()
            answer = response.read()
            connection.close()
            return response.status, response.getheaders(), answer

        def _cut(self):
            self.close_connection = True
            self.connection.close()

        def _answer(self, status, headers, body):
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in ("transfer-encoding", "content-length", "connection", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve  # noqa: N815 - http.server's names

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_):
            pass

    server = Server(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
