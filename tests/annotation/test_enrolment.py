import csv
import random
import stat
from datetime import UTC, datetime

import pytest

from annotation.people import MAP, enrolment, load
from annotation.people.enrolment import CREDENTIALS, enrol, erase
from annotation.private import folder, write_private
from mmtt.errors import UserError

URL = "https://annotate.example.org"
ROSTER = "email,name,language,status,writes\nann@x.org,Ann,en,,template\nben@x.org,,zh,,model\ncy@x.org,Cy,en,,\n"


class Killed(BaseException):
    """As if the process had been killed."""


class FakeAccounts:
    """A server in memory. It dies before or after the n-th write, as it is told."""

    def __init__(self):
        self.users: dict[int, dict] = {1: {"login": "curator@annotators.invalid", "active": True}}
        self.die_at: int | None = None
        self.writes = 0

    def logins(self):
        return {user["login"]: number for number, user in self.users.items()}

    def _write(self, change):
        self.writes += 1
        if self.die_at == 2 * self.writes:
            raise Killed
        change()
        if self.die_at == 2 * self.writes + 1:
            raise Killed

    def create(self, login, password):
        number = max(self.users) + 1
        assert login not in self.logins()
        self._write(lambda: self.users.update({number: {"login": login, "password": password, "active": True}}))
        return number

    def set_active(self, user_id, active):
        self._write(lambda: self.users[user_id].update(active=active))

    def anonymise(self, user_id, login):
        self._write(lambda: self.users[user_id].update(active=False, login=login))


@pytest.fixture
def accounts():
    return FakeAccounts()


def run(directory, accounts, text=ROSTER, seed=5):
    roster = directory / "roster.csv"
    roster.write_text(text, encoding="utf-8")
    day = datetime(2026, 3, 4, 23, 0, tzinfo=UTC)
    return enrol(directory, roster, accounts, URL, draw=random.Random(seed), now=lambda: day)


def credentials(directory):
    with (folder(directory) / CREDENTIALS).open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def files(directory):
    return {name: (folder(directory) / name).read_bytes() for name in (MAP, CREDENTIALS)}


def counts(outcome):
    return outcome[:5]


def test_people_get_accounts_pseudonyms_and_passwords(tmp_path, accounts):
    assert counts(run(tmp_path, accounts)) == (3, 0, 0, 0, 0)
    people = load(tmp_path)
    ann, ben, cy = people.persons
    assert (ann.email, ann.name, ann.language, ann.writes, ann.created) == (
        "ann@x.org", "Ann", "en", "template", "2026-03-04",
    )  # fmt: skip
    assert (ben.language, ben.writes, cy.writes) == ("zh", "model", "human")
    assert [people.by_user_id(number) for number in (2, 3, 4)] == [ann, ben, cy]
    for row in credentials(tmp_path):
        person = next(p for p in people.persons if p.email == row["email"])
        assert (row["login"], row["url"], row["name"]) == (person.login, URL, person.name)
        assert row["password"] == accounts.users[person.user_id]["password"]
    assert len({p.pseudonym for p in people.persons}) == len({p.login for p in people.persons}) == 3


def test_the_server_learns_neither_name_nor_address_nor_pseudonym(tmp_path, accounts):
    run(tmp_path, accounts)
    told = str(accounts.users)
    for person in load(tmp_path).persons:
        assert person.email not in told
        assert person.pseudonym not in told
        assert not person.name or person.name not in told


def test_the_secrets_are_for_their_owner(tmp_path, accounts):
    run(tmp_path, accounts)
    for name in (MAP, CREDENTIALS):
        assert stat.S_IMODE((folder(tmp_path) / name).stat().st_mode) == 0o600


def test_a_second_run_changes_nothing(tmp_path, accounts):
    run(tmp_path, accounts)
    before, written = files(tmp_path), accounts.writes
    assert counts(run(tmp_path, accounts, seed=6)) == (0, 0, 0, 0, 0)
    assert (files(tmp_path), accounts.writes) == (before, written)


def test_pseudonyms_follow_from_the_draw_and_not_from_the_order(tmp_path):
    drawn = []
    for seed in (5, 6):
        (directory := tmp_path / str(seed)).mkdir()
        run(directory, FakeAccounts(), "email,language\n" + "".join(f"p{n}@x.org,en\n" for n in range(60)), seed)
        drawn.append([person.pseudonym for person in load(directory).persons])
        assert len(set(drawn[-1])) == 60
        assert drawn[-1] != sorted(drawn[-1])
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("die_at", range(2, 12))
def test_a_run_that_was_killed_at_the_server_is_completed(tmp_path, accounts, die_at):
    run(tmp_path, accounts, "email,language\nold@x.org,en\n")
    text = ROSTER + "old@x.org,,en,retired,\n"
    accounts.writes, accounts.die_at = 0, die_at
    if die_at < 10:
        with pytest.raises(Killed):
            run(tmp_path, accounts, text, seed=6)
        accounts.die_at = None
    run(tmp_path, accounts, text, seed=7)
    assert_complete(tmp_path, accounts)


@pytest.mark.parametrize("die_at", range(1, 8))
def test_a_run_that_was_killed_while_writing_is_completed(tmp_path, accounts, monkeypatch, die_at):
    run(tmp_path, accounts, "email,language\nold@x.org,en\n")
    text = ROSTER + "old@x.org,,en,retired,\n"
    written = iter(range(1, 100))

    def dying(path, text):
        if next(written) == die_at:
            raise Killed
        write_private(path, text)

    with monkeypatch.context() as patched:
        patched.setattr(enrolment, "write_private", dying)
        patched.setattr("annotation.people.write_private", dying)
        try:
            run(tmp_path, accounts, text, seed=6)
        except Killed:
            pass
        else:
            assert die_at == 7  # map, list, three accounts, one closed
    run(tmp_path, accounts, text, seed=7)
    assert_complete(tmp_path, accounts)


def assert_complete(directory, accounts):
    people = load(directory)
    assert sorted(person.email for person in people.persons) == ["ann@x.org", "ben@x.org", "cy@x.org", "old@x.org"]
    assert sorted(person.user_id for person in people.persons) == [2, 3, 4, 5]
    assert accounts.logins().keys() == {person.login for person in people.persons} | {"curator@annotators.invalid"}
    listed = {row["login"]: row["password"] for row in credentials(directory)}
    for person in people.persons:
        user = accounts.users[person.user_id]
        assert user["login"] == person.login
        assert user["password"] == listed[person.login]
        assert user["active"] == (person.status == "active") == (person.email != "old@x.org")
    assert len(credentials(directory)) == 4


def test_people_are_retired_and_come_back(tmp_path, accounts):
    run(tmp_path, accounts)
    retired = ROSTER.replace("Ann,en,,", "Ann,en,retired,")
    assert counts(run(tmp_path, accounts, retired)) == (0, 1, 0, 0, 0)
    ann = load(tmp_path).persons[0]
    assert (ann.status, ann.retired, accounts.users[2]["active"]) == ("retired", "2026-03-04", False)
    assert counts(run(tmp_path, accounts, retired)) == (0, 0, 0, 0, 0)
    assert counts(run(tmp_path, accounts)) == (0, 0, 1, 0, 0)
    back = load(tmp_path).persons[0]
    assert (back.status, back.retired, back.pseudonym) == ("active", "", ann.pseudonym)
    assert accounts.users[2]["active"]


def test_who_is_new_and_retired_gets_no_account(tmp_path, accounts):
    assert counts(run(tmp_path, accounts, "email,language,status\na@x.org,en,retired\n")) == (0, 0, 0, 0, 0)
    assert load(tmp_path).persons == ()
    assert accounts.writes == 0


def test_who_is_not_listed_stays_and_who_is_renamed_is_told(tmp_path, accounts):
    run(tmp_path, accounts)
    assert counts(run(tmp_path, accounts, "email,name,language,writes\nann@x.org,Anna,en,template\n")) == (
        0,
        0,
        0,
        1,
        2,
    )
    ann, ben, _ = load(tmp_path).persons
    assert (ann.name, ann.language, ben.status) == ("Anna", "en", "active")


def test_what_an_account_writes_cannot_change(tmp_path, accounts):
    run(tmp_path, accounts)
    before = files(tmp_path)
    with pytest.raises(UserError, match=r"line 2: .* are template, and cannot become human"):
        run(tmp_path, accounts, "email,language,writes\nann@x.org,en,human\nnew@x.org,en,human\n")
    assert files(tmp_path) == before


def test_a_wrong_roster_changes_nothing(tmp_path, accounts):
    with pytest.raises(UserError, match="nobody was enrolled"):
        run(tmp_path, accounts, ROSTER + "=1@x.org,,en,,\n")
    assert accounts.writes == 0
    assert not folder(tmp_path).exists()


def test_another_server_is_noticed_before_its_accounts_are_taken_for_ours(tmp_path, accounts):
    run(tmp_path, accounts)
    with pytest.raises(UserError, match="not those of the map"):
        run(tmp_path, FakeAccounts())
    restored = FakeAccounts()
    restored.users |= {number: {"login": p.login} for number, p in enumerate(load(tmp_path).persons, start=3)}
    with pytest.raises(UserError, match="not those of the map"):
        run(tmp_path, restored)


def test_an_account_that_somebody_deleted_does_not_stop_the_others(tmp_path, accounts):
    run(tmp_path, accounts)
    del accounts.users[2]
    assert run(tmp_path, accounts, ROSTER + "new@x.org,,en,,\n").created == 1


def test_erasing_parts_the_person_from_the_pseudonym(tmp_path, accounts):
    run(tmp_path, accounts)
    ann = load(tmp_path).persons[0]
    erase(tmp_path, ann.pseudonym, accounts, random.Random(1))
    gone = load(tmp_path).persons[0]
    assert (gone.status, gone.email, gone.name, gone.created) == ("erased", "", "", "")
    assert gone.login != ann.login
    assert accounts.users[2] | {"password": ""} == {"login": gone.login, "password": "", "active": False}
    assert load(tmp_path).pseudonym(2) == ann.pseudonym
    for data in files(tmp_path).values():
        assert b"ann@x.org" not in data
        assert b"Ann" not in data
        assert ann.login.encode() not in data
    before = files(tmp_path)
    erase(tmp_path, ann.pseudonym, accounts, random.Random(2))
    assert files(tmp_path) == before
    assert counts(run(tmp_path, accounts, ROSTER.replace("ann@x.org,Ann,en,,template\n", ""))) == (0, 0, 0, 0, 0)


@pytest.mark.parametrize("die_at", [2, 3])
def test_an_erasure_that_was_killed_is_completed(tmp_path, accounts, die_at):
    run(tmp_path, accounts)
    name = load(tmp_path).persons[1].pseudonym
    accounts.writes, accounts.die_at = 0, die_at
    with pytest.raises(Killed):
        erase(tmp_path, name, accounts)
    erase(tmp_path, name, accounts)
    assert accounts.users[3]["login"] == load(tmp_path).persons[1].login
    assert b"ben" not in b"".join(files(tmp_path).values())


def test_an_account_that_a_killed_run_did_not_note_is_erased_as_well(tmp_path, accounts):
    accounts.die_at = 3
    with pytest.raises(Killed):
        run(tmp_path, accounts)
    erase(tmp_path, load(tmp_path).persons[0].pseudonym, accounts)
    assert not accounts.users[2]["active"]
    assert load(tmp_path).persons[0].user_id == 2


def test_nobody_is_erased_by_mistake(tmp_path, accounts):
    run(tmp_path, accounts)
    with pytest.raises(UserError, match="Nobody is called A12"):
        erase(tmp_path, "A12", accounts)
    assert accounts.writes == 3
