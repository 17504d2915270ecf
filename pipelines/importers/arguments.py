"""What a user says of a whole dataset, judged before anything of it is read."""

import re

from mmtt.consent import require_known
from mmtt.errors import Rejected, UserError
from mmtt.licences import obligations
from mmtt.words import cut

MOST_LETTERS = 200
# https://www.rfc-editor.org/rfc/rfc5646, its shape: a language, then subtags of up to eight letters and digits.
_TAG = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*")


def require_licence(licence: str) -> None:
    """Refuse a licence that is neither known nor well-formed as one's own.

    Raises:
        UserError: it is not.
    """
    require_name("--licence", licence)
    try:
        obligations(licence)
    except Rejected as reason:
        own = "after LicenseRef- stand only letters of ASCII, digits, '.' and '-', as SPDX has it."
        told = f" '{licence}': {own}" if licence.startswith("LicenseRef-") else f": {reason.detail}"
        raise UserError(f"--licence{told}") from reason


def require_consent(consent: str) -> None:
    """Refuse words that are none of `mmtt.consent.WORDS`.

    Raises:
        UserError: there is such a word.
    """
    require_name("--consent", consent)
    try:
        require_known(consent)
    except Rejected as reason:
        raise UserError(f"--consent: {reason.detail}") from reason


def require_language(language: str) -> None:
    """Refuse what does not have the shape of a BCP 47 tag.

    Raises:
        UserError: it does not.
    """
    if len(language) > MOST_LETTERS or not _TAG.fullmatch(language):
        raise UserError(f"--language '{shortened(language)}' is no BCP 47 tag, such as en, zh-Hant or pt-BR.")


def require_name(option: str, name: str) -> None:
    """Refuse what no name is: empty, endless, or with characters that cannot be printed.

    Raises:
        UserError: it is that.
    """
    if not name.strip() or len(name) > MOST_LETTERS or not name.isprintable():
        told = f"{option} '{shortened(name)}'"
        raise UserError(f"{told} must have 1 to {MOST_LETTERS} characters, all of which can be printed.")


def shortened(text: str, letters: int = 80) -> str:
    """Return a stranger's words as a sentence may hold them: on one line, and cut where they are endless."""
    return cut(" ".join(text[: 2 * letters].split()), letters)
