"""Template texts about a dataset's forgeries, for demos and tests where no person has written yet.

They know the mask and say so: `text_origin` is `template`, the protocol `informed`. They estimate nothing about what
people see or write. Left and right are the viewer's, as in `annotation/GUIDELINES.md`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mmtt.errors import UserError
from mmtt.faces import Face
from mmtt.files import lock
from mmtt.grounding import edited_regions
from mmtt.ids import derived_id
from mmtt.images import decode_gray
from mmtt.layout import Layout
from mmtt.lexicon import claimed
from mmtt.manifest import passed, shard_paths
from mmtt.metrics.localization import ALTERED_ABOVE
from mmtt.regions import REGIONS, region_mask
from mmtt.reports import Report
from mmtt.shards import read_rows, read_table, write_table

from .template_words import AGE, COLOUR, NOTHING, OF_FAMILY, OF_MANIPULATOR, PAIRED, PLURAL, SMOOTH, Wording

Part = tuple[str, str | None]  # a region, and its side in the picture: left, right, or None for both

VERSION = 1
WRITTEN = "2026-11-26"  # the day of this version of the words: today's would make other bytes tomorrow
MIN_SHARE = 0.3  # of a region inside the mask, for it to be named
MOST = 4  # regions that a text names
WORDS = (10, 45)  # of a text
ONE_SIDED = 0.15  # the lesser side has at most this much of the greater: only the greater is named
_COLUMNS = (
    "record_id", "image_sha256", "mask", "manipulation", "manipulator", "regions", "region_shares",
    "landmarks", "landmark_scheme",
)  # fmt: skip


def write_template_reports(layout: Layout) -> int:
    """Write a template text about every forged record that passed the gates; return how many.

    `reports/reports.parquet` is whole or absent. The same records give the same texts, byte for byte.

    Raises:
        UserError: it holds reports that are no templates, or nothing is forged yet.
    """
    path = layout.root / "reports" / "reports.parquet"
    with lock(path.parent):
        if path.exists() and any(report.text_origin != "template" for report in read_table(path, Report)):
            raise UserError(f"{path} holds reports that people or models wrote; template texts do not replace them.")
        reports = sorted(_reports(layout), key=lambda report: report.record_id)
        write_table(path, reports, Report)
    return len(reports)


def _reports(layout: Layout) -> Iterator[Report]:
    accepted = passed(layout.forged)
    for shard in shard_paths(layout.forged):
        yield from (report_of(row) for row in read_rows(shard, _COLUMNS) if row["record_id"] in accepted)


def report_of(row: Mapping[str, Any]) -> Report:
    """Return the template report of a forged record, given as the columns of its row."""
    edited = dict(zip(row["regions"], row["region_shares"], strict=True))
    wording = OF_MANIPULATOR.get(row["manipulator"], OF_FAMILY[row["manipulation"]])
    regions = told(edited, wording)
    sides = _sides(row, regions)
    text = compose(wording, [(word, sides[word]) for word in regions], derived_id("words", VERSION, row["record_id"]))
    return Report(
        report_id=derived_id("template report", VERSION, row["record_id"]),
        record_id=row["record_id"],
        image_sha256=row["image_sha256"],
        rank=0,
        settled="single",
        annotator="template",
        protocol="informed",
        verdict="visible" if regions else "none_visible",
        regions=list(regions),
        text_regions=list(claimed(text, "en")),
        difficulty=None,
        text=text,
        language="en",
        text_origin="template",
        submitted=WRITTEN,
        dwell_s=None,
    )


def told(edited: Mapping[str, float], wording: Wording) -> tuple[str, ...]:
    """Return the regions that a text names, in the paper's order: those most inside the mask, at most `MOST`.

    Of parts that lie in one another one is named: the lip where its surface changed, else the mouth; the eye, not its
    pupil; the skin only where nothing else was edited as much.
    """
    real = {word: edited[word] for word in edited_regions(edited)}
    found = {word: share for word, share in real.items() if share >= MIN_SHARE} or dict(
        sorted(real.items(), key=lambda item: -item[1])[:1]
    )
    inner = wording in (AGE, COLOUR, SMOOTH)
    for kept, dropped in (("lip", "mouth") if inner else ("mouth", "lip"), ("eye", "pupil")):
        if kept in found:
            found.pop(dropped, None)
    if len(found) > 1:
        found.pop("skin", None)
    most = sorted(found, key=lambda word: (-round(found[word], 2), REGIONS.index(word)))[:MOST]
    return tuple(word for word in REGIONS if word in most)


def _sides(row: Mapping[str, Any], words: Sequence[str]) -> dict[str, str | None]:
    """Return for each region on which side of the picture the mask meets it: `left`, `right`, or None for both."""
    face = Face(np.asarray(row["landmarks"], np.float32), row["landmark_scheme"])
    mask = decode_gray(row["mask"]["bytes"]) > ALTERED_ABOVE
    right = _right_half(face, (mask.shape[0], mask.shape[1]))
    found: dict[str, str | None] = {}
    for word in words:
        inside = region_mask(face, word, (mask.shape[0], mask.shape[1])) & mask
        counts = {"left": np.count_nonzero(inside & ~right), "right": np.count_nonzero(inside & right)}
        lesser, greater = sorted(counts, key=lambda side: counts[side])
        found[word] = greater if counts[lesser] <= ONE_SIDED * counts[greater] and counts[greater] else None
    return found


def _right_half(face: Face, hw: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return what lies right of the face's midline in the picture, bool H×W; the subject's own left, if upright."""
    y, x = np.mgrid[: hw[0], : hw[1]].astype(np.float32)
    middle = face.points_68[27:31].mean(axis=0)  # the bridge of the nose
    across = face.across if face.across[0] >= 0 else -face.across
    return np.asarray((x - middle[0]) * across[0] + (y - middle[1]) * across[1] > 0, np.bool_)


def compose(wording: Wording, parts: Sequence[Part], seed: str) -> str:
    """Return a text of `WORDS` words about parts of a face, drawn by a hex seed; without parts, that nothing shows."""
    rng = np.random.default_rng(int(seed, 16))
    if not parts:
        return str(rng.choice(NOTHING))
    shuffled = [parts[place] for place in rng.permutation(len(parts))]
    first = 1 + int(rng.integers(len(parts)))
    groups = [group for group in (shuffled[:first], shuffled[first:]) if group]
    faults, openings = rng.permutation(wording.faults), rng.permutation(wording.openings)
    sentences = [
        _sentence(group, None if rng.random() < 0.7 else str(opening), str(fault), rng)
        for group, fault, opening in zip(groups, faults, openings, strict=False)
    ]
    tell = str(rng.choice(wording.tells))
    whole = " ".join([*sentences, tell])
    return whole if len(whole.split()) <= WORDS[1] else " ".join(sentences)


def _sentence(parts: Sequence[Part], opening: str | None, fault: str, rng: np.random.Generator) -> str:
    names = [_name(word, side, rng) for word, side in parts]
    listed = " and ".join(name for name in (", ".join(name for name, _ in names[:-1]), names[-1][0]) if name)
    plural = len(names) > 1 or names[0][1]
    said = opening.format(at=listed) if opening else f"{listed} {_agree(fault, plural)}"
    return f"{said[0].upper()}{said[1:]}."


def _name(word: str, side: str | None, rng: np.random.Generator) -> tuple[str, bool]:
    """Return what a part is called, and whether that is a plural."""
    plural = word in PLURAL
    name = PLURAL.get(word, word)
    if word in PAIRED:
        return (f"{rng.choice(['both', 'the two'])} {name}s", True) if side is None else (f"the {side} {name}", False)
    if side is None:
        return f"the {name}", plural
    return f"the {side} {rng.choice(['side', 'half'])} of the {name}", False


def _agree(fault: str, plural: bool) -> str:
    forms = ("", "", "are", "have", "their") if plural else ("s", "es", "is", "has", "its")
    return fault.format(**dict(zip(("s", "es", "is", "has", "its"), forms, strict=True)))
