"""What a model thinks of one photo, and how a page may put it: as an opinion, never as a finding.

Legend: B = 1 photo, R = 21 regions, S the side of a square.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from mmtt import images
from mmtt.errors import Rejected
from mmtt.html import data_uri, render
from mmtt.images import Rgb
from mmtt.regions import REGIONS

if TYPE_CHECKING:
    from torch import Tensor

    from .config import GenerationConfig
    from .model import ForgeryTalker

MAX_PIXELS = 50_000_000
SMALLEST_PX = 64
LARGEST_PX = 1024  # what is kept of a photo; models see far less
SHOWN_PX = 640
CAVEAT = "A MODEL'S OPINION - NO EVIDENCE"
_STRIP_PX = 34
_TINT_RGB = (255, 176, 0)  # amber: red is the frame of what is known to be forged
_DARK_RGB = (28, 28, 26)

WHY_NOT = {
    "gone": "The photo was lost on its way. Drop it again.",
    "empty": "The file is empty.",
    "not_an_image": "This file is no picture that can be read here: JPEG, PNG, WebP, TIFF, BMP and still GIF can.",
    "too_many_pixels": f"The picture has too many pixels; up to {MAX_PIXELS // 1_000_000} million are read.",
    "animated": "The picture moves; a single frame is needed.",
    "unsupported_depth": "The picture has more than 16 bits a channel, or no whole numbers.",
    "truncated": "The picture is damaged: it cannot be decoded to its end.",
    "too_small": f"The picture is too small: its shorter side needs {SMALLEST_PX} pixels.",
}


@dataclass(frozen=True)
class Opinion:
    """What a model says of one photo.

    mask: float32 S×S, probability that a pixel was altered, on the grid of the square that was shown. regions:
    probability of each word. told: the words that the report was asked to talk about. verdict: probability that the
    face was forged at all; None where the model has no head for that.
    """

    mask: npt.NDArray[np.float32]
    regions: Mapping[str, float]
    told: tuple[str, ...]
    verdict: float | None
    report: str


def read_square(data: bytes) -> Rgb:
    """Decode a stranger's photo and return the largest square from its middle, RGB uint8 S×S×3, `LARGEST_PX` at most.

    Raises:
        Rejected: no picture, or one beyond the limits; `WHY_NOT` has a sentence for every code.
    """
    photo = images.decode_photo(data, max_pixels=MAX_PIXELS)
    side = min(photo.shape[:2])
    if side < SMALLEST_PX:
        raise Rejected("too_small", f"{photo.shape[1]}×{photo.shape[0]}")
    top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
    square = photo[top : top + side, left : left + side]
    if side <= LARGEST_PX:
        return np.ascontiguousarray(square)
    return np.asarray(cv2.resize(square, (LARGEST_PX, LARGEST_PX), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def suspected(model: "ForgeryTalker", square: Rgb) -> dict[str, float]:
    """Return the probability that the prompter gives each region word of a square RGB picture."""
    import torch

    with torch.inference_mode():
        return _words(model.prompter(_pixels(model, square)).logits_BR.sigmoid())


def explain(model: "ForgeryTalker", generation: "GenerationConfig", square: Rgb, words: Sequence[str]) -> Opinion:
    """Return what a model says of a square RGB picture when it is asked about some region words, perhaps none."""
    told = [word for word in REGIONS if word in words]
    predicted = model.predict(_pixels(model, square), generation, [told])
    verdict = predicted.verdict_B
    mask = cv2.resize(predicted.mask_BHW[0].float().cpu().numpy(), square.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return Opinion(
        mask=np.asarray(mask, dtype=np.float32),
        regions=_words(predicted.regions_BR),
        told=tuple(told),
        verdict=None if verdict is None else float(verdict[0]),
        report=predicted.reports[0],
    )


def _pixels(model: "ForgeryTalker", square: Rgb) -> "Tensor":
    import torch

    from .data.geometry import normalise

    pixels = torch.from_numpy(normalise(square, model.size_px))
    return pixels[None].to(next(model.parameters()).device)


def _words(regions_BR: "Tensor") -> dict[str, float]:
    return dict(zip(REGIONS, regions_BR[0].tolist(), strict=True))


def overlay(square: Rgb, mask: npt.NDArray[np.float32]) -> Rgb:
    """Return a copy, `SHOWN_PX` wide, tinted and outlined where the mask is above 0.5, with the caveat below it."""
    shown = _fit(square)
    inside = cv2.resize(mask, (SHOWN_PX, SHOWN_PX), interpolation=cv2.INTER_LINEAR) > 0.5
    shown[inside] = (0.65 * shown[inside] + 0.35 * np.array(_TINT_RGB)).astype(np.uint8)
    outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for colour, width in ((_DARK_RGB, 5), (_TINT_RGB, 2)):
        cv2.drawContours(shown, outlines, -1, colour, width, cv2.LINE_AA)
    return _with_caveat(shown)


def _fit(square: Rgb) -> Rgb:
    """Return a copy at the size that is shown; a resize to the same size would return the picture itself."""
    way = cv2.INTER_AREA if len(square) > SHOWN_PX else cv2.INTER_CUBIC
    return np.array(cv2.resize(square, (SHOWN_PX, SHOWN_PX), interpolation=way), dtype=np.uint8)


def _with_caveat(picture: Rgb) -> Rgb:
    """Put the caveat on a strip below, so that a saved copy carries it; no pixel of the photo is covered."""
    framed = cv2.copyMakeBorder(picture, 0, _STRIP_PX, 0, 0, cv2.BORDER_CONSTANT, value=_DARK_RGB)
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.55
    (width, height), _ = cv2.getTextSize(CAVEAT, font, scale, 1)
    place = ((framed.shape[1] - width) // 2, framed.shape[0] - (_STRIP_PX - height) // 2)
    cv2.putText(framed, CAVEAT, place, font, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return np.asarray(framed, dtype=np.uint8)


def photo_html(square: Rgb) -> str:
    """Return the picture that the model sees, as HTML that holds it."""
    return _part("photo", picture=data_uri(images.encode_jpeg(_fit(square)), "image/jpeg"))


def regions_html(regions: Mapping[str, float], threshold: float) -> str:
    """Return the regions' probabilities, the likeliest first, as an HTML table with bars."""
    ranked = sorted(regions.items(), key=lambda item: -item[1])
    return _part("regions", ranked=ranked, threshold=threshold)


def opinion_html(square: Rgb, opinion: Opinion) -> str:
    """Return an opinion as HTML: overlay, verdict, report; all text escaped."""
    picture = data_uri(images.encode_jpeg(overlay(square, opinion.mask)), "image/jpeg")
    return _part("opinion", picture=picture, share=float((opinion.mask > 0.5).mean()), opinion=opinion)


def fault_html(sentence: str) -> str:
    """Return a sentence about what went wrong, as HTML."""
    return _part("fault", sentence=sentence)


def why_not(rejected: Rejected) -> str:
    """Return why a photo cannot be used, as a sentence."""
    return WHY_NOT.get(rejected.code, "This photo cannot be used.")


def text_html(part: str, **values: str) -> str:
    """Return one of the page's standing texts as HTML: `head`, `photo_step`, `regions_step`, `foot`."""
    return _part(part, **values)


def _part(part: str, **values: Any) -> str:
    return render(__package__ or "", "demo.html.j2", part=part, **values)
