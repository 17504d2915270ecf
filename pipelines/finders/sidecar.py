"""Landmarks that the origin already ships: exact and free, preferred where present.

Two JSON forms are read from `landmarks.json`:

- FFHQ's own (`ffhq-dataset-v2.json`): {"0": {"image": {"file_path", "face_landmarks"}, "in_the_wild": {…}}}
- plain: {"relative/path.png": [{"scheme": "ibug_68", "landmarks": [[x, y], …], "score": 1.0}]}
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmtt.errors import UserError
from mmtt.faces import Face
from mmtt.images import Rgb
from mmtt.landmarks import scheme

Entries = Mapping[str, list[dict[str, Any]]]


def load(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Read a landmark sidecar into the plain form, checked: {relative photo path: faces}; {} where there is none.

    Raises:
        UserError: not JSON, an unknown scheme, a wrong number of points, a point that is not two finite numbers.
    """
    if not path.exists():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not JSON: {error}.") from error
    if not isinstance(data, dict):
        raise UserError(f"{path} must hold a JSON object from photo path to faces.")
    entries: dict[str, list[dict[str, Any]]] = {}
    for key, value in data.items():
        for photo, faces in _plain(key, value, f"{path}: '{key}'"):
            # Two entries may speak of one photo: each adds its faces.
            entries.setdefault(photo, []).extend(_checked(face, f"{path}: '{photo}'") for face in faces)
    return entries


def _plain(key: str, value: Any, where: str) -> list[tuple[str, list[Any]]]:
    if isinstance(value, list):
        return [(key, value)]
    views = [value[view] for view in ("image", "in_the_wild") if view in value] if isinstance(value, dict) else []
    if not views:
        raise UserError(f"{where} is neither a list of faces nor an entry of FFHQ's with 'image' or 'in_the_wild'.")
    for view in views:
        if not isinstance(view, dict) or not isinstance(view.get("file_path"), str) or "face_landmarks" not in view:
            raise UserError(f"{where}: a view needs 'file_path' and 'face_landmarks'.")
    return [(view["file_path"], [{"scheme": "ibug_68", "landmarks": view["face_landmarks"]}]) for view in views]


def _checked(face: Any, where: str) -> dict[str, Any]:
    if not isinstance(face, dict) or "landmarks" not in face or "scheme" not in face:
        raise UserError(f"{where}: a face needs 'scheme' and 'landmarks'.")
    try:
        expected = scheme(str(face["scheme"])).points
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    try:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused below
            points = np.asarray(face["landmarks"], dtype=np.float64).astype(np.float32)
        score = float(face.get("score", 1.0))
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{where}: landmarks and score must be numbers ({error}).") from error
    if points.shape != (expected, 2) or not np.isfinite(points).all():
        raise UserError(f"{where}: '{face['scheme']}' needs {expected} finite points x y, got shape {points.shape}.")
    if not 0 <= score <= 1:
        raise UserError(f"{where}: score is {score}; it must lie between 0 and 1.")
    return {"scheme": str(face["scheme"]), "landmarks": points.tolist(), "score": score}


class SidecarFinder:
    """Looks faces up by the photo's path; knows nothing of photos that the sidecar does not name."""

    name = "sidecar"

    def __init__(self, entries: Entries) -> None:
        self._entries = entries

    def find(self, photo: Rgb, photo_path: str) -> list[Face] | None:
        """Return the faces listed for that path, or None."""
        faces = self._entries.get(photo_path)
        if faces is None:
            return None
        return [Face(np.asarray(f["landmarks"], np.float32), f["scheme"], self.name, f["score"]) for f in faces]
