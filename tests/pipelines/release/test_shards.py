"""Shards of a release: buckets, reports joined, and files that stay what they were."""

from dataclasses import replace
from datetime import date

import pytest

from mmtt.errors import UserError
from mmtt.executors import processes, serial
from mmtt.manifest import Manifest
from mmtt.progress import silent
from mmtt.recipe import Recipe
from mmtt.release import DATA, REPORTS
from mmtt.reports import Report
from mmtt.shards import Shard, read_table
from pipelines.release import shards
from pipelines.release.selection import select
from tests.factories import make_forged_record, make_record, make_report, stored_dataset

SEEDS = range(12)
PRISTINE = [make_record(seed, consent="nobody") for seed in SEEDS]
FORGED = [make_forged_record(seed, consent="nobody") for seed in SEEDS]


def written(root, pristine, forged, reports=(), previous=None, executor=serial):
    """Write the shards of a release of such a dataset; return where."""
    layout = stored_dataset(root / "dataset", pristine, forged, buckets=3)
    recipe = Recipe.load(layout.recipe)
    chosen = select(layout, recipe, (), date(2026, 11, 27))
    staged = root / "staged"
    staged.mkdir(parents=True)
    todo = shards.jobs(chosen.rows, reports, {FORGED[0].record_id: 0.5}, recipe.buckets)
    shards.write_shards(todo, staged, previous, executor, silent)
    shards.write_manifest(todo, staged, {})
    return staged


def rows_of(staged):
    return {record.record_id: (path.stem, record) for path in files(staged) for record in Shard(path).records()}


def files(staged):
    return sorted((staged / DATA).glob("*.parquet"))


def test_each_record_lies_once_in_the_shard_of_its_split_and_of_its_group_s_bucket(tmp_path):
    staged = written(tmp_path, PRISTINE, FORGED)
    found = rows_of(staged)
    assert set(found) == {record.record_id for record in (*PRISTINE, *FORGED)}
    for forged in FORGED:
        name, record = found[forged.record_id]
        assert name == found[forged.target_id][0] == f"{record.split}-{int(record.group_id[:8], 16) % 3:05d}-of-00003"
        assert replace(record, split=None, change_mean=0, region_shares=[]) == replace(
            forged,
            change_mean=0,
            region_shares=[],  # which are stored as 32-bit numbers
        )
    assert Manifest.load(staged / DATA).rows == 24
    assert all(len(Shard(path).column("record_id")) for path in files(staged))


def test_reports_are_joined_and_also_lie_in_a_table_of_their_own(tmp_path):
    first, second = (make_report(FORGED[0], report_id=digit * 24, rank=rank) for rank, digit in enumerate("ab"))
    staged = written(tmp_path, PRISTINE, FORGED, [second, first])
    name, record = rows_of(staged)[FORGED[0].record_id]
    assert (record.report, record.report_count, record.agreement) == (first.text, 2, 0.5)
    assert read_table(staged / REPORTS / f"{name}.parquet", Report) == [first, second]


def test_a_report_about_another_picture_is_refused(tmp_path):
    with pytest.raises(UserError, match="was written about a picture"):
        written(tmp_path, PRISTINE, FORGED, [make_report(FORGED[0], image_sha256="0" * 64)])


def test_the_same_bytes_on_two_workers(tmp_path):
    one, two = (
        written(tmp_path / str(n), PRISTINE, FORGED, executor=run) for n, run in ((1, serial), (2, processes(2)))
    )
    assert {p.name: p.read_bytes() for p in files(one)} == {p.name: p.read_bytes() for p in files(two)}


def test_an_extension_keeps_every_shard_whose_rows_did_not_change(tmp_path):
    before = written(tmp_path / "before", PRISTINE, FORGED)
    added = make_record(99, consent="nobody", group_id=PRISTINE[0].group_id)
    after = written(tmp_path / "after", [*PRISTINE, added], FORGED, previous=before)
    touched = rows_of(after)[added.record_id][0]
    same = [path.name for path in files(before) if path.stem != touched]
    assert len(same) == len(files(before)) - 1 > 2
    for name in same:
        assert (after / DATA / name).samefile(before / DATA / name)


def test_a_changed_mask_alone_makes_another_shard(tmp_path):
    before = written(tmp_path / "before", PRISTINE, FORGED)
    other = replace(FORGED[0], mask=PRISTINE[1].mask)
    after = written(tmp_path / "after", PRISTINE, [other, *FORGED[1:]], previous=before)
    kept = [path.name for path in files(after) if path.samefile(before / DATA / path.name)]
    assert len(kept) == len(files(before)) - 1
