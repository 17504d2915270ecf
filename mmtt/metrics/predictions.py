"""Predictions: what a model answered for each sample, read strictly from a folder or from the authors' layout.

`predictions.jsonl` holds one JSON object a line, in UTF-8:

| key | value |
|---|---|
| `image_id` | the `record_id`, or `record_id@variant` for a degraded variant; required |
| `caption` or `report` | the text, a string |
| `regions` | `{word: probability}`, or the list of words that the model names |
| `verdict` | probability, 0–1, that the face was forged |
| `mask_path` | the mask, relative to the folder |
| `img_path` | the authors' way: without `mask_path`, the mask lies at this path, its suffix replaced by `.png` |

Every key but the first may be absent or null; other keys are ignored; no key stands twice. Masks are pictures as
`mmtt.metrics.mask_files` reads them, of any size; above 127 is altered, and a soft mask holds 255 × probability.
What cannot be read is no answer, is listed as a `Fault`, and scores zero.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from mmtt.errors import UserError
from mmtt.images import Gray
from mmtt.metrics.json_lines import json_lines
from mmtt.metrics.mask_files import read_mask as read_mask
from mmtt.record import MASTER
from mmtt.regions import REGIONS

Key = tuple[str, str]  # record_id, variant
FILE = "predictions.jsonl"
MASKS = "masks"
PARTS = ("mask", "report", "regions", "verdict")
FAULTS = ("missing", "extra", "doubled", "unreadable")
_MAX_REPORT = 20_000  # characters; what is longer than any report would stall the tokeniser
_MAX_TOLD = 200  # characters of a fault


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model answered for one sample; None where it gave nothing.

    mask: uint8 H×W of any size, 0–255, above 127 is altered. regions: probability of each word, 0–1.
    verdict: probability that the face was forged, 0–1.
    """

    mask: Gray | None = None
    report: str | None = None
    regions: Mapping[str, float] | None = None
    verdict: float | None = None


class Fault(NamedTuple):
    """Something that is wrong with predictions: kind (one of `FAULTS`), where, what."""

    kind: str
    where: str
    what: str


class _Line(NamedTuple):
    report: str | None
    regions: Mapping[str, float] | None
    verdict: float | None
    mask: Path | None
    bad: Mapping[str, str]  # part -> why it cannot be read


def key_of(image_id: str) -> Key:
    """Return record and variant that an `image_id` names."""
    record_id, at, variant = image_id.rpartition("@")
    return (record_id, variant or MASTER) if at else (image_id, MASTER)


def image_id_of(key: Key) -> str:
    """Return the `image_id` of a record's variant."""
    return key[0] if key[1] == MASTER else f"{key[0]}@{key[1]}"


class Predictions(Mapping[Key, Prediction]):
    """The answers of one model by (record_id, variant), masks decoded when asked for.

    An id that stands on several lines is no key: nobody can tell which of them counts. What was wrong is in `faults`;
    faults of masks come to it as the masks are read. `promised` names the parts that this model gives at all.
    """

    def __init__(self, lines: Mapping[Key, _Line], doubled: Mapping[Key, int], faults: list[Fault]) -> None:
        self._lines, self.doubled, self.faults = lines, doubled, faults
        self._told: set[Key] = set()
        self.promised = frozenset(part for line in lines.values() for part in _parts(line))

    def __getitem__(self, key: Key) -> Prediction:
        if key in self.doubled:
            raise KeyError(key)
        return self._prediction(key)

    def __iter__(self) -> Iterator[Key]:
        return (key for key in self._lines if key not in self.doubled)

    def __len__(self) -> int:
        return len(self._lines) - len(self.doubled)

    def last(self, key: Key) -> Prediction:
        """Return the answer on the last line with that id, doubled or not: what a plain dictionary would keep."""
        return self._prediction(key)

    def answered(self) -> frozenset[Key]:
        """Return every id that stands on some line, the doubled ones too."""
        return frozenset(self._lines)

    def _prediction(self, key: Key) -> Prediction:
        line = self._lines[key]
        mask = read_mask(line.mask) if line.mask else None
        if isinstance(mask, str):
            if key not in self._told:
                self.faults.append(Fault("unreadable", image_id_of(key), f"mask: {mask}"))
                self._told.add(key)
            mask = None
        return Prediction(mask, line.report, line.regions, line.verdict)


def _parts(line: _Line) -> Iterator[str]:
    yield from line.bad
    yield from (part for part in PARTS if getattr(line, part) is not None)


def read_predictions(path: Path, masks: Path | None = None, record_of: Mapping[str, str] | None = None) -> Predictions:
    """Read a folder of predictions, or one file of JSON lines.

    Args:
        path: the folder with `predictions.jsonl`, or such a file.
        masks: where the masks lie. By default `masks/` in the folder for the authors' `img_path`, and the folder
            itself for `mask_path`.
        record_of: the record of each `image_id`, where these are not ours.

    Raises:
        UserError: no such folder or file, or not one line in it.
    """
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"{file} does not exist. Name a folder with {FILE} in it, or a file of JSON lines.")
    if masks is not None and not masks.is_dir():
        raise UserError(f"--masks names {masks}, which is not a folder.")
    reader = _Reader(file.parent, masks, record_of or {})
    with file.open("rb") as handle:
        for number, fields in json_lines(handle):
            reader.take(fields, f"line {number}")
    if not reader.lines and not reader.faults:
        raise UserError(f"{file} holds no predictions.")
    return reader.done()


class _Reader:
    """Gathers lines; what is wrong with one is a fault of it alone."""

    def __init__(self, folder: Path, masks: Path | None, record_of: Mapping[str, str]) -> None:
        self._record_of = record_of
        self._given = (masks or folder).resolve()
        derived = masks or folder / MASKS
        self._derived = derived.resolve() if derived.is_dir() else None
        self.lines: dict[Key, _Line] = {}
        self.faults: list[Fault] = []
        self._seen: Counter[Key] = Counter()
        self._owners: dict[Path, set[Key]] = {}

    def take(self, fields: Mapping[str, Any] | str, where: str) -> None:
        try:
            if isinstance(fields, str):
                raise ValueError(fields)
            key = self._key(_text(fields.get("image_id") or None, "image_id"))
        except ValueError as error:
            self.faults.append(Fault("unreadable", where, str(error)[:_MAX_TOLD]))
        else:
            self._seen[key] += 1
            self.lines[key] = self._line(fields, key)

    def _key(self, image_id: str) -> Key:
        if image_id in self._record_of:  # another's id may hold an @
            return self._record_of[image_id], MASTER
        name, variant = key_of(image_id)
        return self._record_of.get(name, name), variant

    def done(self) -> Predictions:
        doubled = {key: count for key, count in self._seen.items() if count > 1}
        self.faults += [Fault("doubled", image_id_of(key), f"on {count} lines") for key, count in doubled.items()]
        for path, owners in self._owners.items():
            for key in owners if len(owners) > 1 else ():
                self.lines[key] = _without_mask(self.lines[key], f"{path.name} belongs to {len(owners)} ids")
        for key, line in self.lines.items():
            told = (Fault("unreadable", image_id_of(key), f"{part}: {why}") for part, why in line.bad.items())
            self.faults += told
        return Predictions(self.lines, doubled, self.faults)

    def _line(self, fields: Mapping[str, Any], key: Key) -> _Line:
        bad: dict[str, str] = {}
        found: dict[str, Any] = {}
        readers = {"report": _report, "regions": _regions, "verdict": _verdict, "mask": self._mask}
        for part, reader in readers.items():
            try:
                found[part] = reader(fields)
            except (ValueError, OSError) as error:
                found[part], bad[part] = None, str(error)[:_MAX_TOLD]
        if found["mask"] is not None and fields.get("mask_path") is None:
            self._owners.setdefault(found["mask"], set()).add(key)
        return _Line(**found, bad=bad)

    def _mask(self, fields: Mapping[str, Any]) -> Path | None:
        given, image = fields.get("mask_path"), fields.get("img_path")
        if given is not None:
            return _inside(self._given, _text(given, "mask_path"))
        if image is None or self._derived is None:
            return None
        text = _text(image, "img_path")
        if not PurePosixPath(text).name:
            raise ValueError("img_path names no file")
        return _inside(self._derived, str(PurePosixPath(text).with_suffix(".png")))


def _without_mask(line: _Line, why: str) -> _Line:
    return line._replace(mask=None, bad={**line.bad, "mask": why})


def _inside(root: Path, relative: str) -> Path:
    """Return a path below a folder; what leads out of it, by name or by link, is refused."""
    try:
        path = (root / relative).resolve()
    except RuntimeError as error:  # a link that leads to itself
        raise ValueError("the path never ends") from error
    if not path.is_relative_to(root):
        raise ValueError("the path leads out of the folder of masks")
    return path


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is no text")
    if "\0" in value or any("\ud800" <= sign <= "\udfff" for sign in value):
        raise ValueError(f"{name} holds what is no character")
    return value


def _report(fields: Mapping[str, Any]) -> str | None:
    given = [name for name in ("caption", "report") if fields.get(name) is not None]
    if len(given) == 2 and fields["caption"] != fields["report"]:
        raise ValueError("caption and report differ")
    text = _text(fields[given[0]], given[0]) if given else None
    if text is not None and len(text) > _MAX_REPORT:
        raise ValueError(f"more than {_MAX_REPORT:,} characters")
    return text


def _regions(fields: Mapping[str, Any]) -> Mapping[str, float] | None:
    given = fields.get("regions")
    if given is None:
        return None
    if isinstance(given, list):
        given = dict.fromkeys([_text(word, "regions") for word in given], 1.0)
    if not isinstance(given, dict):
        raise ValueError("neither a list of words nor a mapping")
    unknown = sorted(set(given) - set(REGIONS))
    if unknown:
        raise ValueError(f"{_short(unknown[0])} is none of the {len(REGIONS)} words")
    return {word: _probability(value) for word, value in given.items()}


def _verdict(fields: Mapping[str, Any]) -> float | None:
    given = fields.get("verdict")
    return None if given is None else _probability(given)


def _probability(value: Any) -> float:
    if not isinstance(value, int | float) or not 0 <= value <= 1:  # no NaN is
        raise ValueError(f"{_short(value)} is no probability")
    return float(value)


def _short(value: Any) -> str:
    told = repr(value)
    return told if len(told) <= 60 else f"{told[:60]}…"
