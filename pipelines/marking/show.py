"""Show: one picture of a release for a paper or a page, marked for people as well as for machines."""

from pathlib import Path

from mmtt import images
from mmtt.release import Release

from . import credentials
from .export import find, mark
from .keys import Signer


def shown(release: Path, record_id: str, signer: Signer) -> bytes:
    """Return a record's picture as PNG with content credentials; around a forgery lies a frame that says so.

    Raises:
        UserError: no release, no such record, or the certificate cannot sign.
    """
    told = Release.load(release)
    image, picture = find(release, record_id)
    credentials.require_able(signer)
    forged = picture.manipulation is not None
    if forged:
        image = images.encode_png(images.mark_border(images.decode_rgb(image)))
    return mark(image, picture, told, signer, framed=forged)
