"""Keys: a certificate and the private key that belongs to it, checked before anything is signed.

What is in a key file reaches no message: every error about one is raised without its cause.
"""

import os
import stat
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mmtt.errors import MissingDependency, UserError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs. It names the key's file and never holds the key, so it may be sent to other processes.

    certificate: the signer's, then those above it, PEM. key: theirs, PEM. certificate_sha256: of all certificates.
    """

    certificate: Path
    key: Path
    certificate_sha256: str


class PrivateKey(NamedTuple):
    """A private key: unencrypted PKCS #8 as PEM, the name of its algorithm in C2PA, and its public key."""

    pem: bytes
    algorithm: str
    public: Any

    def __repr__(self) -> str:
        """Return nothing of it."""
        return f"PrivateKey({self.algorithm})"


def cryptography_is_there() -> None:
    """Check for the library that reads keys.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        import cryptography.x509  # noqa: F401
    except ImportError as error:
        raise MissingDependency("Certificates need cryptography: pip install 'mmtt[c2pa]'.") from error


def load_signer(certificate: Path, key: Path, on: date) -> Signer:
    """Check a certificate and its key; both must belong together, and hold on that day.

    Raises:
        UserError: what is wrong with which, and what to do. MissingDependency: an absent package.
    """
    cryptography_is_there()
    chain = _chain(certificate)
    public = private_key(key).public
    if chain[0].public_key() != public:
        raise UserError(f"{key} is not the key of the first certificate in {certificate}. Name the pair.")
    first, last = chain[0].not_valid_before_utc.date(), chain[0].not_valid_after_utc.date()
    if not first <= on <= last:
        raise UserError(f"{certificate} holds from {first} to {last}, and not on {on}. Take one that holds.")
    return Signer(certificate, key, sha256(b"".join(_der(item) for item in chain)).hexdigest())


def _chain(path: Path) -> "list[Certificate]":
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as certificates in PEM ({error}).") from error


def _der(certificate: "Certificate") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.DER)


def private_key(path: Path) -> PrivateKey:
    """Read a private key.

    Raises:
        UserError: it cannot be read, others may read it, it has a passphrase, or C2PA knows no such kind.
    """
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

    data = _secret(path)
    try:
        key: Any = load_pem_private_key(data, None)
    except TypeError:
        raise UserError(f"{path} has a passphrase. Give a key without one, in a file that only you can read.") from None
    except Exception:  # whatever the parser says may quote what it read
        raise UserError(f"{path} is no private key in PEM.") from None
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return PrivateKey(pem, _algorithm(path, key), key.public_key())


def _secret(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode, data = os.fstat(file.fileno()).st_mode, file.read()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from None
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UserError(f"{path} holds a private key, and others may read it. Do `chmod 600 {path}` first.")
    return data


def _algorithm(path: Path, key: Any) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return "ps256"
    known = f"an elliptic curve ({', '.join(_CURVES)}), Ed25519, or RSA of 2048 bits and more"
    raise UserError(f"{path} is a key of a kind that content credentials do not know. They know {known}.")
