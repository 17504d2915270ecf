"""Face swap by landmarks: another person's inner face, warped onto the target's and cut in where it shows least."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from mmtt import landmarks as lm
from mmtt import regions
from mmtt.errors import Rejected
from mmtt.faces import Face, invert, similarity, transform
from mmtt.landmarks import Points
from mmtt.manipulator import Declaration, Edit, Job, Manipulator
from mmtt.masks import MaskRule

from . import blending
from .blending import Cut, Floats, Window
from .glasses import wears_glasses

Width = Annotated[float, Field(ge=0.05, le=0.5)]
Share = Annotated[float, Field(ge=0, le=1)]

_REGIONS = ("eye", "pupil", "lip", "mouth", "nose", "cheek", "chin", "eyebrow", "skin")
_SHUT = 0.035  # inner lips this close together, in interocular distances, count as shut
_SIGMA = 0.3  # how far colours are averaged, in interocular distances
_LIKE = 1.6  # mouths whose openings differ by less than this factor may lend each other their teeth


class FaceSwap(Manipulator):
    """Replace the face from brows to chin by the source's, in the target's shape, expression and light."""

    declaration: ClassVar[Declaration] = Declaration(
        name="face_swap",
        version="1.0.0",
        family="face_swap",
        mask_rule=MaskRule.BLEND,
        regions=_REGIONS,
        summary="Another person's inner face, warped over landmarks, recoloured locally, cut in along the best seam.",
        needs_source=True,
    )

    feather_range: tuple[Width, Width] = (0.08, 0.2)
    """Width of the blend across the seam, in interocular distances."""
    reach_range: tuple[Share, Share] = (0.35, 0.8)
    """Where the seam likes to be, from the features (0) to the jaw line (1), if nothing speaks against it."""
    refuse_glasses: bool = False
    """Refuse pairs of which only one wears glasses: their arms beyond the seam stay, or are missing."""

    def plan(self, target: Face, source: Face | None, rng: np.random.Generator) -> dict[str, Any]:
        """Choose feather and reach; decide from the lips whose mouth interior is shown."""
        if source is None:
            raise Rejected("no_source", "a face swap needs a second face")
        blending.check_face(target)
        blending.check_face(source)
        here, there = correspondences(target, source)
        _check_alike(here, there, target.interocular)
        kept = _kept_mouth(target, source)
        edited = [word for word in _REGIONS if word in regions.sayable(target.scheme)]
        return {
            "regions": [word for word in edited if kept != "lips" or word not in ("lip", "mouth")],
            "feather": float(rng.uniform(min(self.feather_range), max(self.feather_range))),
            "reach": float(rng.uniform(min(self.reach_range), max(self.reach_range))),
            "kept_mouth": kept,
        }

    def render(self, batch: Sequence[Job]) -> list[Edit]:
        """Forge every job by itself.

        Raises:
            Rejected: `glasses`, when these are to be refused.
        """
        if self.refuse_glasses:
            for job in batch:
                _refuse_glasses(job)
        return [_swap(job) for job in batch]


def correspondences(target: Face, source: Face) -> tuple[Points, Points]:
    """Return points of the same anatomy on both faces, each float32 N×2: the mesh's if both have it, else the 68.

    Irises are left out: a glance aside would fold the mesh at the lids.
    """
    if target.scheme == source.scheme == "mediapipe_478":
        scheme = lm.scheme(target.scheme)
        lips = list(scheme.contours["lips_inner"])
        here, there = target.landmarks[:468].copy(), source.landmarks[:468]
    else:
        lips = list(range(68)[lm.LIPS_INNER])
        here, there = target.points_68.copy(), source.points_68
    # Shut lips cross in the finder's noise; crossed, they would tear the mesh.
    here[lips] = _parted(here[lips], 0.006 * target.interocular * target.down)
    return here, there


def _check_alike(here: Points, there: Points, interocular: float) -> None:
    residual = transform(there, similarity(there, here)) - here
    if np.hypot(*residual.T).mean() > 0.3 * interocular:
        raise Rejected("poses_differ", "the faces are turned too differently to be warped onto each other")


def _opening(face: Face) -> float:
    """Distance between the inner lips in interocular distances."""
    p = face.points_68
    return float(max((p[66] - p[62]) @ face.down, 0) / face.interocular)


def _kept_mouth(target: Face, source: Face) -> Literal["nothing", "interior", "lips"]:
    """What of its mouth the target keeps: nothing only where both are shut, or open about as wide."""
    wanted, given = _opening(target), _opening(source)
    if max(wanted, given) < _SHUT or (min(wanted, given) > _SHUT and max(wanted, given) < _LIKE * min(wanted, given)):
        return "nothing"
    return "interior" if wanted > _SHUT else "lips"


def _refuse_glasses(job: Job) -> None:
    assert job.source is not None and job.source_face is not None
    worn = (wears_glasses(job.target, job.target_face), wears_glasses(job.source, job.source_face))
    if worn[0] != worn[1]:
        raise Rejected("glasses", "only one of the two wears glasses")


def _swap(job: Job) -> Edit:
    assert job.source is not None and job.source_face is not None
    face, options = job.target_face, job.parameters
    inner, outer = _hulls(face, wears_glasses(job.target, face))
    area = blending.window(outer, face, job.target)
    if area is None:
        return Edit(job.target, np.zeros(job.target.shape[:2], np.float32))
    donor = _warped(job.source, area, face, job.source_face)
    core = blending.grid_fill(area, inner)
    widths = options["feather"] * face.interocular, _SIGMA * face.interocular
    cut = Cut(inner, outer, options["reach"], *widths, blending.feature_map(area, _features(face)))
    pixels, alpha = blending.transplant(area, job.target, donor, core, cut)
    image, alpha = blending.in_frame(area, job.target, pixels, alpha)
    if options["kept_mouth"] == "interior":
        _spare(alpha, job, face_lips(face, "inner"), 0.03)
    elif options["kept_mouth"] == "lips":
        _spare(alpha, job, face_lips(face, "outer"), 0.08)
    return Edit(image, alpha)


def _spare(alpha: Floats, job: Job, polygon: Points, width: float) -> None:
    """Take a polygon out of the frame's alpha, in place, with an edge of that width in interocular distances."""
    area = blending.window(polygon, job.target_face, job.target)
    if area is not None:
        alpha[area.slices] *= 1 - blending.soft_fill(area, polygon, width * job.target_face.interocular)


def _hulls(face: Face, glasses: bool) -> tuple[Points, Points]:
    """What the seam must enclose (eyes, brows, nose, lips) and what it must not leave (jaw, a strip over the brows)."""
    p, unit = face.points_68, face.interocular
    features = np.concatenate([p[17:48] - 0.06 * unit * face.down * (p[17:48, 1:] < p[27, 1]), p[48:60]])
    # The rims of worn glasses, which reach nearly as far as the temples, must go too.
    rims = p[[36, 45]] + 0.42 * unit * face.across * [[-1], [1]]
    inner = blending.hull(np.concatenate([features, rims]) if glasses else features)
    centre = inner.mean(axis=0)
    # Wider at the temples, where glasses reach, than along the jaw, where background shows.
    share = np.array([1.14, 1.1, 1, *[0.95] * 11, 1, 1.1, 1.14], np.float32)
    jaw = centre + share[:, None] * (p[lm.JAW] - centre)
    brows = p[17:27] - 0.28 * unit * face.down
    return inner, blending.hull(np.concatenate([jaw, brows, inner]))


def _features(face: Face) -> list[Points]:
    """What is not skin: eyes with brows and the glasses that may be there, nostrils, lips."""
    p, unit = face.points_68, face.interocular
    eyes = np.concatenate([p[17:28], p[36:48]])
    return [
        blending.grown(eyes, 0.3 * unit),
        blending.grown(p[30:36], 0.06 * unit),
        blending.grown(face_lips(face, "outer"), 0.03 * unit),
    ]


def face_lips(face: Face, edge: Literal["inner", "outer"]) -> Points:
    """Return the inner or the outer outline of the lips, float32 N×2, at the scheme's best."""
    found = face.contour(f"lips_{edge}")
    spare = face.points_68[lm.LIPS_INNER if edge == "inner" else lm.LIPS_OUTER]
    return spare if found is None else found


def _parted(lips: Points, gap: Points) -> Points:
    """A closed outline from corner to corner, N even, its upper half kept above the lower by at least `gap` (x y)."""
    half = len(lips) // 2
    upper, lower = lips[1:half], lips[:half:-1]
    unit = gap / np.hypot(*gap)
    lack = np.maximum(np.hypot(*gap) - (lower - upper) @ unit, 0)[:, None] * unit / 2
    parted = [lips[:1], upper - lack, lips[half : half + 1], (lower + lack)[::-1]]
    return np.asarray(np.concatenate(parted), np.float32)


def _warped(source: npt.NDArray[np.uint8], area: Window, target: Face, source_face: Face) -> npt.NDArray[np.uint8]:
    """The source in the target's shape, uint8 h×w×3 over the window."""
    here, there = _ringed(*correspondences(target, source_face), area)
    x, y = blending.mesh_map(area, here, there)
    return np.asarray(cv2.remap(source, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def _ringed(here: Points, there: Points, area: Window) -> tuple[Points, Points]:
    """Both point sets with rings around them that a similarity ties, so that the mesh covers the window."""
    angles = np.arange(24) * (2 * np.pi / 24)
    centre = here.mean(axis=0)
    radius = 2.2 * float(np.hypot(*(here - centre).T).max()) + sum(area.hw)
    ring = centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    near = centre + 1.45 * (blending.hull(here) - centre)
    extra = np.concatenate([near, ring]).astype(np.float32)
    back = invert(similarity(there, here))
    return np.concatenate([here, extra]), np.concatenate([there, transform(extra, back)])
