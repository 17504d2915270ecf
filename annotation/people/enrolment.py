"""Enrolment: brings the map of people and the accounts on the server to what the curator's roster says; and erasure."""

import csv
import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from mmtt.errors import UserError
from mmtt.files import lock

from ..private import csv_rows, csv_text, folder, new_password, private_folder, write_private
from ..server.accounts import Accounts
from . import ACTIVE, ERASED, RETIRED, People, Person, load, save
from .roster import Wanted, read_roster

CREDENTIALS = "credentials.csv"
DOMAIN = "annotators.invalid"  # reserved: no mail can ever reach it
_CREDENTIALS = ("email", "name", "url", "login", "password")


class Outcome(NamedTuple):
    """What `enrol` did, in people."""

    created: int
    retired: int
    reopened: int
    changed: int  # another name
    unlisted: int  # have an account, but no row in the roster: left as they are
    credentials: Path  # where the first passwords of the created ones are


def enrol(
    directory: Path,
    roster: Path,
    accounts: Accounts,
    url: str,
    *,
    draw: random.Random | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Outcome:
    """Bring the map and the server to what a roster says. Whoever it does not name stays as they are.

    What is to be made is written down before the server is asked, so that a run that was killed can be repeated: it
    finds its own account under the login that it drew. First passwords are added to `credentials.csv`.

    Args:
        directory: the dataset's.
        roster: the curator's list.
        accounts: the server's.
        url: of the server, for the list that is handed out.
        draw: of pseudonyms and logins; the system's own by default.
        now: the clock.

    Raises:
        UserError: the roster is wrong; the server refuses. LockedError: another command changes the map.
    """
    wanted = read_roster(roster)
    with lock(private_folder(directory)):
        before = load(directory)
        _require_same_writers(before, wanted, roster)
        day = f"{now():%Y-%m-%d}"
        there = accounts.logins()
        _require_same_server(before, there, url)
        people = _noted(before, wanted, draw or secrets.SystemRandom(), day)
        save(directory, people)
        people, created = _make(directory, people, accounts, there, url)
        people, retired, reopened = _set_statuses(directory, people, wanted, accounts, day)
    listed = {row.email for row in wanted}
    return Outcome(
        created=created,
        retired=retired,
        reopened=reopened,
        changed=_changed(before, people),
        unlisted=sum(person.status != ERASED and person.email not in listed for person in people.persons),
        credentials=folder(directory) / CREDENTIALS,
    )


def erase(directory: Path, pseudonym: str, accounts: Accounts, draw: random.Random | None = None) -> None:
    """Part a pseudonym from its person for good: closed and nameless on the server, no name or address in the map.

    The account's number stays: by it the log knows whose the answers are, and it leads to nobody any more. What is
    outside the toolkit (a letter with the login, a backup) is the curator's to delete. Harmless to repeat.

    Raises:
        UserError: nobody has that pseudonym; the server refuses. LockedError: another command changes the map.
    """
    with lock(private_folder(directory)):
        people = load(directory)
        person = people.named(pseudonym)
        login = person.login if person.status == ERASED else _login(people, draw or secrets.SystemRandom())
        user_id = person.user_id or accounts.logins().get(person.login)  # a run that died may not have noted it
        if user_id is not None:
            accounts.anonymise(user_id, login)
        _forget_credentials(directory, person.email)
        cleared = {"email": "", "name": "", "created": "", "retired": ""}
        gone = replace(person, login=login, user_id=user_id, status=ERASED, **cleared)
        save(directory, people.with_person(gone))


def _require_same_writers(people: People, wanted: Sequence[Wanted], roster: Path) -> None:
    """What an account's texts are, and their language, must not change: those that are there would change with it."""
    before = {person.email: person for person in people.persons if person.email}
    faults = [
        f"line {row.line}: the texts of {row.email} are {now}, and cannot become {then}"
        for row in wanted
        if row.email in before
        for now, then in ((before[row.email].writes, row.writes), (before[row.email].language, row.language))
        if now != then
    ]
    if faults:
        raise UserError("\n  ".join([f"{roster} cannot be used; nobody was enrolled:", *faults]))


def _require_same_server(people: People, there: Mapping[str, int], url: str) -> None:
    """On a server with other data, the numbers of the map are other people's."""
    known = {person.login: person.user_id for person in people.persons if person.user_id and person.status != ERASED}
    moved = [login for login, user_id in known.items() if there.get(login, user_id) != user_id]
    if moved or (known and not known.keys() & there.keys()):
        raise UserError(
            f"The accounts of {url} are not those of the map of people. Was another server or backup meant?"
        )


def _noted(people: People, wanted: Sequence[Wanted], draw: random.Random, day: str) -> People:
    """Add who is new, and take over names; who is new and retired never had an account."""
    known = {person.email: person for person in people.persons if person.email}
    for row in wanted:
        person = known.get(row.email)
        if person is None and row.status == ACTIVE:
            person = Person(
                pseudonym=_pseudonym(people, draw),
                login=_login(people, draw),
                user_id=None,
                email=row.email,
                name=row.name,
                language=row.language,
                status=ACTIVE,
                writes=row.writes,
                created=day,
            )
        if person is not None:
            people = people.with_person(replace(person, name=row.name, language=row.language))
    return people


def _make(
    directory: Path, people: People, accounts: Accounts, there: Mapping[str, int], url: str
) -> tuple[People, int]:
    """Make the accounts that the map has no number for."""
    pending = [person for person in people.persons if person.user_id is None and person.status == ACTIVE]
    if not pending:
        return people, 0
    passwords = _passwords(directory, pending, url)
    for person in pending:
        made = there.get(person.login) or accounts.create(person.login, passwords[person.login])
        people = people.with_person(replace(person, user_id=made))
        save(directory, people)
    return people, len(pending)


def _passwords(directory: Path, pending: Sequence[Person], url: str) -> dict[str, str]:
    """Draw a password for each, and add them to the list; one that is there already was drawn by a run that died."""
    listed = _listed(directory)
    drawn = {row["login"]: row["password"] for row in listed}
    for person in pending:
        if person.login not in drawn:
            drawn[person.login] = new_password()
            row = {"email": person.email, "name": person.name, "url": url}
            listed.append({**row, "login": person.login, "password": drawn[person.login]})
    write_private(folder(directory) / CREDENTIALS, csv_text(_CREDENTIALS, listed))
    return drawn


def _set_statuses(
    directory: Path, people: People, wanted: Sequence[Wanted], accounts: Accounts, day: str
) -> tuple[People, int, int]:
    """Close and open accounts; the map follows the server, so that a run that was killed does it again."""
    known = {person.email: person for person in people.persons if person.email}
    differ = [(known[row.email], row.status) for row in wanted if row.email in known]
    differ = [(person, status) for person, status in differ if person.status != status]
    for person, status in differ:
        if person.user_id is not None:
            accounts.set_active(person.user_id, status == ACTIVE)
        retired = day if status == RETIRED else ""
        people = people.with_person(replace(person, status=status, retired=retired))
        save(directory, people)
    closed = sum(status == RETIRED for _, status in differ)
    return people, closed, len(differ) - closed


def _changed(before: People, after: People) -> int:
    now = {person.pseudonym: (person.name, person.language) for person in after.persons}
    return sum(now[person.pseudonym] != (person.name, person.language) for person in before.persons)


def _pseudonym(people: People, draw: random.Random) -> str:
    """Draw a free number of four digits: a running one would tell who came first."""
    taken = {person.pseudonym for person in people.persons}
    return draw.choice([name for number in range(1000, 10_000) if (name := f"A{number}") not in taken])


def _login(people: People, draw: random.Random) -> str:
    """Draw a login that can be said aloud and tells nothing."""
    taken = {person.login for person in people.persons}
    while True:
        word = "".join(draw.choice("bdfgklmnprstvz") + draw.choice("aeiou") for _ in range(3))
        login = f"{word}{draw.randrange(10, 100)}@{DOMAIN}"
        if login not in taken:
            return login


def _listed(directory: Path) -> list[dict[str, str]]:
    path = folder(directory) / CREDENTIALS
    try:
        rows = csv_rows(path)
        return [{name: row[name] for name in _CREDENTIALS} for row in rows]
    except FileNotFoundError:
        return []
    except (KeyError, csv.Error):
        raise UserError(f"{path} is damaged. Note what is still needed, and remove it.") from None


def _forget_credentials(directory: Path, email: str) -> None:
    listed = _listed(directory)
    kept = [row for row in listed if row["email"] != email]
    if kept != listed:
        write_private(folder(directory) / CREDENTIALS, csv_text(_CREDENTIALS, kept))
