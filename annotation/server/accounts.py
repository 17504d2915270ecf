"""Accounts on a Label Studio server: made, closed, opened again, made anonymous; never deleted.

Its REST interface can make an account, but not give it a password; and a member removed there can still log in. So an
account is made as a person would, by the invitation link, and closed on the server's own administration page, which
only its first user may enter. Deleting an account would take its author off every annotation.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import Any, Protocol, Self

from mmtt.errors import MissingDependency, UserError

from .connection import KEY, Connection

TIMEOUT_S = 60.0
_ACCESS_S = 240.0  # the server's access tokens live for 300 s
_FORM = "/admin/users/user/{}/change/"


class Accounts(Protocol):
    """What `people` needs of a server."""

    def logins(self) -> Mapping[str, int]:
        """Return the user id of each login."""
        ...

    def create(self, login: str, password: str) -> int:
        """Make an account, and return its user id."""
        ...

    def set_active(self, user_id: int, active: bool) -> None:
        """Close an account, which ends its sessions and tokens at once; or open it again."""
        ...

    def anonymise(self, user_id: int, login: str) -> None:
        """Close an account and take off all that its owner may have told: name, telephone, picture. A new login."""
        ...


class StudioAccounts:
    """The accounts of a Label Studio Community server, for its first user. A context manager.

    Methods raise UserError: nobody answers, the token is refused, or the server refuses what is asked, and why.
    """

    def __init__(self, connection: Connection) -> None:
        """Raises: MissingDependency: the annotation extra is not installed."""
        self._connection = connection
        self._http = _client(connection)
        self._access = ("", 0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def logins(self) -> dict[str, int]:
        """Return the user id of each login; the server shows those of removed members as "Deleted"."""
        return {user["email"]: int(user["id"]) for user in self._call("GET", "/api/users/").json()}

    def create(self, login: str, password: str) -> int:
        """Make an account, and return its user id."""
        link = self._call("GET", "/api/invite").json()["invite_url"]
        with _client(self._connection) as visitor:
            hidden = _form(self._send(visitor, "GET", link).text)["csrfmiddlewaretoken"]
            filled = {"csrfmiddlewaretoken": hidden, "email": login, "password": password, "allow_newsletters": "false"}
            answer = self._send(visitor, "POST", link, data=filled, headers={"Referer": self._connection.url})
        made = self.logins().get(login)
        if made is None:
            raise UserError(f"{self._connection.url} made no account for {login} (status {answer.status_code}).")
        return made

    def set_active(self, user_id: int, active: bool) -> None:
        """Close an account, or open it again; the invitation link, which who was closed out may know, is renewed."""
        self._administer(user_id, is_active="on" if active else None)
        if not active:
            self._call("POST", "/api/invite/reset-token")

    def anonymise(self, user_id: int, login: str) -> None:
        """Close an account and take off all that its owner may have told. Harmless to repeat."""
        told = {"phone": "", "custom_hotkeys": {}}
        if self._call("PATCH", f"/api/users/{user_id}/", json=told, allowed=(404,)).status_code == 404:
            return  # somebody deleted it
        name = login.partition("@")[0]
        self._administer(user_id, is_active=None, email=login, username=name, first_name="", last_name="")
        organisation = self._call("GET", "/api/current-user/whoami").json()["active_organization"]
        # Only leaving the organisation deletes the picture. A second time there is nobody to leave: 404.
        path = f"/api/organizations/{organisation}/memberships/{user_id}/"
        self._call("DELETE", path, allowed=(404,))

    def _administer(self, user_id: int, **wanted: str | None) -> None:
        """Change fields of the form of one user, None for an empty box, and look whether they were changed."""
        path = _FORM.format(user_id)
        with self._as_administrator() as headers:
            fields = _form(self._send(self._http, "GET", path, headers=headers).text)
            if "is_active" not in fields:
                raise UserError(
                    f"{self._connection.url} does not let this token administer account {user_id}. Use the token of"
                    " the server's first user."
                )
            filled = {name: value for name, value in (fields | wanted).items() if value is not None}
            self._send(self._http, "POST", path, data=filled, headers=headers | {"Referer": self._connection.url})
            now = _form(self._send(self._http, "GET", path, headers=headers).text)
        if {name: now.get(name) for name in wanted} != wanted:
            raise UserError(f"{self._connection.url} did not change account {user_id}. Do it by hand on {path}")

    @contextlib.contextmanager
    def _as_administrator(self) -> Iterator[dict[str, str]]:
        """Yield headers that the administration page accepts: an access token, for which a legacy token must do more.

        A legacy token buys a personal one, which is revoked at the end.
        """
        if self._connection.personal:
            yield self._headers()
            return
        made = self._call("POST", "/api/token/", allowed=(409,))
        if made.status_code == 409:
            hint = f"Put that one into {KEY}, or revoke it under Account & Settings."
            raise UserError(f"The user of {self._connection.url} has a personal access token already. {hint}")
        personal = made.json()["token"]
        try:
            yield {"Authorization": f"Bearer {self._exchange(personal)}"}
        finally:
            self._call("POST", "/api/token/blacklist/", json={"refresh": personal})

    def _headers(self) -> dict[str, str]:
        if not self._connection.personal:
            return {"Authorization": f"Token {self._connection.token}"}
        token, until = self._access
        if time.monotonic() > until:
            token, until = self._exchange(self._connection.token), time.monotonic() + _ACCESS_S
            self._access = (token, until)
        return {"Authorization": f"Bearer {token}"}

    def _exchange(self, personal: str) -> str:
        return str(self._send(self._http, "POST", "/api/token/refresh/", json={"refresh": personal}).json()["access"])

    def _call(self, method: str, path: str, **options: Any) -> Any:
        return self._send(self._http, method, path, headers=self._headers(), **options)

    def _send(self, client: Any, method: str, path: str, *, allowed: tuple[int, ...] = (), **options: Any) -> Any:
        import httpx

        url = self._connection.url
        try:
            answer = client.request(method, f"{url}{path}", **options)
        except httpx.HTTPError as error:
            hint = "Is it running (`mmtt annotate serve DIR`)?"
            raise UserError(f"{url} does not answer ({type(error).__name__}). {hint}") from None
        if answer.status_code in (401, 403):
            raise UserError(f"{url} refuses the token. Set {KEY} to a valid one of the server's first user.")
        if answer.status_code >= 400 and answer.status_code not in allowed:
            raise UserError(f"{url} answers {answer.status_code} to {method} {path.partition('?')[0]}.")
        return answer


def _client(connection: Connection) -> Any:
    try:
        import httpx
    except ImportError:
        raise MissingDependency("Accounts need Label Studio's SDK: pip install 'mmtt[annotation]'") from None
    # A proxy of the environment must not be asked for what is on this machine.
    return httpx.Client(timeout=TIMEOUT_S, trust_env=not connection.local)


class _Fields(HTMLParser):
    """The fields of a page's form: text by its value, a ticked box `on`, an empty one None."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str | None] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an input; of several submit buttons, only the first."""
        given = dict(attrs)
        name = given.get("name")
        if tag != "input" or not name or name in ("_addanother", "_continue"):
            return
        if given.get("type") == "checkbox":
            self.found[name] = "on" if "checked" in given else None
        else:
            self.found[name] = given.get("value") or ""


def _form(page: str) -> dict[str, str | None]:
    fields = _Fields()
    fields.feed(page)
    return fields.found
