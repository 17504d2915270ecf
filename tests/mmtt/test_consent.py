"""Consent: which words there are, and whether they cover a use on a day."""

from datetime import date

import pytest

from mmtt.consent import FORGE, RELEASE_FORGED, RELEASE_PRISTINE, is_asked, require, require_known
from mmtt.errors import Rejected

DAY = date(2026, 11, 27)

USES = [
    ("manipulation", FORGE, None, None),
    ("manipulation, redistribution", RELEASE_FORGED, None, None),
    ("Redistribution", RELEASE_PRISTINE, "2026-11-27", None),  # the last day is still one
    ("redistribution", RELEASE_PRISTINE, "2026-11-26", "consent_expired"),
    ("redistribution commercial", FORGE, None, "no_consent"),
    ("manipulation", RELEASE_FORGED, None, "no_consent"),
    ("none", FORGE, None, "not_asked"),
    ("", RELEASE_PRISTINE, None, "not_asked"),
    ("nobody", RELEASE_FORGED, "2000-01-01", None),  # no person is shown
    ("given", FORGE, None, "no_consent"),  # somebody else's word
]


@pytest.mark.parametrize(("words", "needed", "expiry", "code"), USES)
def test_a_use_needs_all_its_words_and_a_consent_that_is_not_over(words, needed, expiry, code):
    if code is None:
        require(words, needed, DAY, expiry)
        return
    with pytest.raises(Rejected) as caught:
        require(words, needed, DAY, expiry)
    assert caught.value.code == code
    assert caught.value.detail


@pytest.mark.parametrize("words", ["", "none", "nobody", "manipulation", "COMMERCIAL,manipulation  redistribution"])
def test_words_of_the_vocabulary_are_known(words):
    require_known(words)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("manipulaton", "'manipulaton' is no word of a consent. Did you mean 'manipulation'?"),
        ("yes", "'yes' is no word of a consent. Known: commercial, manipulation, nobody, none, redistribution."),
        ("none redistribution", "'none' stands alone; here it is 'none redistribution'"),
        ("manipulation nobody", "'nobody' stands alone; here it is 'manipulation nobody'"),
    ],
)
def test_other_words_and_contradictions_are_refused_with_the_nearest_right_one(words, told):
    with pytest.raises(Rejected) as caught:
        require_known(words)
    assert (caught.value.code, caught.value.detail) == ("bad_consent", told)


def test_who_was_asked_is_told_from_who_was_not():
    assert [is_asked(words) for words in ("", "none", "None", "nobody", "commercial")] == [False] * 3 + [True] * 2
