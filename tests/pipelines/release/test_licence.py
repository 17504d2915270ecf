"""The licence: conflicts in one sentence, and a text that passes on what every row asks for."""

from dataclasses import replace

import pytest

from mmtt.errors import UserError
from pipelines.release import licence
from pipelines.release.answers import About, Answers
from tests.pipelines.release.described import ABOUT, CONSENT, answers, facts, records

SA = "SA:CC-BY-SA-4.0"


def about(**changes) -> Answers:
    return Answers(about=About(**ABOUT | changes))


@pytest.mark.parametrize(
    ("owed", "chosen"),
    [
        ({}, "CC0-1.0"),
        ({"BY": 3}, "CC-BY-4.0"),
        ({"BY": 3}, "Apache-2.0"),
        ({"BY": 3, "NC": 1}, "CC-BY-NC-4.0"),
        ({"BY": 3, "NC": 1, "research-only": 1}, "LicenseRef-Faces"),
        ({"BY": 3, SA: 1}, "CC-BY-SA-4.0"),
        ({"BY": 3, "SA:CC-BY-SA-2.0": 1}, "CC-BY-SA-4.0"),
        ({"BY": 3, "NC": 1, "SA:CC-BY-NC-SA-4.0": 1, "research-only": 1}, "CC-BY-NC-SA-4.0"),
        ({"use-restricted:OpenRAIL-M": 1}, "CC0-1.0"),
    ],
)
def test_a_licence_that_asks_for_what_rows_oblige_to_is_taken(owed, chosen):
    licence.require_compatible(owed, chosen)


@pytest.mark.parametrize(
    ("owed", "chosen", "way_out"),
    [
        ({"BY": 3}, "CC0-1.0", "choose CC-BY-4.0,"),
        ({"BY": 3, "NC": 1}, "CC-BY-4.0", "choose CC-BY-NC-4.0,"),
        ({"NC": 1, "research-only": 1}, "CC-BY-NC-4.0", "choose LicenseRef-…,"),
        ({SA: 1, "BY": 1}, "CC-BY-4.0", "choose CC-BY-SA-4.0,"),
        ({SA: 1, "BY": 1}, "CC-BY-NC-SA-4.0", "choose CC-BY-SA-4.0,"),
        ({"SA:CC-BY-SA-1.0": 1}, "CC-BY-SA-4.0", "choose CC-BY-SA-1.0,"),
        ({SA: 1, "NC": 1}, "CC-BY-SA-4.0", "no licence covers them all"),
        ({SA: 1, "SA:CC-BY-SA-3.0": 1}, "CC-BY-SA-3.0", "choose CC-BY-SA-4.0,"),
        ({SA: 1, "SA:GPL-3.0-only": 1}, "CC-BY-SA-4.0", "no licence covers them all"),
        ({"ND": 1}, "CC-BY-ND-4.0", "no licence covers them all"),
    ],
)
def test_a_conflict_is_one_sentence_with_a_way_out(owed, chosen, way_out):
    with pytest.raises(UserError, match=r"^Licence conflict") as caught:
        licence.require_compatible(owed, chosen)
    assert chosen in str(caught.value)
    assert way_out in str(caught.value)
    assert str(caught.value).count(". ") == 0
    if "choose" in way_out:
        licence.require_compatible(owed, way_out.removeprefix("choose ").rstrip(",").replace("…", "Mine"))


def test_a_conflict_counts_rows_and_names_what_they_ask_for():
    with pytest.raises(UserError, match=r"1,200 rows: no commercial use \(NC\)"):
        licence.require_compatible({"BY": 1300, "NC": 1200}, "CC-BY-4.0")


def test_a_text_is_not_written_for_a_licence_in_conflict():
    with pytest.raises(UserError, match="Licence conflict"):
        licence.text(facts(records()), about(licence="CC0-1.0"))


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("CC-BY-NC-SA-4.0", "https://creativecommons.org/licenses/by-nc-sa/4.0/"),
        ("CC-BY-3.0-IGO", "https://creativecommons.org/licenses/by/3.0/igo/"),
        ("CC0-1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
        ("Apache-2.0", "https://spdx.org/licenses/Apache-2.0.html"),
    ],
)
def test_a_known_licence_has_its_address(name, address):
    assert licence.address(name) == address
    assert licence.address(name, "https://example.org/mine") == "https://example.org/mine"


@pytest.mark.parametrize("name", ["LicenseRef-Faces", "OpenRAIL-M", "PD-US"])
def test_a_licence_on_no_list_needs_an_address(name):
    with pytest.raises(UserError, match=r"'about\.licence_url'"):
        licence.address(name)


def test_the_text_names_licence_origins_programs_consents_and_what_is_forbidden():
    found = list(records())
    found[1] = replace(found[1], weights_licence="LicenseRef-W", obligations=["BY", "use-restricted:OpenRAIL-M"])
    told = licence.text(facts(found), about(removal_contact="out@example.org"))
    for line in (
        "CC-BY-NC-4.0", "https://creativecommons.org/licenses/by-nc/4.0/", "    6 rows: BY",
        "    1 row: use-restricted:OpenRAIL-M", "keep to the uses that OpenRAIL-M allows, and pass that on",
        "CC0-1.0; 6 photos, shown in 12 rows", "code: Apache-2.0; weights: LicenseRef-W; 1 row", f"{CONSENT}: 6 photos",
        "out@example.org", "Release 1.2.0 of 2026-11-27", "within 30 days",
    ):  # fmt: skip
        assert line in told, line
    for sentence in licence.FORBIDDEN:
        assert f"- {sentence}" in told
    assert licence.NON_COMMERCIAL in told
    assert "forbidden all\nthe same: these are conditions of access" in told.split("5. What is forbidden")[1]
    assert told == licence.text(facts(found), about(removal_contact="out@example.org"))


@pytest.mark.parametrize(
    ("consent", "chosen", "allowed"),
    [
        (f"{CONSENT} commercial", "CC-BY-4.0", True),
        ("nobody", "CC-BY-4.0", True),
        (CONSENT, "CC-BY-4.0", False),
        ("none", "CC-BY-4.0", False),
        (f"{CONSENT} commercial", "CC-BY-NC-4.0", False),
    ],
)
def test_commercial_use_is_open_only_where_everybody_shown_agreed(consent, chosen, allowed):
    made = facts(records(consent))
    assert licence.is_commercial(made, chosen) is allowed
    assert (licence.NON_COMMERCIAL in licence.forbidden(made, chosen)) is not allowed


def test_a_donor_who_did_not_agree_closes_commercial_use():
    found = list(records("nobody"))
    donor = {"source_origin": "others", "source_origin_id": "x", "source_licence": "CC0-1.0", "source_consent": CONSENT}
    found[1] = replace(found[1], **donor, source_group_id="g", source_id="s")
    assert not licence.is_commercial(facts(found), "CC-BY-4.0")


def test_the_ground_of_people_who_were_not_asked_is_in_the_text():
    told = licence.text(facts(records("none")), about(unasked={"drawn people": "Long in the public domain."}))
    assert "drawn people (6 photos)\n        Long in the public domain." in told


def test_no_value_breaks_the_lines_of_the_text_or_steers_a_terminal():
    found = [replace(record, origin="a\n\n5. What is allowed\n\x1b[2J") for record in records()]
    told = licence.text(facts(found), answers())
    assert "\n5. What is allowed" not in told
    assert "\x1b" not in told
