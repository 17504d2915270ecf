"""Connection: where Label Studio is, and with which token."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mmtt.errors import UserError

from ..private import folder, read_private

URL, KEY = "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"
FILE = "connection.json"

_LEGACY = re.compile(r"[0-9a-f]{40}")
_PERSONAL = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
_TRUNCATED = re.compile(r"[\w-]+\.[\w-]+", re.ASCII)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Connection:
    """One server and a token that it accepts. The token is left out of what is shown.

    url: `https://…`, or `http://` on this machine, without a slash at its end.
    token: a legacy token (40 hex digits), or a personal access token (a JWT, to be exchanged for an access token).
    """

    url: str
    token: str = field(repr=False)

    @property
    def personal(self) -> bool:
        """Whether the token is a personal access token."""
        return bool(_PERSONAL.fullmatch(self.token))

    @property
    def local(self) -> bool:
        """Whether the server is on this machine: its requests must not go through a proxy."""
        return urlsplit(self.url).hostname in _LOOPBACK


def find(directory: Path, url: str | None = None) -> Connection:
    """Return the server of a dataset: the one that is named, else LABEL_STUDIO_URL, else the one that `serve` started.

    The token is LABEL_STUDIO_API_KEY; for the server that `serve` started, the one that it wrote down.

    Args:
        directory: the dataset's.
        url: the user's choice.

    Raises:
        UserError: no server or no token is known, or one of them cannot be right.
    """
    named = url or os.environ.get(URL)
    key = os.environ.get(KEY, "").strip()
    known = read_file(folder(directory) / FILE)
    if named is None or not named.strip():
        return _local(directory, known, key)
    address = checked_url(named.strip())
    if not key and known and known["url"] == address:
        key = known["token"]
    if not key:
        raise UserError(f"No token for {address}. Set {KEY}; Label Studio shows yours under Account & Settings.")
    return Connection(address, _checked_token(key, KEY))


def _local(directory: Path, known: Mapping[str, str] | None, key: str) -> Connection:
    if known is None:
        hint = f"`mmtt annotate serve {directory}` starts one here; {URL} and {KEY} name another."
        raise UserError(f"No Label Studio is known for {directory}. {hint}")
    if key:
        raise UserError(f"{KEY} is set, but {URL} is not. Set both, or none for the server of {directory}.")
    return Connection(checked_url(known["url"]), _checked_token(known["token"], str(folder(directory) / FILE)))


def read_file(path: Path) -> dict[str, str] | None:
    """Return what `serve` wrote down (url, login, password, token); None where it never ran.

    Raises:
        UserError: the file can be read by others, or is no such file.
    """
    try:
        found: Any = json.loads(read_private(path))
    except FileNotFoundError:
        return None
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(found.get(key), str) for key in ("url", "token")):
        raise UserError(f"{path} is damaged. Restore it: it belongs to the server's data in {path.parent / 'studio'}.")
    return found


def checked_url(url: str) -> str:
    """Return an address without the slash at its end.

    Raises:
        UserError: it is none; it holds a password; or it would send faces and the token in the clear.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise UserError(f"'{_without_password(url)}' is no address of a server, such as https://annotate.example.org")
    if parts.username or parts.password:
        raise UserError(f"Leave name and password out of {_without_password(url)}; the token goes into {KEY}.")
    if parts.scheme == "http" and host not in _LOOPBACK:
        raise UserError(
            f"{url} would send faces and the token in the clear. Use https://, or a tunnel to this machine."
        )
    return url.rstrip("/")


def _without_password(url: str) -> str:
    return re.sub(r"//[^/]*@", "//", url)


def _checked_token(token: str, where: str) -> str:
    if _LEGACY.fullmatch(token) or _PERSONAL.fullmatch(token):
        return token
    if _TRUNCATED.fullmatch(token) and "." in token:
        hint = "It is cut short, as Label Studio lists it: only the one that it shows when it is made can be used."
    else:
        hint = "A personal access token has three parts with dots between; a legacy token has 40 hex digits."
    raise UserError(f"The token in {where} is none that Label Studio gives. {hint}")
