"""Identities: which groups show one person, as their embeddings say and the curator decides.

Two groups are tied where faces of theirs are nearer than the calibrated threshold; subjects that the sources
tell apart are not, and `identities.csv` comes before both. What people should look at is shown on a private page.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from mmtt import html, images
from mmtt.files import file_sha256, write_atomically
from mmtt.ids import digest
from mmtt.layout import Layout
from mmtt.manifest import shard_paths
from mmtt.recipe import IdentitySection
from mmtt.record import Lineage
from mmtt.shards import Lookup

from .comparison import Compared, Pair, comparable, compare
from .decisions import read_decisions, require_one_split
from .embeddings import Calibration, Faces, TooFewPairs, calibrate
from .grouping import Crossing

if TYPE_CHECKING:
    from .plan import Planned

SHOWN_PX, JPEG_QUALITY = 320, 82
# Ties for each group: at half a tie a random graph grows one giant piece; a tenth of that does little harm.
_BEARABLE = 0.05


@dataclass(frozen=True)
class IdentitySummary:
    """What was learned about who is who: for the user, not for the plan.

    `chance` is the number of pairs that the false-alarm share lets expect above the threshold by chance alone.
    """

    faces: int
    groups: int
    unusable: int
    calibration: Calibration
    ties: int
    chance: float | None
    doubtful: int
    contested: int
    said_same: int
    said_different: int
    page: Path
    crossing: Crossing | None = None


def mark(layout: Layout) -> str:
    """Return the digest of all that decides who is who: embeddings and decisions."""
    paths = (layout.lineage, layout.identities)
    return digest([file_sha256(path) if path.exists() else None for path in paths])


def identify(
    layout: Layout, faces: Faces, section: IdentitySection, split_of: Mapping[str, str]
) -> tuple[list[tuple[str, str]], IdentitySummary | None]:
    """Return the ties of group ids that embeddings and decisions make, sorted, and write the review page.

    `split_of` says the split of each record that an earlier plan put into one. Where no two groups have embeddings,
    only the decisions tie, there is no summary, and no page.

    Raises:
        UserError: a wrong row in `identities.csv`, or one that says yes across two splits; a threshold that cannot
            be calibrated.
    """
    record_ids = [row.record_id for row in faces.rows]
    decisions = read_decisions(layout.identities, record_ids, faces.person)
    require_one_split(layout.identities, decisions, record_ids, split_of, layout.splits)
    decided = {_groups(faces.rows[row.first], faces.rows[row.second]) for row in decisions.yes}
    groups = len(np.unique(faces.group[faces.at]))
    calibration = _calibrated(faces, section) if groups > 1 else None
    if calibration is None:
        layout.identities_page.unlink(missing_ok=True)
        return sorted(decided), None
    compared = compare(faces, calibration.threshold, section.doubt, decisions, split_of)
    _write_page(layout, calibration, section, compared, split_of)
    alarms = calibration.false_alarms
    summary = IdentitySummary(
        faces=len(faces.at),
        groups=groups,
        unusable=faces.unusable,
        calibration=calibration,
        ties=len(compared.ties),
        chance=None if alarms is None else alarms * compared.pairs,
        doubtful=compared.doubtful_count,
        contested=compared.contested_count,
        said_same=len(decisions.yes),
        said_different=decisions.no,
        page=layout.identities_page,
        crossing=_crossing(compared, split_of),
    )
    return sorted(decided | set(compared.ties)), summary


def _crossing(compared: Compared, split_of: Mapping[str, str]) -> Crossing | None:
    if not compared.crossing:
        return None
    first, second = (row.record_id for row in compared.crossing[0][:2])
    return Crossing(compared.crossing_count, first, second, (split_of[first], split_of[second]))


def _groups(first: Lineage, second: Lineage) -> tuple[str, str]:
    low, high = sorted((first.group_id, second.group_id))
    return low, high


def _calibrated(faces: Faces, section: IdentitySection) -> Calibration | None:
    """The calibration; None where there is too little to calibrate on, and nobody to tell apart either."""
    try:
        return calibrate(faces, section)
    except TooFewPairs:
        if comparable(faces):
            raise
        return None


def _write_page(
    layout: Layout, calibration: Calibration, section: IdentitySection, compared: Compared, split_of: Mapping[str, str]
) -> None:
    chapters = {"crossing": compared.crossing, "doubtful": compared.doubtful, "contested": compared.contested}
    lookup = Lookup(shard_paths(layout.pristine)) if any(chapters.values()) else None
    threshold = calibration.threshold
    page = html.render(
        __package__ or "",
        "identities.html.j2",
        threshold=threshold,
        given=calibration.given,
        doubt=section.doubt,
        rate=calibration.false_alarms or 0.0,
        doubtful_count=compared.doubtful_count,
        contested_count=compared.contested_count,
        crossing_count=compared.crossing_count,
        splits=layout.splits.relative_to(layout.root).as_posix(),
        **{name: [_shown(pair, lookup, threshold, split_of) for pair in pairs] for name, pairs in chapters.items()},
    )
    write_atomically(layout.identities_page, page.encode("utf-8", "backslashreplace"))


def _shown(pair: Pair, lookup: Lookup | None, threshold: float, split_of: Mapping[str, str]) -> dict[str, Any]:
    assert lookup is not None
    rows = (pair.first, pair.second)
    return {
        "cosine": pair.cosine,
        "tied": pair.cosine > threshold,
        "splits": [split_of.get(row.record_id) for row in rows],
        "faces": [{"row": row, "uri": _picture(lookup.get(row.record_id).image)} for row in rows],
    }


def _picture(data: bytes) -> str:
    image = images.decode_rgb(data)
    scale = min(1.0, SHOWN_PX / max(image.shape[:2]))
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return html.data_uri(images.encode_jpeg(small, JPEG_QUALITY), "image/jpeg")


def tell(planned: "Planned") -> list[str]:
    """Return what a plan learned about who is who, a sentence a line."""
    told = [] if planned.identity is None else _told(planned.identity)
    if planned.crossing is not None:
        told.append(_crossed(planned.crossing, "of one picture", "Remove one of them"))
    if planned.largest is not None:
        big = planned.largest
        size = f"{_count(big.records, 'record')} of {_count(big.groups, 'group')}"
        told.append(f"Largest component: {big.component_id}, {size}, {html.percent(big.share)} of the dataset.")
    return told


def _told(found: IdentitySummary) -> list[str]:
    cal = found.calibration
    how = "given by the recipe" if cal.given else f"calibrated on {_count(cal.different, 'known-different pair')}"
    rule = f"a cosine above {cal.threshold:.4f} counts as one person ({how})"
    told = [f"Identity: {_count(found.faces, 'face')} compared; {rule}."]
    known = [
        f"{html.percent(share)} of {_count(count, f'known-{kind} pair')}"
        for kind, count, share in (("different", cal.different, cal.false_alarms), ("same", cal.same, cal.recall))
        if share is not None
    ]
    told += [f"Above it lie {' and '.join(known)}."] if known else []
    told.append(f"Embeddings tie {_count(found.ties, 'pair')} of groups; {_decided(found)}.")
    if found.chance is not None and found.chance > _BEARABLE * found.groups:
        told.append(_too_many(found, found.chance))
    if found.unusable:
        told.append(f"{_count(found.unusable, 'embedding')} without a length or with NaN: counted as none.")
    if found.doubtful or found.contested:
        contested = f"{_count(found.contested, 'pair')} above the threshold under two names"
        told.append(f"To look at: {_count(found.doubtful, 'pair')} in doubt, {contested}; {found.page} (private).")
    if found.crossing is not None:
        way = f"Look at {found.page} (private), say no in identities.csv where they only look alike"
        told.append(_crossed(found.crossing, "of one person by their embeddings", way))
    return told


def _crossed(found: Crossing, what: str, way: str) -> str:
    example = f"{found.first} in {found.splits[0]}, {found.second} in {found.splits[1]}"
    return (
        f"Across splits: {_count(found.count, 'pair')} of records {what} in which an earlier plan put the two into "
        f"different splits, where they stay ({example}). {way}, or remove plan/splits.parquet to draw every split anew."
    )


def _decided(found: IdentitySummary) -> str:
    return f"identities.csv ties {found.said_same:,} and keeps {found.said_different:,} apart"


def _too_many(found: IdentitySummary, chance: float) -> str:
    """Whether chance alone would chain strangers together, and the rate at which it would not."""
    pairs = chance / (found.calibration.false_alarms or 1)
    rate = f"{_BEARABLE * found.groups / pairs:.0e}"
    return (
        f"By chance alone about {round(chance):,} pairs of strangers lie above it and may chain the {found.groups:,} "
        f"groups together: set plan.identity.false_alarm_rate to {rate} or less, or a higher threshold."
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
