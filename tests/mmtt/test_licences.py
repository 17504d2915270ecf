import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmtt.errors import Rejected
from mmtt.licences import combine, obligations

DERIVABLE = ["CC0-1.0", "PD-USGov", "MIT", "Apache-2.0", "CC-BY-4.0", "CC-BY-NC-4.0", "LicenseRef-Face-Set", None]


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


def test_a_forgery_obliges_to_all_that_its_parts_do():
    used = ["CC-BY-NC-4.0", "CC0-1.0", "Apache-2.0", "LicenseRef-Weights", None]
    assert combine(used) == ["BY", "NC", "research-only"]
    assert combine(["CC-BY-NC-SA-4.0", "CC-BY-NC-SA-4.0", None]) == ["BY", "NC", "SA:CC-BY-NC-SA-4.0"]
    assert combine([None]) == combine(["CC0-1.0"]) == []


@pytest.mark.parametrize(
    ("used", "word"),
    [
        (["CC0-1.0", "CC-BY-ND-4.0"], "no derivatives"),
        (["CC-BY-NC-ND-2.0"], "no derivatives"),
        (["CC-BY-SA-4.0", "CC-BY-NC-SA-4.0"], "cannot both be met"),
        (["CC-BY-SA-3.0", "CC-BY-SA-4.0"], "cannot both be met"),
        (["CC-BY-SA-4.0", "CC-BY-NC-4.0"], "allows no restriction"),
        (["CC-BY-SA-4.0", "LicenseRef-faces"], "allows no restriction"),
    ],
)
def test_what_cannot_be_met_together_is_refused(used, word):
    with pytest.raises(Rejected) as caught:
        combine(used)
    assert caught.value.code == "licence_conflict"
    assert word in caught.value.detail


@given(st.lists(st.sampled_from(DERIVABLE)), st.randoms())
def test_the_union_is_the_same_in_any_order_and_drops_nothing(used, rng):
    shuffled = sorted(used, key=lambda _: rng.random())
    union = combine(used)
    assert union == combine(shuffled) == sorted(union)
    assert all(obligations(licence) <= set(union) for licence in used if licence)
