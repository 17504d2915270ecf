"""Lossy codecs: the picture is encoded and decoded again; what the codec did to the pixels stays in them."""

import io
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import PIL
from PIL import Image, features

from mmtt.images import Rgb

from .operation import Pixels, Whole, within


class _Codec(Pixels):
    library: ClassVar[str] = "pillow"


class Jpeg(_Codec):
    """JPEG.

    quality: 1–100, on the scale of the Independent JPEG Group.
    subsampling: of the colours: `4:4:4`, `4:2:2` or `4:2:0`.
    """

    op: ClassVar[str] = "jpeg"
    quality: Annotated[Whole, within(1, 100, whole=True)]
    subsampling: Literal["4:4:4", "4:2:2", "4:2:0"] = "4:2:0"

    def apply(self, image: Rgb, rng: np.random.Generator) -> Rgb:
        """Encode and decode."""
        return _through(image, "JPEG", quality=self.quality, subsampling=self.subsampling)

    @classmethod
    def version(cls) -> str:
        """Pillow's, and that of the codec inside it."""
        return f"{PIL.__version__}, libjpeg-turbo {features.version_feature('libjpeg_turbo')}"


class Webp(_Codec):
    """Lossy WebP.

    quality: 1–100, on libwebp's own scale.
    """

    op: ClassVar[str] = "webp"
    quality: Annotated[Whole, within(1, 100, whole=True)]

    def apply(self, image: Rgb, rng: np.random.Generator) -> Rgb:
        """Encode and decode."""
        return _through(image, "WEBP", quality=self.quality)

    @classmethod
    def version(cls) -> str:
        """Pillow's, and that of the codec inside it."""
        return f"{PIL.__version__}, libwebp {features.version_module('webp')}"


def _through(image: Rgb, form: str, **options: Any) -> Rgb:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, form, **options)
    return np.array(Image.open(stream).convert("RGB"), dtype=np.uint8)
