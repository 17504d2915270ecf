"""A loopback Hub: speaks the calls of the Hugging Face Hub that publishing, reading and purging need, over real HTTP.

Written from what `huggingface_hub` 2.4 sends and reads. What the Hub does beyond that (Xet, scans, the viewer's own
branch) is not here. It fails as it is told (`hub.expect(Fault(...))`).
"""

import json
import re
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.faulty_proxy import Fault
from tests.support.hub_calls import ROUTES, now
from tests.support.hub_store import Account, Refusal, Repo

CURATOR, READER, STRANGER = "hf_curatorsWriteToken", "hf_curatorsReadToken", "hf_strangersWriteToken"


@contextmanager
def hub(folder: Path) -> Iterator["Hub"]:
    """Run a Hub that keeps its files in a folder; `CURATOR` may write to `curator/…` and `lab/…`."""
    people = {CURATOR: Account("curator", namespaces=("lab",)), STRANGER: Account("stranger")}
    state = Hub(folder, {**people, READER: people[CURATOR].reading()})
    server = _Server(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": state}))
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Hub:
    """faults: `how` is a status, `drop` (no answer), `die` (the line breaks in the middle of an upload) or `slow`."""

    folder: Path
    accounts: dict[str, Account]
    url: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def expect(self, *faults: Fault) -> None:
        self.faults[:] = faults

    def environment(self, token: str | None = CURATOR) -> dict[str, str]:
        """Return what a process's environment needs in order to talk to this Hub and to no other."""
        told = {"HF_ENDPOINT": self.url, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0"}
        return {**told, "HF_HOME": str(self.folder / "home"), **({"HF_TOKEN": token} if token else {})}

    def enter(self, monkeypatch, token: str | None = CURATOR) -> None:
        """Have this process talk to this Hub: the library read its environment when it was imported."""
        from huggingface_hub import constants

        for name, value in self.environment(token).items():
            monkeypatch.setenv(name, value)
        if token is None:
            monkeypatch.delenv("HF_TOKEN", raising=False)
        home = self.folder / "home"
        for name, value in {
            "ENDPOINT": self.url, "HF_HUB_DISABLE_XET": True, "HF_HUB_OFFLINE": False,
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_TOKEN_PATH": str(home / "token"), "HF_STORED_TOKENS_PATH": str(home / "stored_tokens"),
            "HUGGINGFACE_CO_URL_TEMPLATE": self.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_DISABLE_PROGRESS_BARS": True,
        }.items():  # fmt: skip
            monkeypatch.setattr(constants, name, value)

    def repo(self, name: str) -> Repo:
        return self.repos[name]

    def open_pull_request(self, name: str, title: str) -> str:
        """Open a pull request at the head of `main` and return its ref."""
        repo = self.repos[name]
        number = len(repo.discussions) + 1
        ref = f"refs/pr/{number}"
        repo.refs[ref] = repo.head
        repo.discussions.append({
            "title": title, "num": number, "author": {"name": "stranger"}, "createdAt": now(), "status": "open",
            "repo": {"name": name, "type": "dataset"}, "isPullRequest": True,
        })  # fmt: skip
        return ref


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address) -> None:
        """Say nothing where a client was killed; a fault of the Hub itself is shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for its body
    hub: Hub

    def log_message(self, *_):
        pass

    def _answer(self) -> None:
        split = urllib.parse.urlsplit(self.path)
        # A name of a branch may hold a quoted slash: unquoted only once the address has been taken apart.
        self.query = urllib.parse.parse_qs(split.query)
        self.hub.requests.append((self.command, split.path))
        self.unread = True
        try:
            fault = next((found for found in self.hub.faults if found.strikes(self.command, split.path)), None)
            if fault is not None and self._fails(fault):
                return
            for method, pattern, action in ROUTES:
                if method == self.command and (found := re.fullmatch(pattern, split.path)):
                    parts = {name: urllib.parse.unquote(part or "") for name, part in found.groupdict().items()}
                    action(self, **parts)
                    return
            raise Refusal(404, None, f"no such call: {self.command} {split.path}")
        except Refusal as refusal:
            self._refuse(refusal)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815

    def _fails(self, fault: Fault) -> bool:
        """Do what a fault says; True where the request ends with it."""
        if isinstance(fault.how, int):
            raise Refusal(fault.how, None, "as it was told to")
        if fault.how == "slow":
            time.sleep(0.5)
            return False
        if fault.how == "die":
            next(self.chunks(), None)
        self.close_connection = True
        self.connection.close()
        return True

    def _refuse(self, refusal: Refusal) -> None:
        if self.unread:
            with suppress(OSError):
                for _ in self.chunks():  # else the rest of the body would be read as the next request
                    pass
        named = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
        headers = {name: value for name, value in named.items() if value}
        self.send(json.dumps({"error": refusal.message}).encode(), refusal.status, headers)

    def send(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self, value: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        if self.unread:
            self.body()
        self.send(json.dumps(value).encode(), status, headers)

    def chunks(self) -> Iterator[bytes]:
        """Yield the request's body, whatever way its length is told."""
        self.unread = False
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left > 0:
            data = self.rfile.read(min(left, 1 << 16))
            if not data:
                raise ConnectionResetError
            left -= len(data)
            yield data

    def body(self) -> bytes:
        return b"".join(self.chunks())

    @property
    def account(self) -> Account | None:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if not token:
            return None
        if token not in self.hub.accounts:
            raise Refusal(401, None, "Invalid credentials in Authorization header")
        return self.hub.accounts[token]

    def reading(self, name: str) -> Repo:
        """Return a repository that this caller may know of."""
        repo, account = self.hub.repos.get(name), self.account
        if repo is None or (repo.private and not (account and account.reading_of(name))):
            unknown = Refusal(404, "RepoNotFound", "Repository not found")
            raise unknown if account else Refusal(401, None, "Invalid username or password.")
        return repo

    def writing(self, name: str) -> Repo:
        repo = self.reading(name)
        if not (self.account and self.account.may_write(name)):
            raise Refusal(403 if self.account else 401, None, "Forbidden: you need write rights to this repository")
        return repo
