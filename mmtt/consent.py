"""Consent: what a person agreed to, until when, and whether that covers a use.

A consent is a few words of one vocabulary, apart by blanks: what a person agreed to (`SCOPES`), `none` where nobody was
asked, `nobody` where no person is shown (a drawing). Words of others' datasets that are none of these agree to nothing.
"""

from collections.abc import Collection
from datetime import date

from mmtt.errors import Rejected, did_you_mean

SCOPES = ("manipulation", "redistribution", "commercial")
UNASKED = "none"
NOBODY = "nobody"
WORDS = (*SCOPES, UNASKED, NOBODY)
FORGE = frozenset({"manipulation"})
RELEASE_PRISTINE = frozenset({"redistribution"})
RELEASE_FORGED = FORGE | RELEASE_PRISTINE


def words(consent: str) -> frozenset[str]:
    """Return the words of a consent, in lower case; commas part them as well as blanks."""
    return frozenset(consent.replace(",", " ").lower().split())


def require_known(consent: str) -> None:
    """Refuse words that are none of the vocabulary, or that contradict one another.

    Raises:
        Rejected: `bad_consent`.
    """
    given = words(consent)
    for word in sorted(given - {*WORDS}):
        raise Rejected("bad_consent", f"'{word}' is no word of a consent.{did_you_mean(word, WORDS)}")
    for word in sorted(given & {UNASKED, NOBODY}):
        if len(given) > 1:
            raise Rejected("bad_consent", f"'{word}' stands alone; here it is '{consent}'")


def is_asked(consent: str) -> bool:
    """Whether somebody was asked, whatever they said."""
    return not words(consent) <= {UNASKED}


def require(consent: str, needed: Collection[str], on: date, expiry: str | None = None) -> None:
    """Refuse a use that a consent does not cover.

    Args:
        consent: the words.
        needed: what the use asks for, of `SCOPES`.
        on: the day of the use.
        expiry: the last day on which the consent holds, ISO 8601; None or empty if it does not end.

    Raises:
        Rejected: `not_asked` where nobody was, `no_consent` where a word is missing, `consent_expired`.
    """
    given = words(consent)
    if NOBODY in given:
        return
    if not is_asked(consent):
        raise Rejected("not_asked", f"nobody was asked; needed: {' '.join(sorted(needed))}")
    if missing := sorted(set(needed) - given):
        raise Rejected("no_consent", f"the consent '{consent}' does not cover {' and '.join(missing)}")
    if expiry and date.fromisoformat(expiry) < on:
        raise Rejected("consent_expired", f"the consent ended on {expiry}")
