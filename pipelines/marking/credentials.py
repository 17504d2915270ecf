"""Credentials: content credentials (C2PA) written into pictures, and read from anybody's.

The same words give the same claims; bytes differ on each signing, because the library salts every assertion.
Nothing is asked of the network: no time stamp, no revocation list, no remote manifest.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from mmtt import images
from mmtt.errors import MissingDependency, UserError

from ..audits.containers import container_of
from . import text
from .definition import SOURCE_TYPE
from .keys import Signer, private_key
from .words import RECORD

if TYPE_CHECKING:
    import c2pa

_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WebP": "image/webp", "TIFF": "image/tiff", "GIF": "image/gif"}
_OFFLINE = {"remote_manifest_fetch": False, "ocsp_fetch": False}
_UNTRUSTED, _EXPIRED = "signingCredential.untrusted", "signingCredential.expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a picture's file says of itself.

    state: `absent`: no credentials; `valid`: the signature holds, and for these very bytes; `expired`: so it does, but
        the signer's certificate has ended since; `changed`: it holds for other bytes; `invalid`: it does not hold.
    trusted: whether a given root vouches for who signed.
    signer: who that is, by the certificate. faults: codes of C2PA, or what the reader said. actions: those told.
    record: what our own assertion says. text: what our text chunk says. Both are only as true as the signature.
    """

    state: str
    trusted: bool = False
    signer: str = ""
    faults: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    source_types: tuple[str, ...] = ()
    record: Mapping[str, Any] | None = None
    text: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def library() -> Any:
    """Return the library that signs and reads.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        import c2pa
    except ImportError as error:
        raise MissingDependency("Content credentials need c2pa-python: pip install 'mmtt[c2pa]'.") from error
    return c2pa


def sign(png: bytes, told: Mapping[str, Any], signer: Signer) -> bytes:
    """Return a PNG with content credentials; its pixels and other chunks are as they were.

    Args:
        png: the picture.
        told: the manifest, as `definition.definition` gives it.
        signer: who signs.

    Raises:
        UserError: the certificate or its key cannot sign.
    """
    lib, signed = library(), io.BytesIO()
    native, context = _native(signer)
    try:
        with lib.Builder(json.dumps(told), context) as builder:
            builder.sign(native, _TYPES["PNG"], io.BytesIO(png), signed)
    except lib.C2paError.Signature as error:
        raise UserError(f"{signer.certificate} and its key cannot sign ({error}).") from None
    return signed.getvalue()


@lru_cache(maxsize=1)
def _native(signer: Signer) -> "tuple[c2pa.Signer, c2pa.Context]":
    """Once in each process: the key is read there, and is handed to nobody."""
    lib, key = library(), private_key(signer.key)
    info = lib.C2paSignerInfo(key.algorithm, signer.certificate.read_bytes(), key.pem, None)
    try:
        native = lib.Signer.from_info(info)
    except lib.C2paError as error:
        raise UserError(f"{signer.certificate} and its key cannot sign ({error}).") from None
    # No thumbnails: a mark must not carry the picture before the edit.
    settings = {"version": 1, "builder": {"thumbnail": {"enabled": False}}, "verify": _OFFLINE}
    return native, lib.Context.from_dict(settings)


def require_able(signer: Signer) -> None:
    """Sign one pixel, so that what is wrong with a certificate shows before anything is begun.

    Raises:
        UserError: it cannot sign, or what it signs does not hold.
    """
    made = {"action": "c2pa.created", "digitalSourceType": f"{SOURCE_TYPE}algorithmicMedia"}
    told = {"title": "trial", "assertions": [{"label": "c2pa.actions", "data": {"actions": [made]}}]}
    try:
        found = read(sign(images.encode_png(np.zeros((1, 1, 3), np.uint8)), told, signer))
    except library().C2paError as error:
        why = " ".join(str(error).split())
        raise UserError(f"{signer.certificate} cannot sign content credentials ({why}).") from None
    if found.state != "valid":
        raise UserError(f"What {signer.certificate} signs does not hold ({', '.join(found.faults)}). Take another one.")


def read(data: bytes, roots: str = "") -> Credentials:
    """Return what a picture's file says of itself; any bytes of a picture are taken.

    Args:
        data: the file.
        roots: certificates that are trusted, PEM.

    Raises:
        UserError: no picture of a kind that can carry credentials, or as for `require_roots`.
    """
    kind = container_of(data)
    if kind not in _TYPES:
        raise UserError(f"no {', '.join(_TYPES)} file, so it can carry no content credentials")
    lib, context, said = library(), _reading(roots), text.find(data)
    try:
        with lib.Reader(_TYPES[kind], io.BytesIO(data), context=context) as reader:
            return _told(json.loads(reader.json()), said)
    except lib.C2paError.ManifestNotFound:
        return Credentials(state="absent", text=said)
    except (lib.C2paError, ValueError) as error:
        return Credentials(state="invalid", faults=(str(error),), text=said)


def require_roots(roots: str) -> None:
    """Check that what is to be trusted are certificates.

    Raises:
        UserError: they are no certificates in PEM.
    """
    _reading(roots)


@lru_cache(maxsize=4)
def _reading(roots: str) -> "c2pa.Context":
    lib = library()
    try:
        trust = {"trust": {"user_anchors": roots}} if roots else {}
        return lib.Context.from_dict({"version": 1, "verify": _OFFLINE} | trust)
    except lib.C2paError as error:
        raise UserError(f"no certificates in PEM that could be trusted ({error})") from None


def _told(store: Mapping[str, Any], said: str | None) -> Credentials:
    active = store.get("manifests", {}).get(store.get("active_manifest"), {})
    failures = store.get("validation_results", {}).get("activeManifest", {}).get("failure", [])
    codes = [failure["code"] for failure in failures]
    faults = tuple(dict.fromkeys(code for code in codes if code != _UNTRUSTED))
    certificate = active.get("signature_info", {})
    said_of = {assertion.get("label"): assertion.get("data") for assertion in active.get("assertions", [])}
    actions, record = _actions(said_of), said_of.get(RECORD)
    named = [certificate.get("common_name"), certificate.get("issuer")]
    return Credentials(
        state=_state(store.get("validation_state"), faults),
        trusted=store.get("validation_state") == "Trusted",
        signer=", ".join(name for name in named if name),
        faults=faults,
        actions=tuple(str(action.get("action")) for action in actions),
        source_types=tuple(str(action["digitalSourceType"]) for action in actions if "digitalSourceType" in action),
        record=record if isinstance(record, dict) else None,  # anybody may sign a label of ours, with anything in it
        text=said,
    )


def _actions(said_of: Mapping[str, Any]) -> list[dict[str, Any]]:
    told = said_of.get("c2pa.actions.v2", said_of.get("c2pa.actions"))
    listed = told.get("actions") if isinstance(told, dict) else None
    return [action for action in listed if isinstance(action, dict)] if isinstance(listed, list) else []


def _state(found: str | None, faults: tuple[str, ...]) -> str:
    if found in ("Valid", "Trusted"):
        return "valid"
    if faults == (_EXPIRED,):
        return "expired"
    wrong = [code for code in faults if code != _EXPIRED]
    return "changed" if wrong and all(code.startswith("assertion.dataHash") for code in wrong) else "invalid"
