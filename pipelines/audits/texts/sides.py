"""X2: whether texts that say left or right name the side that was edited, and contradict themselves."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mmtt.audit import MOST_EXAMPLES, Example, Finding, NotApplicable
from mmtt.errors import DamagedError
from mmtt.evidence import Chunk, Evidence, Pixels, chunks, records_of
from mmtt.faces import face_of
from mmtt.grounding import EDITED_FROM
from mmtt.landmarks import UNKNOWN
from mmtt.masks import MaskRule
from mmtt.regions import fill, outline

from ..shares import grouped_share
from .reading import Read, readings

PAIRED = ("eye", "pupil", "eyebrow", "cheek")  # regions that landmarks outline one by one
ALONE_BELOW = 0.01  # share of a region below which its side was left alone
_OTHER = {"left": "right", "right": "left"}
_CONTRADICT = "say of one part on one side both that it is wrong and that it is fine"
_FEWEST = 5  # texts of an annotator whose share is told
_MOST_TOLD = 20


class _Checked(NamedTuple):
    """A text that names a side which can be checked.

    ours: its writer was told to name the picture's sides. agrees: with those. contradicts: itself. named: side and part
    as it has them.
    """

    record_id: str
    annotator: str
    component: str
    ours: bool
    agrees: bool
    contradicts: bool
    named: str


def judge_sides(evidence: Evidence) -> Finding:
    """Hold the sides that texts name against those that were edited.

    Annotators here are told to write the picture's left and right. What others were told is unknown: texts that were
    imported, or whose protocol is unknown, are held to whichever of the picture's and the person's sides more of them
    follow.

    Raises:
        NotApplicable: no text can be checked.
    """
    table = readings(evidence)
    checked = _checked(evidence, table)
    others = [one.agrees for one in checked if not one.ours]
    mirrored = bool(others) and sum(others) * 2 < len(others)
    wrong = [one.agrees is (mirrored and not one.ours) for one in checked]
    bad = [turned or one.contradicts for turned, one in zip(wrong, checked, strict=True)]
    share = grouped_share(bad, np.ones(len(bad)), [one.component for one in checked])
    return Finding(
        statistic=share.value,
        low=share.low,
        high=share.high,
        n=len(checked),
        of="texts",
        sentence=f"{share.value:.1%} of {len(checked):,} texts that name a side name the one that was left alone, "
        "or contradict themselves.",
        details={
            "texts that name the other side": sum(wrong),
            f"texts that {_CONTRADICT}": sum(one.contradicts for one in checked),
            "the same, share of all texts read": float(np.mean([bool(read.contradicted) for read in table["read"]])),
            "texts of others are held to the person's sides, not the picture's": mirrored,
            "share by annotator, worst first": _by_annotator(checked, bad),
        },
        worst=tuple(_examples(checked, wrong))[:MOST_EXAMPLES],
    )


def _examples(checked: list[_Checked], wrong: list[bool]) -> Iterator[Example]:
    for one, turned in zip(checked, wrong, strict=True):
        if turned:
            yield Example(one.record_id, f"a text names the {one.named}; the other one was edited")
        elif one.contradicts:
            yield Example(one.record_id, f"one of the texts that {_CONTRADICT}")


def _checked(evidence: Evidence, table: pd.DataFrame) -> list[_Checked]:
    """Return the texts that name a side of a part of which only one side was edited; looked up in the pixels."""
    sided = table[[bool(_sides(read)) for read in table["read"]]]
    rows = evidence.forged[evidence.forged["landmark_scheme"] != UNKNOWN]
    if rows.empty:
        raise NotApplicable("No forged face has landmarks: nothing says which of its two sides was edited.")
    rows = evidence.drawn(rows[rows["record_id"].isin(sided["record_id"])], evidence.settings.sample)
    found = evidence.map("audit: sides", _edited_sides, chunks(rows))
    edited = {record_id: sides for some in found for record_id, sides in some.items()}
    known = rows.drop_duplicates("record_id").set_index("record_id")
    components, imported = known["component"], known["mask_rule"] == MaskRule.IMPORTED
    checked = []
    for text in sided[sided["record_id"].isin(edited)].itertuples():
        said, true = _sides(text.read), edited[text.record_id]
        both = [word for word in said if word in true]
        if both:
            off = [word for word in both if said[word] != true[word]]
            word = (off or both)[0]
            checked.append(
                _Checked(
                    record_id=text.record_id,
                    annotator=text.annotator,
                    component=components[text.record_id],
                    ours=text.protocol not in ("", "unknown") and not imported[text.record_id],
                    agrees=not off,
                    contradicts=bool(text.read.contradicted),
                    named=f"{said[word]} {word}",
                )
            )
    if not checked:
        parts = ", ".join(PAIRED)
        raise NotApplicable(f"No text says left or right of a part ({parts}) of which only one side was edited.")
    return checked


def _sides(read: Read) -> dict[str, str]:
    return {word: side for word, side in read.sides.items() if word in PAIRED and side in _OTHER}


def _edited_sides(chunk: Chunk) -> dict[str, dict[str, str]]:
    """Return for each record the parts of which only one side was edited, and which, as one sees the picture."""
    found = {}
    for record in records_of(chunk):
        try:
            found[record.record_id] = _one_sided(Pixels(record))
        except DamagedError:  # M1 counts those
            continue
    return found


def _one_sided(pixels: Pixels) -> dict[str, str]:
    face, mask, found = face_of(pixels.record), pixels.mask, {}
    for word in PAIRED:
        polygons = sorted(outline(face, word).covers, key=lambda polygon: float(polygon[:, 0].mean()))
        if len(polygons) != 2:
            continue
        shares = [_share(mask, fill([polygon], (mask.shape[0], mask.shape[1]))) for polygon in polygons]
        if min(shares) < ALONE_BELOW and max(shares) >= EDITED_FROM:
            found[word] = "left" if shares[0] > shares[1] else "right"
    return found


def _share(mask: Any, area: Any) -> float:
    return float((mask[area] > 0).mean()) if area.any() else 0.0


def _by_annotator(checked: list[_Checked], bad: list[bool]) -> Mapping[str, float]:
    texts = Counter(one.annotator for one in checked)
    wrong = Counter(one.annotator for one, is_bad in zip(checked, bad, strict=True) if is_bad)
    shares = {name: wrong[name] / count for name, count in texts.items() if count >= _FEWEST}
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0]))[:_MOST_TOLD])
