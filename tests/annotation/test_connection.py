import os
import stat
import traceback

import pytest

from annotation.private import folder, new_password, private_folder, read_private, write_private
from annotation.server.connection import FILE, KEY, URL, Connection, find
from mmtt.errors import UserError

LEGACY = "0123456789abcdef0123456789abcdef01234567"
PERSONAL = "eyJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9.c2lnbmF0dXJl-_x"
ELSEWHERE = "https://annotate.example.org"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    monkeypatch.delenv(URL, raising=False)
    monkeypatch.delenv(KEY, raising=False)


def served(directory, url="http://127.0.0.1:8080", token=LEGACY, mode=0o600):
    path = private_folder(directory) / FILE
    path.write_text(f'{{"url": "{url}", "login": "c", "password": "p", "token": "{token}"}}')
    path.chmod(mode)
    return path


def refusal(directory, url=None) -> str:
    with pytest.raises(UserError) as caught:
        find(directory, url)
    return str(caught.value)


def test_the_token_is_not_shown():
    for token in (LEGACY, PERSONAL):
        connection = Connection("http://127.0.0.1:1", token)
        shown = [repr(connection), str(connection), f"{connection}", f"{[connection]}"]
        assert not [text for text in shown if token in text or token[:12] in text]
        assert "http://127.0.0.1:1" in repr(connection)


def test_both_kinds_of_token_are_told_apart():
    assert not Connection("https://x", LEGACY).personal
    assert Connection("https://x", PERSONAL).personal


def test_what_serve_wrote_down_is_found(tmp_path):
    served(tmp_path)
    assert find(tmp_path) == Connection("http://127.0.0.1:8080", LEGACY)


def test_the_environment_beats_what_serve_wrote_down_and_the_flag_beats_both(tmp_path, monkeypatch):
    served(tmp_path)
    monkeypatch.setenv(URL, f"{ELSEWHERE}/")
    monkeypatch.setenv(KEY, f" {PERSONAL}\n")
    assert find(tmp_path) == Connection(ELSEWHERE, PERSONAL)
    assert find(tmp_path, "https://third.example.org/ls/") == Connection("https://third.example.org/ls", PERSONAL)


def test_a_token_never_goes_to_a_server_that_it_was_not_meant_for(tmp_path, monkeypatch):
    served(tmp_path)
    assert "No token for https://annotate.example.org" in refusal(tmp_path, ELSEWHERE)
    assert find(tmp_path, "http://127.0.0.1:8080/").token == LEGACY
    monkeypatch.setenv(KEY, PERSONAL)
    assert "Set both" in refusal(tmp_path)


def test_without_anything_the_way_to_a_server_is_told(tmp_path):
    assert "mmtt annotate serve" in refusal(tmp_path)
    assert not folder(tmp_path).exists()


def test_a_file_that_others_may_read_is_refused(tmp_path):
    for mode in (0o640, 0o604, 0o660):
        path = served(tmp_path, mode=mode)
        assert f"chmod 600 {path}" in refusal(tmp_path)


def test_a_damaged_file_is_a_sentence(tmp_path):
    path = served(tmp_path)
    for damage in ("", "{", "[]", '{"url": 3, "token": "x"}', '{"url": "https://x"}', "\0"):
        path.write_text(damage)
        assert "is damaged" in refusal(tmp_path)
    path.write_bytes(b"\xff\xfe")
    assert "cannot be read" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("annotate.example.org", "no address"),
        ("ftp://annotate.example.org", "no address"),
        ("https://", "no address"),
        ("https://[", "no address"),
        ("https://x:port", "no address"),
        ("https://x/?a=b", "no address"),
        ("http://annotate.example.org", "in the clear"),
        ("http://192.168.1.7:8080", "in the clear"),
        ("https://ann:secret99@annotate.example.org", "Leave name and password out"),
        ("ftp://ann:secret99@annotate.example.org", "no address"),
    ],
)
def test_an_address_that_cannot_be_right_is_refused(tmp_path, monkeypatch, url, told):
    monkeypatch.setenv(KEY, LEGACY)
    said = refusal(tmp_path, url)
    assert told in said
    assert "secret99" not in said


@pytest.mark.parametrize("url", ["http://localhost:8080", "http://127.0.0.1", "http://[::1]:8080"])
def test_this_machine_needs_no_tls_and_no_proxy(tmp_path, monkeypatch, url):
    monkeypatch.setenv(KEY, LEGACY)
    assert find(tmp_path, url).local
    assert not find(tmp_path, ELSEWHERE).local


@pytest.mark.parametrize("token", ["hunter2hunter2", LEGACY[:-1], LEGACY.upper(), PERSONAL.rpartition(".")[0], "a b c"])
def test_a_token_that_cannot_be_right_is_refused_and_not_repeated(tmp_path, monkeypatch, token):
    monkeypatch.setenv(URL, ELSEWHERE)
    monkeypatch.setenv(KEY, token)
    with pytest.raises(UserError) as caught:
        find(tmp_path)
    assert token not in "".join(traceback.format_exception(caught.value))
    assert ("cut short" in str(caught.value)) == (token.count(".") == 1)


def test_private_files_are_for_their_owner_whatever_was_there(tmp_path):
    directory = tmp_path / "d"
    private = folder(directory)
    private.mkdir(parents=True)
    private.chmod(0o755)
    before = os.umask(0)
    try:
        path = private_folder(directory) / "people.csv"
        path.write_text("old")
        path.chmod(0o666)
        write_private(path, "new\n")
    finally:
        os.umask(before)
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_private(path) == "new\n"
    assert [found.name for found in private.iterdir()] == ["people.csv"]


def test_passwords_differ_and_are_no_formula():
    drawn = {new_password() for _ in range(200)}
    assert len(drawn) == 200
    assert all(word[0].isalnum() and len(word) == 19 for word in drawn)
