"""The lists of the published MMTT: one JSON file a split, whose root is a list of records.

Keys, prefixes and paths are the authors' (https://huggingface.co/datasets/LianJC/MMTT-Dataset); the families follow
from how a record's id begins, as their own statistics read it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmtt.errors import Rejected, UserError
from mmtt.manipulator import UNTOLD
from mmtt.record import Rejection
from mmtt.regions import REGIONS

from .archive import Archive, is_inside
from .rows import MAX_TEXT, STAGE, brief

MAX_LIST = 1_000_000_000  # bytes of one list; 130,000 records have a tenth of it
# The authors' names for the splits; a list called `-simple` stands in where there is no other.
SPLIT_OF = {"train": "train", "eval": "validation", "test": "test"}
_LIST = re.compile(r"(?:^|/)(train|eval|test)-mutilabel(-simple)?\.json$")
_FAMILIES = {
    "e4s": ("face_swap", "e4s"),
    "mat": ("transformer_inpainting", "mat"),
    "sd": ("diffusion_inpainting", "stable_diffusion"),
}
_SPACE = re.compile(r"[ \t\r\n]*")
_NOTED = ("image_id", "img_path", "mask_path", "instance_id", "attribute")


@dataclass(frozen=True, slots=True)
class Listed:
    """One record of a list.

    image, mask: where its files lie, as `place` says it. words: those of its 21-vector; None where it has none.
    told: its keys as they stand there, but for the text.
    """

    image_id: str
    image: str
    mask: str
    caption: str
    words: tuple[str, ...] | None
    split: str
    told: Mapping[str, Any] = field(default_factory=dict)

    @property
    def family(self) -> tuple[str, str]:
        """Family and program, by the prefix of the id; edits of an attribute bear the attribute's name there."""
        prefix = re.match(r"[a-zA-Z0-9]*", self.image_id)
        start = prefix.group().lower() if prefix and "attribute" not in self.told else ""
        return next(
            (family for known, family in _FAMILIES.items() if start.startswith(known)), ("attribute_edit", UNTOLD)
        )

    @property
    def group(self) -> str | None:
        """What ties it to forgeries of the same photo: the folder of photos, and the number in its id.

        The release does not say so. It is inferred: ids of all families of a folder (`celeb512`, `FFHQ512`) run over
        the numbers of its photos. Ids of edited attributes may count otherwise; they are tied among themselves.
        """
        number = re.search(r"(\d+)$", self.image_id)
        return f"{self.image.split('/')[0]}/{int(number.group())}" if number and len(number.group()) < 20 else None


def place(path: str) -> str:
    """Return a path without the `dataset/` that lists and archives write in front, once, twice or not at all."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    while len(parts) > 1 and parts[0] == "dataset":
        parts.pop(0)
    return "/".join(parts)


def read_lists(archive: Archive) -> tuple[list[Listed], list[Rejection], list[str]]:
    """Return the records of all lists, those that cannot be used, and the names of the lists that were read.

    Of several records with one id the first is kept, in the order train, eval, test.

    Raises:
        UserError: there is no list, or one is no JSON list: file, line and column are named.
    """
    texts = _texts(archive)
    chosen = [(split, texts.get((split, "")) or texts.get((split, "-simple"))) for split in SPLIT_OF]
    records: dict[str, Listed] = {}
    refused: list[Rejection] = []
    for split, found in chosen:
        for position, value in enumerate(_values(*found) if found else ()):
            try:
                record = _listed(value, SPLIT_OF[split])
                if record.image_id in records:
                    raise Rejected("duplicate_id", "an earlier record has the same id; it was kept")
                records[record.image_id] = record
            except Rejected as reason:
                refused.append(_rejection(reason, value, f"{found[0] if found else ''}[{position}]"))
    if not texts:
        raise UserError(f"{archive.parts[0]} holds no list such as train-mutilabel.json. It is no release of MMTT.")
    return list(records.values()), refused, [found[0] for _, found in chosen if found]


def _texts(archive: Archive) -> dict[tuple[str, str], tuple[str, str]]:
    """Return name and text of each list, by split and kind."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for entry in archive.entries(MAX_LIST):
        matched = _LIST.search(entry.name)
        if not matched:
            continue
        if entry.fault is not None:
            raise UserError(f"{entry.name} in {archive.parts[0]} cannot be used: {entry.fault.detail}.")
        name, key = entry.name.rsplit("/", 1)[-1], (matched.group(1), matched.group(2) or "")
        if key in found:
            raise UserError(f"{archive.parts[0]} holds two lists called {name}. Leave one out.")
        try:
            found[key] = (name, entry.read().decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise UserError(f"{name} is no UTF-8 at byte {error.start}. Fetch it again.") from error
    return found


def _values(name: str, text: str) -> Iterator[Any]:
    """Yield the items of a JSON list one by one, so that only the records that are kept stay in memory.

    Raises:
        UserError: it is none.
    """
    decoder = json.JSONDecoder()
    try:
        at = _after(text, _space(text, 0), "[")
        more = text[at : at + 1] != "]"
        while more:
            value, at = decoder.raw_decode(text, at)
            yield value
            at = _space(text, at)
            more = text[at : at + 1] == ","
            at = _space(text, at + 1) if more else at
        end = _after(text, at, "]")
        if end != len(text):
            raise json.JSONDecodeError("something after the list", text, end)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise UserError(f"{name} is no JSON list at {where}: {error.msg}. Nothing was imported.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name} holds what no list of records holds: {error}. Nothing was imported.") from error


def _space(text: str, at: int) -> int:
    matched = _SPACE.match(text, at)
    return matched.end() if matched else at


def _after(text: str, at: int, mark: str) -> int:
    if text[at : at + 1] != mark:
        raise json.JSONDecodeError(f"'{mark}' is missing", text, min(at, len(text)))
    return _space(text, at + 1)


def _listed(value: Any, split: str) -> Listed:
    """Turn one item of a list into a record.

    Raises:
        Rejected: `bad_record`, `unsafe_path`.
    """
    if not isinstance(value, dict):
        raise Rejected("bad_record", f"it is a {type(value).__name__}, not an object")
    for key in ("image_id", "img_path", "mask_path", "caption"):
        if not isinstance(value.get(key), str):
            raise Rejected("bad_record", f"its {key} is missing, or no text")
        if len(value[key]) > MAX_TEXT or (key != "caption" and not value[key].strip()):
            raise Rejected("bad_record", f"its {key} is empty or endless")
    for key in ("img_path", "mask_path"):
        if not is_inside(value[key]):
            raise Rejected("unsafe_path", f"its {key} leads out of the release")
    return Listed(
        image_id=value["image_id"],
        image=place(value["img_path"]),
        mask=place(value["mask_path"]),
        caption=value["caption"],
        words=_words(value.get("multilabel")),
        split=split,
        told={key: value[key] for key in _NOTED if isinstance(value.get(key), str | int)},
    )


def _words(vector: Any) -> tuple[str, ...] | None:
    if vector is None:
        return None
    if not isinstance(vector, list) or len(vector) != len(REGIONS) or any(said not in (0, 1) for said in vector):
        raise Rejected("bad_record", f"its multilabel is no list of {len(REGIONS)} zeros and ones")
    return tuple(word for word, said in zip(REGIONS, vector, strict=True) if said)


def _rejection(reason: Rejected, value: Any, where: str) -> Rejection:
    named = value.get("image_id") if isinstance(value, dict) else None
    path = f"{where} {brief(named)}" if isinstance(named, str) else where
    return Rejection(stage=STAGE, code=reason.code, detail=reason.detail, path=path)
