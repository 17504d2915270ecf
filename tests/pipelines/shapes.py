"""Faces and photos made up for the tests: no pixel and no landmark of a person is needed."""

import cv2
import numpy as np

from mmtt.faces import Face
from mmtt.images import Rgb
from mmtt.landmarks import Points

# The 68 iBUG points, x y as shares of an `ffhq_512` crop: the average of two public-domain portraits.
MEAN_68: Points = np.array([
    [0.2329, 0.4369], [0.2313, 0.5394], [0.2349, 0.5917], [0.2563, 0.7107], [0.2776, 0.7618],
    [0.3032, 0.8013], [0.3705, 0.8640], [0.4474, 0.9044], [0.5023, 0.9099], [0.5569, 0.9037],
    [0.6336, 0.8623], [0.7000, 0.7996], [0.7249, 0.7600], [0.7459, 0.7093], [0.7658, 0.5912],
    [0.7687, 0.5386], [0.7663, 0.4354], [0.2592, 0.4122], [0.2987, 0.4071], [0.3357, 0.3965],
    [0.3847, 0.3987], [0.4412, 0.4050], [0.5600, 0.4050], [0.6148, 0.3980], [0.6626, 0.3956],
    [0.6995, 0.4064], [0.7401, 0.4109], [0.5003, 0.4661], [0.5007, 0.5245], [0.5011, 0.5804],
    [0.5014, 0.6147], [0.4425, 0.6391], [0.4663, 0.6528], [0.5015, 0.6563], [0.5375, 0.6524],
    [0.5610, 0.6383], [0.3228, 0.4771], [0.3461, 0.4603], [0.3884, 0.4564], [0.4340, 0.4838],
    [0.3970, 0.4900], [0.3556, 0.4917], [0.5702, 0.4842], [0.6132, 0.4559], [0.6547, 0.4575],
    [0.6782, 0.4750], [0.6460, 0.4880], [0.6072, 0.4879], [0.3849, 0.7196], [0.4342, 0.7068],
    [0.4669, 0.7036], [0.5023, 0.7091], [0.5376, 0.7028], [0.5699, 0.7052], [0.6171, 0.7159],
    [0.5663, 0.7661], [0.5362, 0.7769], [0.5014, 0.7802], [0.4664, 0.7776], [0.4364, 0.7676],
    [0.3941, 0.7208], [0.4720, 0.7253], [0.5021, 0.7274], [0.5323, 0.7246], [0.6077, 0.7174],
    [0.5308, 0.7450], [0.5016, 0.7479], [0.4724, 0.7459],
], np.float32)  # fmt: skip


def random_face(rng: np.random.Generator, size_px: int, scheme: str = "openpose_70") -> Face:
    """Return the mean face under a mild random affine map, every point jittered by about 0.3 % of the frame.

    Args:
        rng: where all chance comes from.
        size_px: side of the square frame in pixels.
        scheme: "openpose_70" (with irises) or "ibug_68".
    """
    turn, scale = rng.normal(0, 0.12), rng.uniform(0.7, 1.1)
    shear = np.array([[1, rng.normal(0, 0.05)], [0, rng.uniform(0.92, 1.08)]])
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ shear
    points = (MEAN_68 - 0.5) @ linear.T + 0.5 + rng.normal(0, 0.03, 2)
    points += rng.normal(0, 0.003, points.shape)
    if scheme == "openpose_70":
        points = np.concatenate([points, [points[36:42].mean(axis=0), points[42:48].mean(axis=0)]])
    return Face((points * size_px - 0.5).astype(np.float32), scheme, "drawn")


def random_photo(rng: np.random.Generator, size_px: int) -> Rgb:
    """Return smoothed noise in the colours of skin, RGB uint8 size×size×3: never flat."""
    noise = rng.normal(0, 1, (size_px, size_px, 3)).astype(np.float32)
    coarse = cv2.GaussianBlur(noise, (0, 0), size_px / 24, borderType=cv2.BORDER_REFLECT_101)
    fine = cv2.GaussianBlur(noise, (0, 0), 1.0)
    tone = np.float32(rng.uniform(0.6, 0.95)) * np.array([196, 148, 122], np.float32)
    photo = tone + 18 * coarse / max(float(coarse.std()), 1e-6) + 8 * fine / max(float(fine.std()), 1e-6)
    return np.clip(np.round(photo), 0, 255).astype(np.uint8)
