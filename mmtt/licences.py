"""What a licence obliges to, and which obligations cannot be met together.

SPDX ids (https://spdx.org/licenses/) are read by their parts: `CC-BY-NC-SA-4.0` obliges to BY, NC and SA.

Three decisions. Whether a picture adapts the weights that made it is unsettled, so Creative Commons terms count in
every part. What a program puts out is no derivative of its code, so a software licence's copyleft does not reach from
the code (https://www.gnu.org/licenses/gpl-faq.html#WhatCaseIsOutputGPL). OpenRAIL licences of models forbid uses, also
of what the model makes, but claim no rights in it (their section on output): that is an obligation of its own, which
is told and conflicts with nothing.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator

from mmtt.errors import Rejected, did_you_mean

Part = Literal["photo", "donor", "code", "weights"]

PUBLIC_DOMAIN = ("CC0-1.0", "PD", "PD-US", "PD-USGov", "Unlicense")
PERMISSIVE = ("Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC")
COPYLEFT = (
    *(f"{name}-{till}" for name in ("GPL-2.0", "GPL-3.0", "AGPL-3.0", "LGPL-2.1", "LGPL-3.0")
      for till in ("only", "or-later")),
    "MPL-2.0",
)  # fmt: skip
# Not on SPDX's list; the names are those of the licences' own titles.
OPEN_RAIL = ("OpenRAIL-M", "OpenRAIL++-M", "CreativeML-OpenRAIL-M", "CreativeML-OpenRAIL++-M", "BigScience-OpenRAIL-M")
_CC = re.compile(r"^CC-(BY(?:-NC)?(?:-SA|-ND)?|BY-ND-NC)(?:-[1-4]\.[05])(?:-[A-Z]{2,3})?$")
_OF_ONES_OWN = re.compile(r"LicenseRef-[A-Za-z0-9.-]+")
_OFTEN = ("CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-NC-ND-4.0")
_KNOWN = (*PUBLIC_DOMAIN, *PERMISSIVE, *COPYLEFT, *OPEN_RAIL, *_OFTEN)

_WHOSE: Mapping[Part, str] = MappingProxyType(
    {"photo": "the photo's", "donor": "the donor's", "code": "the program's", "weights": "the weights'"}
)


def obligations(licence: str) -> frozenset[str]:
    """Return what a licence obliges to: a subset of BY, NC, SA:<licence>, ND, research-only, use-restricted:<licence>.

    `LicenseRef-…` (anything that SPDX does not list) is taken for attribution, non-commercial, research-only.

    Raises:
        Rejected: `licence_unknown`.
    """
    if licence in PUBLIC_DOMAIN:
        return frozenset()
    if licence in PERMISSIVE:
        return frozenset({"BY"})
    if licence in COPYLEFT:
        return frozenset({"BY", f"SA:{licence}"})
    if licence in OPEN_RAIL:
        return frozenset({f"use-restricted:{licence}"})
    if _OF_ONES_OWN.fullmatch(licence):
        return frozenset({"BY", "NC", "research-only"})
    matched = _CC.match(licence)
    if not matched:
        hint = did_you_mean(licence, _KNOWN)
        raise Rejected("licence_unknown", f"'{licence}' is no SPDX id that is known here.{hint}")
    return frozenset(f"SA:{licence}" if part == "SA" else part for part in matched.group(1).split("-"))


def _known(licence: str) -> str:
    try:
        obligations(licence)
    except Rejected as reason:
        raise ValueError(reason.detail) from None
    return licence


Licence = Annotated[str, AfterValidator(_known)]
"""An option or column that holds a licence: an SPDX id, the name of an OpenRAIL licence, or `LicenseRef-…`."""


def combine(licences: Mapping[Part, str | None]) -> list[str]:
    """Return the union of the obligations of all that a forgery uses, sorted.

    Args:
        licences: of each part that there is: the target's photo, the donor's, the code, the weights.

    Raises:
        Rejected: `licence_conflict`, naming the terms and whose they are, when one forbids derivatives, two demand
            different share-alike licences, or one demands a share-alike licence that does not allow another's
            restrictions. `licence_unknown`.
    """
    owed = {part: _owed(part, licence) for part in _WHOSE if (licence := licences.get(part))}
    named = {part: f"{_WHOSE[part]} {licences[part]}" for part in owed}
    conflicts = [f"{named[part]} allows no derivatives" for part, words in owed.items() if "ND" in words]
    for one, other in combinations(owed, 2):
        conflicts += _between(named[one], owed[one], named[other], owed[other])
    if conflicts:
        raise Rejected("licence_conflict", "; ".join(conflicts))
    return sorted(frozenset[str]().union(*owed.values()))


def _owed(part: Part, licence: str) -> frozenset[str]:
    try:
        words = obligations(licence)
    except Rejected as reason:
        raise Rejected(reason.code, f"{_WHOSE[part]} licence: {reason.detail}") from None
    return words - {f"SA:{licence}"} if part == "code" and licence in COPYLEFT else words


def _between(one: str, owed: frozenset[str], other: str, owed_there: frozenset[str]) -> Iterator[str]:
    alike, alike_there = _alike(owed), _alike(owed_there)
    if alike and alike_there and alike != alike_there:
        yield f"{one} and {other} each demand their own licence for what is made of them"
        return
    for demanding, words, restricting, restrictions in ((one, owed, other, owed_there), (other, owed_there, one, owed)):
        # A share-alike licence that is itself non-commercial keeps commerce out as research-only terms do.
        if _alike(words) and "NC" not in words and restrictions & {"NC", "research-only"}:
            use = "research" if "research-only" in restrictions else "non-commercial use"
            yield f"{demanding} allows no restriction to {use}, which {restricting} demands"


def _alike(words: frozenset[str]) -> frozenset[str]:
    return frozenset(word for word in words if word.startswith("SA:"))
