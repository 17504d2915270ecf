"""What the tests are made of: small true records, and tiny datasets of drawn people. No photo is needed.

A record is made the way the pipelines make it (one composite, one mask rule), so that `check` passes and
every fault that a test plants is the only one.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mmtt import images, manipulator, regions
from mmtt.executors import serial
from mmtt.faces import Face
from mmtt.ids import derived_id
from mmtt.layout import Layout
from mmtt.manifest import assemble_manifest
from mmtt.manipulator import Edit
from mmtt.masks import MaskRule
from mmtt.recipe import Recipe
from mmtt.record import Assignment, Lineage, Record, Rejection
from mmtt.reports import Report
from mmtt.shards import Footer, ShardWriter, side_path, write_table
from pipelines.drawing import DrawnPerson, draw_person
from tests.pipelines.shapes import random_face, random_photo

DRAWN_PX = 512
TODAY = date(2026, 11, 27)


def make_face(seed: int = 0, size_px: int = 64, scheme: str = "openpose_70") -> Face:
    """Return a random face that lies inside a frame of that size."""
    return random_face(np.random.default_rng(seed), size_px, scheme)


def make_record(seed: int = 0, size_px: int = 64, **changes: Any) -> Record:
    """Return a pristine record that `check` trusts, with some fields changed."""
    image = images.encode_png(random_photo(np.random.default_rng(seed), size_px))
    face = make_face(seed, size_px)
    record = Record(
        record_id=derived_id("test", seed, size_px),
        image_sha256=images.sha256(image),
        image=image,
        mask=images.encode_png(np.zeros((size_px, size_px), np.uint8)),
        landmarks=face.landmarks.tolist(),
        landmark_scheme=face.scheme,
        landmark_finder=face.finder,
        align_matrix=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        template="ffhq_512",
        origin="drawn people",
        origin_id=f"drawn_{seed}",
        licence="CC0-1.0",
        consent="none",
        group_id=derived_id("group", seed),
    )
    return replace(record, **changes)


def make_edit(seed: int = 0, size_px: int = 64) -> tuple[images.Rgb, Edit]:
    """Return a target, and an edit that darkens a soft disc on its face (support: the disc's core)."""
    target = random_photo(np.random.default_rng(seed), size_px)
    y, x = np.mgrid[:size_px, :size_px]
    alpha = np.clip(1.6 - np.hypot(x - size_px / 2, y - size_px * 0.6) / (size_px / 6), 0, 1).astype(np.float32)
    return target, Edit((target // 2).astype(np.uint8), alpha, support=alpha > 0.5)


def within_hole(edit: Edit) -> Edit:
    """Return an edit that keeps to its hole: alpha is 0 outside its support."""
    return edit._replace(alpha=np.where(edit.support, edit.alpha, np.float32(0)))


def make_forged_record(seed: int = 0, size_px: int = 64, rule: str = "blend", **changes: Any) -> Record:
    """Return a forged record of `make_record(seed, size_px)` that `check` trusts, with some fields changed."""
    base, rule = make_record(seed, size_px), MaskRule(rule)
    target, edit = make_edit(seed, size_px)
    full_frame = rule is MaskRule.NULL_EDIT
    edit = within_hole(edit) if rule is MaskRule.HOLE else edit._replace(null=target, intent=edit.support)
    forged = manipulator.finish(target, edit, rule, 0)
    shares = regions.edited_shares(make_face(seed, size_px), forged.mask)
    image = images.encode_png(forged.image)
    record = replace(
        base,
        record_id=derived_id("test", "forged", seed, size_px, rule),
        image_sha256=images.sha256(image),
        target_id=base.record_id,
        image=image,
        mask=images.encode_png(forged.mask),
        pristine=base.image,
        alpha=images.encode_png(forged.alpha),
        change=images.encode_png(forged.change),
        manipulation="recolour",
        manipulator="darken",
        manipulator_version="1",
        parameters='{"regions": ["nose"]}',
        seed=f"{seed:032x}",
        code_licence="Apache-2.0",
        mask_rule=rule,
        exact_mask=not full_frame,
        intent=images.encode_png(edit.support.astype(np.uint8) * np.uint8(255)) if full_frame else None,
        mask_share=np.count_nonzero(forged.mask) / forged.mask.size,
        change_mean=float(forged.change[forged.mask > 0].mean()),
        regions=list(shares),
        region_shares=list(shares.values()),
        obligations=["BY"],
    )
    return replace(record, **changes)


@cache
def drawn(seed: int) -> DrawnPerson:
    """Return a drawn person at 512 px; drawn once a process, because it takes a third of a second."""
    return draw_person(seed, DRAWN_PX)


def tiny_dataset(
    root: Path,
    photos: int = 6,
    manipulators: Sequence[str | dict[str, Any]] = ("recolour",),
    *,
    first_seed: int = 0,
    subjects: Sequence[str] | None = None,
    **sections: Any,
) -> Layout:
    """Write a dataset of drawn people, ready to ingest: photos, landmarks.json, sources.csv, recipe.yaml, salt.

    Args:
        root: the dataset's directory; made where missing, written over where present.
        photos: how many; `drawn_00.png` and on.
        manipulators: names, or whole recipe entries.
        first_seed: seed of the first person.
        subjects: who each photo shows; by default each shows another person.
        sections: top-level keys of the recipe that replace those below (`ingest`, `plan`, `buckets`, …).
    """
    layout = Layout(root)
    layout.photos.mkdir(parents=True, exist_ok=True)
    rows, landmarks = [], {}
    for number in range(photos):
        person, name = drawn(first_seed + number), f"drawn_{number:02d}.png"
        (layout.photos / name).write_bytes(images.encode_png(person.image))
        landmarks[name] = [{"scheme": "openpose_70", "landmarks": person.landmarks.tolist()}]
        rows.append(source_row(name, subjects[number] if subjects else f"person {first_seed + number}"))
    write_sources(root, rows)
    layout.landmarks.write_text(json.dumps(landmarks), encoding="utf-8")
    (root / "private").mkdir(exist_ok=True)
    (root / "private" / "salt").write_text("tests", encoding="ascii")
    layout.recipe.write_text(yaml.safe_dump(tiny_recipe(manipulators) | sections), encoding="utf-8")
    return layout


def tiny_recipe(manipulators: Sequence[str | dict[str, Any]] = ("recolour",)) -> dict[str, Any]:
    """Return a recipe as plain data: 256 px, two buckets, landmarks from the sidecar, no face finder."""
    entries = [{"use": entry} if isinstance(entry, str) else entry for entry in manipulators]
    return {
        "name": "tiny",
        "seed": 7,
        "buckets": 2,
        "ingest": {"finders": ["sidecar"], "size_px": 256},
        "plan": {"splits": {"train": 0.5, "validation": 0.25, "test": 0.25}, "donors": {"nearest": 3}},
        "forge": {"find_faces": False, "manipulators": entries},
    }


def source_row(file: str, subject: str = "", **changes: str) -> dict[str, str]:
    """Return one row of `sources.csv`."""
    known = {"file": file, "origin": "drawn people", "licence": "CC0-1.0", "subject": subject, "consent": "none"}
    return known | changes


def write_sources(root: Path, rows: Sequence[dict[str, str]]) -> None:
    """Write `sources.csv` of a dataset."""
    with (root / "sources.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def build(layout: Layout, executor: Any = serial) -> Recipe:
    """Ingest, plan and forge a dataset, as `mmtt build` does but for the overview; return its recipe."""
    from mmtt.progress import silent
    from pipelines.forge import forge
    from pipelines.ingest import ingest
    from pipelines.plan import plan

    recipe = Recipe.load(layout.recipe)
    ingest(layout, recipe, executor, silent)
    plan(layout, recipe, TODAY)
    forge(layout, recipe, executor, silent)
    return recipe


def stored_dataset(
    root: Path,
    pristine: Sequence[Record],
    forged: Sequence[Record],
    *,
    splits: dict[str, str] | None = None,
    components: dict[str, str] | None = None,
    reports: Sequence[Report] = (),
    lineage: Sequence[Lineage] = (),
    refused: Sequence[Rejection] = (),
    **sections: Any,
) -> Layout:
    """Write records as a finished dataset, for planting faults in: nothing is forged, and nothing is checked.

    Args:
        root: the dataset's directory.
        pristine: records; each is assigned to a split.
        forged: records; those without a `target_id` (imported ones) are assigned too.
        splits: of records by id; by default every third group is `test`, every third `validation`.
        components: of groups by `group_id`; by default each is its own.
        reports: texts. lineage: private rows. refused: what the gates and stages refused of the forged.
        sections: top-level keys of the recipe.
    """
    layout = Layout(root)
    root.mkdir(parents=True, exist_ok=True)
    layout.recipe.write_text(yaml.safe_dump(tiny_recipe() | sections), encoding="utf-8")
    for folder, records, rejected in ((layout.pristine, pristine, ()), (layout.forged, forged, refused)):
        store_shards(folder, records, rejected)
    placed = [record for record in (*pristine, *forged) if record.target_id is None]
    turn = {group: place for place, group in enumerate(dict.fromkeys(record.group_id for record in placed))}
    named = ("train", "test", "validation")
    rows = [
        Assignment(
            record_id=record.record_id,
            group_id=record.group_id,
            component_id=(components or {}).get(record.group_id, record.group_id),
            split=(splits or {}).get(record.record_id, named[turn[record.group_id] % 3]),
        )
        for record in placed
    ]
    write_table(layout.splits, rows, Assignment)
    if reports:
        write_table(root / "reports" / "reports.parquet", reports, Report)
    if lineage:
        write_table(layout.lineage, lineage, Lineage)
    return layout


def store_shards(folder: Path, records: Sequence[Record], refused: Sequence[Rejection] = ()) -> None:
    """Write records as one finished folder: one shard, its side tables, the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ["bucket-0000"] if records else []
    if records:
        writer = ShardWriter(folder / "bucket-0000.parquet", Record)
        for record in records:
            writer.add(record)
        writer.close(Footer(folder.name, "", ""))
        for row_class in (Rejection, Lineage):
            write_table(side_path(folder, "bucket-0000", row_class), [], row_class)
    assemble_manifest(folder, folder.name, names, refused)


def answered(root: Path, unasked: dict[str, str] | None = None, **about: Any) -> Path:
    """Write `datasheet.toml` with an answer to every question that a person may have to answer; return its path."""
    from pipelines.release.questions import questions

    known = {"title": "Tiny faces", "summary": "Drawn people, forged for tests.", "licence": "CC-BY-4.0"}
    known |= {"authors": ["A. Curator"], "contact": "curator@example.org"} | about
    lines = ["[about]", *(f"{name} = {json.dumps(value)}" for name, value in known.items()), "[about.unasked]"]
    lines += [f"{json.dumps(origin)} = {json.dumps(ground)}" for origin, ground in (unasked or {}).items()]
    lines += ["[answers]", *(f'{code} = "What was asked is answered here."' for code in questions())]
    path = root / "datasheet.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def make_report(record: Record, text: str = "The nose looks blurred.", **changes: Any) -> Report:
    """Return a report about a record, with some fields changed."""
    report = Report(
        report_id=derived_id("report", record.record_id, text, changes.get("annotator", "a1")),
        record_id=record.record_id,
        image_sha256=record.image_sha256,
        rank=0,
        settled="single",
        annotator="a1",
        protocol="informed",
        verdict="visible",
        regions=["nose"],
        text_regions=["nose"],
        difficulty=None,
        text=text,
        language="en",
        text_origin="human",
        submitted="2026-11-01",
        dwell_s=90,
    )
    return replace(report, **changes)
