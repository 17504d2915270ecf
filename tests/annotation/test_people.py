import stat

import pytest

from annotation.people import ERASED, MAP, People, Person, load, save
from annotation.private import folder, private_folder, write_private
from mmtt.errors import UserError

ANN = Person(
    pseudonym="A1234",
    login="bafiko42@annotators.invalid",
    user_id=7,
    email="ann@example.org",
    name='Ann "the eye", née 李',
    language="zh",
    status="active",
    writes="template",
    created="2026-01-02",
)
PENDING = Person(
    pseudonym="A9876",
    login="dute11@annotators.invalid",
    user_id=None,
    email="ben@example.org",
    name="",
    language="en",
    status="active",
    writes="human",
)
GONE = Person(
    pseudonym="A5555", login="x", user_id=3, email="", name="", language="en", status=ERASED, writes="human"
)  # fmt: skip


def test_the_map_survives_being_written(tmp_path):
    private_folder(tmp_path)
    save(tmp_path, People([ANN, PENDING, GONE]))
    assert load(tmp_path).persons == (ANN, PENDING, GONE)
    assert stat.S_IMODE((folder(tmp_path) / MAP).stat().st_mode) == 0o600


def test_without_a_map_there_is_nobody(tmp_path):
    assert load(tmp_path).persons == ()
    assert load(tmp_path).pseudonym(1) is None


def test_a_person_is_found_by_account_and_by_pseudonym():
    people = People([ANN, PENDING, GONE])
    assert people.by_user_id(7) is ANN
    assert people.pseudonym(7) == "A1234"
    assert people.pseudonym(8) is None
    assert people.named("A9876") is PENDING
    assert people.languages() == {"A1234": "zh", "A9876": "en", "A5555": "en"}
    with pytest.raises(UserError, match="Nobody is called A1"):
        people.named("A1")


def test_the_answers_of_an_erased_person_keep_their_pseudonym():
    assert People([GONE]).pseudonym(3) == "A5555"


@pytest.mark.parametrize(
    "damage",
    [
        ("A1234,", "A1234,,"),
        (",7,", ",seven,"),
        ("active", "gone"),
        ("pseudonym,", "name,"),
        ("2026-01-02,", "2026-01-02"),
    ],
)
def test_a_damaged_map_is_a_sentence(tmp_path, damage):
    private_folder(tmp_path)
    save(tmp_path, People([ANN]))
    path = folder(tmp_path) / MAP
    write_private(path, path.read_text().replace(*damage))
    with pytest.raises(UserError, match="is damaged"):
        load(tmp_path)


def test_a_map_that_others_may_read_is_refused(tmp_path):
    private_folder(tmp_path)
    save(tmp_path, People([ANN]))
    (folder(tmp_path) / MAP).chmod(0o644)
    with pytest.raises(UserError, match="chmod 600"):
        load(tmp_path)
