"""Programs of others: where they lie, what they are (by digest), and one call of them, bounded in every way.

A program is a folder (a checkout) inside the folder of `MMTT_MODELS`, with an environment of its own. It runs with the
user's rights: what is cleaned and bounded here keeps accidents small, it is no sandbox against malice.
"""

import os
import re
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mmtt import weights
from mmtt.errors import UserError
from mmtt.files import file_sha256
from mmtt.ids import digest

KEPT_BYTES = 16_000  # of each of what a program prints; the end says why it failed
GRACE_S = 10.0  # from the end of patience until nobody listens any more

_GUARD = Path(__file__).with_name("guard.py")
_PASSED = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|TZ|LC_.*|CUDA_.*|NVIDIA_.*|LD_LIBRARY_PATH|(OMP|MKL)_NUM_THREADS"
    r"|XDG_CACHE_HOME|TORCH_HOME"
)
_SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|KEY", re.IGNORECASE)
_CACHES = ("__pycache__", "node_modules")
_ENVIRONMENT_MARKS = ("pyvenv.cfg", "conda-meta")


class Outcome(NamedTuple):
    """How a call ended: exit code (None when time was up), seconds, and the end of what it printed."""

    code: int | None
    seconds: float
    said: str

    def sentence(self) -> str:
        """Say how it ended, without the time it took: rejections are the same in every run."""
        return "killed, because its time was up" if self.code is None else f"exit code {self.code}"


def folder_of(program: str, licence: str, origin: str) -> Path:
    """Return the folder of a program.

    Raises:
        UserError: absent, or a file.
    """
    path = weights.require(weights.Weights(program, licence, origin))
    if not path.is_dir():
        raise UserError(f"'{program}' is a file; a program is a folder with its code. Get it from {origin}.")
    return path.resolve()


def executable(folder: Path, name: str) -> Path:
    """Return what runs a program: a path inside its folder, or (without a slash) a command that PATH knows.

    Links are followed by the system, not here: a virtual environment's `python` must be called by its own name.

    Raises:
        UserError: absent, not executable, or a path that leads out of the folder.
    """
    if "/" not in name:
        found = shutil.which(name)
        if found is None:
            raise UserError(f"There is no command '{name}' on PATH to run {folder} with. Install it, or set `python`.")
        return Path(found)
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts:
        raise UserError(f"`python` is a path inside the program's folder or a command on PATH, not '{name}'.")
    if not os.access(folder / inside, os.X_OK) or not (folder / inside).is_file():
        hint = "Make the program's environment there, link it there, or set `python`."
        raise UserError(f"{folder / inside} is missing or cannot be executed. {hint}")
    return folder / inside


def code_sha256(folder: Path, without: Sequence[str] = ()) -> str:
    """Return the SHA-256 over a checkout: the names and bytes of its files, 64 hex digits.

    Not counted: `without` (weights and output, by path inside the folder), hidden files, caches, virtual
    environments. A folder that is a link counts by its name only: behind it there are data sets as a rule.
    """
    return _digest(folder, tuple(_state(folder, frozenset(without))))


@lru_cache(maxsize=64)
def _digest(folder: Path, state: tuple[tuple[str, int, int], ...]) -> str:
    """The state (names, sizes, times) is only there so that a changed checkout is read again."""
    return digest([[name, file_sha256(folder / name) if size >= 0 else None] for name, size, _ in state])


def _state(folder: Path, without: frozenset[str], inside: str = "") -> Iterator[tuple[str, int, int]]:
    for item in sorted(os.scandir(folder / inside), key=lambda item: item.name):
        name = inside + item.name
        if item.name.startswith(".") or name in without or item.name in _CACHES or item.name.endswith(".pyc"):
            continue
        if item.is_dir() and item.is_symlink():
            yield name, -1, 0
        elif item.is_dir() and not _is_environment(item):
            yield from _state(folder, without, f"{name}/")
        elif item.is_file():
            stat = item.stat()
            yield name, stat.st_size, stat.st_mtime_ns


def _is_environment(folder: "os.DirEntry[str]") -> bool:
    return any(Path(folder, mark).exists() for mark in _ENVIRONMENT_MARKS)


def environment(folder: Path, work: Path) -> dict[str, str]:
    """Return the environment of a program: what it needs of ours, no secret, nothing that would fetch or leave files.

    Its folder is importable, temporary files go to `work` and vanish with it, Hugging Face's clients stay offline
    (what they would download has no digest).
    """
    passed = {k: v for k, v in os.environ.items() if _PASSED.fullmatch(k) and not _SECRET.search(k)}
    temporary = work / "tmp"
    temporary.mkdir(exist_ok=True)
    own = {"PYTHONPATH": str(folder), "TMPDIR": str(temporary), "PYTHONHASHSEED": "0", "HF_HUB_OFFLINE": "1"}
    return passed | own


def call(command: Sequence[str], folder: Path, work: Path, timeout_s: float) -> Outcome:
    """Run a command in a program's folder; when it returns, nothing that the program started runs any more.

    Args:
        command: what to run, and its arguments; no shell reads them.
        folder: the program's folder.
        work: a folder of its own for this call; removed should this process be killed.
        timeout_s: after so many seconds the program is killed.
    """
    began = time.monotonic()
    guarded = [sys.executable, "-I", "-S", str(_GUARD), str(work), *command]
    process = subprocess.Popen(
        guarded,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment(folder, work),
        start_new_session=True,
        bufsize=0,
    )
    with process:
        try:
            in_time, said = _listen(process, began + timeout_s)
        finally:
            _cut_lifeline(process)
            process.wait()
    # The folder has another name each time, and is gone.
    return Outcome(process.returncode if in_time else None, time.monotonic() - began, said.replace(str(work), "WORK"))


def _cut_lifeline(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None:
        process.stdin.close()


def _listen(process: "subprocess.Popen[bytes]", deadline: float) -> tuple[bool, str]:
    """Read what a process prints until it ends, keeping the end of it; cut its lifeline at the deadline."""
    in_time, tails = True, {"stdout": bytearray(), "stderr": bytearray()}
    with selectors.DefaultSelector() as selector:
        for name in tails:
            selector.register(getattr(process, name), selectors.EVENT_READ, tails[name])
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0 and not in_time:
                break
            if left <= 0:
                in_time, deadline = False, time.monotonic() + GRACE_S
                _cut_lifeline(process)
                continue
            for key, _ in selector.select(left):
                chunk = os.read(key.fd, 65_536)
                if not chunk:
                    selector.unregister(key.fileobj)
                key.data.extend(chunk)
                del key.data[:-KEPT_BYTES]
    return in_time, "\n".join(filter(None, (readable(bytes(tails["stdout"])), readable(bytes(tails["stderr"])))))


def readable(data: bytes, limit: int = 2_000) -> str:
    """Return the end of what was printed, without control characters; of a progress bar its last state."""
    lines = data.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)
    return "".join(c for c in text if c.isprintable() or c in "\n\t").strip()[-limit:]
