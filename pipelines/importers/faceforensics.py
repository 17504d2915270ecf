"""FaceForensics++ and what is laid out like it: frames of manipulated videos, named by target and source.

`manipulated_sequences/METHOD/COMPRESSION/images/TARGET_SOURCE/FRAME.png` (or `frames/`). The masks lie beside the
compressions (`METHOD/masks/images/…`, as the authors' script stores them) or in each of them (`COMPRESSION/masks/…`, as
DeepfakeBench has them). Pristine: `original_sequences/COLLECTION/COMPRESSION/images/VIDEO/FRAME.png`.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mmtt.errors import Rejected, UserError
from mmtt.record import Rejection

from ..grouping import tie
from .columns import PRISTINE, Facts, Told, split_word
from .folders import Folder, refusal
from .pair import Pair
from .rows import storable

MANIPULATED, ORIGINAL = "manipulated_sequences", "original_sequences"
_FRAMES = frozenset(("images", "frames"))
_MASKS = "masks"
# `000_003`, and in DeepFakeDetection `01_02__exit_phone_room__YVGY8LOK`; originals `000`, `01__exit_phone_room`.
_VIDEO = re.compile(r"(?P<target>[^_]+)(?:_(?P<source>[^_]+))?(?:__.*)?")


class _Frame(NamedTuple):
    """A picture or mask by its place: whose (`METHOD`), how compressed (empty if told for all), which video, which."""

    owner: str
    compression: str
    video: str
    frame: str


def is_laid_out(folder: Path) -> bool:
    """Whether a folder has the names of this layout."""
    return any((folder / top).is_dir() for top in (MANIPULATED, ORIGINAL))


def read(folder: Folder, told: Told, splits: Path | None) -> Iterator[Pair | Rejection]:
    """Yield the frames of all methods, then the originals; in the order of their paths.

    Target and source of a forgery tie into one group. With a folder of lists (`train.json`, `val.json`, `test.json`)
    these say the split, and what they do not name is refused.

    Raises:
        UserError: lists that cannot be used.
    """
    listed = _read_splits(splits) if splits is not None else None
    groups = _groups(folder, listed or {})
    if (folder.root / MANIPULATED).is_symlink():
        yield from folder.files(MANIPULATED)
    for owner in folder.folders(MANIPULATED):
        yield from _manipulated(folder, owner, told, groups, listed)
    for found in folder.files(ORIGINAL):
        place = None if isinstance(found, Rejection) else _place(found)
        if isinstance(found, Rejection):
            yield found
        elif place is not None and place.video:
            yield _pair(found, None, place, PRISTINE, groups, listed)


def _manipulated(
    folder: Folder, method: str, told: Told, groups: Mapping[str, str], listed: Mapping[str, str] | None
) -> Iterator[Pair | Rejection]:
    """One method at a time, so that memory follows the largest of them."""
    frames: list[tuple[str, _Frame]] = []
    masks: dict[_Frame, list[str]] = defaultdict(list)
    for found in folder.files(f"{MANIPULATED}/{method}"):
        if isinstance(found, Rejection):
            yield found
        elif (mask := _place(found, masks=True)) is not None:
            masks[mask].append(found)
        elif (frame := _place(found)) is not None:
            frames.append((found, frame))
    for name, frame in frames:
        fitting = masks.get(frame) or masks.get(frame._replace(compression="")) or []
        if len(fitting) > 1:
            yield refusal(name, "ambiguous_mask", f"two masks fit: '{fitting[0]}' and '{fitting[1]}'")
        else:
            mask = fitting[0] if fitting else None
            yield _pair(name, mask, frame, told.family(method), groups, listed)


def _place(path: str, *, masks: bool = False) -> _Frame | None:
    """Read a path below the folder; None where it is not that of a frame (or, if `masks`, of a mask)."""
    parts = PurePosixPath(path).parts[1:]
    if len(parts) < 4:
        return None
    owner, between, video, frame = parts[0], parts[1:-2], parts[-2], PurePosixPath(parts[-1]).stem
    if (_MASKS in between) is not masks:
        return None
    compression = [part for part in between if part != _MASKS and part not in _FRAMES]
    if len(compression) > 1 or not (masks or (len(between) == 2 and between[1] in _FRAMES)):
        return None
    return _Frame(owner, compression[0] if compression else "", video, frame)


def _pair(
    name: str,
    mask: str | None,
    frame: _Frame,
    family: str | None,
    groups: Mapping[str, str],
    listed: Mapping[str, str] | None,
) -> Pair | Rejection:
    ids = _ids(frame.video)
    try:
        split = None if listed is None else _listed(ids, listed)
    except Rejected as reason:
        return refusal(name, reason.code, reason.detail)
    told = frame._asdict() | ({"target": ids[0], "source": ids[1]} if len(ids) > 1 else {})
    told = {key: storable(value) for key, value in told.items() if value and key != "owner"}
    manipulator, group = storable(frame.owner), storable(groups[ids[0]])
    facts = Facts(label=manipulator, family=family, manipulator=manipulator, split=split, group=group, parameters=told)
    return Pair(image=name, mask=mask, facts=facts)


def _ids(video: str) -> list[str]:
    """Target and source, or the one video; a name of another form stands for itself."""
    matched = _VIDEO.fullmatch(video)
    return [part for part in matched.groups() if part] if matched else [video]


def _groups(folder: Folder, listed: Mapping[str, str]) -> dict[str, str]:
    """Return the group of every video that a folder's name holds: ids that are tied share one."""
    ties: list[tuple[str, str]] = []
    videos = set(listed)
    for top in (MANIPULATED, ORIGINAL):
        for owner in folder.folders(top):
            for compression in folder.folders(f"{top}/{owner}"):
                for frames in _FRAMES & set(folder.folders(f"{top}/{owner}/{compression}")):
                    for video in folder.folders(f"{top}/{owner}/{compression}/{frames}"):
                        ids = _ids(video)
                        videos.update(ids)
                        ties += [(ids[0], other) for other in ids[1:]]
    return tie(videos, ties, {}).component


def _listed(ids: list[str], listed: Mapping[str, str]) -> str:
    found = {listed[video] for video in ids if video in listed}
    if not found:
        raise Rejected("no_split", f"no list of --splits names {' or '.join(ids)}")
    if len(found) > 1:
        raise Rejected("split_conflict", f"the lists put {' and '.join(ids)} into {' and '.join(sorted(found))}")
    return found.pop()


def lists_in(folder: Path) -> list[Path]:
    """Return the files of a folder that are called after splits."""
    return [path for path in sorted(folder.glob("*.json")) if split_word(path.stem) and path.is_file()]


def _read_splits(folder: Path) -> dict[str, str]:
    """Return the split of each video: from lists of pairs, or of single ids, in files called after the splits."""
    found: dict[str, str] = {}
    for path in lists_in(folder):
        split = split_word(path.stem) or ""
        for video in _videos(path):
            if found.setdefault(video, split) != split:
                raise UserError(f"{path}: video '{video}' is in {found[video]}, too. Keep it in one list.")
    if not found:
        raise UserError(f"--splits names {folder}, which has none of train.json, val.json, test.json with videos.")
    return found


def _videos(path: Path) -> Iterator[str]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}.") from error
    for entry in entries if isinstance(entries, list) else [None]:
        for video in entry if isinstance(entry, list) else [entry]:
            if not isinstance(video, str):
                raise UserError(f'{path} is no list of pairs of videos, such as [["000", "003"]].')
            yield video
