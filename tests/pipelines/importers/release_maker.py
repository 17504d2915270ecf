"""A release in the authors' exact layout, made of our own forgeries: lists, names, parts, and their quirks.

Run as a program, it makes a large one: `python -m tests.pipelines.importers.release_maker DATASET FOLDER COUNT`.
Where FOLDER holds such a release imported, it is compared row for row.
"""

import io
import json
import re
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from mmtt import images
from mmtt.ids import derived_id
from mmtt.layout import Layout
from mmtt.manifest import passed, read, shard_paths
from mmtt.record import Assignment, Record
from mmtt.regions import REGIONS
from mmtt.reports import Report
from mmtt.shards import Shard, read_table

THEIR_SPLIT = {"train": "train", "validation": "eval", "test": "test"}
# Of our families and programs: their prefix, the folder of photos, and what is added to the number of the photo.
THEIRS = {
    "face_swap": ("e4s", "celeb512/e4s_gan", 0),
    "part_swap": ("e4s", "FFHQ512/e4s_gan", 30_000),
    "classical_inpaint": ("mat", "celeb512/mat_gan/samples_celeb", 0),
    "recolour": ("sd", "celeb512/sd_inpaint", 0),
    "retouch": ("sd", "FFHQ512/sd_inpaint", 30_000),
    "self_blend": ("mat", "FFHQ512/mat_gan/samples_ffhq", 30_000),
    "attribute_warp": ("surprised", "face_attribute_image/surprised", 0),
    "ageing": ("angry", "face_attribute_image/angry", 0),
}
# Words that the authors' labels go by, some of them: "brow" is a forehead there, and a line a wrinkle.
SYNONYMS = {
    "eye": "eyes?|vision", "pupil": "pupils?", "lip": "lips?", "mouth": "mouths?", "nose": "nose|nasal|nostrils?",
    "ear": "ears?", "cheek": "cheeks?|buccal", "forehead": "forehead|brows?|frontal", "chin": "chins?",
    "jaw": "jaws?", "eyebrow": "eyebrows?", "tooth": "tooth|teeth", "tongue": "tongue", "beard": "beard|facial hair",
    "mustache": "moustaches?|mustaches?", "skin": "skin", "hair": "hair|strands",
    "wrinkle": "wrinkles?|lines?|creases?", "freckle": "freckles?", "scar": "scars?", "dimple": "dimples?",
}  # fmt: skip
FORCED = ("eye", "eyebrow", "lip", "mouth")  # what `surprised` and `angry` are labelled with, whatever the text says


@dataclass(frozen=True)
class Sample:
    """One record of a list and its two files; None for a file that is missing."""

    value: dict[str, Any]
    split: str
    image: bytes | None
    mask: bytes | None


def multilabel(caption: str, attribute: str | None = None) -> list[int]:
    """The authors' 21-vector of a text: words found by regular expressions."""
    found = {word for word, said in SYNONYMS.items() if re.search(rf"\b(?:{said})\b", caption, re.IGNORECASE)}
    found |= set(FORCED) if attribute in ("surprised", "angry") else set()
    return [int(word in found) for word in REGIONS]


def mask_file(record: Record) -> tuple[str, bytes]:
    """A forgery's mask as one of the files that occur: sharp, soft, JPEG, RGB. Which one, its id decides."""
    mask = images.decode_gray(record.mask)
    turn = int(record.record_id[-4:], 16) % 10
    if turn < 6:
        return "png", record.mask
    buffer = io.BytesIO()
    soft = cv2.GaussianBlur(mask, (0, 0), 2)
    if turn < 8:
        return "png", images.encode_png(soft)
    if turn == 8:
        Image.fromarray(mask).save(buffer, "JPEG", quality=90)
        return "jpg", buffer.getvalue()
    Image.fromarray(soft).convert("RGB").save(buffer, "PNG")
    return "png", buffer.getvalue()


def sample(record: Record, number: int, caption: str, split: str) -> Sample:
    """Our forgery of photo `number` as a record of theirs."""
    prefix, folder, first = THEIRS[str(record.manipulator)]
    digits = f"{number + first:05d}" if folder.startswith("face_attribute") else f"{number + first}"
    attribute = prefix if folder.startswith("face_attribute") else None
    suffix, mask = mask_file(record)
    value = {
        "image_id": f"{prefix}_{digits}",
        "caption": caption,
        "img_path": f"dataset/{folder}/{digits}.png",
        "mask_path": f"dataset/{folder}/mask/{digits}.{suffix}",
        "instance_id": digits.zfill(5) if attribute else f"2{digits}",
        "multilabel": multilabel(caption, attribute),
    } | ({"attribute": attribute} if attribute else {})
    return Sample(value, THEIR_SPLIT[split], record.image, mask)


def samples_of(root: Path, count: int) -> Iterator[Sample]:
    """So many forgeries of a built dataset with template reports; which ones, their ids decide."""
    layout = Layout(root)
    splits = {row.record_id: row.split for row in read_table(layout.splits, Assignment)}
    numbers = {record_id: number for number, record_id in enumerate(sorted(splits))}
    texts = {report.record_id: report.text for report in read_table(root / "reports" / "reports.parquet", Report)}
    accepted = sorted(passed(layout.forged) & set(texts), key=lambda made: derived_id("release", made))[:count]
    chosen = set(accepted)
    for path in shard_paths(layout.forged):
        for record in Shard(path).records():
            if record.record_id in chosen and record.target_id is not None:
                number, split = numbers[record.target_id], splits[record.target_id]
                yield sample(record, number, texts[record.record_id], split)


class Parts(io.RawIOBase):
    """A file that is cut into parts as it is written: `<stem>.partaa`, `<stem>.partab`, …"""

    def __init__(self, folder: Path, stem: str, part_bytes: int) -> None:
        self._folder, self._stem, self._part_bytes = folder, stem, part_bytes
        self._count, self._room = 0, 0
        self._file: Any = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            if not self._room:
                self._next()
            taken = view[done : done + self._room]
            self._file.write(taken)
            done += len(taken)
            self._room -= len(taken)
        return done

    def _next(self) -> None:
        if self._file is not None:
            self._file.close()
        suffix = chr(97 + self._count // 26) + chr(97 + self._count % 26)
        self._file = (self._folder / f"{self._stem}.part{suffix}").open("wb")
        self._count, self._room = self._count + 1, self._part_bytes

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()


def put(tar: tarfile.TarFile, name: str, data: bytes, **header: Any) -> None:
    """Add a file, or with a `type` anything else, under any name."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in header.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(data))


def write_lists(folder: Path, texts: dict[str, bytes]) -> None:
    """Write `dataset_json.tar.gz` with these files."""
    with tarfile.open(folder / "dataset_json.tar.gz", "w:gz") as tar:
        for name, text in texts.items():
            put(tar, f"dataset/{name}", text)


def write_release(
    folder: Path,
    samples: Iterable[Sample],
    *,
    part_bytes: int = 40_000,
    also: Callable[[tarfile.TarFile], None] | None = None,
    suffix: str = "",
    tar_format: int = tarfile.GNU_FORMAT,
) -> list[Sample]:
    """Write a release; return its samples without their pixels. `also` adds what else the archive holds."""
    folder.mkdir(parents=True, exist_ok=True)
    kept: list[Sample] = []
    parts = Parts(folder, "dataset.tar.gz", part_bytes)
    with tarfile.open(fileobj=parts, mode="w|gz", format=tar_format) as tar:  # type: ignore[call-overload]
        put(tar, "dataset", b"", type=tarfile.DIRTYPE)
        waiting: list[tuple[str, bytes]] = []
        for made in samples:
            kept.append(Sample(made.value, made.split, None, None))
            waiting += [(made.value["mask_path"], made.mask)] if made.mask is not None else []
            if made.image is not None:
                put(tar, made.value["img_path"], made.image)
            if len(kept) % 3 == 0:  # masks come before and after their pictures, and not beside them
                for name, data in waiting:
                    put(tar, name, data)
                waiting = []
        for name, data in waiting:
            put(tar, name, data)
        if also is not None:
            also(tar)
    parts.close()
    lists = {
        f"{split}-mutilabel{suffix}.json": json.dumps([made.value for made in kept if made.split == split], indent=1)
        for split in THEIR_SPLIT.values()
    }
    write_lists(folder, {name: text.encode() for name, text in lists.items()})
    return kept


def differences(root: Path, samples: Iterable[Sample]) -> Iterator[str]:
    """What an imported release says otherwise than the samples it was made of; nothing where all came back."""
    forged, texts, splits = _stored(root)
    for made in samples:
        name = made.value["image_id"]
        record = forged.pop(name, None)
        if record is None:
            yield f"{name} is missing"
            continue
        report = texts.pop(record.record_id)
        words = [word for word, said in zip(REGIONS, made.value["multilabel"], strict=True) if said]
        theirs = np.asarray(Image.open(io.BytesIO(made.mask or b"")).convert("L"))
        family = {"e4s": "face_swap", "mat": "transformer_inpainting", "sd": "diffusion_inpainting"}
        same = {
            "image": record.image == made.image,
            "mask": np.array_equal(images.decode_gray(record.mask), (theirs > 127) * np.uint8(255)),
            "origin_mask": record.origin_mask == (None if set(np.unique(theirs)) <= {0, 255} else made.mask),
            "caption": report.text == made.value["caption"],
            "words": report.regions == words,
            "family": record.manipulation == family.get(name.split("_")[0], "attribute_edit"),
            "split": THEIR_SPLIT[splits[record.record_id]] == made.split,
            "told": json.loads(record.parameters or "{}")["img_path"] == made.value["img_path"],
        }
        yield from (f"{name}: {part} differs" for part, fits in same.items() if not fits)
    yield from (f"{name} was not asked for" for name in (*forged, *texts))


def _stored(root: Path) -> tuple[dict[str, Record], dict[str, Report], dict[str, str]]:
    layout = Layout(root)
    texts = {report.record_id: report for report in read_table(root / "reports" / "reports.parquet", Report)}
    splits = {row.record_id: row.split for row in read_table(layout.splits, Assignment)}
    return {record.origin_id: record for record in read(layout.forged)}, texts, splits


if __name__ == "__main__":
    dataset, target, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    if (target / "forged").is_dir():
        print("\n".join(differences(target, samples_of(dataset, count))) or f"all {count} records came back")
    else:
        written = write_release(target, samples_of(dataset, count), part_bytes=64_000_000)
        print(f"{len(written)} records in {len(list(target.glob('*.part*')))} parts")
