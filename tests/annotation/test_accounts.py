"""Against a real server: what it lets an account do is not ours to imagine."""

import re
from contextlib import closing

import httpx
import pytest

from annotation.private import new_password
from annotation.server.accounts import StudioAccounts
from annotation.server.connection import Connection
from mmtt.errors import UserError

LOGIN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


class Annotator:
    """A person with a browser and their own token."""

    def __init__(self, url, login, password):
        self.browser = httpx.Client(base_url=url, trust_env=False)
        hidden = LOGIN.search(self.browser.get("/user/login/").text).group(1)
        self.entered = self.browser.post(
            "/user/login/", data={"csrfmiddlewaretoken": hidden, "email": login, "password": password}
        ).is_redirect
        self.token = self.browser.get("/api/current-user/token").json().get("token", "")

    def statuses(self):
        asked = "/api/projects/"
        with_token = httpx.Client(trust_env=False, headers={"Authorization": f"Token {self.token}"})
        with closing(with_token):
            return self.browser.get(asked).status_code, with_token.get(f"{self.browser.base_url}{asked}").status_code

    def close(self):
        self.browser.close()


@pytest.fixture
def accounts(server):
    with StudioAccounts(server) as made:
        yield made


@pytest.fixture
def person(accounts):
    """An account, its login and its password."""
    login, password = f"{new_password()}@annotators.invalid", new_password()
    return accounts.create(login, password), login, password


def whoami(server, number):
    headers = {"Authorization": f"Token {server.token}"}
    return httpx.get(f"{server.url}/api/users/{number}/", headers=headers, trust_env=False).json()


def administered(server, accounts, number):
    """The server's own page about an account, which shows even what it hides of those who left."""
    with accounts._as_administrator() as headers:
        return httpx.get(f"{server.url}/admin/users/user/{number}/change/", headers=headers, trust_env=False).text


def test_who_was_created_may_enter_and_belongs_to_the_organisation(server, accounts, person):
    number, login, password = person
    assert accounts.logins()[login] == number
    with closing(Annotator(server.url, login, password)) as annotator:
        assert annotator.entered
        assert annotator.statuses() == (200, 200)
    told = whoami(server, number)
    assert told["active_organization"] == whoami(server, 1)["active_organization"]
    assert not told["allow_newsletters"]


def test_an_account_that_the_server_does_not_make_is_told(accounts):
    before = accounts.logins()
    for login, password in (("new@annotators.invalid", "short"), ("no address", new_password())):
        with pytest.raises(UserError, match=f"made no account for {login}"):
            accounts.create(login, password)
    assert accounts.logins() == before


def test_closing_ends_sessions_tokens_and_logging_in_until_it_is_opened_again(server, accounts, person):
    number, login, password = person
    with closing(Annotator(server.url, login, password)) as annotator:
        accounts.set_active(number, False)
        assert annotator.statuses() == (401, 401)
        with closing(Annotator(server.url, login, password)) as again:
            assert not again.entered
        accounts.set_active(number, False)
        accounts.set_active(number, True)
        assert annotator.statuses() == (200, 200)
    assert accounts.logins()[login] == number


def test_closing_renews_the_invitation(server, accounts, person):
    def link():
        headers = {"Authorization": f"Token {server.token}"}
        return httpx.get(f"{server.url}/api/invite", headers=headers, trust_env=False).json()["invite_url"]

    before = link()
    accounts.set_active(person[0], False)
    assert link() != before


def test_what_a_person_told_of_themselves_is_taken_off(server, accounts, person):
    number, login, password = person
    with closing(Annotator(server.url, login, password)) as annotator:
        told = {"first_name": "Annika", "last_name": "Exampel", "phone": "12345", "username": "annika"}
        assert annotator.browser.patch(f"/api/users/{number}/", json=told).status_code == 200
        for _ in range(2):
            accounts.anonymise(number, f"gone-{number}@annotators.invalid")
        assert annotator.statuses() == (401, 401)
    left = str(whoami(server, number)) + administered(server, accounts, number)
    assert not [word for word in ("Annika", "annika", "Exampel", "12345", login) if word in left]
    assert f"gone-{number}@annotators.invalid" in left
    assert login not in accounts.logins()


def test_a_personal_access_token_does_the_same(server, person):
    number, login, password = person
    headers = {"Authorization": f"Token {server.token}"}
    with httpx.Client(base_url=server.url, headers=headers, trust_env=False) as curator:
        personal = curator.post("/api/token/").json()["token"]
        try:
            with StudioAccounts(Connection(server.url, personal)) as accounts:
                assert accounts.logins()[login] == number
                accounts.set_active(number, False)
                with closing(Annotator(server.url, login, password)) as annotator:
                    assert not annotator.entered
            with StudioAccounts(server) as accounts, pytest.raises(UserError, match="personal access token already"):
                accounts.set_active(number, True)
        finally:
            curator.post("/api/token/blacklist/", json={"refresh": personal})
    with (
        StudioAccounts(Connection(server.url, personal)) as accounts,
        pytest.raises(UserError, match="refuses the token"),
    ):
        accounts.logins()


def test_the_token_that_closing_borrows_is_given_back(server, accounts, person):
    accounts.set_active(person[0], False)
    headers = {"Authorization": f"Token {server.token}"}
    assert httpx.get(f"{server.url}/api/token/", headers=headers, trust_env=False).json() == []


def test_only_the_first_user_may_close_accounts(server, person):
    _, login, password = person
    with closing(Annotator(server.url, login, password)) as annotator:
        theirs = Connection(server.url, annotator.token)
    with StudioAccounts(theirs) as accounts, pytest.raises(UserError, match="does not let this token administer"):
        accounts.set_active(1, False)
    assert whoami(server, 1)["email"] == "curator@annotators.invalid"


def test_a_wrong_token_and_a_silent_server_are_sentences(server):
    wrong = "f" * 40
    with StudioAccounts(Connection(server.url, wrong)) as accounts, pytest.raises(UserError) as caught:
        accounts.logins()
    assert "refuses the token" in str(caught.value)
    assert wrong not in str(caught.value)
    silent = Connection("http://127.0.0.1:9", wrong)
    with StudioAccounts(silent) as accounts, pytest.raises(UserError, match="does not answer"):
        accounts.logins()


def test_the_users_proxy_is_not_asked_for_this_machine(server, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with StudioAccounts(server) as accounts:
        assert accounts.logins()
