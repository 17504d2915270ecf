"""Moved pictures: whether two small copies show one picture that was shifted, cropped, turned or rescaled a little."""

import cv2
import numpy as np
import numpy.typing as npt

from mmtt.images import Rgb

from ...grouping import correlation

# Of 800 drawn people the two most alike reach 0.978; shifted by 1 to 8 px, cropped by 1 to 5 % or turned by 1 to 3° at
# 256 px, one in ten copies has less than 0.989.
SAME_MOVED = 0.985
LEAST_UNMOVED = 0.7  # correlation as they lie; less is not worth aligning
_MOST_MOVED = 0.13  # of the side, of any corner: a copy that was cropped by 5 % all round needs 0.08
_LEAST_SHARED = 0.7  # of the frame
_STEPS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-4)
_SMOOTH_PX = 3  # of both, before they are laid on each other: the smallest odd window


def same_when_moved(first: Rgb, second: Rgb) -> bool:
    """Whether two thumbnails (RGB uint8 N×N×3) are of one picture after one is moved onto the other.

    The move is the affine one that makes their greys correlate most (Evangelidis and Psarakis, "Parametric image
    alignment using enhanced correlation coefficient maximization", PAMI 2008), begun where they lie.
    """
    if correlation(first, second) < LEAST_UNMOVED:
        return False
    move = _aligned(first, second)
    if move is None or _farthest(move, len(first)) > _MOST_MOVED * len(first):
        return False
    flags, size = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, first.shape[1::-1]
    there = cv2.warpAffine(second, move, size, flags=flags)
    shared = cv2.warpAffine(np.full(size[::-1], 255, np.uint8), move, size, flags=flags) == 255
    return bool(shared.mean() >= _LEAST_SHARED and correlation(first[shared], there[shared]) > SAME_MOVED)


def _aligned(first: Rgb, second: Rgb) -> npt.NDArray[np.float32] | None:
    one, other = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (first, second))
    start = np.eye(2, 3, dtype=np.float32)
    try:
        _, move = cv2.findTransformECC(one, other, start, cv2.MOTION_AFFINE, _STEPS, None, _SMOOTH_PX)  # type: ignore[call-overload]
    except cv2.error:  # it does not converge: they are of two pictures, or plain
        return None
    return np.asarray(move, np.float32)


def _farthest(move: npt.NDArray[np.float32], side: int) -> float:
    """How far, in pixels, a move takes the corner that it takes farthest."""
    corners = np.array([[0, 0], [side, 0], [0, side], [side, side]], np.float32) - np.float32(0.5)
    return float(np.linalg.norm(corners @ move[:, :2].T + move[:, 2] - corners, axis=1).max())
