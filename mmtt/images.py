"""Pictures in and out: photos of strangers decoded with care, our own PNGs with speed.

Images are RGB uint8 H×W×3 everywhere; OpenCV's BGR never leaves the function that called OpenCV.
"""

import hashlib
import io
import warnings
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps

from mmtt.errors import DamagedError, Rejected

Array = npt.NDArray[Any]
Rgb = npt.NDArray[np.uint8]
Gray = npt.NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
PNG_LEVEL = 1  # at 512 px a fifth of the time of level 6 for 3 % more bytes

# Our threads are processes; OpenCV's own would fight them and may reorder sums.
cv2.setNumThreads(1)
# A damaged picture is told once, in our words; OpenCV would print its own for each try, in every worker.
cv2.setLogLevel(0)


def sha256(data: bytes) -> str:
    """Return the SHA-256 of some bytes, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def decode_photo(data: bytes, *, max_pixels: int = 100_000_000) -> Rgb:
    """Decode a photo that a stranger made into RGB uint8 H×W×3.

    The format is read from the content, whatever the name says. The EXIF orientation is applied;
    ICC profiles become sRGB; grey, CMYK, palette and 16-bit become 8-bit RGB; alpha is laid on white.

    Raises:
        Rejected: `empty`, `not_an_image`, `too_many_pixels`, `animated`, `unsupported_depth`, `truncated`.
    """
    if not data:
        raise Rejected("empty", "the file has no bytes")
    # Pillow warns of what it mends (odd EXIF, odd palettes), and of sizes that `max_pixels` judges.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        picture = _open(data, max_pixels)
        try:
            picture.load()
            return np.ascontiguousarray(_to_rgb(ImageOps.exif_transpose(picture)), dtype=np.uint8)
        except Rejected:
            raise
        except Exception as error:  # decoders raise anything on hostile bytes
            raise Rejected("truncated", f"the picture cannot be decoded to its end: {error}") from error


def _open(data: bytes, max_pixels: int) -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
        # A camera's MPO is a JPEG that carries further views; the first is the photo.
        several = picture.format != "MPO" and getattr(picture, "is_animated", False)
    except Image.DecompressionBombError as error:
        raise Rejected("too_many_pixels", str(error)) from error
    except Exception as error:  # decoders raise anything on hostile headers
        raise Rejected("not_an_image", f"none of {', '.join(FORMATS)}") from error
    width, height = picture.size
    if width * height > max_pixels:
        raise Rejected("too_many_pixels", f"{width}×{height} is more than {max_pixels:,} pixels")
    if several:
        raise Rejected("animated", f"{picture.format} with several frames")
    return picture


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode[0] in "IF":
        return _from_16_bits(picture)
    if "A" in picture.getbands() or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        white = Image.new("RGB", rgba.size, "white")
        white.paste(_to_srgb(rgba.convert("RGB")), mask=rgba.getchannel("A"))
        return white
    return _to_srgb(picture.convert("RGB") if picture.mode == "P" else picture).convert("RGB")


def _from_16_bits(picture: Image.Image) -> Image.Image:
    values = np.asarray(picture)
    if picture.mode == "F" or values.min(initial=0) < 0 or values.max(initial=0) > 65_535:
        raise Rejected("unsupported_depth", "more than 16 bits a channel, or not whole numbers")
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8)).convert("RGB")


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
    """Decode one of our own PNGs into RGB uint8 H×W×3.

    Raises:
        DamagedError: no picture, or not three channels of 8 bits.
    """
    pixels = _decode(data)
    if pixels.shape[2:] != (3,):
        raise _damaged(f"not RGB, but of shape {pixels.shape}")
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels), dtype=np.uint8)


def decode_gray(data: bytes) -> Gray:
    """Decode one of our own single-channel PNGs into uint8 H×W.

    Raises:
        DamagedError: no picture, or not one channel of 8 bits.
    """
    pixels = _decode(data)
    if pixels.ndim != 2:
        raise _damaged(f"not of one channel, but of shape {pixels.shape}")
    return pixels


def decode_with_mask(image: bytes, mask: bytes, out: Array | None = None) -> Array:
    """Decode one of our own pictures and its mask as one array uint8 H×W×4: RGB, and the mask as the fourth channel.

    Written into `out` where that is of the same shape: a fresh megabyte costs more than filling it.

    Raises:
        DamagedError: as for `decode_rgb` and `decode_gray`, or the two differ in size.
    """
    bgr, gray = _decode(image), decode_gray(mask)
    if bgr.shape[2:] != (3,):
        raise _damaged(f"not RGB, but of shape {bgr.shape}")
    if bgr.shape[:2] != gray.shape:
        raise _damaged(f"a mask of {gray.shape} belongs to no picture of {bgr.shape[:2]}")
    fits = out is not None and out.shape[:2] == gray.shape
    pixels = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGBA, dst=out if fits else None)
    cv2.insertChannel(gray, pixels, 3)
    return pixels


def _damaged(what: str) -> DamagedError:
    return DamagedError(f"A stored picture is damaged: {what}. `mmtt verify DIR` names its shard; build again.")


def _decode(data: bytes) -> Array:
    """Decode as stored: a reader that converts would hide what a stranger's reader will see."""
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise _damaged(f"not a picture: {error}") from error
    if pixels is None or pixels.dtype != np.uint8:
        raise _damaged("not a picture of 8 bits")
    return pixels


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
    """Frame an RGB uint8 picture with a red border that says it is forged; no pixel of it is covered."""
    height, width = image.shape[:2]
    edge = max(14, width // 20)
    framed = cv2.copyMakeBorder(image, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=(178, 24, 43))
    scale = edge / 38
    (text_width, text_height), _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    x, y = (framed.shape[1] - text_width) // 2, edge // 2 + text_height // 2
    # Drawn on the strips themselves, which clip what would reach into the picture.
    for strip in (framed[:edge], framed[edge + height :]):
        cv2.putText(strip, words, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return np.asarray(framed, dtype=np.uint8)
