"""Exemplar-based filling: a hole is completed with patches found elsewhere in the same picture.

The coarse picture is completed as in Wexler, Shechtman and Irani, "Space-time completion of video", 2007:
every patch over the hole seeks its nearest one elsewhere, all vote, and again. The picture is small enough
for an exhaustive search, so that none of the chance of Barnes et al., "PatchMatch", 2009, is needed; like
theirs, matches are made to agree with their neighbours. Finer levels are not searched: what the picture has
there and the coarser level has not (a band of the Laplacian pyramid of Burt and Adelson, 1983) is copied
from where the coarse matches point, and so the fill is as sharp as its surroundings. Nothing is random.
"""

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from mmtt.images import Rgb
from mmtt.regions import Mask

RADIUS = 2  # patches of 5×5
STRIDE = 2  # patches are matched at every other pixel; each pixel still lies under four or more
EFFORT = 1_200_000  # unknown pixels times source patches up to which the exhaustive search is quick
ROUNDS = 4  # of search and vote; in the last two, neighbours must agree
LABELS = 40
LABEL_ROUNDS = 8
# Costs, as the mean difference of a patch, in levels of 0–255, that would weigh as much:
BUSY = 1.0  # each level of fine detail beyond what is usual beside the hole
WEAR = 3.0  # each use of a source beyond twice the fair one
AGREE = 12.0  # moving unlike all neighbours
DOUBT = 20.0  # levels by which light may be mended at the rim

Floats = npt.NDArray[np.float32]
Index = npt.NDArray[np.int64]
Shifts = npt.NDArray[np.int16]

_SPAN = np.arange(-RADIUS, RADIUS + 1)
_CROSS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32) / 4


class Level(NamedTuple):
    """One size of the picture: float32 h×w×3 with bool h×w hole and centres of usable source patches."""

    photo: Floats
    hole: Mask
    usable: Mask


def fill(photo: Rgb, hole: Mask, source: Mask) -> Rgb:
    """Return the picture (RGB uint8 H×W×3) with its hole (bool H×W) completed from `source` (bool H×W).

    Pixels outside the hole keep their values. Where no patch fits into the source the hole gets a membrane.
    """
    depth = _depth(hole, source & ~hole)
    levels = _pyramid(photo, hole, source & ~hole, depth)
    coarsest = levels[-1]
    filled = membrane(_tamed(coarsest), ~coarsest.hole)
    if coarsest.usable.any():
        filled = _complete(levels, filled)
    else:
        for level in levels[-2::-1]:
            filled = np.where(level.hole[..., None], _up(filled), level.photo)
    pad = RADIUS << depth
    inner = filled[pad : pad + hole.shape[0], pad : pad + hole.shape[1]]
    return np.where(hole[..., None], np.clip(np.rint(inner), 0, 255).astype(np.uint8), photo)


def _tamed(level: Level) -> Floats:
    """The level's picture with colours limited to what is usual beside the hole, for a first guess."""
    rim = (cv2.dilate(level.hole.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0) & ~level.hole
    if not rim.any():
        return level.photo
    usual = np.median(level.photo[rim], axis=0)
    return np.asarray(np.clip(level.photo, usual - 2 * DOUBT, usual + 2 * DOUBT), np.float32)


def membrane(values: Floats, known: Mask, sweeps: int = 5) -> Floats:
    """Return float32 H×W×3 that equals `values` where `known` (bool H×W) and is all but harmonic elsewhere.

    Coarse to fine, as in the pull-push of Gortler et al., "The Lumigraph", 1996, each level relaxed by Jacobi's
    sweeps; the smoothest way to carry a boundary inwards.
    """
    height, width = known.shape
    if known.all() or min(height, width) < 2:
        return np.asarray(values, np.float32)
    small = (width + 1) // 2, (height + 1) // 2
    weight = cv2.resize(known.astype(np.float32), small, interpolation=cv2.INTER_AREA)
    total = cv2.resize(values * known[..., None], small, interpolation=cv2.INTER_AREA)
    if not weight.any():
        return np.asarray(values, np.float32)
    pulled = membrane(total / np.maximum(weight, 1e-6)[..., None], weight > 0, sweeps)
    inside = np.where(known[..., None], values, cv2.resize(pulled, (width, height), interpolation=cv2.INTER_LINEAR))
    for _ in range(sweeps):
        around = cv2.filter2D(inside, -1, _CROSS, borderType=cv2.BORDER_REFLECT_101)
        inside = np.where(known[..., None], values, around)
    return np.asarray(inside, np.float32)


def _depth(hole: Mask, source: Mask) -> int:
    """How often to halve so that the exhaustive search is cheap and a patch spans much of the hole."""
    room = cv2.distanceTransform(np.pad(source, 1).astype(np.uint8), cv2.DIST_L2, 3)
    depth, unknown = 0, np.count_nonzero(hole)
    while unknown * np.count_nonzero(room > (RADIUS + 0.5) * 2**depth) > EFFORT * 16**depth:
        depth += 1
    return depth


def _pyramid(photo: Rgb, hole: Mask, source: Mask, depth: int) -> list[Level]:
    """From fine to coarse; a coarse pixel is unknown when any of its four is, a source when all are."""
    block = 1 << depth
    pad = RADIUS << depth
    rest = [pad + -side % block for side in hole.shape]
    frame = (pad, rest[0], pad, rest[1])
    picture = cv2.copyMakeBorder(photo, *frame, cv2.BORDER_REFLECT_101).astype(np.float32)
    unknown = cv2.copyMakeBorder(hole.astype(np.uint8), *frame, cv2.BORDER_REFLECT_101) > 0
    known = cv2.copyMakeBorder(source.astype(np.uint8), *frame, cv2.BORDER_CONSTANT, value=0)
    levels = []
    for step in range(depth + 1):
        usable = cv2.erode(known, np.ones((2 * RADIUS + 1,) * 2, np.uint8), borderValue=0) > 0
        levels.append(Level(picture, unknown, usable))
        if step < depth:
            picture = _down(picture)
            unknown = _down(unknown.astype(np.float32)) > 0
            known = (_down(known.astype(np.float32)) == 1).astype(np.uint8)
    return levels


def _down(image: Floats) -> Floats:
    return np.asarray(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.float32)


def _up(image: Floats) -> Floats:
    return np.asarray(cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR), np.float32)


def _complete(levels: list[Level], filled: Floats) -> Floats:
    """Solve the coarsest level by search and vote, then carry its shifts to the finest one."""
    filled, shifts = _solve(levels[-1], filled, _busyness(levels))
    for level in levels[-2::-1]:
        shifts = 2 * _repeated(shifts, 2)
        pixels = np.flatnonzero(cv2.dilate(level.hole.astype(np.uint8), np.ones((5, 5), np.uint8)))
        band = level.photo - _up(_down(level.photo))
        raised = _up(filled).reshape(-1, 3)[pixels] + band.reshape(-1, 3)[_moved(pixels, shifts)]
        filled = level.photo.copy()
        filled.reshape(-1, 3)[pixels] = raised
    return _relit(levels[0], filled)


def _busyness(levels: list[Level]) -> Floats:
    """How much more the finer levels have at each coarsest pixel than beside the hole, float32 h×w in levels.

    Searching the coarsest level alone would bring wrinkles and the rims of glasses into smooth skin.
    """
    photo, coarsest = levels[0].photo, levels[-1]
    gray, smooth = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), cv2.cvtColor(coarsest.photo, cv2.COLOR_RGB2GRAY)
    fine = np.square(gray - cv2.resize(smooth, photo.shape[1::-1], interpolation=cv2.INTER_LINEAR), dtype=np.float32)
    detail = np.sqrt(cv2.resize(fine, coarsest.hole.shape[::-1], interpolation=cv2.INTER_AREA))
    rim = cv2.dilate(coarsest.hole.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool) & ~coarsest.hole
    usual = np.median(detail[rim]) if rim.any() else np.float32(0)
    return np.asarray(np.maximum(detail - usual, 0), np.float32)


def _repeated(shifts: Shifts, times: int) -> Shifts:
    return shifts.repeat(times, axis=0).repeat(times, axis=1)


def _moved(pixels: Index, shifts: Shifts) -> Index:
    """Where the shifts (int16 h×w×2, rows and columns) send flat indices."""
    moves = shifts.reshape(-1, 2)[pixels].astype(np.int64)
    return np.asarray(pixels + moves[:, 0] * shifts.shape[1] + moves[:, 1])


def _solve(level: Level, filled: Floats, busyness: Floats) -> tuple[Floats, Shifts]:
    """Fill the coarsest level; return it and, for every pixel that votes, the shift to its source."""
    targets, sources = _targets(level), np.flatnonzero(level.usable)
    width = level.hole.shape[1]
    bank = _described(level.photo, sources)
    own = np.einsum("ij,ij->i", bank, bank) + bank.shape[1] * np.square(BUSY * busyness.ravel()[sources])
    fixed = own
    for step in range(ROUNDS):
        wanted = _described(filled, targets)
        cost = (-2 * wanted) @ bank.T
        cost += fixed
        found = cost.argmin(axis=1) if step < ROUNDS - 2 else _agree(level, targets, sources, cost)
        excess = cost[np.arange(len(targets)), found] + np.einsum("ij,ij->i", wanted, wanted)
        fixed = own + bank.shape[1] * WEAR**2 * _worn(level, sources, found, len(targets))
        voted = _vote(level, targets, sources[found], excess)
        filled = _relit(level, voted)
    shifts = np.zeros((*level.hole.shape, 2), np.int16)
    flat = shifts.reshape(-1, 2)
    flat[targets, 0] = sources[found] // width - targets // width
    flat[targets, 1] = sources[found] % width - targets % width
    dense = _repeated(shifts[::STRIDE, ::STRIDE], STRIDE)
    return voted, dense[: shifts.shape[0], : shifts.shape[1]]


def _worn(level: Level, sources: Index, found: Index, targets: int) -> Floats:
    """How much more often than fair each source is used, float32, so that nothing is repeated like a tile.

    After the occurrence map of Kaspar et al., "Self tuning texture optimization", 2015.
    """
    used = np.zeros(level.hole.size, np.float32)
    np.add.at(used, sources[found], np.float32(1))
    usual = cv2.blur(used.reshape(level.hole.shape), (5, 5)).ravel()[sources] * np.float32(len(sources) / targets)
    return np.asarray(np.clip(usual - 2, 0, 8), np.float32)


def _agree(level: Level, targets: Index, sources: Index, cost: Floats) -> Index:
    """Choose a source for each target so that neighbours move together: large pieces, not crumbs.

    The few commonest shifts compete as labels (He and Sun, "Statistics of patch offsets for image completion",
    2012); instead of their graph cut, each target repeatedly takes the label that is cheap and common around it.
    """
    single = cost.argmin(axis=1)
    moves, counts = np.unique(sources[single] - targets, return_counts=True)
    moves = moves[np.argsort(-counts, kind="stable")[:LABELS]]
    column = np.full(level.hole.size, -1, np.int64)
    column[sources] = np.arange(len(sources))
    to = targets[:, None] + moves
    option = np.where((to >= 0) & (to < level.hole.size), column[np.clip(to, 0, level.hole.size - 1)], -1)
    price = np.where(option >= 0, np.take_along_axis(cost, np.maximum(option, 0), axis=1), np.float32(np.inf))
    rows, columns = targets // level.hole.shape[1] // STRIDE, targets % level.hole.shape[1] // STRIDE
    chosen, usual = price.argmin(axis=1), np.float32(AGREE**2 * 3 * len(_SPAN) ** 2)
    for _ in range(LABEL_ROUNDS):
        drawn = np.zeros((rows.max() + 1, columns.max() + 1, len(moves)), np.float32)
        drawn[rows, columns, chosen] = 1
        company = cv2.blur(drawn, (3, 3)).reshape(*drawn.shape)[rows, columns]
        chosen = (price - usual * company).argmin(axis=1)
    kept = option[np.arange(len(targets)), chosen]
    return np.where(kept >= 0, kept, single)


def _targets(level: Level) -> Index:
    """Flat indices of the centres of patches, enough to cover all of the hole and its rim."""
    near = cv2.dilate(level.hole.astype(np.uint8), np.ones((2 * RADIUS + 1,) * 2, np.uint8))
    inner = np.zeros_like(near)
    window = np.s_[RADIUS:-RADIUS:STRIDE, RADIUS:-RADIUS:STRIDE]
    inner[window] = near[window]
    return np.flatnonzero(inner)


def _steps(width: int) -> Index:
    """Flat offsets of a patch's pixels from its centre."""
    return np.asarray((_SPAN[:, None] * width + _SPAN).ravel(), np.int64)


def _patches(image: Floats, centers: Index) -> Floats:
    """The patches around flat indices, float32 n×75."""
    flat = image.reshape(-1, 3)
    return np.take(flat, centers[:, None] + _steps(image.shape[1]), axis=0).reshape(len(centers), -1)


def _described(image: Floats, centers: Index) -> Floats:
    """What a search compares, float32 n×77: the patches, and where they are, as light varies over a face.

    Whole numbers below 2**24 make products of these exact in any order of summation, on any machine.
    """
    width = image.shape[1]
    place = np.stack([centers // width, centers % width], axis=1).astype(np.float32)
    return np.concatenate([_patches(np.rint(image) - np.float32(128), centers), place], axis=1)


def _vote(level: Level, targets: Index, matches: Index, excess: Floats) -> Floats:
    """Replace what the targets cover by the weighted mean of all patches over it."""
    width, usual = level.hole.shape[1], len(excess) * 3 // 4
    depth = cv2.distanceTransform(level.hole.astype(np.uint8), cv2.DIST_L2, 3).ravel()[targets]
    spread = max(float(np.partition(excess, usual)[usual]), 1.0)
    trust = np.exp(-excess / (2 * spread) - np.float32(0.26) * depth)[:, None]
    colors = level.photo.reshape(-1, 3)
    total, weight = np.zeros_like(colors), np.zeros((len(colors), 1), np.float32)
    for step in _steps(width):
        total[targets + step] += trust * colors[matches + step]
        weight[targets + step] += trust
    voted = np.where(weight > 0, total / np.maximum(weight, 1e-12), colors)
    return voted.reshape(level.photo.shape)


def _relit(level: Level, filled: Floats) -> Floats:
    """Keep the known pixels; what the fill gets wrong at the hole's rim is spread inwards and taken off.

    The same as Poisson cloning of the fill (Farbman et al., "Coordinates for instant image cloning", 2009).
    """
    x, y, width, height = cv2.boundingRect(level.hole.astype(np.uint8))
    window = np.s_[max(y - 1, 0) : y + height + 1, max(x - 1, 0) : x + width + 1]
    # Where hair or a nostril touches the hole, the fill is right to differ and must not be darkened.
    known, error = ~level.hole[window], np.clip(level.photo[window] - filled[window], -DOUBT, DOUBT)
    relit = level.photo.copy()
    relit[window] = np.where(known[..., None], level.photo[window], filled[window] + membrane(error, known))
    return relit
