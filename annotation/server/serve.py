"""Serve: Label Studio on this machine's loopback, for one dataset. A team has `compose.yaml` instead.

Everything lies in DIR/private/annotation, closed to others: `studio/` (its data and its log), `pictures/` (the only
files that it may show), `connection.json` (address, first user and token; it belongs to that data).
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from mmtt.errors import LockedError, UserError
from mmtt.files import replacing

from ..private import new_password, private_folder, write_private
from .connection import FILE, Connection, read_file
from .environment import DATABASE, Tell, database, environment
from .settings import laptop

HOST = "127.0.0.1"
PORT = 8080
CURATOR = "curator@annotators.invalid"  # a name that no mail can reach: Label Studio shows it to everybody
LOG = "studio.log"
START_S = 180.0
STOP_S = 10.0
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
_LOG_LINES = 5


class _Server(NamedTuple):
    """A server that has answered."""

    process: subprocess.Popen[bytes]
    connection: Connection
    first: str | None  # the password, when the first user was made just now


def serve(directory: Path, port: int = PORT, named: Path | None = None, tell: Tell = print) -> None:
    """Serve a dataset's annotation until Ctrl-C or SIGTERM.

    Args:
        directory: the dataset's.
        port: of the loopback.
        named: folder of Label Studio's environment; see `environment`.
        tell: told what a person should know.

    Raises:
        UserError: it cannot be installed or started, or it ended by itself. LockedError: it runs already.
    """
    with contextlib.suppress(KeyboardInterrupt), _ending_on_signals(), _started(directory, port, named, tell) as server:
        told = private_folder(directory) / FILE
        tell(f"Label Studio: {server.connection.url}")
        tell(f"  log in as {CURATOR}, password {server.first or f'as in {told}'}")
        tell("Ctrl-C ends it.")
        server.process.wait()
        raise UserError(f"Label Studio ended by itself: {_last_lines(directory)}")
    tell("Label Studio has ended.")


@contextlib.contextmanager
def running(
    directory: Path, port: int = 0, named: Path | None = None, tell: Tell = lambda _: None
) -> Iterator[Connection]:
    """Serve a dataset's annotation while the block lasts; yields once Label Studio answers and accepts the token.

    Args:
        directory: the dataset's.
        port: of the loopback; 0 takes a free one.
        named: folder of Label Studio's environment; see `environment`.
        tell: told before something that takes long.

    Raises:
        UserError: it cannot be installed or started. LockedError: it runs already.
    """
    with _started(directory, port, named, tell) as server:
        yield server.connection


def answers(connection: Connection) -> bool:
    """Whether a server answers, and accepts the token."""
    return _status(f"{connection.url}/api/current-user/whoami", connection.token) == 200


def clear_exports(home: Path) -> None:
    """Remove the copies of all answers that Label Studio leaves behind whenever it is asked for them.

    `home` is the folder of a dataset's annotation; of a server that runs elsewhere there is nothing to clear here.
    """
    for left in (home / "studio" / "export").glob("*"):
        if left.is_file() and not left.is_symlink():
            left.unlink(missing_ok=True)


@contextlib.contextmanager
def _started(directory: Path, port: int, named: Path | None, tell: Tell) -> Iterator[_Server]:
    home = private_folder(directory).absolute()
    studio, pictures = home / "studio", home / "pictures"
    studio.mkdir(mode=0o700, exist_ok=True)
    pictures.mkdir(exist_ok=True)
    with _alone(studio) as lock:
        program = environment(named, tell) / "bin" / "label-studio"
        port = _free_port(port)
        url = f"http://{HOST}:{port}"
        fresh = not (studio / DATABASE).exists()
        first = _first_user(home / FILE, url, fresh)
        if fresh:
            with replacing(studio / DATABASE) as beside:
                shutil.copyfile(database(program.parents[1], tell), beside)
        user = read_file(home / FILE) or {}
        with _process(program, port, studio, pictures, user, lock) as process:
            lock.write(f"{url} (Ctrl-C there, or `kill {process.pid}`, ends it)")
            lock.flush()
            _wait(process, url, directory)
            connection = Connection(url, user["token"])
            _require_token(connection, home)
            yield _Server(process, connection, first)


@contextlib.contextmanager
def _alone(studio: Path) -> Iterator[IO[str]]:
    """Hold the data for one server. The server inherits the lock: it lasts though whoever started it is killed."""
    with (studio / ".serving").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            where = lock.read() or "it is just starting"
            raise LockedError(f"Label Studio already runs for {studio.parents[2]}: {where}.") from None
        lock.truncate(0)
        yield lock
        lock.truncate(0)


def _free_port(port: int) -> int:
    with socket.socket() as probe:
        # As the server itself will: a connection that has just been closed is no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise UserError(f"Port {port} cannot be used ({error}). Choose another one: --port") from None
        return int(probe.getsockname()[1])


def _first_user(path: Path, url: str, fresh: bool) -> str | None:
    """Note the address; for fresh data draw password and token, if that was not done, and return the password."""
    known = read_file(path)
    if known is None and not fresh:
        raise UserError(f"{path} is missing; the server's data in {path.parent / 'studio'} need it. Restore it.")
    user = known or {"login": CURATOR, "password": new_password(), "token": secrets.token_hex(20)}
    if "password" not in user or "login" not in user:
        raise UserError(f"{path} is about another server, {user['url']}. Move it away to have one here.")
    if user.get("url") != url:
        write_private(path, json.dumps({"url": url} | {k: v for k, v in user.items() if k != "url"}, indent=1) + "\n")
    return None if known else user["password"]


@contextlib.contextmanager
def _process(
    program: Path, port: int, studio: Path, pictures: Path, user: dict[str, str], lock: IO[str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run Label Studio in a process group of its own, and end all of it."""
    log = studio / LOG
    if log.exists():
        log.replace(log.with_suffix(".before.log"))
    first = {
        "LABEL_STUDIO_USERNAME": user["login"],
        "LABEL_STUDIO_PASSWORD": user["password"],
        "LABEL_STUDIO_USER_TOKEN": user["token"],
    }
    command = [str(program), "start", "--no-browser", "--internal-host", HOST]
    command += ["--port", str(port), "--data-dir", str(studio)]
    with log.open("ab") as said:  # appending, so that it can be emptied meanwhile
        process = subprocess.Popen(
            command,
            cwd=studio,
            env=laptop(studio, pictures) | first,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(lock.fileno(),),
        )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    try:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, directory: Path) -> None:
    end = time.monotonic() + START_S
    while _status(f"{url}/health") != 200:
        if process.poll() is not None:
            raise UserError(f"Label Studio ended while it was starting: {_last_lines(directory)}")
        if time.monotonic() > end:
            raise UserError(f"Label Studio does not answer after {START_S:.0f} seconds: {_last_lines(directory)}")
        time.sleep(0.2)


def _require_token(connection: Connection, home: Path) -> None:
    """Make sure that what answers is the server that was started, with the user that was noted."""
    if not answers(connection):
        hint = f"The data in {home / 'studio'} were made with another {FILE}: restore it. Or the port is another's."
        raise UserError(f"Label Studio refuses the token in {home / FILE}. {hint}")


def _status(url: str, token: str | None = None) -> int | None:
    """Return the status of an answer; None where nobody answers."""
    request = urllib.request.Request(url, headers={"Authorization": f"Token {token}"} if token else {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def _last_lines(directory: Path) -> str:
    log = private_folder(directory) / "studio" / LOG
    lines = [line.strip(" ^\n") for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    return f"{' / '.join([line for line in lines if line][-_LOG_LINES:]) or 'it said nothing'} (its log: {log})"


@contextlib.contextmanager
def _ending_on_signals() -> Iterator[None]:
    """Take a signal that asks to end as Ctrl-C is taken, so that the server is ended as well."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
