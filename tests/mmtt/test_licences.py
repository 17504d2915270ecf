import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmtt.errors import Rejected
from mmtt.executors import serial
from mmtt.licences import COPYLEFT, combine, obligations
from mmtt.manifest import read
from mmtt.progress import silent
from mmtt.recipe import Recipe
from mmtt.record import PlanRow, Rejection
from mmtt.shards import read_table
from pipelines.ingest import ingest
from pipelines.plan import plan
from tests.factories import TODAY, source_row, tiny_dataset, write_sources

PARTS = ("photo", "donor", "code", "weights")
ALL = [
    "CC0-1.0", "PD-USGov", "MIT", "Apache-2.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0",
    "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-NC-ND-4.0", "LicenseRef-Face-Set", "CreativeML-OpenRAIL-M",
    "GPL-3.0-or-later", "AGPL-3.0-only", "nonsense", None,
]  # fmt: skip
mixtures = st.dictionaries(st.sampled_from(PARTS), st.sampled_from(ALL))


def outcome(parts):
    """The union, or None when it is refused."""
    try:
        return combine(parts)
    except Rejected:
        return None


@pytest.mark.parametrize(
    ("licence", "obliges"),
    [
        ("CC0-1.0", set()),
        ("PD-USGov", set()),
        ("MIT", {"BY"}),
        ("CC-BY-4.0", {"BY"}),
        ("CC-BY-2.0", {"BY"}),
        ("CC-BY-3.0-AU", {"BY"}),
        ("CC-BY-NC-4.0", {"BY", "NC"}),
        ("CC-BY-SA-4.0", {"BY", "SA:CC-BY-SA-4.0"}),
        ("CC-BY-NC-SA-4.0", {"BY", "NC", "SA:CC-BY-NC-SA-4.0"}),
        ("CC-BY-NC-ND-4.0", {"BY", "NC", "ND"}),
        ("LicenseRef-Face-Set", {"BY", "NC", "research-only"}),
        ("GPL-3.0-only", {"BY", "SA:GPL-3.0-only"}),
        ("CreativeML-OpenRAIL-M", {"use-restricted:CreativeML-OpenRAIL-M"}),
        ("CreativeML-OpenRAIL++-M", {"use-restricted:CreativeML-OpenRAIL++-M"}),
    ],
)
def test_a_licence_obliges_to_its_parts(licence, obliges):
    assert obligations(licence) == obliges


@pytest.mark.parametrize(
    ("licence", "hint"),
    [
        ("CC-BY-4", "Did you mean 'CC-BY-4.0'"),
        ("cc-by-4.0", "Did you mean 'CC-BY-4.0'"),
        ("CC-BY-NC-SA-ND-4.0", "Did you mean"),
        ("CC BY 4.0", "Did you mean 'CC-BY-4.0'"),
        ("creativeml-openrail-m", "Did you mean 'CreativeML-OpenRAIL-M'"),
        ("GPL-3.0", "Did you mean 'GPL-3.0-only'"),
        ("proprietary", "Known: "),
        ("CC-BY-4.0 ", "Did you mean"),
        ("", "Known: "),
    ],
)
def test_an_unknown_licence_is_refused_with_the_nearest_one(licence, hint):
    with pytest.raises(Rejected) as caught:
        obligations(licence)
    assert caught.value.code == "licence_unknown"
    assert hint in caught.value.detail


def test_an_unknown_licence_says_whose_it_is():
    with pytest.raises(Rejected, match="the weights' licence: 'CC-BY-5' is no SPDX id") as caught:
        combine({"photo": "CC0-1.0", "weights": "CC-BY-5"})
    assert caught.value.code == "licence_unknown"


def test_a_forgery_obliges_to_all_that_its_parts_do():
    parts = {"photo": "CC-BY-NC-4.0", "donor": "CC0-1.0", "code": "Apache-2.0", "weights": "LicenseRef-Weights"}
    assert combine(parts) == ["BY", "NC", "research-only"]
    assert combine({"photo": "CC-BY-NC-SA-4.0", "donor": "CC-BY-NC-SA-4.0", "weights": None}) == [
        "BY", "NC", "SA:CC-BY-NC-SA-4.0",
    ]  # fmt: skip
    assert combine({}) == combine({"photo": "CC0-1.0", "donor": None}) == []


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"photo": "CC-BY-ND-4.0", "code": "MIT"}, "the photo's CC-BY-ND-4.0 allows no derivatives"),
        ({"photo": "CC0-1.0", "donor": "CC-BY-NC-ND-2.0"}, "the donor's CC-BY-NC-ND-2.0 allows no derivatives"),
        (
            {"photo": "CC-BY-SA-4.0", "donor": "CC-BY-NC-SA-4.0"},
            "the photo's CC-BY-SA-4.0 and the donor's CC-BY-NC-SA-4.0 each demand their own licence",
        ),
        (
            {"photo": "CC-BY-SA-3.0", "donor": "CC-BY-SA-4.0"},
            "the photo's CC-BY-SA-3.0 and the donor's CC-BY-SA-4.0 each demand their own licence",
        ),
        (
            {"photo": "CC-BY-SA-4.0", "weights": "CC-BY-NC-4.0"},
            "the photo's CC-BY-SA-4.0 allows no restriction to non-commercial use, "
            "which the weights' CC-BY-NC-4.0 demands",
        ),
        (
            {"photo": "CC-BY-NC-4.0", "donor": "CC-BY-SA-4.0"},
            "the donor's CC-BY-SA-4.0 allows no restriction to non-commercial use, "
            "which the photo's CC-BY-NC-4.0 demands",
        ),
        (
            {"photo": "CC0-1.0", "donor": "CC-BY-SA-4.0", "weights": "LicenseRef-insightface"},
            "the donor's CC-BY-SA-4.0 allows no restriction to research, "
            "which the weights' LicenseRef-insightface demands",
        ),
        (
            {"photo": "CC-BY-SA-4.0", "code": "CC-BY-NC-4.0"},
            "the photo's CC-BY-SA-4.0 allows no restriction to non-commercial use, "
            "which the program's CC-BY-NC-4.0 demands",
        ),
    ],
)
def test_a_conflict_names_the_terms_and_whose_they_are(parts, sentence):
    with pytest.raises(Rejected) as caught:
        combine(parts)
    assert caught.value.code == "licence_conflict"
    assert sentence in caught.value.detail


@pytest.mark.parametrize("licence", COPYLEFT)
def test_copyleft_of_a_program_does_not_reach_what_it_makes_but_that_of_a_photo_does(licence):
    assert combine({"photo": "CC-BY-NC-4.0", "code": licence}) == ["BY", "NC"]
    assert combine({"photo": licence, "code": "MIT"}) == ["BY", f"SA:{licence}"]
    assert outcome({"photo": licence, "donor": "CC-BY-NC-4.0"}) is None


def test_use_restrictions_are_told_and_conflict_with_nothing():
    parts = {"photo": "CC-BY-SA-4.0", "code": "Apache-2.0", "weights": "CreativeML-OpenRAIL-M"}
    assert combine(parts) == ["BY", "SA:CC-BY-SA-4.0", "use-restricted:CreativeML-OpenRAIL-M"]


@given(mixtures, st.randoms())
def test_the_order_of_the_parts_has_no_say_in_the_union_or_the_sentence(parts, rng):
    shuffled = dict(sorted(parts.items(), key=lambda _: rng.random()))
    told = []
    for mixture in (parts, shuffled):
        try:
            told.append(combine(mixture))
        except Rejected as reason:
            told.append(str(reason))
    assert told[0] == told[1]


@given(mixtures, st.sampled_from(PARTS), st.sampled_from(ALL))
def test_one_part_more_takes_no_obligation_away_and_heals_no_conflict(parts, part, licence):
    fewer = outcome({name: value for name, value in parts.items() if name != part})
    more = outcome(parts | {part: licence})
    if fewer is None:
        assert more is None
    elif more is not None:
        assert set(fewer) <= set(more) and more == sorted(more)


@given(mixtures)
def test_no_derivatives_are_never_made_of_what_forbids_them(parts):
    if any("-ND" in (licence or "") for licence in parts.values()):
        assert outcome(parts) is None


@pytest.fixture
def planned(tmp_path):
    """Plan a dataset of drawn people whose photos have these licences; return rows, rejections and who has which."""

    def run(licences, manipulators):
        layout = tiny_dataset(tmp_path, len(licences), manipulators, plan={"splits": {"train": 1.0}})
        rows = [source_row(f"drawn_{n:02d}.png", f"person {n}", licence=name) for n, name in enumerate(licences)]
        write_sources(tmp_path, rows)
        recipe = Recipe.load(layout.recipe)
        ingest(layout, recipe, serial, silent)
        done = plan(layout, recipe, TODAY)
        assert read_table(layout.plan / "plan.parquet", PlanRow) == done.rows
        assert read_table(layout.plan / "rejections.parquet", Rejection) == done.rejections
        return done.rows, done.rejections, {record.record_id: record.licence for record in read(layout.pristine)}

    return run


def test_a_photo_without_derivatives_is_forged_neither_as_target_nor_as_donor(planned):
    rows, refused, licence_of = planned(["CC-BY-ND-4.0", "CC0-1.0", "CC-BY-4.0"], ["recolour", "face_swap"])
    guarded = next(record_id for record_id, licence in licence_of.items() if licence == "CC-BY-ND-4.0")
    assert rows and guarded not in {row.target_id for row in rows} | {row.source_id for row in rows}
    told = {(row.manipulator, row.record_id == guarded): row for row in refused}
    assert {row.code for row in refused} == {"licence_conflict"}
    assert told["recolour", True].detail == "the photo's CC-BY-ND-4.0 allows no derivatives"
    assert "the photo's CC-BY-ND-4.0 allows no derivatives" in told["face_swap", True].detail
    donors = [row.detail for row in refused if row.record_id != guarded]
    assert set(donors) <= {"the donor's CC-BY-ND-4.0 allows no derivatives"}


def test_a_donor_without_derivatives_is_refused_where_it_is_the_only_one(planned):
    rows, refused, licence_of = planned(["CC-BY-ND-4.0", "CC0-1.0"], ["face_swap"])
    assert rows == [] and len(refused) == 2
    free = next(record_id for record_id, licence in licence_of.items() if licence == "CC0-1.0")
    detail = next(row.detail for row in refused if row.record_id == free)
    assert detail == "the donor's CC-BY-ND-4.0 allows no derivatives"


def test_what_photo_donor_and_program_ask_for_is_in_the_plan(planned):
    rows, refused, _ = planned(["CC-BY-SA-4.0", "CC-BY-SA-4.0"], ["face_swap"])
    assert refused == []
    assert [row.obligations for row in rows] == [["BY", "SA:CC-BY-SA-4.0"]] * 2
