"""Answers: pictures out of shards, through a trained model, as what a line of predictions says.

Legend: B samples, C colours, H = W = `data.size_px`, R regions.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from mmtt import images
from mmtt.errors import DamagedError, UserError
from mmtt.images import Gray
from mmtt.regions import REGIONS
from mmtt.samples import Rows, Sample

from .config import Config
from .data.geometry import normalise
from .memory import shortage_told
from .model import ForgeryTalker, Predicted

_CHUNKS_AHEAD = 1
Chunk = Sequence[Sample]


class Picture(NamedTuple):
    """A decoded sample: pixels float32 C×H×W, and the height and width that it is stored at."""

    pixels: npt.NDArray[np.float32]
    hw: tuple[int, int]


class Answer(NamedTuple):
    """What the model says of one sample: the mask at the picture's size, and the other keys of its line."""

    mask: Gray | None
    keys: dict[str, Any]


Loading = Sequence["Future[Picture | str]"]


def answers(
    model: ForgeryTalker,
    config: Config,
    words: Sequence[str] | None,
    due: Sequence[Chunk],
    workers: int,
) -> Iterator[tuple[Chunk, list[Answer]]]:
    """Yield chunks of samples with what a model says of each.

    Args:
        model: on its device.
        config: its own; the precision is that of training, which is what was validated.
        words: regions that every report is to talk about; None leaves them to the prompter.
        due: chunks, each of which goes through the model at once.
        workers: threads that decode pictures, ahead of the model.

    Raises:
        UserError: the model's weights are broken.
    """
    with ThreadPoolExecutor(workers) as pool:
        for chunk, pictures in _ahead(due, _loader(pool, model.size_px)):
            yield chunk, _answers(model, config, words, chunk, pictures)


def _loader(pool: ThreadPoolExecutor, size_px: int) -> Callable[[Chunk], Loading]:
    """Return what reads the rows of some samples here, and has their pictures decoded beside."""
    rows = Rows(("image",))

    def load(chunk: Chunk) -> Loading:
        return [pool.submit(_picture, _stored(rows, sample), size_px) for sample in chunk]

    return load


def _stored(rows: Rows, sample: Sample) -> bytes | None:
    try:
        data: bytes | None = rows(sample)["image"]
    except (pa.ArrowException, OSError) as error:
        raise DamagedError(
            f"{sample.shard} is damaged ({error}). `mmtt verify` looks for more; build it again."
        ) from error
    return data


def _picture(data: bytes | None, size_px: int) -> Picture | str:
    """Return a picture as the model wants it, or why it cannot be decoded."""
    if data is None:
        return "The record has no picture."
    try:
        image = images.decode_rgb(data)
    except DamagedError as error:
        return str(error)
    return Picture(normalise(image, size_px), (image.shape[0], image.shape[1]))


def _ahead(due: Sequence[Chunk], load: Callable[[Chunk], Loading]) -> Iterator[tuple[Chunk, list[Picture | str]]]:
    """Yield chunks with their pictures, while those of the next are being decoded."""
    waiting: deque[tuple[Chunk, Loading]] = deque()
    for chunk in due:
        waiting.append((chunk, load(chunk)))
        if len(waiting) > _CHUNKS_AHEAD:
            yield _loaded(*waiting.popleft())
    while waiting:
        yield _loaded(*waiting.popleft())


def _loaded(chunk: Chunk, loading: Loading) -> tuple[Chunk, list[Picture | str]]:
    return chunk, [future.result() for future in loading]


def _answers(
    model: ForgeryTalker,
    config: Config,
    words: Sequence[str] | None,
    chunk: Chunk,
    pictures: Sequence[Picture | str],
) -> list[Answer]:
    sound = {at: picture for at, picture in enumerate(pictures) if isinstance(picture, Picture)}
    found = [Answer(None, {"error": picture} if isinstance(picture, str) else {}) for picture in pictures]
    if sound:
        predicted = _predicted(model, config, words, np.stack([picture.pixels for picture in sound.values()]))
        for place, (at, picture) in enumerate(sound.items()):
            found[at] = _answer(predicted, place, picture.hw, chunk[at])
    return found


def _predicted(
    model: ForgeryTalker, config: Config, words: Sequence[str] | None, pixels: npt.NDArray[np.float32]
) -> Predicted:
    device, told = next(model.parameters()).device, None if words is None else [words] * len(pixels)
    short = f"{len(pixels)} pictures at once are too many for the memory of {device}. Lower --batch."
    with shortage_told(short), torch.autocast(device.type, torch.bfloat16, enabled=config.training.precision == "bf16"):
        return model.predict(torch.from_numpy(pixels).to(device), config.generation, told)


def _answer(predicted: Predicted, place: int, hw: tuple[int, int], sample: Sample) -> Answer:
    mask, regions = predicted.mask_BHW[place].float().cpu().numpy(), predicted.regions_BR[place].tolist()
    told = predicted.used_BR[place].tolist()
    keys: dict[str, Any] = {
        "caption": predicted.reports[place],
        "regions": dict(zip(REGIONS, regions, strict=True)),
        "prompted": [word for word, used in zip(REGIONS, told, strict=True) if used],
    }
    if predicted.verdict_B is not None:
        keys["verdict"] = float(predicted.verdict_B[place])
    if not (np.isfinite(mask).all() and np.isfinite([*regions, keys.get("verdict", 0)]).all()):
        raise UserError(f"What the model says of record {sample.record_id} is not a number: its weights are broken.")
    return Answer(soft_mask(mask, hw), keys)


def soft_mask(probabilities: npt.NDArray[np.float32], hw: tuple[int, int]) -> Gray:
    """Return probabilities, float32 H×W, as a grey picture of another height and width: uint8, 0–255.

    A value is above 127 exactly where the (linearly resized) probability is above 0.5.
    """
    sized = cv2.resize(probabilities, hw[::-1], interpolation=cv2.INTER_LINEAR)
    # 255 × 0.5 is 127.5: rounded to even it would be 128, and altered.
    return np.ceil(sized.astype(np.float64) * 255 - 0.5).clip(0, 255).astype(np.uint8)
