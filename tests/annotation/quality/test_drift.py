import numpy as np
import pytest

from annotation.quality.drift import drifted
from tests.annotation.planted import careful, drifter, found, make_answer


def test_a_baseline_alone_does_not_drift():
    assert drifted([], 0.2, 0.1) == 0
    assert drifted([1.0] * 30, 0.2, 0.1) == 0


def test_the_average_is_exponentially_weighted():
    series = [0.0] * 30 + [1.0, 1.0]
    spread = 0.1 * np.sqrt(0.2 / 1.8 * (1 - 0.8**4) + 1 / 30)
    assert drifted(series, 0.2, 0.1) == pytest.approx((1 - 0.8**2) / spread)
    assert drifted(series, 1.0, 0.1) == pytest.approx(1 / (0.1 * np.sqrt(1 + 1 / 30)))


def test_a_wide_baseline_needs_more():
    series = [0.0, 2.0] * 15 + [3.0] * 5
    assert drifted(series, 0.2, 0.1) < drifted([1.0] * 30 + [3.0] * 5, 0.2, 0.1)


def test_steady_work_seldom_drifts():
    rng = np.random.default_rng(0)
    alarms = [abs(drifted(rng.normal(size=200).tolist(), 0.2, 0.0)) > 3 for _ in range(400)]
    assert np.mean(alarms) < 0.03


def test_the_drifter_is_told_what_moved():
    details = " ".join(f.detail for f in found("drift", *drifter()))
    assert "dwell" in details and "length" in details
    assert {(f.uid, f.effect) for f in found("drift", *drifter())} == {(None, "tell")}


@pytest.mark.parametrize(
    ("later", "moved"),
    [
        ({"region_shares": {"eye": 0.9}}, "grounding"),
        ({"regions": ("eye",)}, "choices"),
        ({"lead_time_s": 61.0}, "dwell"),
        ({"text": "The chin is bent and smeared."}, "length"),
    ],
)
def test_each_thing_that_is_watched_may_move(later, moved):
    chin = {"text": "The chin is bent and smeared, and its border is drawn twice.", "regions": ("chin",)}
    answers = [
        make_answer(n, **{**chin, "region_shares": {"chin": 0.9}, **(later if n >= 40 else {})}) for n in range(50)
    ]
    assert any(f.detail.startswith(moved) for f in found("drift", *answers))
    assert found("drift", *answers[:40]) == []


def test_slower_work_is_no_fault_but_longer_texts_are_told():
    slower = careful(count=150)
    slower = [*slower[:100], *(make_answer(n, "careful", lead_time_s=900.0, submitted=a.submitted.replace(year=2027))
                               for n, a in enumerate(slower[100:], 100))]  # fmt: skip
    assert found("drift", *slower) == []
    longer = [make_answer(n, text="The nose is smeared and bent. " * (1 if n < 40 else 4)) for n in range(60)]
    (finding,) = found("drift", *longer)
    assert finding.detail.startswith("length has moved by +")


def test_each_language_has_its_own_baseline():
    mixed = [a for pair in zip(careful("x", "en", 80), careful("x", "zh", 80), strict=True) for a in pair]
    assert found("drift", *mixed) == []
