"""What every transplant shares: a mesh warp, a colour transfer that follows the light, a seam, a feather.

All lengths are pixels of the frame; points are x y. Analysis runs on a grid of about 1/64 of the
interocular distance, whatever the picture's size: light and shape have no finer detail than that.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from mmtt.errors import Rejected
from mmtt.faces import Face
from mmtt.images import Rgb
from mmtt.landmarks import Points

from . import tones

Floats = npt.NDArray[np.float32]

_FINENESS = 64  # grid steps per interocular distance
_ANGLES = 144
_LEVELS = 24
_DETAIL = 0.45  # of the width over which colours are averaged; what is wider is shape, and kept


class Window(NamedTuple):
    """A rectangle of the frame, and the step of the grid on which it is analysed. Maxima are exclusive."""

    left: int
    top: int
    right: int
    bottom: int
    step: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index a frame with."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.bottom - self.top, self.right - self.left

    @property
    def grid_hw(self) -> tuple[int, int]:
        """Height and width in steps of the grid."""
        return -(-self.hw[0] // self.step), -(-self.hw[1] // self.step)

    def to_grid(self, points: npt.NDArray[np.floating]) -> Floats:
        """Frame pixels, float N×2, as positions on the grid."""
        scale = np.array(self.grid_hw[::-1], np.float32) / self.hw[::-1]
        return np.asarray((points - (self.left, self.top) + 0.5) * scale - 0.5, np.float32)

    def shrink(self, image: npt.NDArray[np.uint8]) -> Floats:
        """A frame H×W(×3) or what this window shows of it, averaged onto the grid, float32."""
        part = image if image.shape[:2] == self.hw else image[self.slices]
        return _floats(cv2.resize(part, self.grid_hw[::-1], interpolation=cv2.INTER_AREA))

    def enlarge(self, grid: Floats) -> Floats:
        """Values on the grid, brought to every pixel of the window by linear interpolation."""
        return _floats(cv2.resize(grid, self.hw[::-1], interpolation=cv2.INTER_LINEAR))


def check_face(face: Face) -> None:
    """Raise Rejected `degenerate_face` unless all landmarks are finite, the eyes apart and the mouth below them."""
    drop = (face.five_points[3:] - face.five_points[:2]).mean(axis=0) @ face.down
    if not (np.isfinite(face.landmarks).all() and face.interocular > 1 and drop > 0.2 * face.interocular):
        raise Rejected("degenerate_face", "the landmarks do not span a face")


def window(points: Points, face: Face, frame: Rgb, margin: float = 0.1) -> Window | None:
    """Return the bounding box of points N×2 and a margin (interocular distances), cut to the frame; None if outside."""
    pad, size = margin * face.interocular + 2, frame.shape[1::-1]
    low = np.floor(np.clip(points.min(axis=0) - pad, 0, size)).astype(int)
    high = np.ceil(np.clip(points.max(axis=0) + pad + 1, 0, size)).astype(int)
    if (high - low < 4).any():
        return None
    return Window(int(low[0]), int(low[1]), int(high[0]), int(high[1]), max(1, round(face.interocular / _FINENESS)))


def hull(points: npt.NDArray[np.floating]) -> Points:
    """Return the convex hull of points N×2, float32 M×2."""
    return _floats(cv2.convexHull(np.asarray(points, np.float32)).reshape(-1, 2))


def mesh_map(area: Window, target_points: Points, source_points: Points) -> tuple[Floats, Floats]:
    """Return for every pixel of a window where in the source it comes from: x and y, float32 h×w, for `cv2.remap`.

    Piecewise affine over the Delaunay triangles of `target_points` (N×2, which must enclose the window;
    `source_points` are the same N). One map for all triangles, so no seam between them can lose a pixel;
    smoothed by 2.5 grid steps so that no crease shows along their edges.
    """
    here = area.to_grid(target_points)
    triangles = _delaunay(here)
    owner = np.zeros(area.grid_hw, np.int32)
    fixed = np.round(here[triangles] * 16).astype(np.int32)
    for index, corners in enumerate(fixed):
        cv2.fillConvexPoly(owner, corners, index, lineType=cv2.LINE_8, shift=4)
    rows, columns = np.indices(area.grid_hw, dtype=np.float32)
    maps = []
    for along_x, along_y, shift in _affines(here[triangles], source_points[triangles]).transpose(2, 1, 0):
        grid = along_x[owner] * columns + along_y[owner] * rows + shift[owner]
        maps.append(area.enlarge(_floats(cv2.GaussianBlur(grid, (0, 0), 2.5, borderType=cv2.BORDER_REPLICATE))))
    return maps[0], maps[1]


def _delaunay(points: Points) -> npt.NDArray[np.intp]:
    """Delaunay triangles of N×2 points as indices M×3; coinciding points count once."""
    low, high = points.min(axis=0) - 2, points.max(axis=0) + 2
    plane = cv2.Subdiv2D((int(low[0]) - 1, int(low[1]) - 1, int(high[0] - low[0]) + 4, int(high[1] - low[1]) + 4))
    plane.insert(points)  # type: ignore[call-overload]
    corners = _floats(plane.getTriangleList()).reshape(-1, 3, 2)
    keys = np.ascontiguousarray(points).view(np.complex64).ravel()
    order = np.argsort(keys, kind="stable")
    return np.asarray(order[np.searchsorted(keys[order], corners.view(np.complex64)[..., 0])])


def _affines(here: Points, there: Points) -> Floats:
    """Affine maps that take triangles M×3×2 to others, float32 M×3×2: rows for x, y and 1."""
    homogeneous = np.concatenate([here, np.ones((*here.shape[:2], 1), np.float32)], axis=2).astype(np.float64)
    flat = np.abs(np.linalg.det(homogeneous)) < 1e-3
    homogeneous[flat] = np.eye(3)  # a sliver owns no pixel of note: its middle stands for it
    there = np.where(flat[:, None, None], there.mean(axis=1, keepdims=True) * np.array([[0], [0], [1]]), there)
    return np.asarray(np.linalg.solve(homogeneous, there), np.float32)


def seam(area: Window, cost: Floats, inner: Points, outer: Points, reach: float) -> Points:
    """Return the closed path between two convex hulls along which a cut shows least, float32 144×2 in the frame.

    The optimal boundary of Jia et al., "Drag-and-drop pasting", 2006, sought by dynamic programming over
    angle and depth. `cost` is float32 on the window's grid, in grey levels; `reach` (0–1) is the depth
    preferred where nothing else decides, from `inner` to `outer` (M×2).
    """
    centre = inner.mean(axis=0)
    rays, far = radial(outer, centre)
    near = np.minimum(radial(inner, centre)[1], 0.95 * far)
    depth = np.linspace(0, 1, _LEVELS)
    radii = near[:, None] + (far - near)[:, None] * depth
    at = area.to_grid((centre + radii[..., None] * rays[:, None]).reshape(-1, 2)).reshape(_ANGLES, _LEVELS, 2)
    price = cv2.remap(cost, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    levels = _cheapest_loop(_floats(price + 6 * (depth - reach) ** 2))
    path = radii[np.arange(_ANGLES), levels]
    for _ in range(6):
        path = 0.25 * np.roll(path, 1) + 0.5 * path + 0.25 * np.roll(path, -1)
    return _floats(centre + path[:, None] * rays)


def radial(convex: Points, centre: Points) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return 144 unit rays from a centre inside the convex hull of M×2 points, and how far each runs to leave it."""
    angles = np.arange(_ANGLES) * (2 * np.pi / _ANGLES)
    rays = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    corners = hull(convex).astype(np.float64) - centre
    along = np.roll(corners, -1, axis=0) - corners
    normal = np.stack([along[:, 1], -along[:, 0]], axis=1)
    offset = (normal * corners).sum(axis=1)
    normal, offset = normal * np.sign(offset)[:, None], np.abs(offset)
    facing = rays @ normal.T
    return rays, np.asarray(np.where(facing > 1e-9, offset / np.maximum(facing, 1e-9), np.inf).min(axis=1))


def _cheapest_loop(price: Floats) -> npt.NDArray[np.intp]:
    """Level per angle of the cheapest path over a cyclic table angles×levels: a turn and a half, its middle kept."""
    lead = len(price) // 4
    turns = np.concatenate([price[-lead:], price, price[:lead]])
    count, levels = turns.shape
    came_from = np.zeros((count, levels), np.intp)
    # Row k holds the totals when coming from level - 1 + k; a climb costs a grey level.
    choices = np.full((3, levels), np.inf, np.float32)
    total = turns[0]
    for i in range(1, count):
        choices[0, 1:], choices[1], choices[2, :-1] = total[:-1] + 1, total, total[1:] + 1
        choices.argmin(axis=0, out=came_from[i])
        total = choices.min(axis=0) + turns[i]
    path = np.empty(count, np.intp)
    path[-1] = total.argmin()
    for i in range(count - 1, 0, -1):
        path[i - 1] = path[i] + came_from[i, path[i]] - 1
    return path[lead:-lead]


def soft_fill(area: Window, polygon: Points, width: float) -> Floats:
    """Fill a polygon M×2 into a window: float32 h×w, 1 inside, falling to 0 over `width` pixels centred on its edge."""
    solid = _fill(polygon - (area.left, area.top), area.hw)
    inside = cv2.distanceTransform(solid, cv2.DIST_L2, cv2.DIST_MASK_5)
    outside = cv2.distanceTransform(1 - solid, cv2.DIST_L2, cv2.DIST_MASK_5)
    ramp = np.clip((inside - outside) / max(width, 1) + 0.5, 0, 1)
    return _floats(ramp * ramp * (3 - 2 * ramp))


def grid_fill(area: Window, polygon: Points) -> npt.NDArray[np.bool_]:
    """Fill a polygon M×2 (frame pixels) into a bool array on a window's grid."""
    return _fill(area.to_grid(polygon), area.grid_hw).view(np.bool_)


def grown(points: npt.NDArray[np.floating], margin: float) -> Points:
    """Return the convex hull of points N×2 with a margin in pixels all around."""
    angles = np.arange(12) * (2 * np.pi / 12)
    disc = margin * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return hull((points[:, None] + disc).reshape(-1, 2))


def feature_map(area: Window, polygons: Sequence[Points]) -> Floats:
    """Fill polygons into float32 0–1 on a window's grid, with soft edges."""
    solid = np.zeros(area.grid_hw, np.float32)
    for polygon in polygons:
        solid[grid_fill(area, polygon)] = 1
    return _floats(cv2.GaussianBlur(solid, (0, 0), 2.0))


def _fill(polygon: npt.NDArray[np.floating], hw: tuple[int, int]) -> npt.NDArray[np.uint8]:
    fixed = np.round(np.clip(polygon, -8192, 8192) * 16).astype(np.int32)
    canvas = np.zeros(hw, np.uint8)
    return np.asarray(cv2.fillPoly(canvas, [fixed], (1,), lineType=cv2.LINE_8, shift=4), np.uint8)


def calmed(area: Window, donor: Rgb, target: Rgb, weight: Floats) -> Rgb:
    """Return the donor (RGB uint8 h×w×3) with no more grain than the target's, compared by `weight` on the grid."""
    smooth, energy = [], []
    for image in (donor, target):
        smooth.append(cv2.GaussianBlur(image, (0, 0), 0.75 * area.step, borderType=cv2.BORDER_REPLICATE))
        grain = cv2.cvtColor(cv2.absdiff(image, smooth[-1]), cv2.COLOR_RGB2GRAY)
        energy.append(float(_floats(cv2.mean(area.shrink(np.asarray(grain, np.uint8)) * weight))[0]) + 1e-3)
    share = min(max(energy[1] / energy[0], 0.35), 1.0)
    return np.asarray(cv2.addWeighted(donor, share, smooth[0], 1 - share, 0), np.uint8)


class Cut(NamedTuple):
    """How a donor is let in: where its seam may run (two convex hulls) and likes to, and over what it blends."""

    inner: Points
    outer: Points
    reach: float  # 0–1, from the inner hull to the outer one
    feather: float  # pixels
    colour_sigma: float  # pixels over which colours are averaged
    features: Floats | None = None  # on the window's grid, 0–1: where the donor keeps its detail; None: everywhere


def transplant(area: Window, target: Rgb, donor: Rgb, core: npt.NDArray[np.bool_], cut: Cut) -> tuple[Floats, Floats]:
    """Recolour a donor (window, RGB uint8 h×w×3) to a frame and find its alpha: float32 h×w×3 0–255 and h×w 0–1.

    `core`, bool on the window's grid, is where both pictures mostly show skin.
    """
    given, wanted = area.shrink(donor), area.shrink(target)
    skin = np.minimum(tones.skin_likeness(given, core), tones.skin_likeness(wanted, core))
    donor = calmed(area, donor, target[area.slices], skin)
    sigma = cut.colour_sigma / area.step
    gain, offset = tones.recolour(given, wanted, skin, sigma)
    lit = np.clip(given * gain + offset, 0, 255)
    cost = _floats(cv2.GaussianBlur(tones.gray(np.abs(lit - wanted)) + 30 * (1 - skin), (0, 0), 1.0))
    path = seam(area, cost, cut.inner, cut.outer, cut.reach)
    if cut.features is not None:
        bare = 1 - cut.features
        offset += tones.tempered(lit, wanted, skin * bare, _DETAIL * sigma) * bare[..., None]
    pixels = area.enlarge(gain)
    pixels *= donor
    pixels += area.enlarge(offset)
    return _floats(np.clip(pixels, 0, 255, out=pixels)), soft_fill(area, path, cut.feather)


def in_frame(area: Window, frame: Rgb, pixels: Floats, alpha: Floats) -> tuple[Rgb, Floats]:
    """Put a window's pixels h×w×3 (0–255) and alpha h×w into copies of the whole frame: uint8 H×W×3, float32 H×W."""
    image, full = frame.copy(), np.zeros(frame.shape[:2], np.float32)
    image[area.slices] = np.round(pixels).astype(np.uint8)
    full[area.slices] = alpha
    return image, full


def _floats(values: npt.ArrayLike) -> Floats:
    return np.asarray(values, np.float32)
