"""The contract test that every manipulator passes, built-in or installed."""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmtt.errors import MmttError, Rejected
from mmtt.faces import Face
from mmtt.images import Rgb
from mmtt.manipulator import FAMILIES, Edit, Forged, Job, Manipulator, finish
from mmtt.regions import REGIONS


class Case(NamedTuple):
    """One face to try a manipulator on: images RGB uint8 H×W×3, and a seed."""

    target: Rgb
    target_face: Face
    source: Rgb
    source_face: Face
    seed: int


def violations(manipulator: Manipulator, cases: Sequence[Case]) -> list[str]:
    """Return what a manipulator does against its contract, as sentences; empty when it may be used.

    Checks: names of the closed vocabularies; the plan is pure, survives JSON and names its regions; the
    same plan and seed give the same bytes, alone or in a batch; inputs and the global generator are left
    alone; where alpha is 0 the target stays, every changed pixel has alpha above 0, the mask is not empty.
    A case may be rejected, but not all of them, and never for a `bad_edit`.
    """
    found = _declared(manipulator)
    forged = []
    for case in cases:
        try:
            forged.append(_try(manipulator, case, found))
        except Rejected as reason:
            if reason.code == "bad_edit":
                found.append(f"seed {case.seed}: {reason}")
        except MmttError as error:
            found.append(f"seed {case.seed}: {error}")
        except Exception as error:  # anything else that a stranger's code may raise
            found.append(f"seed {case.seed}: {type(error).__name__}: {error}")
    if not forged and not found:
        found.append("every case was rejected")
    return sorted(set(found), key=found.index)


def _declared(manipulator: Manipulator) -> list[str]:
    declared, found = manipulator.declare(), []
    if declared.family not in FAMILIES:
        found.append(f"family '{declared.family}' is none of {', '.join(FAMILIES)}")
    unknown = set(declared.regions) - set(REGIONS)
    if unknown:
        found.append(f"regions {sorted(unknown)} are none of the 21 words")
    return found


def plan_case(manipulator: Manipulator, case: Case) -> dict[str, Any]:
    """Return the parameters that a manipulator plans for a case."""
    source = case.source_face if manipulator.declare().needs_source else None
    return manipulator.plan(case.target_face, source, np.random.default_rng(case.seed))


def job(manipulator: Manipulator, case: Case, parameters: dict[str, Any]) -> Job:
    """Return the job of a case."""
    swaps = manipulator.declare().needs_source
    return Job(
        case.target,
        case.target_face,
        case.source if swaps else None,
        case.source_face if swaps else None,
        parameters,
        np.random.default_rng(case.seed),
    )


def _try(manipulator: Manipulator, case: Case, found: list[str]) -> Forged:
    def note(holds: bool, sentence: str) -> None:
        if not holds:
            found.append(f"seed {case.seed}: {sentence}")

    before = _global_generators()
    target, source = case.target.copy(), case.source.copy()
    parameters = plan_case(manipulator, case)
    written = json.dumps(parameters, sort_keys=True)
    note(plan_case(manipulator, case) == parameters, "the same generator plans something else")
    note(json.loads(written) == parameters, "the plan does not survive JSON (tuples? numpy numbers?)")
    note(set(parameters.get("regions", ["?"])) <= set(REGIONS), "the plan names no `regions` of the 21 words")
    edit = manipulator.render([job(manipulator, case, json.loads(written))])[0]
    forged = finish(case.target, edit, manipulator.declare().mask_rule, 0)
    _same_in_batch(manipulator, case, parameters, edit, note)
    note(bool((case.target == target).all() and (case.source == source).all()), "the inputs were written to")
    note(_global_generators() == before, "a global random generator was used")
    _pixels(case, forged, note)
    return forged


def _global_generators() -> tuple[Any, ...]:
    """The state of Python's and numpy's global generators; the keys alone do not move with every draw."""
    name, keys, *place = np.random.get_state()
    return name, np.asarray(keys).tobytes(), *place, random.getstate()


def _same_in_batch(
    manipulator: Manipulator, case: Case, parameters: dict[str, Any], edit: Edit, note: Callable[[bool, str], None]
) -> None:
    both = manipulator.render([job(manipulator, case, parameters), job(manipulator, case, parameters)])
    note(len(both) == 2, "a batch of two does not give two edits")
    same = all(
        np.array_equal(other.alpha, edit.alpha)
        and np.array_equal(other.image[edit.alpha > 0], edit.image[edit.alpha > 0])
        for other in both
    )
    note(same or not manipulator.declare().deterministic, "the same job gives other bytes in a batch, or twice")


def _pixels(case: Case, forged: Forged, note: Callable[[bool, str], None]) -> None:
    untouched = forged.alpha == 0
    note(np.array_equal(forged.image[untouched], case.target[untouched]), "pixels with alpha 0 differ from the target")
    note(bool((forged.alpha[forged.change > 0] > 0).all()), "changed pixels have alpha 0")
    note(set(np.unique(forged.mask)) <= {0, 255} and bool(forged.mask.any()), "the mask is empty or not {0, 255}")
    note(bool((forged.alpha[forged.mask > 0] > 0).all()), "the mask covers pixels with alpha 0")
