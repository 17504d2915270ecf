import random
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from mmtt.contract import Case, violations
from mmtt.errors import Rejected, UserError
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


class BatchOfFiveMatters(Good):
    def render(self, batch):
        return [edit._replace(image=edit.image + np.uint8(len(batch) == 5)) for edit in super().render(batch)]


class PlaceInBatchMatters(Good):
    def render(self, batch):
        return [edit._replace(image=edit.image + np.uint8(n % 2)) for n, edit in enumerate(super().render(batch))]


class NeighboursMatter(Good):
    def render(self, batch):
        brightest = max(int(job.target.max()) for job in batch) + max(int(job.target[0, 0, 0]) for job in batch)
        return [edit._replace(image=edit.image ^ np.uint8(brightest % 251)) for edit in super().render(batch)]


class SupportVaries(Good):
    def render(self, batch):
        return [edit._replace(support=edit.alpha > 0.1 * len(batch)) for edit in super().render(batch)]


class FailsInABatch(Good):
    """Hands a rejection back in place of an edit, as programs of others do for single items."""

    def render(self, batch):
        return [edit if len(batch) == 1 else Rejected("program_failed") for edit in super().render(batch)]


class RejectsWithinTheList(Good):
    def render(self, batch):
        return [Rejected("program_failed", "it said nothing") for _ in batch]


class Remembers(Good):
    """Adds up all that it has seen."""

    seen: ClassVar[list[int]] = []

    def one(self, job):
        self.seen.append(1)
        edit = super().one(job)
        return edit._replace(image=edit.image + np.uint8(len(self.seen)))


class LosesJobs(Good):
    def render(self, batch):
        return super().render(batch)[:1]


class WritesToTarget(Good):
    def one(self, job):
        edit = super().one(job)
        job.target[0, 0] += 1
        return edit


class WritesToLandmarks(Good):
    def plan(self, target, source, rng):
        target.landmarks[0] += 1
        return super().plan(target, source, rng)


class WritesToParameters(Good):
    def one(self, job):
        edit = super().one(job)
        job.parameters["power"] = 0.0
        return edit


class PutsBackWhatItWrote(Good):
    """Leaves no trace, but the images of a dataset that is forged are read-only."""

    def one(self, job):
        job.target[0, 0] += 1
        job.target[0, 0] -= 1
        return super().one(job)


class PlansFromNumpysGenerator(Good):
    def plan(self, target, source, rng):
        return super().plan(target, source, rng) | {"power": float(np.random.random())}


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


class FloatImage(Good):
    def one(self, job):
        edit = super().one(job)
        return edit._replace(image=np.full(edit.image.shape, np.nan, np.float32))


class NanAlpha(Good):
    def one(self, job):
        edit = super().one(job)
        return edit._replace(alpha=edit.alpha * np.float32(np.nan))


class AlphaBeyondOne(Good):
    def one(self, job):
        edit = super().one(job)
        return edit._replace(alpha=edit.alpha * np.float32(255))


class ReturnsAPicture(Good):
    def one(self, job):
        return super().one(job).image


class ReturnsNothing(Good):
    def render(self, batch):
        return []


class NullAsList(Good):
    def one(self, job):
        return super().one(job)._replace(null=[[0]])


class FloatNull(Good):
    def one(self, job):
        edit = super().one(job)
        return edit._replace(null=edit.image.astype(np.float32))


class FullFrame(Good):
    declaration = declared(mask_rule=MaskRule.NULL_EDIT)
    asked: ClassVar[bool] = True

    def one(self, job):
        edit = super().one(job)
        full = np.ones(edit.alpha.shape, np.float32)
        return edit._replace(alpha=full, null=job.target.copy(), intent=edit.alpha > 0.5 if self.asked else None)


class NullVaries(FullFrame):
    def render(self, batch):
        return [edit._replace(null=edit.null ^ np.uint8(len(batch) == 5)) for edit in super().render(batch)]


class FullFrameWithoutIntent(FullFrame):
    asked: ClassVar[bool] = False


class FullFrameWithoutNull(FullFrame):
    def one(self, job):
        return super().one(job)._replace(null=None)


class RawUnasked(Good):
    def one(self, job):
        edit = super().one(job)
        return edit._replace(raw=edit.image)


class RawOfNothing(Good):
    keep_raw: bool = True

    def one(self, job):
        edit = super().one(job)
        return edit._replace(raw=edit.image[:0])


class RawAsked(RawUnasked):
    keep_raw: bool = True


class LogOfBytes(Good):
    def one(self, job):
        return super().one(job)._replace(log=b"exit 0")


class UndeclaredRegion(Good):
    def plan(self, target, source, rng):
        return super().plan(target, source, rng) | {"regions": ["nose", "lip"]}


class Declares(Good):
    """Adds to its declaration what the tests tell it to."""

    changes: dict[str, str] = {}  # noqa: RUF012  (a field, not a class variable)

    def declare(self):
        return self.declaration._replace(**self.changes)


class DeclareRaises(Good):
    def declare(self):
        raise KeyError("weights")


class DeclareReturnsNothing(Good):
    def declare(self):
        return None


class NoSupport(Good):
    declaration = declared(mask_rule=MaskRule.SUPPORT)


class Hole(Good):
    declaration = declared(mask_rule=MaskRule.HOLE)
    margin: ClassVar[float] = 0.0

    def one(self, job):
        edit = super().one(job)
        return edit._replace(support=edit.alpha > self.margin)


class BeyondTheHole(Hole):
    margin: ClassVar[float] = 0.3


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


def copies(cases=CASES):
    """Cases that a manipulator may spoil."""
    fresh = [Case(*(part.copy() if isinstance(part, np.ndarray) else part for part in case)) for case in cases]
    return [
        case._replace(
            target_face=replace(case.target_face, landmarks=case.target_face.landmarks.copy()),
            source_face=replace(case.source_face, landmarks=case.source_face.landmarks.copy()),
        )
        for case in fresh
    ]


@pytest.mark.parametrize("made", [Good, RejectsOne, Donor, FullFrame, RawAsked, Hole])
def test_a_manipulator_that_keeps_the_contract_has_no_violation(made):
    assert violations(made(), CASES) == []


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (UnknownFamily, "family 'recolor' is none of"),
        (UnknownRegion, "regions ['elbow'] are none of the 21 words"),
        (UndeclaredRegion, "regions that are not declared: ['nose', 'lip']"),
        (ImpurePlan, "the same generator plans something else"),
        (PlansFromNumpysGenerator, "a global random generator was used"),
        (PlansFromNumpysGenerator, "the same generator plans something else"),
        (TupleInPlan, "the plan does not survive JSON"),
        (NumpyInPlan, "float32 is not JSON serializable"),
        (NoRegions, "the plan names no `regions`"),
        (UnseededRender, "gives other bytes in a batch of 2, or twice"),
        (BatchMatters, "gives other bytes in a batch of 2, or twice"),
        (BatchOfFiveMatters, "gives other bytes in a batch of 5, or twice"),
        (PlaceInBatchMatters, "gives other bytes in a batch of 2, or twice"),
        (NeighboursMatter, "gives other bytes in a batch of 2, or twice"),
        (SupportVaries, "gives other bytes in a batch of 2, or twice"),
        (NullVaries, "gives other bytes in a batch of 5, or twice"),
        (FailsInABatch, "gives other bytes in a batch of 2, or twice"),
        (RejectsWithinTheList, "every case was rejected"),
        (Remembers, "gives other bytes in a batch of 5, or twice"),
        (LosesJobs, "a batch of 5 gives 1 edits"),
        (LosesJobs, "a batch of 2 gives 1 edits"),
        (ReturnsNothing, "a batch of 1 gives 0 edits"),
        (WritesToTarget, "the inputs were written to"),
        (WritesToLandmarks, "the inputs were written to"),
        (WritesToParameters, "the parameters were written to"),
        (PutsBackWhatItWrote, "with read-only images raises ValueError"),
        (NumpysGlobalGenerator, "a global random generator was used"),
        (PythonsGlobalGenerator, "a global random generator was used"),
        (WrongShape, "alpha is float32 (63, 64), expected float32 of the frame"),
        (WrongType, "alpha is float64"),
        (FloatImage, "image is float32 (64, 64, 3), target uint8"),
        (NanAlpha, "alpha is not finite"),
        (AlphaBeyondOne, "alpha spans 0 to 255, beyond [0, 1]"),
        (ReturnsAPicture, "render must return an Edit"),
        (NullAsList, "null is list, expected a numpy array"),
        (FloatNull, "null is float32"),
        (FullFrameWithoutIntent, "must return its `intent`"),
        (FullFrameWithoutNull, "must return its `null`"),
        (RawUnasked, "`raw` is returned without `keep_raw`"),
        (LogOfBytes, "log is bytes, expected text"),
        (NoSupport, "bad_edit: an edit under the rule 'support' must return its `support`"),
        (BeyondTheHole, "alpha is above 0 outside the hole"),
        (RawOfNothing, "raw has no pixel"),
        (Crashes, "IndexError: out of range"),
        (RejectsAll, "every case was rejected"),
        (DonorWithoutAsking, "bad_edit"),
        (DeclareRaises, "declare() raises KeyError: 'weights'"),
        (DeclareReturnsNothing, "declare() raises TypeError: a Declaration is expected, not NoneType"),
    ],
)
def test_a_broken_contract_is_told_in_a_sentence(made, sentence):
    found = violations(made(), copies())
    assert any(sentence in told for told in found), found


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"weights_sha256": "0" * 64}, "weights are declared without their licence"),
        ({"weights_licence": "MIT"}, "a licence of weights is declared without their digest"),
        ({"weights_sha256": "abc", "weights_licence": "MIT"}, "weights_sha256 is 'abc', not 64 hex digits"),
        ({"code_sha256": "HEAD"}, "code_sha256 is 'HEAD', not 64 hex digits"),
        ({"code_licence": "MIT License"}, "code_licence: 'MIT License' is no SPDX id"),
        ({"code_licence": ""}, "code_licence is empty"),
        ({"code_licence": "CC-BY-ND-4.0"}, "allows no derivatives: every forgery would be refused"),
        ({"weights_sha256": "0" * 64, "weights_licence": "free"}, "weights_licence: 'free' is no SPDX id"),
        ({"name": "bright"}, "declare() gives the name 'bright', the class 'dim'"),
        ({"version": ""}, "version or summary is empty"),
        ({"mask_rule": "imported"}, "mask_rule 'imported' is none of blend, support, hole, null_edit"),
    ],
)
def test_a_declaration_that_no_row_could_carry_is_told(changes, sentence):
    found = violations(Declares(changes=changes), CASES)
    assert any(sentence in told for told in found), found


def test_what_a_manipulator_learned_may_be_declared_with_digest_and_licence():
    changes = {"weights_sha256": "0" * 64, "weights_licence": "CreativeML-OpenRAIL-M", "code_sha256": "1" * 64}
    assert violations(Declares(changes=changes), CASES) == []


@pytest.mark.parametrize("place", ["declare", "plan", "render"])
def test_what_the_user_has_to_bring_is_no_fault_of_the_manipulator(place):
    class Absent(Good):
        pass

    def absent(*_):
        raise UserError("'eyes.onnx' is missing. Get it from example.org.")

    setattr(Absent, place, absent)
    Absent.__abstractmethods__ = frozenset()
    with pytest.raises(UserError, match=r"eyes\.onnx' is missing"):
        violations(Absent(), CASES)


def test_edits_in_another_order_than_their_jobs_are_told_whatever_the_order_of_the_cases():
    class Sorts(Good):
        def render(self, batch):
            return super().render(sorted(batch, key=lambda job: job.target.mean()))

        def one(self, job):
            return Edit((job.target // 2).astype(np.uint8), make_edit(0, 32)[1].alpha)

    cases = [Case(make_edit(n, 32)[0], make_face(n, 32), make_edit(n, 32)[0], make_face(n, 32), n) for n in range(10)]
    for ordered in (sorted(cases, key=lambda c: c.target.mean()), sorted(cases, key=lambda c: -c.target.mean())):
        assert any("gives other bytes in a batch" in told for told in violations(Sorts(), ordered))


def test_a_batch_of_a_dataset_has_one_size_so_sizes_are_never_mixed():
    class OneSize(Good):
        def render(self, batch):
            return [
                Edit(image, edit.alpha) for image, edit in zip(self.stacked(batch), map(self.one, batch), strict=True)
            ]

        def stacked(self, batch):
            return [np.stack([job.target for job in batch])[n] // 2 for n in range(len(batch))]

        def one(self, job):
            return Edit(job.target, make_edit(0, len(job.target))[1].alpha)

    larger = Case(make_edit(5, 96)[0], make_face(5, 96), make_edit(6, 96)[0], make_face(6, 96), 5)
    assert violations(OneSize(), [*CASES, larger]) == []


def test_a_manipulator_may_declare_that_it_is_not_deterministic():
    class Declared(UnseededRender):
        declaration = declared(deterministic=False)

    assert violations(Declared(), CASES) == []
