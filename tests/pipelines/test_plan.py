"""Plan: split first, then every forgery decided; what was decided stays as long as it is true."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from mmtt.errors import UserError
from mmtt.executors import serial
from mmtt.layout import Layout
from mmtt.manifest import MANIFEST
from mmtt.progress import silent
from mmtt.recipe import Recipe
from mmtt.record import Assignment, Lineage, Rejection
from mmtt.shards import read_table, write_table
from pipelines.identities import tell
from pipelines.ingest import bucket_of, ingest
from pipelines.manipulators.recolour import Recolour
from pipelines.plan import Planned, plan, require_fresh
from tests.factories import TODAY, drawn, source_row, tiny_dataset, write_sources
from tests.support import stand_in

PHOTOS = 8
MENU = ["face_swap", "recolour", {"use": "retouch", "share": 0.5}]


@pytest.fixture(scope="module")
def ingested(tmp_path_factory) -> Path:
    layout = tiny_dataset(tmp_path_factory.mktemp("ingested"), PHOTOS, MENU)
    run_ingest(layout)
    return layout.root


@pytest.fixture
def layout(ingested, tmp_path) -> Layout:
    return Layout(Path(shutil.copytree(ingested, tmp_path / "dataset")))


def run_ingest(layout: Layout) -> None:
    ingest(layout, Recipe.load(layout.recipe), serial, silent)


def run(layout: Layout) -> Planned:
    return plan(layout, Recipe.load(layout.recipe), TODAY)


def change(layout: Layout, **sections) -> None:
    layout.recipe.write_text(yaml.safe_dump(yaml.safe_load(layout.recipe.read_text()) | sections))


def menu(layout: Layout, entries: list) -> None:
    entries = [{"use": entry} if isinstance(entry, str) else entry for entry in entries]
    change(layout, forge={"find_faces": False, "manipulators": entries})


def sources(layout: Layout, photos: int = PHOTOS, extra=(), **changes: dict[str, str]) -> None:
    """Write the source table; `changes` by photo name without its suffix."""
    names = [f"drawn_{number:02d}" for number in range(photos)]
    rows = [source_row(f"{name}.png", f"person {n}", **changes.get(name, {})) for n, name in enumerate(names)]
    write_sources(layout.root, [*rows, *extra])


def add_photo(layout: Layout, name: str, data: bytes, points: np.ndarray) -> None:
    (layout.photos / name).write_bytes(data)
    landmarks = json.loads(layout.landmarks.read_text())
    landmarks[name] = [{"scheme": "openpose_70", "landmarks": points.tolist()}]
    layout.landmarks.write_text(json.dumps(landmarks))


def add_copy(layout: Layout, name: str, number: int, side: int = 384, quality: int = 60) -> None:
    """Add a smaller, recompressed copy of a photo; its landmarks shrink along."""
    person = drawn(number)
    small = cv2.resize(person.image, (side, side), interpolation=cv2.INTER_AREA)
    Image.fromarray(small).save(layout.photos / "copy.jpg", quality=quality)
    points = (person.landmarks + 0.5) * side / person.image.shape[0] - 0.5
    add_photo(layout, name, (layout.photos / "copy.jpg").read_bytes(), points)
    (layout.photos / "copy.jpg").unlink()


def ids(layout: Layout) -> dict[str, str]:
    return {row.path: row.record_id for row in read_table(layout.lineage, Lineage)}


def splits(planned: Planned) -> dict[str, str]:
    return {row.record_id: row.split for row in planned.splits}


def rows(planned: Planned, *entries: str, touching: str | None = None) -> set[str]:
    """Whole rows as text, of some entries, or that have a record as target or donor."""
    return {
        repr(row)
        for row in planned.rows
        if (not entries or row.entry in entries) and touching in (None, row.target_id, row.source_id)
    }


def tables(layout: Layout) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(layout.plan.glob("*.parquet"))}


def test_a_plan_is_a_function_of_recipe_and_shards(layout):
    first = run(layout)
    kept = tables(layout)
    assert set(kept) == {"plan.parquet", "rejections.parquet", "splits.parquet"}
    assert run(layout) == first
    assert tables(layout) == kept
    shutil.rmtree(layout.plan)
    run(layout)
    assert tables(layout) == kept
    change(layout, seed=8)
    assert not rows(run(layout)) & rows(first)


def test_donors_are_of_the_targets_split_and_of_another_component(layout):
    planned = run(layout)
    split_of = splits(planned)
    component_of = {row.record_id: row.component_id for row in planned.splits}
    swaps = [row for row in planned.rows if row.entry == "face_swap"]
    assert len(swaps) + len(planned.rejections) == PHOTOS
    assert len(swaps) >= 4
    for row in swaps:
        assert split_of[row.source_id] == split_of[row.target_id] == row.split
        assert component_of[row.source_id] != component_of[row.target_id]
    assert all(row.source_id is None for row in planned.rows if row.entry != "face_swap")
    groups = {row.record_id: row.group_id for row in planned.splits}
    assert all(row.bucket == bucket_of(groups[row.target_id], 2) for row in planned.rows)
    assert len({row.record_id for row in planned.rows}) == len(planned.rows)


def test_more_photos_keep_every_split_and_every_row(layout):
    first = run(layout)
    tiny_dataset(layout.root, PHOTOS + 3, MENU)
    run_ingest(layout)
    grown = run(layout)
    assert splits(first).items() < splits(grown).items()
    assert rows(first) < rows(grown)
    assert len(grown.splits) == PHOTOS + 3


def test_a_copy_under_another_name_shares_component_and_split_and_is_no_donor(layout):
    for number in range(PHOTOS):
        add_copy(layout, f"copy_{number}.jpg", number)
    extra = [source_row(f"copy_{number}.jpg", f"somebody else {number}") for number in range(PHOTOS)]
    sources(layout, extra=extra)
    run_ingest(layout)
    planned, known = run(layout), ids(layout)
    where = {row.record_id: (row.component_id, row.split) for row in planned.splits}
    for number in range(PHOTOS):
        assert where[known[f"copy_{number}.jpg"]] == where[known[f"drawn_{number:02d}.png"]]
    assert len({component for component, _ in where.values()}) == PHOTOS
    for row in planned.rows:
        assert row.source_id is None or where[row.source_id][0] != where[row.target_id][0]


def test_one_picture_in_two_splits_of_an_earlier_plan_is_told(layout):
    add_copy(layout, "copy.png", 3)
    sources(layout, extra=[source_row("copy.png", "somebody else")])
    run_ingest(layout)
    known = ids(layout)
    copies = sorted((known["drawn_03.png"], known["copy.png"]))
    first = run(layout)
    assert not any("Across splits" in line for line in tell(first))
    split = splits(first)[copies[0]]
    other = next(name for name in ("train", "test") if name != split)
    torn = [
        replace(row, component_id=row.group_id, split=other if row.record_id == copies[1] else row.split)
        for row in first.splits
    ]
    write_table(layout.splits, torn, Assignment)
    after = run(layout)
    (line,) = [line for line in tell(after) if "Across splits" in line]
    assert "1 pair of records of one picture in which an earlier plan put the two into different splits" in line
    assert f"({copies[0]} in {split}, {copies[1]} in {other})" in line
    assert splits(after) == {row.record_id: row.split for row in torn}


def test_a_donor_that_turns_out_to_be_the_target_gives_no_face(layout):
    first = run(layout)
    swap = next(row for row in first.rows if row.source_id)
    layout.identities.write_text(f"first,second,same\n{swap.target_id},{swap.source_id},yes\n")
    after = run(layout)
    twins = {swap.target_id, swap.source_id}
    assert all({row.target_id, row.source_id} != twins for row in after.rows)
    anew = [row.target_id for row in after.rows if row.entry == "face_swap"]
    assert sorted([*anew, *(row.record_id for row in after.rejections)]) == sorted(splits(first))
    kept = {repr(row) for row in first.rows if {row.target_id, row.source_id} != twins}
    assert kept <= rows(after)


def test_where_shards_were_made_does_not_make_a_plan_stale_and_what_they_hold_does(layout):
    run(layout)
    path, recipe = layout.pristine / MANIFEST, Recipe.load(layout.recipe)
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"environment": {"cpu": "another"}}))
    require_fresh(layout, recipe)
    manifest["shards"][0]["sha256"] = "0" * 64
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="Run `mmtt plan` first"):
        require_fresh(layout, recipe)


def test_options_that_decide_nothing_do_not_make_a_plan_stale_and_shares_do(layout, tmp_path, monkeypatch):
    monkeypatch.setenv("MMTT_MODELS", str(tmp_path / "models"))
    stand_in.install(tmp_path / "models")
    options = {"program": "program", "family": "recolour", "code_licence": "MIT"}
    menu(layout, [{"use": "command", "options": options}])
    run(layout)
    menu(layout, [{"use": "command", "options": options | {"retries": 3}}])
    require_fresh(layout, Recipe.load(layout.recipe))
    for changed in ({"share": 0.5}, {"per_target": 2}, {"name": "theirs"}):
        menu(layout, [{"use": "command", "options": options} | changed])
        with pytest.raises(UserError, match="Run `mmtt plan` first"):
            require_fresh(layout, Recipe.load(layout.recipe))


def test_a_new_summary_plans_nothing_anew(layout, monkeypatch):
    first = run(layout)
    said = Recolour.declaration._replace(summary="The same, in other words.")
    monkeypatch.setattr(Recolour, "declaration", said)
    require_fresh(layout, Recipe.load(layout.recipe))
    assert rows(run(layout)) == rows(first)


def two_apart(planned: Planned, known: dict[str, str]) -> tuple[int, int]:
    """Numbers of two photos in different splits."""
    split_of = splits(planned)
    by_split = {split_of[known[f"drawn_{number:02d}.png"]]: number for number in range(PHOTOS)}
    first, second, *_ = by_split.values()
    return first, second


def test_a_subject_that_would_bridge_two_splits_is_refused_by_name(layout):
    first = run(layout)
    for name, number in zip("ab", two_apart(first, ids(layout)), strict=True):
        add_copy(layout, f"bridge_{name}.jpg", number)
    sources(layout, extra=[source_row(f"bridge_{name}.jpg", "the bridge") for name in "ab"])
    run_ingest(layout)
    after, known = run(layout), ids(layout)
    bridges = {known["bridge_a.jpg"], known["bridge_b.jpg"]}
    refused = {r.record_id: r.detail for r in after.rejections if r.code == "bridges_splits"}
    assert refused.keys() == bridges
    for number in two_apart(first, known):
        assert all(known[f"drawn_{number:02d}.png"] in detail for detail in refused.values())
    assert splits(after) == splits(first)
    assert rows(after) == rows(first)
    assert read_table(layout.plan / "rejections.parquet", Rejection) == after.rejections


def test_another_option_plans_its_entry_anew_and_no_other(layout):
    first = run(layout)
    menu(layout, ["face_swap", {"use": "recolour", "options": {"parts": ["lips"]}}, *MENU[2:]])
    after = run(layout)
    assert rows(after, "face_swap", "retouch") == rows(first, "face_swap", "retouch")
    assert not rows(after, "recolour") & rows(first, "recolour")
    assert all(row.regions == ["lip"] for row in after.rows if row.entry == "recolour")
    menu(layout, ["face_swap"])
    assert rows(run(layout)) == rows(first, "face_swap")


def test_other_donor_rules_plan_only_swaps_anew(layout):
    first = run(layout)
    change(layout, plan={"splits": {"train": 0.5, "validation": 0.25, "test": 0.25}, "donors": {"nearest": 1}})
    after = run(layout)
    assert rows(after, "recolour", "retouch") == rows(first, "recolour", "retouch")
    assert not rows(after, "face_swap") & rows(first, "face_swap")


def test_a_larger_share_and_more_per_target_only_add_rows(layout):
    chosen = []
    for share, per_target in ((0.3, 1), (0.6, 1), (1.0, 1), (1.0, 3)):
        menu(layout, [{"use": "recolour", "share": share, "per_target": per_target}])
        chosen.append(rows(run(layout)))
    assert all(fewer < more for fewer, more in pairwise(chosen))
    assert [len(chosen[2]), len(chosen[3])] == [PHOTOS, 3 * PHOTOS]


def test_a_licence_that_forbids_derivatives_is_refused_at_plan_time_for_target_and_donor(layout):
    first = run(layout)
    sources(layout, drawn_03={"licence": "CC-BY-ND-4.0"})
    run_ingest(layout)
    after, barred = run(layout), ids(layout)["drawn_03.png"]
    assert barred in splits(after)
    assert rows(after, touching=barred) == set()
    conflicts = [row for row in after.rejections if row.code == "licence_conflict"]
    assert {(barred, "face_swap"), (barred, "recolour")} <= {(row.record_id, row.manipulator) for row in conflicts}
    assert all("no derivatives" in row.detail for row in conflicts)
    assert rows(first) - rows(after) == rows(first, touching=barred)


def test_share_alike_obligations_reach_the_plan(layout):
    sources(layout, drawn_00={"licence": "CC-BY-SA-4.0"})
    run_ingest(layout)
    target = ids(layout)["drawn_00.png"]
    obligations = [row.obligations for row in run(layout).rows if row.target_id == target]
    assert obligations
    assert all(words == ["BY", "SA:CC-BY-SA-4.0"] for words in obligations)


def test_changed_landmarks_plan_anew_what_they_decide_and_nothing_else(layout):
    first, changed = run(layout), ids(layout)["drawn_02.png"]
    landmarks = json.loads(layout.landmarks.read_text())
    points = np.array(landmarks["drawn_02.png"][0]["landmarks"])
    points[48:68, 1] += 6
    landmarks["drawn_02.png"][0]["landmarks"] = points.tolist()
    layout.landmarks.write_text(json.dumps(landmarks))
    run_ingest(layout)
    after = run(layout)
    assert rows(first) - rows(after) == rows(first, touching=changed) != set()
    assert splits(after) == splits(first)


def test_a_donor_that_is_gone_is_replaced_and_nothing_else_changes(layout):
    first, known = run(layout), ids(layout)
    gone = next(row.source_id for row in first.rows if row.source_id)
    (layout.photos / next(name for name, record_id in known.items() if record_id == gone)).unlink()
    run_ingest(layout)
    after = run(layout)
    assert rows(first) - rows(after) == rows(first, touching=gone)
    assert rows(after, touching=gone) == set()
    assert splits(after).items() < splits(first).items()


def test_without_a_donor_the_target_is_refused_and_the_rest_goes_on(tmp_path):
    layout = tiny_dataset(tmp_path, 2, MENU[:2], plan={"splits": {"train": 0.5, "test": 0.5}})
    run_ingest(layout)
    planned = run(layout)
    assert Counter(row.entry for row in planned.rows) == {"recolour": 2}
    assert [(row.code, row.manipulator) for row in planned.rejections] == [("no_donor", "face_swap")] * 2


def test_donors_of_the_same_origin_only_where_the_recipe_says_so(layout):
    change(layout, plan={"splits": {"train": 1.0}, "donors": {"nearest": 8, "same_origin": True}})
    names = [f"drawn_{number:02d}" for number in range(PHOTOS)]
    sources(layout, **{name: {"origin": f"origin {n % 3}"} for n, name in enumerate(names)})
    run_ingest(layout)
    origin = {ids(layout)[f"{name}.png"]: n % 3 for n, name in enumerate(names)}
    swaps = [row for row in run(layout).rows if row.entry == "face_swap"]
    assert len(swaps) == PHOTOS
    assert all(origin[row.source_id] == origin[row.target_id] for row in swaps)


def test_a_plan_needs_pristine_shards(tmp_path):
    layout = tiny_dataset(tmp_path, 1)
    with pytest.raises(UserError, match=r"has no manifest.json. The stage that writes it has not come to its end"):
        run(layout)
