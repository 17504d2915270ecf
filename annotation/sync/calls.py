"""Calls: how requests to Label Studio fail, and a sentence for each way.

What reads is tried again; what writes never is, because the server may have done it though it did not say so
(`Ambiguous`): whoever wrote looks at what is there and goes on with what is missing.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from mmtt.errors import UserError

from ..server.connection import KEY

TRIES = 4
RECREATE = "What it held is in the log; `mmtt annotate push DIR --recreate` sets up another one for what is open."

T = TypeVar("T")


class Ambiguous(UserError):
    """A write whose answer did not arrive: it may have been done, or not."""


class Refused(UserError):
    """The server does not want what it was told (400)."""


class ServerFault(UserError):
    """The server answers that it failed (500), and does so every time."""


class Calls(NamedTuple):
    """Requests to one server, at `url`; `project` is the number of the project that a request is about, if any."""

    url: str

    def read(self, what: str, call: Callable[[], T], project: int | None = None) -> T:
        """Ask for something, again where the server was only busy.

        Raises:
            UserError: it refuses, or does not answer, or not as Label Studio does.
        """
        for left in range(TRIES - 1, -1, -1):
            with _told(self.url, what, project):
                try:
                    return call()
                except Exception as error:
                    if not left or not _passing(error):
                        raise
            time.sleep(0.2 * (TRIES - left) ** 2)
        raise AssertionError("the last try returns or raises")

    def write(self, what: str, call: Callable[[], T], project: int | None = None) -> T:
        """Change something, once.

        Raises:
            UserError: it surely was not done. Ambiguous: it may have been.
        """
        with _told(self.url, what, project):
            try:
                return call()
            except Exception as error:
                if _passing(error) and not _unsent(error):
                    hint = "It may have been done or not: run the command again."
                    raise Ambiguous(f"{self.url}: {what} was not answered ({_short(error)}). {hint}") from error
                raise


def unless_gone(delete: Callable[..., None], *numbers: int | str) -> None:
    """Delete something; that it is gone already is no error."""
    from label_studio_sdk.core.api_error import ApiError

    try:
        delete(*numbers)
    except ApiError as error:
        if error.status_code != 404:
            raise


@contextlib.contextmanager
def _told(url: str, what: str, project: int | None) -> Iterator[None]:
    import httpx
    from label_studio_sdk.core.api_error import ApiError

    try:
        yield
    except ApiError as error:
        kind = {400: Refused, 500: ServerFault}.get(error.status_code or 0, UserError)
        raise kind(_sentence(url, what, error, project)) from None  # its text holds the server's headers
    except httpx.HTTPError as error:
        hint = "Is it running (`mmtt annotate serve DIR`), and is this its address? Nothing is lost."
        raise UserError(f"{url} does not answer when asked for {what} ({_short(error)}). {hint}") from None
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        said = f"{url} does not answer as Label Studio does when asked for {what} ({_short(error)})."
        raise UserError(f"{said} Is this its address?") from error


def _sentence(url: str, what: str, error: Any, project: int | None) -> str:
    if error.status_code in (401, 403):
        return f"{url} refuses the token when asked for {what}. Set {KEY} to a valid one."
    if error.status_code == 404 and project is not None:
        return f"{url} has no project {project} any more: somebody deleted it. {RECREATE}"
    if error.status_code == 404 or error.status_code < 400:
        return f"{url} does not answer as Label Studio does when asked for {what}. Is this its address?"
    detail = error.body.get("detail", error.body) if isinstance(error.body, dict) else error.body
    return f"{url} answers {error.status_code} when asked for {what}: {str(detail)[:300]}"


def _passing(error: Exception) -> bool:
    """Whether the same request may succeed in a moment: no connection, no answer, a server that is busy or down."""
    import httpx
    from label_studio_sdk.core.api_error import ApiError

    if isinstance(error, ApiError):
        return error.status_code is None or error.status_code >= 500 or error.status_code in (408, 409, 425, 429)
    return isinstance(error, httpx.TransportError)


def _unsent(error: Exception) -> bool:
    """Whether a request surely did nothing: it never reached the server."""
    import httpx

    return isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol)


def _short(error: Exception) -> str:
    status = getattr(error, "status_code", None)
    return f"status {status}" if status else type(error).__name__
