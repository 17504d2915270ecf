import contextlib
import multiprocessing
import os
import pickle
import signal
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from baselines.forgerytalker.config import DataConfig
from baselines.forgerytalker.data import batches, open_data, stack
from baselines.forgerytalker.data.opening import Source
from baselines.forgerytalker.data.order import FILLER, generator, grouped, shares, shuffled
from mmtt.errors import DamagedError, UserError
from mmtt.shards import Shard
from tests.baselines.released import SIZE_PX, TEXT, forged, release

CONFIG = DataConfig(size_px=24, window=2)
COUNT = 23


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return release(tmp_path_factory.mktemp("loader") / "shards", [forged(seed) for seed in range(COUNT)])


@pytest.fixture(scope="module")
def data(root):
    return opened(root)


def opened(root, config=CONFIG, split="train", **changes):
    return open_data(root, config, split, **({"need_reports": True, "need_regions": True} | changes))


def epoch_of(data, **changes):
    return list(batches(data, **({"batch": 4, "seed": 1, "epoch": 0, "train": True} | changes)))


def counted(made):
    """Keys that count, in their order."""
    return [key for b in made for key, weight in zip(b.keys, b.weight_B.tolist(), strict=True) if weight]


def same(one, other):
    tensors = ("pixels_BCHW", "mask_BHW", "regions_BR", "manipulated_B", "weight_B")
    alike = all(torch.equal(getattr(one, name), getattr(other, name)) for name in tensors)
    return alike and (one.keys, one.reports) == (other.keys, other.reports)


def all_same(some, others):
    return len(some) == len(others) and all(same(a, b) for a, b in zip(some, others, strict=True))


def test_a_batch_holds_what_its_legend_says(data):
    for batch in epoch_of(data):
        assert batch.pixels_BCHW.shape == (4, 3, 24, 24) and batch.pixels_BCHW.dtype == torch.float32
        assert batch.mask_BHW.shape == (4, 24, 24) and batch.mask_BHW.dtype == torch.float32
        assert set(batch.mask_BHW.unique().tolist()) <= {0.0, 1.0}
        assert batch.regions_BR.shape == (4, 21) and batch.regions_BR.dtype == torch.float32
        assert batch.manipulated_B.tolist() == [1.0] * 4
        assert len(batch) == len(batch.reports) == 4


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("order", ["shuffled", "grouped"])
def test_the_ranks_together_see_each_sample_once_in_as_many_steps_of_one_size(root, world, train, order):
    data = opened(root, CONFIG.model_copy(update={"order": order}))
    ranks = [epoch_of(data, batch=6, rank=rank, world=world, train=train) for rank in range(world)]
    assert {len(made) for made in ranks} == {4}
    assert {len(batch) for made in ranks for batch in made} == {6 // world}
    assert sorted(key for made in ranks for key in counted(made)) == sorted(s.key for s in data.samples)


def test_what_fills_the_last_batch_up_has_no_weight_and_no_report(data):
    last = epoch_of(data)[-1]
    assert last.weight_B.tolist() == [1.0, 1.0, 1.0, 0.0]
    assert last.reports[-1] == "" and last.reports[0]


def test_a_batch_that_the_ranks_cannot_share_is_refused(data):
    with pytest.raises(UserError, match="A batch of 4 cannot be shared by 3 ranks; make it a multiple of 3"):
        epoch_of(data, rank=0, world=3)


def test_batches_are_the_same_for_any_number_of_workers_and_leave_the_global_randomness_alone(data):
    alone, before = epoch_of(data), torch.get_rng_state()
    for workers in (0, 1, 2):
        assert all_same(epoch_of(data, workers=workers), alone)
    assert torch.equal(torch.get_rng_state(), before)
    ranks = [epoch_of(data, rank=rank, world=2, workers=2, start=8) for rank in range(2)]
    assert sorted(key for made in ranks for key in counted(made)) == sorted(counted(alone[2:]))


@pytest.mark.parametrize("order", ["shuffled", "grouped"])
def test_an_epoch_taken_up_at_any_step_goes_on_as_if_it_had_never_stopped(root, order):
    data = opened(root, CONFIG.model_copy(update={"order": order}))
    whole = epoch_of(data)
    for step in range(len(whole) + 1):
        assert all_same(epoch_of(data, start=4 * step), whole[step:])


def test_what_was_seen_already_is_not_read_again(data, monkeypatch):
    read = spied(monkeypatch)
    epoch_of(data, start=20)
    assert len(read) <= 2


def test_an_epoch_repeats_itself_and_no_other(data):
    first = epoch_of(data)
    assert all_same(epoch_of(data), first)
    for other in (epoch_of(data, epoch=1), epoch_of(data, seed=2)):
        assert counted(other) != counted(first)
        assert not torch.equal(pixels_of(other)[data.samples[0].key], pixels_of(first)[data.samples[0].key])


def test_how_a_sample_is_looked_at_depends_on_seed_and_epoch_alone(root, data):
    alone = pixels_of(epoch_of(data))
    other = opened(root, CONFIG.model_copy(update={"order": "shuffled"}))
    shared = [epoch_of(other, batch=6, rank=rank, world=2) for rank in range(2)]
    found = pixels_of(shared[0]) | pixels_of(shared[1])
    assert found.keys() == alone.keys()
    assert all(torch.equal(found[key], alone[key]) for key in alone)


def pixels_of(made):
    return {key: b.pixels_BCHW[at] for b in made for at, key in enumerate(b.keys) if b.weight_B[at]}


def test_a_mirrored_sample_says_the_other_side_and_about_half_are(data):
    reports = [text for epoch in range(4) for b in epoch_of(data, epoch=epoch) for text in b.reports if text]
    assert set(reports) == {TEXT, "The right eye is smeared and the left cheek looks waxy."}
    assert 0.35 < reports.count(TEXT) / len(reports) < 0.65


def test_what_is_not_trained_on_comes_in_the_order_in_which_it_lies_and_is_never_mirrored(data):
    made = epoch_of(data, train=False)
    assert counted(made) == [sample.key for sample in data.samples]
    assert {text for b in made for text in b.reports} == {TEXT, ""}


@pytest.mark.parametrize("train", [True, False])
def test_each_row_group_is_read_once_by_a_rank(data, train, monkeypatch):
    for rank in range(2):
        read = spied(monkeypatch)
        epoch_of(data, rank=rank, world=2, train=train)
        assert len(read) == len(set(read)) > 6
        assert {columns for _, _, columns in read} == {("image", "mask")}


def spied(monkeypatch):
    """Note which row groups are read, and read them."""
    read, group = [], Shard.group

    def noting(shard, index, columns=None):
        read.append((shard.path, index, columns))
        return group(shard, index, columns)

    monkeypatch.setattr(Shard, "group", noting)
    return read


def test_orders_are_permutations_and_a_window_bounds_the_row_groups_at_hand():
    groups = np.repeat(np.arange(10), np.arange(1, 11))
    for seed in range(20):
        order = grouped(groups, 3, generator(seed))
        assert sorted(order) == list(range(55)) == sorted(shuffled(55, generator(seed)))
        known = groups[order]
        spans = [(np.flatnonzero(known == group)[[0, -1]]).tolist() for group in range(10)]
        assert max(sum(first <= at <= last for first, last in spans) for at in range(55)) <= 3
    assert grouped([], 3, generator(0)).tolist() == []


def test_shares_part_every_order_and_fill_up_at_the_end():
    for count in range(13):
        parts = [shares(np.arange(count), 6, rank, 3) for rank in range(3)]
        assert {part.shape for part in parts} == {(-(-count // 6), 2 if count > 3 else 1)}
        assert sorted(int(v) for part in parts for v in part.ravel() if v != FILLER) == list(range(count))


def test_a_batch_larger_than_the_data_is_no_larger_than_what_the_ranks_share(data):
    (batch,) = epoch_of(data, batch=100_000)
    assert batch.weight_B.tolist() == [1.0] * COUNT
    parts = [shares(np.arange(4), 99_999, rank, 3) for rank in range(3)]
    assert [part.tolist() for part in parts] == [[[0, 3]], [[1, FILLER]], [[2, FILLER]]]


def test_an_epoch_that_is_taken_up_keeps_the_size_of_its_steps():
    whole = [shares(np.arange(10), 4, rank, 2).tolist() for rank in range(2)]
    assert whole == [[[0, 2], [4, 6], [8, FILLER]], [[1, 3], [5, 7], [9, FILLER]]]
    assert [shares(np.arange(10), 4, rank, 2, start=8).tolist() for rank in range(2)] == [part[2:] for part in whole]


def test_a_sample_can_be_taken_by_its_number(data):
    examples = [data[at] for at in range(4)]
    (batch,) = epoch_of(replace(data, samples=data.samples[:4]), train=False)
    assert same(stack(examples), batch)
    assert examples[2].image.shape == (24, 24, 3) and examples[2].image.dtype == np.uint8


def test_data_that_was_read_from_can_be_sent_to_another_process_and_workers_are_sent_little(data):
    key = data[0].key
    assert pickle.loads(pickle.dumps(data))[0].key == key
    assert len(pickle.dumps(Source(data.config, None, 2))) < 2000


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_picture_costs_one_sentence_that_names_record_and_shard(tmp_path, workers):
    whole = [forged(seed) for seed in range(4)]
    torn = replace(whole[2], image=whole[2].image[:40])
    data = opened(release(tmp_path / "shards", [*whole[:2], torn, whole[3]]))
    with pytest.raises(DamagedError) as told:
        epoch_of(data, workers=workers)
    assert str(told.value).startswith(f"Record {torn.record_id} (master) in {data.samples[2].shard} cannot be used: ")
    assert "\n" not in str(told.value)


def test_a_mask_that_is_missing_or_no_mask_and_a_shard_that_was_cut_after_opening_are_told_in_a_sentence(tmp_path):
    data = opened(release(tmp_path / "none", [forged(seed) for seed in range(4)]))
    shard = data.samples[0].shard
    table = pq.read_table(shard)
    masks = table.column("mask").to_pylist()
    changed = pa.array([*masks[:2], None, masks[3]], table.schema.field("mask").type)
    pq.write_table(table.set_column(table.schema.get_field_index("mask"), table.schema.field("mask"), changed), shard)
    with pytest.raises(DamagedError, match=rf"Record {data.samples[2].record_id} .* it has no picture, or no mask"):
        epoch_of(data)
    data = opened(release(tmp_path / "other", [forged(1), replace(forged(2), mask=forged(2).pristine)]))
    with pytest.raises(DamagedError, match="not of one channel"):
        epoch_of(data)
    data.samples[0].shard.write_bytes(data.samples[0].shard.read_bytes()[:500])
    with pytest.raises(UserError, match=r"part-0000\.parquet"):
        epoch_of(data)


def test_a_worker_that_dies_costs_one_sentence(data):
    known = set(multiprocessing.active_children())
    made = batches(data, batch=1, seed=0, epoch=0, train=True, workers=1)
    next(made)
    (worker,) = set(multiprocessing.active_children()) - known
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(UserError, match="A process that decodes pictures died"):
        list(made)


def test_workers_end_when_nobody_asks_for_more(data):
    known = set(multiprocessing.active_children())
    with contextlib.closing(batches(data, batch=1, seed=0, epoch=0, train=True, workers=2)) as made:
        next(made)
    assert set(multiprocessing.active_children()) <= known


def test_variants_come_by_choice_with_their_masters_texts(tmp_path):
    masters = [forged(seed) for seed in range(3)]
    copies = [replace(record, variant="jpeg", report=None, report_regions=None) for record in masters]
    root = release(tmp_path / "shards", [*masters, *copies])
    for variants, count in ((("master",), 3), (("jpeg",), 3), (("master", "jpeg"), 6)):
        data = opened(root, DataConfig(size_px=24, variants=variants, flip="off"))
        made = epoch_of(data)
        assert sorted(counted(made)) == sorted((r.record_id, v) for r in masters for v in variants)
        assert len(data) == count and set(data.reports) == {TEXT}
    both = pixels_of(made)
    assert not torch.equal(both[masters[0].record_id, "master"], both[masters[0].record_id, "jpeg"])


def test_a_picture_is_decoded_at_its_own_size(root):
    data = opened(root, DataConfig(size_px=SIZE_PX))
    assert data[0].mask.sum() == pytest.approx(data.samples[0].mask_share * SIZE_PX**2)
