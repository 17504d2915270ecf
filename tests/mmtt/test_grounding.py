"""What a mask says about a text's claims."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmtt.grounding import NEIGHBOURS, SUPPORT, ground, supported
from mmtt.regions import REGIONS, TEXT_ONLY, sayable

OPEN = sorted((Path(__file__).parent / "sentences").glob("*_open.jsonl"))
LANDMARKS = tuple(word for word in REGIONS if word not in TEXT_ONLY)
WORDS = st.lists(st.sampled_from(REGIONS), unique=True)
SHARES = st.dictionaries(st.sampled_from(REGIONS), st.floats(0, 1))


@pytest.mark.parametrize("path", OPEN, ids=lambda path: path.stem)
def test_support_is_what_people_said_it_is(path):
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found = {row["id"]: [word for word in row["regions"] if supported(word, row["edited"])] for row in rows}
    assert {row["id"]: row["grounded"] for row in rows if sorted(row["grounded"]) != sorted(found[row["id"]])} == {}


@pytest.mark.parametrize("graph", [SUPPORT, NEIGHBOURS])
def test_both_graphs_are_symmetric_and_nobody_is_beside_itself(graph):
    assert set(graph) == set(REGIONS)
    assert [(a, b) for a in REGIONS for b in graph[a] if a not in graph[b] or a == b] == []


def test_support_is_no_neighbourhood():
    assert {word: SUPPORT[word] & NEIGHBOURS[word] for word in REGIONS if SUPPORT[word] & NEIGHBOURS[word]} == {}


@pytest.mark.parametrize(
    ("word", "edited", "expected"),
    [
        ("tooth", ["mouth"], True),
        ("mouth", ["tooth"], True),
        ("scar", ["ear"], True),
        ("scar", ["hair"], False),
        ("hair", ["forehead"], False),
        ("ear", ["cheek"], False),
        ("jaw", ["beard"], True),
        ("nose", [], False),
    ],
)
def test_a_word_is_supported_by_its_part_and_by_what_holds_it(word, edited, expected):
    assert supported(word, edited) is expected


def test_a_neighbour_is_half_right_and_still_named():
    found = ground(("mouth", "nose", "hair"), {"mouth": 0.8})
    assert found.precision == pytest.approx((1 + 0.5 + 0) / 3)
    assert found.unsupported == ("nose", "hair")


def test_a_word_that_is_said_twice_counts_once():
    assert ground(("nose", "nose", "hair"), {"nose": 1.0}) == ground(("hair", "nose"), {"nose": 1.0})


def test_recall_weighs_a_region_by_its_share():
    found = ground(("nose",), {"nose": 0.9, "eye": 0.3, "chin": 0.04})
    assert found.recall == pytest.approx(0.9 / 1.2)
    assert found.omitted == ("eye",)


def test_a_region_that_the_mask_hardly_touches_is_not_edited():
    assert ground(("chin",), {"chin": 0.04}).precision == 0
    assert ground(("chin",), {"chin": 0.04}, min_share=0.01).precision == 1


def test_recall_asks_only_for_what_is_outlined():
    shares = {"nose": 0.5, "hair": 0.9}
    assert ground(("nose",), shares).recall == 1
    assert ground(("nose",), shares, sayable=(*LANDMARKS, "hair")).omitted == ("hair",)


def test_no_claim_has_no_precision_and_no_edit_no_recall():
    assert ground((), {"nose": 1.0}).precision is None
    assert ground((), {"nose": 1.0}).recall == 0
    assert ground(("nose",), {}).recall is None
    assert ground(("nose",), {}).precision == 0


def test_a_word_that_nothing_shows_is_undecided():
    found = ground(("hair", "nose"), {"nose": 1.0}, sayable=LANDMARKS)
    assert (found.precision, found.unsupported, found.undecided) == (1.0, (), ("hair",))
    assert ground(("hair",), {"nose": 1.0}, sayable=LANDMARKS).precision is None
    assert ground(("hair",), {"nose": 1.0}, sayable=(*LANDMARKS, "hair")).precision == 0
    assert ground(("hair",), {"nose": 1.0}).precision == 0


def test_teeth_in_a_mouth_that_was_left_alone_are_false():
    assert ground(("tooth",), {"eye": 1.0}, sayable=LANDMARKS).precision == 0
    assert ground(("tooth",), {"eye": 1.0, "mouth": 0.01}, sayable=LANDMARKS).undecided == ("tooth",)
    assert ground(("tooth",), {"mouth": 1.0}, sayable=LANDMARKS).precision == 1


def test_a_forehead_that_the_landmarks_do_not_know_may_hold_a_wrinkle():
    known = sayable("openpose_70")
    if "forehead" in known:
        known = tuple(word for word in known if word != "forehead")
    assert ground(("wrinkle",), {"nose": 1.0}, sayable=known).undecided == ("wrinkle",)
    assert ground(("wrinkle",), {"nose": 1.0}, sayable=(*known, "forehead")).unsupported == ("wrinkle",)


def test_a_word_that_is_no_region_is_refused():
    with pytest.raises(ValueError, match="no regions: teeth"):
        ground(("teeth",), {"mouth": 1.0})


@given(WORDS, SHARES, st.one_of(st.none(), WORDS))
def test_rates_are_rates_and_every_claim_is_accounted_for(claimed, edited, known):
    found = ground(claimed, edited, sayable=known)
    assert found.precision is None or 0 <= found.precision <= 1
    assert found.recall is None or 0 <= found.recall <= 1
    assert not set(found.unsupported) & set(found.undecided)
    assert {*found.unsupported, *found.undecided} <= set(claimed)
    assert not set(found.omitted) & set(claimed)
    assert known is not None or found.undecided == ()
