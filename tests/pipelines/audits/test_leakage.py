"""Audits of leakage: what a fault that was planted makes of them, and what a clean dataset does."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mmtt import images
from mmtt.audit import Audit, Finding, NotApplicable, Verdict
from mmtt.evidence import Evidence
from mmtt.executors import serial
from mmtt.progress import silent
from mmtt.recipe import AuditSection
from mmtt.record import Lineage, Record
from pipelines.audits import leakage
from pipelines.audits.leakage.moved import LEAST_UNMOVED, same_when_moved
from pipelines.fingerprints import FOLDER, fingerprint, fingerprints, keep
from pipelines.grouping import correlation, thumbnail
from tests.factories import drawn, make_edit, make_forged_record, make_record, make_report, store_shards, stored_dataset

AUDITS = {audit.id: audit for audit in leakage.AUDITS}
PX = 128
SPLITS = ("train", "test", "validation")
Dataset = dict[str, Any]


photo = cache(partial(make_record, size_px=PX))
forgery = cache(partial(make_forged_record, size_px=PX))


def clean(people: int = 12) -> Dataset:
    """Pristine photos of so many people, a forgery of each, texts of many words, every third person in each split."""
    pristine = [photo(seed) for seed in range(people)]
    forged = [forgery(seed) for seed in range(people)]
    reports = [make_report(record, words(seed, 30)) for seed, record in enumerate(forged)]
    splits = {record.record_id: SPLITS[seed % 3] for seed, record in enumerate(pristine)}
    return {"pristine": pristine, "forged": forged, "splits": splits, "reports": reports, "lineage": []}


def words(seed: int, count: int) -> str:
    rng = np.random.default_rng(seed)
    return " ".join("".join(rng.choice(list("abcdefgh"), 5)) for _ in range(count))


def imported(people: int = 9) -> Dataset:
    """Forgeries without targets or lineage, as an importer writes them: each its own group."""
    records = [orphan(forgery(seed), seed) for seed in range(people)]
    splits = {record.record_id: SPLITS[seed % 3] for seed, record in enumerate(records)}
    return {"pristine": [], "forged": records, "splits": splits}


def orphan(record: Record, seed: int) -> Record:
    return replace(
        record, record_id=f"{seed:024x}", target_id=None, pristine=None, alpha=None, change=None,
        mask_rule="imported", group_id=f"{seed:024x}",
    )  # fmt: skip


def shown(record: Record, image: bytes) -> Record:
    return replace(record, image=image, image_sha256=images.sha256(image))


def copied(dataset: Dataset, change: Callable[[images.Rgb], images.Rgb], kind: str = "pristine") -> Dataset:
    """Give the first person's picture (train) to the second one (test), changed."""
    records = dataset[kind]
    picture = change(images.decode_rgb(records[0].image))
    records[1] = shown(records[1], images.encode_png(np.ascontiguousarray(picture)))
    return dataset


def recompressed(image: images.Rgb) -> images.Rgb:
    larger = cv2.resize(image, (PX + 16, PX + 16), interpolation=cv2.INTER_CUBIC)
    return cv2.imdecode(cv2.imencode(".jpg", larger, [cv2.IMWRITE_JPEG_QUALITY, 70])[1], cv2.IMREAD_COLOR)


def moved(image: images.Rgb) -> images.Rgb:
    shift = np.array([[1, 0, 1], [0, 1, -2]], np.float64)
    return cv2.warpAffine(image, shift, (PX, PX), borderMode=cv2.BORDER_REPLICATE)


def cropped(image: images.Rgb) -> images.Rgb:
    return cv2.resize(image[3:-3, 3:-3], (PX, PX), interpolation=cv2.INTER_CUBIC)


def turned(image: images.Rgb) -> images.Rgb:
    turn = cv2.getRotationMatrix2D((PX / 2, PX / 2), 2, 1)
    return cv2.warpAffine(image, turn, (PX, PX), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def person_in_two_splits() -> Dataset:
    dataset = clean()
    dataset["pristine"][1] = replace(dataset["pristine"][1], group_id=dataset["pristine"][0].group_id)
    return dataset


def donor_across_splits() -> Dataset:
    dataset = clean()
    donor = dataset["pristine"][0]
    dataset["forged"][1] = replace(dataset["forged"][1], source_id=donor.record_id, source_group_id=donor.group_id)
    return dataset


def named_twice(**same: str) -> Dataset:
    """A lineage in which the first person (train) and the second (test) share something."""
    dataset = clean()
    dataset["lineage"] = [lineage_of(record, seed) for seed, record in enumerate(dataset["pristine"])]
    dataset["lineage"][:2] = [replace(row, **same) for row in dataset["lineage"][:2]]
    return dataset


def lineage_of(record: Record, seed: int, **changes: object) -> Lineage:
    row = Lineage(
        item_digest="", record_id=record.record_id, path=f"{seed}.png", photo_sha256=f"{seed:064x}",
        photo_phash="0" * 16, face_index=0, bbox_xyxy=[0.0, 0.0, 1.0, 1.0], subject=f"person {seed}",
        group_id=record.group_id, consent_expiry=None, consent_evidence_sha256=None, withdrawal=None,
    )  # fmt: skip
    return replace(row, **changes)


def two_forgeries_of_one_photo(change: Callable[[images.Rgb], images.Rgb] = lambda image: image) -> Dataset:
    """Without lineage: other faces put onto one photo, under masks of other shapes, in train and in test."""
    dataset = imported()
    for number, seed in enumerate((0, 1)):
        image, mask = swapped(100, 200 + seed, 0.3 + 0.08 * number)
        image, mask = (np.ascontiguousarray(change(part) if seed else part) for part in (image, mask))
        record = shown(dataset["forged"][number], images.encode_png(image))
        dataset["forged"][number] = replace(record, mask=images.encode_png(mask))
    return dataset


def swapped(target: int, source: int, radius: float) -> tuple[images.Rgb, images.Gray]:
    """A whole face of one drawn person on another's head, and its mask."""
    photo, face = (cv2.resize(drawn(seed).image, (PX, PX), interpolation=cv2.INTER_AREA) for seed in (target, source))
    y, x = (np.mgrid[:PX, :PX] + 0.5) / PX
    inside = ((x - 0.5) / (radius * 0.8)) ** 2 + ((y - 0.55) / radius) ** 2 < 1
    return np.where(inside[..., None], face, photo), inside.astype(np.uint8) * np.uint8(255)


def people(*, twice: int = 0) -> Dataset:
    """A hundred named faces with embeddings of 256 numbers, each fifth in test; some in train stand again there."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(100, 256))
    again = 5 * np.arange(twice)
    vectors[again + 4] = vectors[again] + 0.5 * rng.normal(size=(twice, 256))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pristine = [make_record(seed, 64) for seed in range(len(vectors))]
    rows = zip(pristine, vectors, strict=True)
    lineage = [lineage_of(record, seed, embedding=vector.tolist()) for seed, (record, vector) in enumerate(rows)]
    splits = {record.record_id: "test" if place % 5 == 4 else "train" for place, record in enumerate(pristine)}
    return {"pristine": pristine, "forged": [], "splits": splits, "lineage": lineage}


def texts(*, share: float = 0.0, origin: str = "human") -> Dataset:
    """Twelve people with three reports each; a share of those in test is taken, a word changed, from train."""
    dataset = clean()
    by_split = {name: dataset["forged"][place::3] for place, name in enumerate(SPLITS)}
    reports = [
        make_report(record, words(9 * seed + turn, 40), rank=turn, annotator=f"a{turn}", text_origin=origin)
        for seed, record in enumerate(dataset["forged"])
        for turn in range(3)
    ]
    train = [report for report in reports if report.record_id in {record.record_id for record in by_split["train"]}]
    test = [report for report in reports if report.record_id in {record.record_id for record in by_split["test"]}]
    for old, new in list(zip(test, train, strict=True))[: round(share * len(test))]:
        reports[reports.index(old)] = replace(old, text=new.text.upper().replace(" ", ",  ", 3) + " Indeed.")
    return dataset | {"reports": reports}


def background_of_one_tone() -> Dataset:
    """Faces before one wall, with the grain of another photo each: tones are the same, details are not."""
    dataset = imported()
    _, mask = swapped(0, 0, 0.3)
    for number, record in enumerate(dataset["forged"]):
        grain = np.random.default_rng(number).normal(0, 6, (PX, PX, 3))
        wall = np.linspace(90, 220, PX)[:, None, None] + np.linspace(0, 30, PX)[:, None] + grain
        image = np.where(mask[..., None] > 0, images.decode_rgb(record.image), wall.clip(0, 255)).astype(np.uint8)
        dataset["forged"][number] = replace(
            shown(record, images.encode_png(image)), mask=images.encode_png(mask)
        )  # fmt: skip
    return dataset


def evidence_of(root: Path, dataset: Dataset) -> Evidence:
    stored_dataset(root, **dataset)
    return Evidence(root, AuditSection(), serial, lambda _: silent)


def judged(name: str, evidence: Evidence) -> tuple[Finding, Verdict]:
    audit: Audit = AUDITS[name]
    finding = audit.judge(evidence)
    return finding, audit.verdict(finding, audit.gate)


@pytest.mark.parametrize(
    ("name", "dataset"),
    [("L1", clean), ("L2", clean), ("L2", imported), ("L3", clean), ("L3", imported),
     ("L4", people), ("L5", texts)],
)  # fmt: skip
def test_a_clean_dataset_passes(name, dataset, tmp_path):
    finding, verdict = judged(name, evidence_of(tmp_path, dataset()))
    assert verdict is Verdict.PASSES, finding
    assert finding.statistic == 0 and not finding.worst


FAULTS = {
    "one subject in two splits": ("L1", person_in_two_splits, 1),
    "a donor shared across splits": ("L1", donor_across_splits, 1),
    "one photo in two splits": ("L1", lambda: named_twice(photo_sha256="f" * 64), 1),
    "one name in two splits": ("L1", lambda: named_twice(subject="one and the same"), 1),
    "near duplicates in two splits": ("L1", lambda: copied(clean(), recompressed), 1),
    "the same pixels in two splits": ("L2", lambda: copied(clean(), np.asarray), 1),
    "a recompressed picture in two splits": ("L2", lambda: copied(clean(), recompressed), 1),
    "a picture moved by 1.6 % of the side": ("L2", lambda: copied(clean(), moved), 1),
    "a picture cropped by 2 % all round": ("L2", lambda: copied(clean(), cropped), 1),
    "a picture turned by 2°": ("L1", lambda: copied(clean(), turned), 1),
    "a flipped twin": ("L2", lambda: copied(clean(), np.fliplr), 1),
    "an imported picture in two splits": ("L2", lambda: copied(imported(), recompressed, "forged"), 1),
    "two forgeries of one photo": ("L3", two_forgeries_of_one_photo, 1),
    "two forgeries of one photo, one flipped": ("L3", lambda: two_forgeries_of_one_photo(np.fliplr), 1),
    "people in two splits": ("L4", lambda: people(twice=3), 3 / 20),
    "nearly everybody in two splits": ("L4", lambda: people(twice=18), 18 / 20),
    "copied reports": ("L5", lambda: texts(share=0.25), 0.25),
}


@pytest.mark.parametrize(("name", "dataset", "statistic"), FAULTS.values(), ids=list(FAULTS))
def test_a_planted_fault_fails_its_audit_and_names_both_rows(name, dataset, statistic, tmp_path):
    told = dataset()
    finding, verdict = judged(name, evidence_of(tmp_path, told))
    assert verdict is Verdict.FAILS, finding
    assert finding.statistic == pytest.approx(statistic)
    split_of = told["splits"] | {
        record.record_id: told["splits"][record.target_id] for record in told["forged"] if record.target_id
    }
    worst = finding.worst[0]
    assert split_of[worst.record_id] != split_of[worst.other_id], worst


def test_strangers_are_not_aligned_into_one():
    copies = [thumbnail(drawn(seed).image) for seed in range(24)]
    alike = [
        (one, other)
        for one, other in combinations(range(24), 2)
        if correlation(copies[one], copies[other]) > LEAST_UNMOVED
    ]
    assert len(alike) >= 5
    assert not any(same_when_moved(copies[one], copies[other]) for one, other in alike)


def test_one_wall_behind_many_faces_is_proposed_and_refused(tmp_path):
    finding, _ = judged("L3", evidence_of(tmp_path, background_of_one_tone()))
    assert finding.statistic == 0
    assert finding.details["proposed and looked at"] > 5


def test_what_the_lineage_ties_is_no_background_twin_and_is_told_once(tmp_path):
    """Every family of one target shares its background, and lies in its split."""
    dataset = two_forgeries_of_one_photo()
    one = dataset["forged"][0].group_id
    dataset["forged"][1] = replace(dataset["forged"][1], group_id=one)
    evidence = evidence_of(tmp_path, dataset)
    twins, _ = judged("L3", evidence)
    assert (twins.statistic, twins.details["pairs that the lineage ties"]) == (0, 1)
    assert judged("L1", evidence)[0].statistic == 1


def test_many_equal_pictures_are_counted_pair_by_pair(tmp_path):
    dataset = clean()
    black = images.encode_png(np.zeros((PX, PX, 3), np.uint8))
    dataset["pristine"] = [shown(record, black) for record in dataset["pristine"]]
    finding, _ = judged("L2", evidence_of(tmp_path, dataset))
    assert finding.statistic == 4 * 4 * 3


def test_templates_are_told_apart_and_not_judged(tmp_path):
    with pytest.raises(NotApplicable, match=r"25% stand in train"):
        judged("L5", evidence_of(tmp_path, texts(share=0.25, origin="template")))


def test_one_likeness_may_be_chance_and_a_curator_who_says_no_silences_it(tmp_path):
    dataset = people(twice=1)
    evidence = evidence_of(tmp_path, dataset)
    finding, verdict = judged("L4", evidence)
    assert verdict is Verdict.DOUBTFUL and finding.statistic == pytest.approx(1 / 20)
    first, second = (dataset["pristine"][place].record_id for place in (0, 4))
    (tmp_path / "identities.csv").write_text(f"first,second,same\n{first},{second},no\n")
    assert judged("L4", evidence)[0].statistic == 0


def test_without_embeddings_or_texts_the_sentence_says_what_is_missing(tmp_path):
    evidence = evidence_of(tmp_path, imported())
    with pytest.raises(NotApplicable, match="embeddings"):
        judged("L4", evidence)
    with pytest.raises(NotApplicable, match="texts"):
        judged("L5", evidence)


def test_a_damaged_picture_is_counted_and_stops_nothing(tmp_path):
    dataset = copied(clean(), np.fliplr)
    dataset["pristine"][2] = shown(dataset["pristine"][2], b"no picture")
    finding, verdict = judged("L2", evidence_of(tmp_path, dataset))
    assert verdict is Verdict.FAILS
    assert finding.details["pictures that cannot be decoded"] == 1


def test_fingerprints_are_kept_and_never_trusted_for_another_shard(tmp_path):
    dataset = clean(6)
    before = fingerprints(evidence_of(tmp_path, dataset))
    kept = sorted((tmp_path / "private" / FOLDER).glob("*.parquet"))
    assert len(kept) == 2
    stamps = [path.stat().st_mtime_ns for path in kept]
    assert fingerprints(Evidence(tmp_path, AuditSection(), serial, lambda _: silent)).equals(before)
    assert [path.stat().st_mtime_ns for path in kept] == stamps
    after = fingerprints(evidence_of(tmp_path, copied(dataset, np.fliplr)))
    assert (after["pixels"] != before["pixels"]).tolist() == [place == 1 for place in range(12)]
    kept[0].write_bytes(b"torn")
    again = fingerprints(Evidence(tmp_path, AuditSection(), serial, lambda _: silent))
    assert again.equals(after)


def test_fingerprints_of_a_shard_that_is_gone_go_too(tmp_path):
    evidence = evidence_of(tmp_path, clean(6))
    fingerprints(evidence)
    kept = set((tmp_path / "private" / FOLDER).glob("*.parquet"))
    left = next(iter(kept)).with_name("pristine-9.parquet")
    left.write_bytes(b"of somebody who was taken out")
    fingerprints(Evidence(tmp_path, AuditSection(), serial, lambda _: silent))
    assert set(left.parent.glob("*.parquet")) == kept


def test_a_stage_goes_on_where_fingerprints_cannot_be_kept(tmp_path):
    evidence = evidence_of(tmp_path, clean(6))
    shard = Path(evidence.rows["shard"].iloc[0])
    keep(shard)
    assert len(list((tmp_path / "private" / FOLDER).glob("*.parquet"))) == 1
    shutil.rmtree(tmp_path / "private" / FOLDER)
    (tmp_path / "private" / FOLDER).write_bytes(b"in the way")
    keep(shard)


@pytest.mark.parametrize("kinds", [("pristine",), ("forged",), ("pristine", "forged")])
def test_where_no_picture_can_be_decoded_nothing_is_claimed(kinds, tmp_path):
    dataset = clean(6) | {"reports": []}
    dataset.update({kind: [shown(record, b"no picture") for record in dataset[kind]] for kind in kinds})
    evidence = evidence_of(tmp_path, dataset)
    assert judged("L1", evidence)[1] is Verdict.PASSES
    for name in ("L2", "L3"):
        try:
            assert judged(name, evidence)[1] is Verdict.PASSES
        except NotApplicable as missing:
            assert "in two splits" in str(missing) or "one split" in str(missing)


def test_a_mask_over_everything_leaves_no_background():
    image, _ = make_edit(0, PX)
    print_ = fingerprint(image, np.full((PX, PX), 255, np.uint8))
    assert print_.background is None and print_.tiny_background is None
    flipped = fingerprint(np.ascontiguousarray(image[:, ::-1]), np.zeros((PX, PX), np.uint8))
    assert (flipped.phash, flipped.mirror_phash) == (print_.mirror_phash, print_.phash)


def test_a_release_is_audited_without_lineage_and_nothing_is_kept(tmp_path):
    dataset = copied(clean(6), recompressed)
    split_of = dataset["splits"]
    rows = [
        replace(record, split=split_of[record.target_id or record.record_id])
        for record in (*dataset["pristine"], *dataset["forged"])
    ]
    store_shards(tmp_path, rows)
    before = sorted(tmp_path.rglob("*"))
    evidence = Evidence(tmp_path, AuditSection(), serial, lambda _: silent)
    assert [judged(name, evidence)[1] for name in ("L1", "L2", "L3")] == [Verdict.FAILS, Verdict.FAILS, Verdict.PASSES]
    assert sorted(tmp_path.rglob("*")) == before


def test_too_few_known_strangers_say_so(tmp_path):
    dataset = people()
    dataset["lineage"] = [replace(row, subject=None) for row in dataset["lineage"]]
    with pytest.raises(NotApplicable, match="Only 0 pairs"):
        judged("L4", evidence_of(tmp_path, dataset))
