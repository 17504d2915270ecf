"""People: the private map of who writes under which pseudonym, with which account.

Label Studio shows every account to every annotator, so it never learns an address or a name: a login is drawn like a
pseudonym, and neither follows from the other. Only this map, and the list that is handed out, connect the three.
"""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

from mmtt.errors import UserError

from ..private import csv_rows, csv_text, folder, write_private

MAP = "people.csv"
ACTIVE, RETIRED, ERASED = "active", "retired", "erased"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One annotator. After an erasure only the pseudonym, the account and what the texts are remain.

    status: active, retired or erased.
    writes: what the account's texts are: human, or made up by a model or from a template, as in tests and demos.
    created, retired: days, ISO 8601, UTC; empty where it did not happen.
    """

    pseudonym: str
    login: str
    user_id: int | None  # Label Studio's; None until its account is known to be made
    email: str
    name: str
    language: str
    status: str
    writes: str
    created: str = ""
    retired: str = ""


_COLUMNS = tuple(field.name for field in fields(Person))


class People:
    """The map: every person who ever had an account."""

    def __init__(self, persons: Iterable[Person] = ()) -> None:
        self.persons = tuple(persons)
        self._by_user = {p.user_id: p for p in self.persons if p.user_id is not None}

    def by_user_id(self, user_id: int) -> Person | None:
        """Return who has an account of Label Studio; None for a stranger."""
        return self._by_user.get(user_id)

    def pseudonym(self, user_id: int) -> str | None:
        """Return the pseudonym of a Label Studio account; None for a stranger."""
        person = self.by_user_id(user_id)
        return person.pseudonym if person else None

    def named(self, pseudonym: str) -> Person:
        """Return the person with a pseudonym.

        Raises:
            UserError: there is none.
        """
        for person in self.persons:
            if person.pseudonym == pseudonym:
                return person
        raise UserError(f"Nobody is called {pseudonym}. {MAP} lists the pseudonyms.")

    def languages(self) -> dict[str, str]:
        """Return the language in which each pseudonym writes."""
        return {person.pseudonym: person.language for person in self.persons}

    def with_person(self, person: Person) -> Self:
        """Return the map with one person put in the place of their earlier row, or at the end."""
        kept = {known.pseudonym: known for known in self.persons} | {person.pseudonym: person}
        return type(self)(kept.values())


def load(directory: Path) -> People:
    """Read the map of a dataset; without one, nobody.

    Raises:
        UserError: others may read it, or it is damaged.
    """
    path = folder(directory) / MAP
    try:
        rows = csv_rows(path)
        return People(_person(row) for row in rows)
    except FileNotFoundError:
        return People()
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise UserError(
            f"{path} is damaged ({type(error).__name__}). Restore it; its columns: {', '.join(_COLUMNS)}."
        ) from None


def _person(row: Mapping[str, str]) -> Person:
    texts = {name: row[name] for name in _COLUMNS if name != "user_id"}
    if None in row.values() or texts["status"] not in (ACTIVE, RETIRED, ERASED):
        raise ValueError(texts["status"])
    return Person(user_id=int(row["user_id"]) if row["user_id"] else None, **texts)


def save(directory: Path, people: People) -> None:
    """Write the map of a dataset."""
    rows = [{**asdict(person), "user_id": person.user_id or ""} for person in people.persons]
    write_private(folder(directory) / MAP, csv_text(_COLUMNS, rows))
