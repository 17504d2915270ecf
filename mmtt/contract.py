"""The contract test that every manipulator passes, built-in or installed."""

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from typing import Any, NamedTuple

import numpy as np

from mmtt.errors import MmttError, Rejected, UserError
from mmtt.faces import Face
from mmtt.images import Rgb
from mmtt.licences import obligations
from mmtt.manipulator import FAMILIES, Declaration, Edit, Forged, Job, Manipulator, finish
from mmtt.masks import MaskRule
from mmtt.regions import REGIONS

BATCHES = (5, 2)
_DERIVED = (MaskRule.BLEND, MaskRule.SUPPORT, MaskRule.HOLE, MaskRule.NULL_EDIT)


class Case(NamedTuple):
    """One face to try a manipulator on: images RGB uint8 H×W×3, and a seed."""

    target: Rgb
    target_face: Face
    source: Rgb
    source_face: Face
    seed: int


class _Alone(NamedTuple):
    """What a manipulator made of one case on its own."""

    case: Case
    parameters: dict[str, Any]
    edit: Edit


def violations(manipulator: Manipulator, cases: Sequence[Case]) -> list[str]:
    """Return what a manipulator does against its contract, as sentences; empty when it may be used.

    Checks: names of the closed vocabularies, licences that are known; the plan is pure, survives JSON and names its
    regions; the same plan and seed give the same bytes, alone or in a batch of any size and order; inputs and the
    global generators are left alone; where alpha is 0 the target stays, every changed pixel has alpha above 0 (under
    the rule `hole` within the hole), the mask is not empty. A case may be rejected, but not all of them, and never for
    a `bad_edit`.

    Raises:
        UserError: the user has to bring something first (weights, a package); nothing is wrong with the program.
    """
    try:
        found = list(_declared(manipulator))
    except UserError:
        raise
    except Exception as error:
        return [f"declare() raises {_told(error)}"]
    alone = [made for case in cases if (made := _alone(manipulator, case, found))]
    if not alone and not found:
        found.append("every case was rejected")
    _in_batches(manipulator, alone, found)
    return sorted(set(found), key=found.index)


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, MmttError) else f"{type(error).__name__}: {error}"


def _alone(manipulator: Manipulator, case: Case, found: list[str]) -> _Alone | None:
    """Try one case; what a stranger's code raises becomes a sentence."""
    try:
        return _try(manipulator, case, found)
    except UserError:
        raise
    except Exception as error:
        if not isinstance(error, Rejected) or error.code == "bad_edit":
            found.append(f"seed {case.seed}: {_told(error)}")
        return None


def _declared(manipulator: Manipulator) -> Iterator[str]:
    declared = manipulator.declare()
    if not isinstance(declared, Declaration):
        raise TypeError(f"a Declaration is expected, not {type(declared).__name__}")
    if declared.name != manipulator.declaration.name:
        yield f"declare() gives the name '{declared.name}', the class '{manipulator.declaration.name}'"
    if declared.family not in FAMILIES:
        yield f"family '{declared.family}' is none of {', '.join(FAMILIES)}"
    if declared.mask_rule not in _DERIVED:
        yield f"mask_rule '{declared.mask_rule}' is none of {', '.join(_DERIVED)}"
    if not declared.regions or set(declared.regions) - set(REGIONS):
        yield f"regions {sorted(set(declared.regions) - set(REGIONS))} are none of the 21 words"
    if not declared.version or not declared.summary:
        yield "version or summary is empty"
    yield from _licensed(declared)


def _licensed(declared: Declaration) -> Iterator[str]:
    if declared.weights_sha256 and not declared.weights_licence:
        yield "weights are declared without their licence (weights_licence)"
    if declared.weights_licence and not declared.weights_sha256:
        yield "a licence of weights is declared without their digest (weights_sha256)"
    for name in ("weights_sha256", "code_sha256"):
        value = getattr(declared, name)
        if value is not None and not re.fullmatch(r"[0-9a-f]{64}", str(value)):
            yield f"{name} is {value!r}, not 64 hex digits"
    for name in ("code_licence", "weights_licence"):
        licence = getattr(declared, name)
        try:
            words = obligations(licence) if licence else ()
        except Rejected as reason:
            yield f"{name}: {reason.detail}"
        else:
            if "ND" in words:
                yield f"{name} '{licence}' allows no derivatives: every forgery would be refused"
    if not declared.code_licence:
        yield "code_licence is empty"


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


def _try(manipulator: Manipulator, case: Case, found: list[str]) -> _Alone:
    def note(holds: bool, sentence: str) -> None:
        if not holds:
            found.append(f"seed {case.seed}: {sentence}")

    before, inputs = _global_generators(), _inputs(case)
    parameters = plan_case(manipulator, case)
    written = json.dumps(parameters, sort_keys=True)
    again = plan_case(manipulator, case)
    note(_global_generators() == before, "a global random generator was used")
    note(again == parameters, "the same generator plans something else")
    note(json.loads(written) == parameters, "the plan does not survive JSON (tuples? numpy numbers? NaN?)")
    words = parameters.get("regions")
    note(bool(words) and set(words or ()) <= set(REGIONS), "the plan names no `regions` of the 21 words")
    note(
        set(words or ()) <= set(manipulator.declare().regions), f"the plan names regions that are not declared: {words}"
    )
    task = job(manipulator, case, json.loads(written))
    edits = manipulator.render([task])
    note(_global_generators() == before, "a global random generator was used")
    note(_inputs(case) == inputs, "the inputs were written to")
    note(json.dumps(task.parameters, sort_keys=True) == written, "the parameters were written to")
    if len(edits) != 1:
        raise Rejected("bad_edit", f"a batch of 1 gives {len(edits)} edits")
    if isinstance(edits[0], Rejected):
        raise edits[0]
    _edit(manipulator, edits[0], note)
    _pixels(case, finish(case.target, edits[0], manipulator.declare().mask_rule, 0), note)
    return _Alone(case, json.loads(written), edits[0])


def _global_generators() -> tuple[Any, ...]:
    """The state of Python's and numpy's global generators; the keys alone do not move with every draw."""
    name, keys, *place = np.random.get_state()
    return name, np.asarray(keys).tobytes(), *place, random.getstate()


def _inputs(case: Case) -> list[bytes]:
    arrays = (case.target, case.source, case.target_face.landmarks, case.source_face.landmarks)
    return [array.tobytes() for array in arrays]


def _edit(manipulator: Manipulator, edit: Edit, note: Callable[[bool, str], None]) -> None:
    """What an edit may hold beside its pixels; `finish` looks at their shapes and types."""
    if not isinstance(edit, Edit):
        return
    note(edit.raw is None or bool(getattr(manipulator, "keep_raw", False)), "`raw` is returned without `keep_raw`")


def _pixels(case: Case, forged: Forged, note: Callable[[bool, str], None]) -> None:
    untouched = forged.alpha == 0
    note(np.array_equal(forged.image[untouched], case.target[untouched]), "pixels with alpha 0 differ from the target")
    note(bool((forged.alpha[forged.change > 0] > 0).all()), "changed pixels have alpha 0")
    note(set(np.unique(forged.mask)) <= {0, 255} and bool(forged.mask.any()), "the mask is empty or not {0, 255}")
    note(bool((forged.alpha[forged.mask > 0] > 0).all()), "the mask covers pixels with alpha 0")


def _in_batches(manipulator: Manipulator, alone: Sequence[_Alone], found: list[str]) -> None:
    """Render the cases again among others of their size, and compare with what each gave alone."""
    for hw in sorted({made.case.target.shape for made in alone}):
        alike = [made for made in alone if made.case.target.shape == hw]
        for size in BATCHES:
            # The other way round for the second size, so that no place in a batch is a case's own.
            alike.reverse()
            for start in range(0, len(alike), size):
                batch = list(islice(cycle(alike), start, start + size))
                told = _against_alone(manipulator, batch)
                if told:
                    found.append(f"seed {batch[0].case.seed}: {told}")


def _against_alone(manipulator: Manipulator, batch: Sequence[_Alone]) -> str | None:
    """Return what is wrong with a batch. Its images cannot be written to, as when a dataset is forged."""
    try:
        edits = manipulator.render([job(manipulator, _frozen(made.case), made.parameters) for made in batch])
    except UserError:
        raise
    except Exception as error:
        return f"a batch of {len(batch)} with read-only images raises {_told(error)}"
    if len(edits) != len(batch):
        return f"a batch of {len(batch)} gives {len(edits)} edits"
    if not manipulator.declare().deterministic:
        return None
    same = all(_same(made.edit, edit) for made, edit in zip(batch, edits, strict=True))
    return None if same else f"the same job gives other bytes in a batch of {len(batch)}, or twice"


def _frozen(case: Case) -> Case:
    target, source = case.target.copy(), case.source.copy()
    target.setflags(write=False)
    source.setflags(write=False)
    return case._replace(target=target, source=source)


def _same(one: Edit, other: object) -> bool:
    """Whether something is an edit that comes to the same; pixels under alpha 0 and the log do not count."""
    if not isinstance(other, Edit) or one.image.shape != np.shape(other.image):
        return False
    if not np.array_equal(one.alpha, other.alpha):
        return False
    sides = [(getattr(one, name), getattr(other, name)) for name in ("support", "null", "intent", "raw")]
    return np.array_equal(one.image[one.alpha > 0], other.image[one.alpha > 0]) and all(
        (a is None and b is None) or np.array_equal(a, b) for a, b in sides
    )
