"""Predict: a split's samples through a trained model into a folder of predictions, whole or absent.

    OUT/predictions.jsonl   one line a sample, in the dataset's order (`mmtt.metrics.predictions` has the keys)
    OUT/masks/ID.png        probability × 255 at the picture's own size; above 127 exactly where it is above 0.5
    OUT/meta.json           what it was made from

Until it is whole it lies beside OUT under a hidden name; a run that was killed goes on there, with the same batches.
A picture that cannot be decoded has a line with an `error` and no answer: scores count it as zero.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mmtt
from mmtt import devices, images
from mmtt.errors import UserError
from mmtt.files import lock, write_atomically
from mmtt.metrics.predictions import FILE, MASKS, image_id_of, read_mask
from mmtt.progress import Progress, silent
from mmtt.regions import REGIONS
from mmtt.samples import Sample, digest_of, of_split, read_samples

from .answers import Answer, answers
from .config import DataConfig
from .export import Trained
from .language import require_region

META = "meta.json"
_OPTIONS = ("split", "variants", "pristine", "regions")  # what a command asks for, told with its values


@dataclass(frozen=True)
class Asked:
    """What is to be predicted; None is what the run's config says.

    regions: words that every report is to talk about, in place of those that the prompter finds.
    """

    split: str = "test"
    variants: tuple[str, ...] | None = None
    pristine: bool | None = None
    regions: tuple[str, ...] | None = None

    def of(self, data: DataConfig) -> DataConfig:
        """Return which rows of a dataset are asked about, as the data section of a config."""
        changed = {"variants": self.variants, "pristine": self.pristine}
        return data.model_copy(update={name: value for name, value in changed.items() if value is not None})


def region_words(text: str) -> tuple[str, ...]:
    """Return the region words of a list with commas.

    Raises:
        UserError: one of them is none of the 21.
    """
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    for word in words:
        require_region(word)
    return tuple(word for word in REGIONS if word in words)


def predict(
    trained: Trained,
    root: Path,
    out: Path,
    asked: Asked,
    *,
    batch: int = 16,
    workers: int = 1,
    progress: Progress = silent,
) -> Path:
    """Write the predictions for a split, or see that they are there already.

    Args:
        trained: the model, and what it was made from.
        root: a dataset, or a released folder.
        out: the folder to make.
        asked: which samples, and which regions.
        batch: samples at once.
        workers: threads that decode pictures.
        progress: tells a person.

    Raises:
        UserError: no such samples, or `out`, or what was begun of it, holds something else.
        LockedError: another process is making `out`.
    """
    samples = samples_of(trained, root, asked)
    meta = _meta(trained, root, asked, len(samples))
    if out.exists():
        _require_same(out, meta)
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f".{out.name}.unfinished")
    with lock(unfinished):
        if (unfinished / META).is_file():
            _require_begun_so(unfinished, out, meta)
        (unfinished / MASKS).mkdir(exist_ok=True)
        write_atomically(unfinished / META, _json(meta, indent=1))
        _fill(trained, samples, unfinished, asked, batch, workers, progress)
        (unfinished / ".lock").unlink()
        unfinished.replace(out)
    return out


def samples_of(trained: Trained, root: Path, asked: Asked) -> list[Sample]:
    """Return the samples that are asked about.

    Raises:
        UserError: there are none.
    """
    data = asked.of(trained.config.data)
    found = read_samples(root, variants=data.variants, pristine=data.pristine, inexact=data.inexact)
    return of_split(found, asked.split)


def _meta(trained: Trained, root: Path, asked: Asked, samples: int) -> dict[str, Any]:
    data = asked.of(trained.config.data)
    return {
        "format": 1,
        "model": trained.identity,
        "dataset": digest_of(root),
        "split": asked.split,
        "variants": list(data.variants),
        "pristine": data.pristine,
        "inexact": data.inexact,
        "regions": None if asked.regions is None else list(asked.regions),
        "generation": trained.config.generation.model_dump(mode="json"),
        "samples": samples,
        "mmtt": mmtt.__version__,
    }


def _json(value: Any, indent: int | None = None) -> bytes:
    return (json.dumps(value, indent=indent, ensure_ascii=False) + "\n").encode()


def _read_meta(folder: Path) -> Any:
    try:
        return json.loads((folder / META).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _require_same(out: Path, meta: dict[str, Any]) -> None:
    there = _read_meta(out) if out.is_dir() else None
    if there is None:
        raise UserError(f"{out} exists and holds no predictions of ours. Name a new folder.")
    if there != meta:
        raise UserError(f"{out} holds other predictions ({_difference(there, meta)}). Name a new folder, or remove it.")


def _require_begun_so(unfinished: Path, out: Path, meta: dict[str, Any]) -> None:
    there = _read_meta(unfinished)
    if there != meta:
        raise UserError(
            f"{out} was begun with other predictions ({_difference(there, meta)}). Ask as before and it goes on, "
            f"name a new folder, or remove {unfinished} to begin anew."
        )


def _difference(there: Any, meta: dict[str, Any]) -> str:
    key = next((key for key in meta if not isinstance(there, dict) or there.get(key) != meta[key]), "format")
    if key not in _OPTIONS or not isinstance(there, dict):
        return f"their '{key}' differs"
    return f"their '{key}' differs: {json.dumps(there.get(key))} there, {json.dumps(meta[key])} now"


def _fill(
    trained: Trained,
    samples: Sequence[Sample],
    folder: Path,
    asked: Asked,
    batch: int,
    workers: int,
    progress: Progress,
) -> None:
    """Append line after line; masks before the line that names them."""
    path = folder / FILE
    done = _resumed(path, samples, batch)
    due = [samples[at : at + batch] for at in range(done, len(samples), batch)]
    model = trained.model.to(devices.device()).eval()
    found = answers(model, trained.config, asked.regions, due, workers)
    with path.open("ab") as handle:
        for chunk, said in progress(due, found):
            handle.write(b"".join(_line(folder, *pair) for pair in zip(chunk, said, strict=True)))
            handle.flush()


def _resumed(path: Path, samples: Sequence[Sample], batch: int) -> int:
    """Return how many samples an unfinished file answers, in whole batches, and cut off what lies beyond."""
    if not path.is_file():
        return 0
    ends, position = [0], 0
    with path.open("rb") as handle:
        for sample, line in zip(samples, handle, strict=False):
            if not line.endswith(b"\n") or not _answered(path.parent, line, image_id_of(sample.key)):
                break
            position += len(line)
            ends.append(position)
    done = (len(ends) - 1) // batch * batch if len(ends) <= len(samples) else len(samples)
    with path.open("r+b") as handle:
        handle.truncate(ends[done])
    return done


def _answered(folder: Path, line: bytes, image_id: str) -> bool:
    try:
        answer = json.loads(line)
    except ValueError:
        return False
    mask = answer.get("mask_path")
    return answer.get("image_id") == image_id and (mask is None or not isinstance(read_mask(folder / mask), str))


def _line(folder: Path, sample: Sample, answer: Answer) -> bytes:
    """Write a sample's mask, and return its line."""
    image_id = image_id_of(sample.key)
    line: dict[str, Any] = {"image_id": image_id, **answer.keys}
    if answer.mask is not None:
        line["mask_path"] = f"{MASKS}/{_file_name(image_id)}.png"
        (folder / line["mask_path"]).write_bytes(images.encode_png(answer.mask))
    return _json(line)


def _file_name(image_id: str) -> str:
    """Ids come out of shards that a stranger may have written; none of them may name another folder."""
    if image_id.startswith(".") or not all(sign.isalnum() or sign in "_-.@" for sign in image_id):
        raise UserError(f"Record {image_id!r} cannot name a file. Its shard is not one of this toolkit's.")
    return image_id
