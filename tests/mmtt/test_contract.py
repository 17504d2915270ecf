import random

import numpy as np
import pytest

from mmtt.contract import Case, violations
from mmtt.errors import Rejected
from mmtt.manipulator import Declaration, Edit, Manipulator
from mmtt.masks import MaskRule
from tests.factories import make_edit, make_face

CASES = [
    Case(make_edit(seed, 64)[0], make_face(seed, 64), make_edit(seed + 9, 64)[0], make_face(seed + 9, 64), seed)
    for seed in range(2)
]


def declared(**changes):
    known = Declaration("dim", "1", "recolour", MaskRule.BLEND, ("nose",), "Darkens a disc.")
    return known._replace(**changes)


class Good(Manipulator):
    """Darkens a disc; every other class here breaks one thing of it."""

    declaration = declared()

    def plan(self, target, source, rng):
        return {"regions": ["nose"], "power": float(rng.uniform(0.2, 0.6))}

    def render(self, batch):
        return [self.one(job) for job in batch]

    def one(self, job):
        _, edit = make_edit(0, 64)
        return Edit((job.target * job.parameters["power"]).astype(np.uint8), edit.alpha)


class UnknownFamily(Good):
    declaration = declared(family="recolor")


class UnknownRegion(Good):
    declaration = declared(regions=("elbow",))


class ImpurePlan(Good):
    def plan(self, target, source, rng):
        return super().plan(target, source, rng) | {"noise": random.SystemRandom().random()}


class TupleInPlan(Good):
    def plan(self, target, source, rng):
        return super().plan(target, source, rng) | {"size": (1, 2)}


class NumpyInPlan(Good):
    def plan(self, target, source, rng):
        return super().plan(target, source, rng) | {"power": np.float32(0.5)}


class NoRegions(Good):
    def plan(self, target, source, rng):
        return {"power": super().plan(target, source, rng)["power"]}


class UnseededRender(Good):
    def one(self, job):
        edit = super().one(job)
        return edit._replace(image=edit.image + np.random.default_rng().integers(0, 9, edit.image.shape, np.uint8))


class BatchMatters(Good):
    def render(self, batch):
        return [edit._replace(image=edit.image // np.uint8(len(batch))) for edit in super().render(batch)]


class LosesJobs(Good):
    def render(self, batch):
        return super().render(batch)[:1]


class WritesToTarget(Good):
    def one(self, job):
        edit = super().one(job)
        job.target[0, 0] += 1
        return edit


class NumpysGlobalGenerator(Good):
    def one(self, job):
        np.random.random()
        return super().one(job)


class PythonsGlobalGenerator(Good):
    def one(self, job):
        random.random()
        return super().one(job)


class WrongShape(Good):
    def one(self, job):
        edit = super().one(job)
        return edit._replace(alpha=edit.alpha[:-1])


class WrongType(Good):
    def one(self, job):
        edit = super().one(job)
        return edit._replace(alpha=edit.alpha.astype(np.float64))


class NoSupport(Good):
    declaration = declared(mask_rule=MaskRule.SUPPORT)


class Crashes(Good):
    def one(self, job):
        raise IndexError("out of range")


class RejectsAll(Good):
    def plan(self, target, source, rng):
        raise Rejected("region_unavailable", "no")


class RejectsOne(Good):
    def plan(self, target, source, rng):
        if np.array_equal(target.landmarks, CASES[0].target_face.landmarks):
            raise Rejected("region_unavailable", "no")
        return super().plan(target, source, rng)


class DonorWithoutAsking(Good):
    def one(self, job):
        return super().one(job)._replace(image=job.source)


class Donor(DonorWithoutAsking):
    declaration = declared(needs_source=True)


@pytest.fixture(autouse=True)
def _generators_in_the_middle_of_their_state():
    np.random.seed(1)  # numpy's state must not be at a refill, where one draw moves all of it
    np.random.random(5)


@pytest.mark.parametrize("made", [Good, RejectsOne, Donor])
def test_a_manipulator_that_keeps_the_contract_has_no_violation(made):
    assert violations(made(), CASES) == []


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (UnknownFamily, "family 'recolor' is none of"),
        (UnknownRegion, "regions ['elbow'] are none of the 21 words"),
        (ImpurePlan, "the same generator plans something else"),
        (TupleInPlan, "the plan does not survive JSON"),
        (NumpyInPlan, "float32 is not JSON serializable"),
        (NoRegions, "the plan names no `regions`"),
        (UnseededRender, "gives other bytes in a batch, or twice"),
        (BatchMatters, "gives other bytes in a batch, or twice"),
        (LosesJobs, "a batch of two does not give two edits"),
        (WritesToTarget, "the inputs were written to"),
        (NumpysGlobalGenerator, "a global random generator was used"),
        (PythonsGlobalGenerator, "a global random generator was used"),
        (WrongShape, "bad_edit"),
        (WrongType, "bad_edit"),
        (NoSupport, "must say its support"),
        (Crashes, "IndexError: out of range"),
        (RejectsAll, "every case was rejected"),
        (DonorWithoutAsking, "bad_edit"),
    ],
)
def test_a_broken_contract_is_told_in_a_sentence(made, sentence):
    cases = [Case(*(array.copy() if isinstance(array, np.ndarray) else array for array in case)) for case in CASES]
    found = violations(made(), cases)
    assert any(sentence in told for told in found), found


def test_a_manipulator_may_declare_that_it_is_not_deterministic():
    class Declared(UnseededRender):
        declaration = declared(deterministic=False)

    assert violations(Declared(), CASES) == []
