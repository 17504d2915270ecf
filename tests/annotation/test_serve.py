"""One server of its own, started and ended as a curator does it; and programs in its place that fail."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import NamedTuple

import pytest

from annotation.private import folder, private_folder
from annotation.server import serve
from annotation.server.connection import FILE, read_file
from annotation.server.environment import VERSION
from mmtt.errors import LockedError, UserError

ROOT = Path(__file__).parents[2]
PROGRAM = (
    "import sys, pathlib; from annotation.server.serve import serve; serve(pathlib.Path(sys.argv[1]), int(sys.argv[2]))"
)


def status(url, path, token=None, body=None, host=None) -> int:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Token {token}"} if token else {})
    headers |= {"Host": host} if host else {}
    data = None if body is None else json.dumps(body).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url + path, data, headers), timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listening(port) -> list[str]:
    """Return the addresses, as /proc writes them, on which somebody listens at a port."""
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    ends = [row[1].rpartition(":") for row in rows if row[3] == "0A"]
    return [address for address, _, at in ends if int(at, 16) == port]


def alive(number) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Served(NamedTuple):
    """A dataset that another process serves."""

    directory: Path
    port: int
    told: str
    token: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Start a server as a curator does, in a hostile environment; at the end, ask it to end, and see that it does."""
    directory, port = tmp_path_factory.mktemp("curated"), free_port()
    hostile = {"LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "false", "LABEL_STUDIO_DEBUG": "true", "SECRET_KEY": "known"}
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", PROGRAM, str(directory), str(port)],
        cwd=ROOT,
        env=os.environ | hostile,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        told = "".join(iter(process.stdout.readline, "Ctrl-C ends it.\n"))
        token = read_file(folder(directory) / FILE)["token"]
        yield Served(directory, port, told, token)
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, rest, listening(port)) == (0, "Label Studio has ended.\n", [])
    assert token not in told + (folder(directory) / "studio" / serve.LOG).read_text()


def test_the_curator_is_told_how_to_log_in_once(served):
    known = read_file(folder(served.directory) / FILE)
    assert known["url"] == served.url
    assert f"log in as {known['login']}, password {known['password']}" in served.told
    assert served.token not in served.told


def test_it_is_reached_from_this_machine_alone_and_lets_no_stranger_in(served):
    assert listening(served.port) == ["0100007F"]
    assert status(served.url, "/api/projects/", served.token) == 200
    assert status(served.url, "/api/projects/") == 401
    assert status(served.url, "/user/signup/", body={"email": "a@x.org", "password": "long enough"}) == 403
    assert status(served.url, "/health", host="rebound.example.org") == 400


def test_it_asks_nobody_for_anything(served):
    """The tips of the page to log in would come from GitHub; what should go out fails at once, not after a while."""
    begun = time.monotonic()
    assert status(served.url, "/heidi-tips/") == 404
    assert time.monotonic() - begun < 5


def test_what_is_private_is_for_its_owner(served):
    private = folder(served.directory)
    for path, mode in ((private, 0o700), (private / "studio", 0o700), (private / FILE, 0o600)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    secret = (private / "studio" / ".env").read_text()
    assert "SECRET_KEY=" in secret
    assert "known" not in secret


def test_a_dataset_is_served_once_and_a_port_is_not_taken_away(served, tmp_path):
    running = rf"already runs for {served.directory}: {served.url} \(Ctrl-C there, or `kill \d+`, ends it\)"
    with pytest.raises(LockedError, match=running):
        serve.serve(served.directory, free_port())
    with pytest.raises(UserError, match=f"Port {served.port} cannot be used"):
        serve.serve(tmp_path, served.port)


def test_pictures_are_shown_to_who_is_logged_in_and_nothing_else_is(served):
    root = folder(served.directory) / "pictures"
    for place in ("tasks", "other", "tasks-private", "."):
        (root / place).mkdir(exist_ok=True)
        (root / place / "face.png").write_bytes(b"a face")
    config = '<View><Image name="i" value="$i"/><Choices name="c" toName="i"><Choice value="a"/></Choices></View>'
    assert status(served.url, "/api/projects/", served.token, {"title": "tests", "label_config": config}) == 201

    def get(path, token=served.token):
        return status(served.url, f"/data/local-files/?d={urllib.parse.quote(path)}", token)

    def show(path):
        body = {"project": 1, "path": path, "title": "pictures", "use_blob_urls": True}
        return status(served.url, "/api/storages/localfiles/", served.token, body)

    assert get("tasks/face.png") == 404
    assert show(f"{root}/tasks") == 201
    assert (get("tasks/face.png"), get("tasks/face.png", token=None)) == (200, 401)
    hidden = ("other/face.png", "tasks-private/face.png", "face.png", "tasks/../other/face.png", "/etc/passwd")
    assert [get(path) for path in hidden] == [404] * len(hidden)
    assert [get(path) >= 400 for path in ("../connection.json", "tasks/../../studio/.env")] == [True, True]
    forbidden = (str(root), f"{root}/../studio", f"{root}/tasks/../../studio", "/", "/etc")
    assert [show(path) for path in forbidden] == [400] * len(forbidden)


@pytest.fixture
def no_server(monkeypatch, tmp_path):
    """In place of Label Studio, a program of a test's own; and an empty file in place of the empty database."""
    program = tmp_path / "env" / "bin" / "label-studio"
    program.parent.mkdir(parents=True)
    (tmp_path / "empty").touch()
    monkeypatch.setattr(serve, "environment", lambda *_: tmp_path / "env")
    monkeypatch.setattr(serve, "database", lambda *_: tmp_path / "empty")

    def says(text):
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)

    return says


def refusal(directory) -> str:
    with pytest.raises(UserError) as caught, serve.running(directory):
        pass
    return str(caught.value)


def test_a_server_that_dies_is_told_with_its_last_words(no_server, tmp_path):
    no_server("echo first; for i in 1 2 3 4 5; do echo line $i; done; echo '    ^^^^'; exit 3")
    said = refusal(tmp_path)
    assert "ended while it was starting: line 1 / line 2 / line 3 / line 4 / line 5 (its log: " in said
    no_server("true")
    assert "it said nothing" in refusal(tmp_path)
    assert "line 5" in (folder(tmp_path) / "studio" / "studio.before.log").read_text()


def test_a_server_that_does_not_answer_is_ended_with_all_that_it_started(no_server, tmp_path, monkeypatch):
    monkeypatch.setattr(serve, "START_S", 2)
    monkeypatch.setattr(serve, "STOP_S", 0.3)
    no_server(f"trap '' TERM; sleep 300 & echo $! > {tmp_path}/child; wait; sleep 300")
    assert "does not answer after" in refusal(tmp_path)
    child = int((tmp_path / "child").read_text())
    end = time.monotonic() + 30
    while alive(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(child)


def test_who_was_killed_leaves_a_server_that_still_holds_its_data(no_server, tmp_path):
    no_server("exec sleep 300")
    (tmp_path / "env" / "bin" / "python").touch()
    record = tmp_path / "env" / "lib" / "python3.11" / "site-packages" / f"label_studio-{VERSION}.dist-info" / "RECORD"
    for path in (record, tmp_path / "cache" / "mmtt" / f"label-studio-{VERSION}.sqlite3"):
        path.parent.mkdir(parents=True)
        path.touch()
    named = {"MMTT_LABEL_STUDIO": str(tmp_path / "env"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(free_port())]
    killed = subprocess.Popen(command, cwd=ROOT, env=os.environ | named)
    held = folder(tmp_path) / "studio" / ".serving"
    while not (held.exists() and "kill" in held.read_text()):
        assert killed.poll() is None
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    said = refusal(tmp_path)
    assert "already runs" in said
    os.kill(int(re.search(r"`kill (\d+)`", said).group(1)), signal.SIGKILL)


def test_data_whose_connection_was_lost_are_not_taken_over(no_server, tmp_path):
    no_server("true")
    refusal(tmp_path)
    path = folder(tmp_path) / FILE
    known = path.read_text()
    path.unlink()
    assert f"{path} is missing" in refusal(tmp_path)
    path.write_text(known)
    path.chmod(0o600)
    assert "it said nothing" in refusal(tmp_path)
    assert read_file(path)["token"] == json.loads(known)["token"]


def test_a_connection_to_another_server_is_not_written_over(no_server, tmp_path):
    no_server("true")
    path = private_folder(tmp_path) / FILE
    path.write_text('{"url": "https://annotate.example.org", "token": "x"}')
    path.chmod(0o600)
    assert "is about another server" in refusal(tmp_path)
    assert "annotate.example.org" in path.read_text()


def test_every_dataset_has_secrets_of_its_own(no_server, tmp_path):
    no_server("true")
    known = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        refusal(tmp_path / name)
        known.append(read_file(folder(tmp_path / name) / FILE))
    assert known[0]["token"] != known[1]["token"]
    assert known[0]["password"] != known[1]["password"]
