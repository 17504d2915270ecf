"""Glasses: whether a face wears them. Neither a part nor a face can be cut well from under a rim."""

import cv2
import numpy as np

from mmtt.faces import Face, similarity
from mmtt.images import Rgb


def wears_glasses(image: Rgb, face: Face) -> bool:
    """Whether a bridge of glasses crosses the nose between the eyes: its brightness stands out from the skin's there.

    The cue of Jiang et al., "Towards detection of glasses in facial images", 2000. Frameless ones pass unseen.
    """
    matrix = similarity(face.five_points[:2], np.array([[-24, 20], [40, 20]], np.float64))
    strip = cv2.warpAffine(image, matrix, (17, 56), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    profile = np.median(strip.mean(axis=2), axis=1)
    skin = np.median(np.lib.stride_tricks.sliding_window_view(profile, 19), axis=1)
    return bool(np.abs(profile[9:-9] - skin).max() > 0.16 * profile.mean())
