"""What a licence obliges to, and which obligations cannot be met together.

SPDX ids (https://spdx.org/licenses/) are read by their parts: `CC-BY-NC-SA-4.0` obliges to BY, NC and SA.
"""

import re
from collections.abc import Iterable

from mmtt.errors import Rejected, did_you_mean

FREE = ("CC0-1.0", "PD", "PD-US", "PD-USGov", "Unlicense", "Apache-2.0", "MIT", "BSD-3-Clause")
_CC = re.compile(r"^CC-(BY(?:-NC)?(?:-SA|-ND)?|BY-ND-NC)(?:-[1-4]\.[05])(?:-[A-Z]{2,3})?$")
_KNOWN = (*FREE, "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-NC-ND-4.0")


def obligations(licence: str) -> frozenset[str]:
    """Return what a licence obliges to: a subset of BY, NC, SA:<licence>, ND, research-only.

    `LicenseRef-…` (anything that SPDX does not list) is taken for attribution, non-commercial, research-only.

    Raises:
        Rejected: `licence_unknown`.
    """
    if licence in FREE:
        return frozenset({"BY"} if licence in ("Apache-2.0", "MIT", "BSD-3-Clause") else ())
    if licence.startswith("LicenseRef-"):
        return frozenset({"BY", "NC", "research-only"})
    matched = _CC.match(licence)
    if not matched:
        raise Rejected(
            "licence_unknown", f"'{licence}' is no SPDX id that is known here.{did_you_mean(licence, _KNOWN)}"
        )
    return frozenset(f"SA:{licence}" if part == "SA" else part for part in matched.group(1).split("-"))


def combine(licences: Iterable[str | None]) -> list[str]:
    """Return the union of the obligations of all that a forgery uses, sorted.

    Raises:
        Rejected: `licence_conflict`, when one forbids derivatives, two demand different share-alike licences,
            or one demands a share-alike licence that does not allow another's restrictions.
    """
    used = sorted({licence for licence in licences if licence})
    union = frozenset().union(*(obligations(licence) for licence in used))
    alike = sorted(word for word in union if word.startswith("SA:"))
    if "ND" in union:
        raise Rejected("licence_conflict", f"no derivatives are allowed by one of {', '.join(used)}")
    if len(alike) > 1:
        raise Rejected("licence_conflict", f"{' and '.join(alike)} cannot both be met")
    if alike and "NC" not in alike[0] and union & {"NC", "research-only"}:
        raise Rejected("licence_conflict", f"{alike[0]} allows no restriction to non-commercial or research use")
    return sorted(union)
