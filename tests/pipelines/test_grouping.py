"""Groups, ties, splits and donors, on made-up data: what must hold for any of it."""

from collections import Counter
from dataclasses import replace
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtt.recipe import DonorSection
from mmtt.record import Assignment
from pipelines import donors as donors_module
from pipelines.donors import Donors
from pipelines.grouping import (
    Candidate,
    assign,
    crossing,
    earlier_splits,
    largest,
    near_duplicates,
    same_picture,
    thumbnail,
    tie,
)
from tests.pipelines.shapes import random_face, random_photo

SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}
GROUPS = [f"g{number:02d}" for number in range(12)]

groups = st.sampled_from(GROUPS)
ties_of_groups = st.lists(st.tuples(groups, groups), max_size=16)
memberships = st.lists(groups, min_size=1, max_size=24)
known_splits = st.dictionaries(groups, st.sampled_from(list(SHARES)), max_size=8)


def candidates_of(members):
    return [Candidate(f"r{number:02d}", group) for number, group in enumerate(members)]


def earlier(known):
    return [Assignment(record_id=f"old {g}", group_id=g, component_id=g, split=s) for g, s in known.items()]


@settings(max_examples=200, deadline=None)
@given(memberships, ties_of_groups, known_splits, st.integers(0, 5))
def test_no_group_and_no_tie_ever_crosses_splits_and_assigned_stays_assigned(members, ties, known, seed):
    candidates = candidates_of(members)
    rows, refused = assign(candidates, ties, earlier(known), SHARES, seed)
    assert sorted([row.record_id for row in rows] + [r.record_id for r in refused]) == [c.record_id for c in candidates]
    split_of = {row.group_id: row.split for row in rows}
    component_of = {row.group_id: row.component_id for row in rows}
    assert all(split_of[row.group_id] == row.split for row in rows)
    assert len({(row.component_id, row.split) for row in rows}) == len({row.component_id for row in rows})
    assert all(split_of[group] == known[group] for group in split_of.keys() & known.keys())
    for first, second in ties:
        if first in split_of and second in split_of:
            apart = first in known and second in known and known[first] != known[second]
            assert apart or component_of[first] == component_of[second]


@settings(max_examples=200, deadline=None)
@given(memberships, ties_of_groups, known_splits, st.randoms(use_true_random=False))
def test_the_order_of_what_comes_in_is_irrelevant(members, ties, known, chance):
    candidates = candidates_of(members)
    expected = assign(candidates, ties, earlier(known), SHARES, 0)
    turned = [pair[::-1] if chance.random() < 0.5 else pair for pair in ties]
    before = earlier(known)
    for shuffled in (candidates, turned, before):
        chance.shuffle(shuffled)
    assert assign(candidates, turned, before, dict(reversed(SHARES.items())), 0) == expected


@settings(max_examples=200, deadline=None)
@given(memberships, ties_of_groups, known_splits)
def test_only_new_groups_that_reach_two_splits_are_refused(members, ties, known):
    present = set(members)
    tied = tie(present, ties, known)
    assert tied.refused | set(tied.component) == present
    assert not tied.refused & known.keys()
    for group in tied.refused:
        beside = {b if a == group else a for a, b in ties if group in (a, b)} & tied.component.keys()
        reached = {tied.component[other] for other in beside}
        splits = {known[g] for g, component in tied.component.items() if component in reached and g in known}
        assert len(splits) > 1


@settings(max_examples=100, deadline=None)
@given(memberships, ties_of_groups, st.lists(groups, max_size=8))
def test_a_dataset_that_grows_keeps_every_split(members, ties, more):
    """New photos tie only new groups here; old groups bridged by a new one are refused, never moved."""
    before, _ = assign(candidates_of(members), ties, [], SHARES, 0)
    grown = [*candidates_of(members), *(Candidate(f"s{n:02d}", f"new {g}") for n, g in enumerate(more))]
    ties = [*ties, *((f"new {a}", b) for a, b in zip(more, reversed(more), strict=True))]
    after, _ = assign(grown, ties, before, SHARES, 0)
    split_of = {row.record_id: row.split for row in after}
    assert {row.record_id: split_of.get(row.record_id) for row in before} == {r.record_id: r.split for r in before}


def test_shares_are_met_as_closely_as_whole_components_allow():
    rng = np.random.default_rng(0)
    candidates = [Candidate(f"r{n:04d}", f"g{int(rng.integers(200)):03d}") for n in range(1000)]
    rows, _ = assign(candidates, [], [], SHARES, 1)
    largest = max(Counter(row.component_id for row in rows).values())
    counts = Counter(row.split for row in rows)
    assert all(abs(counts[split] - share * 1000) <= largest for split, share in SHARES.items())
    assert rows != assign(candidates, [], [], SHARES, 2)[0]
    only, _ = assign(candidates, [], [], {"train": 1.0, "test": 0.0}, 1)
    assert {row.split for row in only} == {"train"}


def test_a_subject_whose_name_was_mended_stays_in_its_split():
    members = [f"person {n}" for n in range(40)]
    before, _ = assign(candidates_of(members), [], [], SHARES, 0)
    after, _ = assign(candidates_of([f"{name}, mended" for name in members]), [], before, SHARES, 0)
    assert [(row.record_id, row.split) for row in after] == [(row.record_id, row.split) for row in before]


@settings(max_examples=100, deadline=None)
@given(memberships, known_splits, st.lists(st.tuples(st.integers(0, 23), st.integers(0, 23)), max_size=8))
def test_ties_that_cross_splits_are_counted_and_no_others(members, known, places):
    candidates = candidates_of(members)
    pairs = [(f"r{a:02d}", f"r{b:02d}") for a, b in places if max(a, b) < len(members)]
    ties = [(members[int(a[1:])], members[int(b[1:])]) for a, b in pairs]
    rows, _ = assign(candidates, ties, earlier(known), SHARES, 0)
    split_of = {row.record_id: row.split for row in rows}
    apart = [pair for pair in pairs if len({split_of.get(i, "") for i in pair} - {""}) == 2]
    told = crossing(pairs, earlier_splits(candidates, earlier(known)))
    assert (0 if told is None else told.count) == len(apart)
    assert told is None or (told[1:3] == apart[0] and told.splits == tuple(split_of[i] for i in apart[0]))


def row_of(number, phash, group):
    return SimpleNamespace(record_id=f"r{number:03d}", group_id=group, photo_phash=f"{phash:016x}")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 16), st.integers(0, 40))
def test_near_duplicates_are_exactly_the_pairs_that_brute_force_finds(seed, bits, count):
    rng = np.random.default_rng(seed)
    bases = [int(base) for base in rng.integers(0, 2**64, 4, dtype=np.uint64)]
    rows = []
    for number in range(count):
        flips = rng.choice(64, int(rng.integers(0, 14)), replace=False)
        phash = bases[int(rng.integers(4))] ^ sum(1 << int(bit) for bit in flips)
        rows.append(row_of(number, phash, f"g{int(rng.integers(10))}"))
    expected = [
        (a.record_id, b.record_id)
        for a, b in combinations(rows, 2)
        if a.group_id != b.group_id and (int(a.photo_phash, 16) ^ int(b.photo_phash, 16)).bit_count() <= bits
    ]
    assert near_duplicates(rng.permutation(np.array(rows, object)).tolist(), bits) == expected


def test_noise_and_brightness_keep_a_picture_the_same_and_another_one_is_not():
    rng = np.random.default_rng(0)
    first, second = random_photo(rng, 256), random_photo(rng, 256)
    noisy = np.clip(first.astype(int) + rng.integers(-8, 9, first.shape) + 10, 0, 255).astype(np.uint8)
    assert same_picture(thumbnail(first), thumbnail(noisy))
    assert not same_picture(thumbnail(first), thumbnail(second))
    assert not same_picture(thumbnail(first), thumbnail(np.ascontiguousarray(first[:, ::-1])))
    assert not same_picture(thumbnail(first), np.zeros((64, 64, 3), np.uint8))


def pool(seed, count):
    """Faces and assignments at random: three splits, two origins, components of about two."""
    rng = np.random.default_rng(seed)
    candidates, rows = {}, []
    for number in range(count):
        record_id = f"r{number:03d}"
        origin, component = f"o{int(rng.integers(2))}", f"c{int(rng.integers(count // 2 + 1))}"
        candidates[record_id] = donors_module.Candidate(record_id, origin, random_face(rng, 256, "ibug_68"))
        split = list(SHARES)[int(component[1:]) % 3]
        rows.append(Assignment(record_id=record_id, group_id=component, component_id=component, split=split))
    return candidates, rows


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 9), st.booleans(), st.sampled_from([1, 50, 1 << 24]))
def test_donors_are_the_nearest_of_the_split_and_of_another_component(seed, count, nearest, same_origin, block):
    candidates, rows = pool(seed, count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(donors_module, "_BLOCK_VALUES", block)
        donors = Donors(candidates, rows, DonorSection(nearest=nearest, same_origin=same_origin))
        found = {row.record_id: donors.nearest(row.record_id) for row in rows}
    shapes = {record_id: donors_module._shape(c.face).astype(np.float64) for record_id, c in candidates.items()}
    for target in rows:
        allowed = [
            (float(np.square(shapes[row.record_id] - shapes[target.record_id]).sum()), row.record_id)
            for row in rows
            if row.split == target.split and row.component_id != target.component_id
            if not same_origin or candidates[row.record_id].origin == candidates[target.record_id].origin
        ]
        assert found[target.record_id] == [record_id for _, record_id in sorted(allowed)[:nearest]]


def test_shapes_that_differ_by_less_than_a_matrix_product_can_tell_are_still_ranked():
    rng = np.random.default_rng(0)
    face = random_face(rng, 256, "ibug_68")
    ids = [f"r{number:03d}" for number in range(60)]
    faces = [replace(face, landmarks=face.landmarks + rng.normal(0, 0.01, (68, 2)).astype(np.float32)) for _ in ids]
    candidates = {i: donors_module.Candidate(i, "o", f) for i, f in zip(ids, faces, strict=True)}
    rows = [Assignment(record_id=i, group_id=i, component_id=i, split="train") for i in ids]
    donors = Donors(candidates, rows, DonorSection(nearest=5))
    shapes = np.stack([donors_module._shape(f) for f in faces]).astype(np.float64)
    for position, target in enumerate(ids):
        order = np.argsort(np.square(shapes - shapes[position]).sum(axis=1), kind="stable")
        assert donors.nearest(target) == [ids[other] for other in order if other != position][:5]


def test_equal_shapes_are_told_apart_by_id():
    face = random_face(np.random.default_rng(0), 256, "ibug_68")
    ids = [f"r{number:03d}" for number in range(200)]
    rows = [Assignment(record_id=i, group_id=i, component_id=i, split="train") for i in reversed(ids)]
    candidates = {i: donors_module.Candidate(i, "o", face) for i in ids}
    assert Donors(candidates, rows, DonorSection(nearest=4)).nearest("r002") == ["r000", "r001", "r003", "r004"]


def test_a_refused_group_is_told_one_record_of_each_split_that_it_matches_through_others_too():
    """`new` ties to `old a` directly and to `old b` through `between`, which has a split by then."""
    members = ["old a", "old a", "old b", "a between", "new"]
    ties = [("new", "old a"), ("a between", "old b"), ("new", "a between")]
    rows, refused = assign(candidates_of(members), ties, earlier({"old a": "test", "old b": "train"}), SHARES, 0)
    assert [row.record_id for row in refused] == ["r04"]
    assert "(r03 in train, r00 in test)" in refused[0].detail
    assert len(rows) == 4


def test_the_largest_component_is_that_with_most_records():
    rows, _ = assign(candidates_of("aabcdde"), [("b", "c"), ("c", "a"), ("d", "e")], [], SHARES, 0)
    assert largest(rows) == ("a", 4, 3, 4 / 7)
    assert largest(rows[::-1]) == largest(rows)
    assert largest([row for row in rows if row.component_id != "a"]) == ("d", 3, 2, 1.0)
    assert largest([]) is None
