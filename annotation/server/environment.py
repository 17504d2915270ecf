"""Label Studio's own virtual environment, and an empty database to start from; each is made on first use and kept.

Its 136 packages would force older versions upon ours, so they never meet: it is a program that we start, not a library.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

import filelock

from mmtt.errors import UserError
from mmtt.files import replacing
from mmtt.progress import for_person

from .settings import laptop

VERSION = "1.23.2"
VARIABLE = "MMTT_LABEL_STUDIO"
CONSTRAINTS = Path(__file__).with_name("constraints.txt")
DATABASE = "label_studio.sqlite3"  # as Label Studio names it in its data folder
_UNFINISHED = ".unfinished"

Tell = Callable[[str], None]

_UNREACHED = "NewConnectionError|ame ?[Rr]esolution|ConnectTimeout|ReadTimeout|ProxyError|SSLError|from versions: none"
_CAUSES: Mapping[str, str] = {
    "No space left on device|Disk quota exceeded": (
        "the disk is full. It needs 1 GB in {home}, and for a while as much in {temporary}"
    ),
    "ensurepip is not available": "Python's own venv is missing. On Debian and Ubuntu: apt install python3-venv",
    _UNREACHED: (
        "the package index cannot be reached, or has nothing for Python {python} (3.11 was tested)."
        " Look at the connection, the proxy and PIP_INDEX_URL"
    ),
}


def cache() -> Path:
    """Return the folder of what is made once for each user of this machine."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "mmtt"


def environment(named: Path | None, tell: Tell) -> Path:
    """Return the folder of a virtual environment with Label Studio; installed first where there is none.

    Args:
        named: the user's choice; else what MMTT_LABEL_STUDIO names, else one in the cache.
        tell: told before something that takes long.

    Raises:
        UserError: the folder holds something else; or the installation failed, and why.
    """
    chosen = named or os.environ.get(VARIABLE)
    home = Path(chosen).expanduser().absolute() if chosen else cache() / f"label-studio-{VERSION}"
    if not _whole(home):
        with _alone(home):
            if not _whole(home):
                _install(home, tell)
    return home


def database(home: Path, tell: Tell) -> Path:
    """Return a database without users, which a new data folder begins with; made on first use.

    Label Studio's migrations take half a minute; a copy takes none.

    Args:
        home: the environment.
        tell: told before something that takes long.

    Raises:
        UserError: it could not be made.
    """
    path = cache() / f"label-studio-{VERSION}.sqlite3"
    if not path.exists():
        with _alone(path):
            if not path.exists():
                tell("Label Studio prepares an empty database, once: half a minute.")
                _migrate(home, path)
    return path


def _whole(home: Path) -> bool:
    # Of a package, pip writes RECORD last; and of these packages, Label Studio, because it needs all others.
    installed = home.glob(f"lib/python3*/site-packages/label_studio-{VERSION}.dist-info/RECORD")
    return (home / "bin" / "python").exists() and any(installed) and not (home / _UNFINISHED).exists()


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait for whoever makes it at the moment; who comes second then finds it."""
    held = filelock.FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held.acquire()
    except OSError as error:
        raise UserError(f"{path.parent} cannot be written ({error.strerror}). Name another folder.") from None
    try:
        yield
    finally:
        held.release()


def _install(home: Path, tell: Tell) -> None:
    if home.exists() and any(home.iterdir()) and not (home / _UNFINISHED).exists():
        hint = "Name the folder of one, a new folder, or remove this one."
        raise UserError(f"{home} holds no working environment with Label Studio {VERSION}. {hint}")
    tell(f"Label Studio {VERSION} gets an environment of its own in {home}, once: 1 GB, a minute or more.")
    log = home.with_name(f"{home.name}.log")
    try:
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        (home / _UNFINISHED).touch()
        with log.open("w", encoding="utf-8") as kept:
            found = (name for step in _steps(home) for name in _packages(step, home, kept))
            for _ in for_person("Label Studio: packages")(_constraints(), found):
                pass
        (home / _UNFINISHED).unlink()
    except BaseException as error:
        shutil.rmtree(home, ignore_errors=True)
        if isinstance(error, OSError):
            raise UserError(f"Label Studio could not be installed in {home} ({error.strerror}).") from error
        raise


def _constraints() -> list[str]:
    return [line for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines() if "==" in line]


def _steps(home: Path) -> list[list[str]]:
    # -I keeps Python's own variables out; pip's, which may name the index, are wanted.
    install = [str(home / "bin" / "python"), "-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    install += ["--no-color", "--progress-bar", "off", "-c", str(CONSTRAINTS), f"label-studio=={VERSION}"]
    return [[sys.executable, "-I", "-m", "venv", str(home)], install]


def _packages(command: list[str], home: Path, log: IO[str]) -> Iterator[str]:
    """Run a step of the installation, and yield each package that pip looks up.

    Raises:
        UserError: it failed.
    """
    said: list[str] = []
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        try:
            for line in process.stdout or ():
                said.append(line)
                log.write(line)
                if line.startswith("Collecting "):
                    yield line
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        told = f"All that was said is in {log.name}."
        raise UserError(f"Label Studio could not be installed: {_cause(''.join(said), home)}. {told}")


def _cause(said: str, home: Path) -> str:
    for pattern, cause in _CAUSES.items():
        if re.search(pattern, said):
            python = f"{sys.version_info.major}.{sys.version_info.minor}"
            return cause.format(home=home, temporary=tempfile.gettempdir(), python=python)
    lines = said.strip().splitlines() or ["no reason was given"]
    errors = [line for line in lines if line.startswith("ERROR: ")] or lines
    return errors[-1].strip().removeprefix("ERROR: ").rstrip(".")


def _migrate(home: Path, path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        data = Path(scratch)
        program = next(home.glob("lib/python3*/site-packages/label_studio/manage.py"))
        done = subprocess.run(
            [home / "bin" / "python", program, "migrate", "--no-color", "--verbosity", "0"],
            cwd=data,
            env=laptop(data, data),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        if done.returncode:
            last = (done.stdout.strip().splitlines() or ["it said nothing"])[-1]
            raise UserError(
                f"Label Studio in {home} could not prepare its database ({last}). Remove {home} to install anew."
            )
        with replacing(path) as beside:
            shutil.copyfile(data / DATABASE, beside)
