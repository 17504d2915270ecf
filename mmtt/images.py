"""Pictures in and out: photos of strangers decoded with care, our own PNGs with speed.

Images are RGB uint8 H×W×3 everywhere; OpenCV's BGR never leaves the function that called OpenCV.
"""

import hashlib
import io
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps

from mmtt.errors import Rejected

Array = npt.NDArray[Any]
Rgb = npt.NDArray[np.uint8]
Gray = npt.NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
PNG_LEVEL = 1  # at 512 px a fifth of the time of level 6 for 3 % more bytes

# Our threads are processes; OpenCV's own would fight them and may reorder sums.
cv2.setNumThreads(1)


def sha256(data: bytes) -> str:
    """Return the SHA-256 of some bytes, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def decode_photo(data: bytes, *, max_pixels: int = 100_000_000) -> Rgb:
    """Decode a photo that a stranger made into RGB uint8 H×W×3.

    The format is read from the content, whatever the name says. The EXIF orientation is applied;
    ICC profiles become sRGB; grey, CMYK, palette and 16-bit become 8-bit RGB; alpha is laid on white.

    Raises:
        Rejected: `empty`, `not_an_image`, `too_many_pixels`, `animated`, `truncated`.
    """
    if not data:
        raise Rejected("empty", "the file has no bytes")
    picture = _open(data, max_pixels)
    try:
        picture.load()
        upright = ImageOps.exif_transpose(picture)
        return np.ascontiguousarray(_to_rgb(upright), dtype=np.uint8)
    except (OSError, ValueError, SyntaxError, IndexError, EOFError, MemoryError) as error:
        raise Rejected("truncated", f"the picture cannot be decoded to its end: {error}") from error


def _open(data: bytes, max_pixels: int) -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise Rejected("too_many_pixels", str(error)) from error
    except Exception as error:  # decoders raise anything on hostile headers
        raise Rejected("not_an_image", f"none of {', '.join(FORMATS)}") from error
    width, height = picture.size
    if width * height > max_pixels:
        raise Rejected("too_many_pixels", f"{width}×{height} is more than {max_pixels:,} pixels")
    # A camera's MPO is a JPEG that carries further views; the first is the photo.
    if picture.format != "MPO" and getattr(picture, "n_frames", 1) > 1:
        raise Rejected("animated", f"{picture.format} with several frames")
    return picture


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in ("I", "I;16", "I;16B", "I;16L", "F"):
        values = np.asarray(picture, dtype=np.float64)
        scale = 257.0 if values.max(initial=0) > 255 else 1.0
        return Image.fromarray(np.clip(values / scale, 0, 255).round().astype(np.uint8)).convert("RGB")
    if "A" in picture.getbands() or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return _to_srgb(picture).convert("RGB")


def _to_srgb(picture: Image.Image) -> Image.Image:
    profile = picture.info.get("icc_profile")
    if not profile or picture.mode not in ("RGB", "CMYK", "L"):
        return picture
    try:
        made = ImageCms.profileToProfile(
            picture, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return picture  # a broken profile says nothing about the pixels
    return made or picture


def encode_png(image: Array, level: int = PNG_LEVEL) -> bytes:
    """Encode RGB H×W×3 or grey H×W, uint8, as PNG without any metadata."""
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    done, encoded = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, level])
    if not done:
        raise ValueError(f"cannot encode an array of shape {image.shape} and dtype {image.dtype}")
    return encoded.tobytes()


def encode_jpeg(image: Rgb, quality: int = 90) -> bytes:
    """Encode RGB H×W×3 uint8 as JPEG; for pages only, never for records."""
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"cannot encode an array of shape {image.shape} and dtype {image.dtype}")
    return encoded.tobytes()


def decode_rgb(data: bytes) -> Rgb:
    """Decode one of our own PNGs into RGB uint8 H×W×3."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError("not a PNG")
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels), dtype=np.uint8)


def decode_gray(data: bytes) -> Gray:
    """Decode one of our own single-channel PNGs into uint8 H×W."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise ValueError("not a PNG")
    return np.asarray(pixels, dtype=np.uint8)


def perceptual_hash(image: Rgb) -> str:
    """Return the 64-bit DCT hash of an RGB uint8 image as 16 hex digits.

    Each bit says whether one of the 8×8 lowest frequencies of the 32×32 grey picture is above
    their median (Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010).
    """
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(gray, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:8, :8].ravel()
    bits = low > np.median(np.asarray(low[1:], dtype=np.float32))
    return np.packbits(bits).tobytes().hex()


def mark_border(image: Rgb, words: str = "FORGED") -> Rgb:
    """Frame an RGB uint8 picture with a striped border that says it is forged; no pixel of it is covered."""
    height, width = image.shape[:2]
    edge = max(12, width // 24)
    framed = cv2.copyMakeBorder(image, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=(178, 24, 43))
    scale = edge / 26
    (text_width, text_height), _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    x, y = (framed.shape[1] - text_width) // 2, edge // 2 + text_height // 2
    for row in (y, y + edge + height):
        cv2.putText(framed, words, (x, row), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return np.asarray(framed, dtype=np.uint8)
