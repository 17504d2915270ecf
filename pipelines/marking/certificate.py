"""Certificate: a root and a signer made here, to try marking out. No trust list vouches for them, and readers say so.

Source: C2PA 2.2, 14.5.1 (certificate profile); RFC 5280.
"""

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from mmtt.errors import UserError
from mmtt.files import replacing, write_atomically

from .keys import cryptography_is_there

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate

CERTIFICATE, KEY, ROOT = "certificate.pem", "key.pem", "root.pem"
DAYS = 365


def make(folder: Path, name: str, first: datetime) -> None:
    """Write a new signer into a folder: `key.pem`, `root.pem`, and `certificate.pem`, which holds both certificates.

    The root's key is never written, so nothing else can be signed in its name.

    Args:
        folder: made where missing.
        name: who signs.
        first: from when on they hold, for `DAYS` days; with its time zone.

    Raises:
        UserError: there is one already. MissingDependency: an absent package.
    """
    cryptography_is_there()
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    if (folder / CERTIFICATE).exists():
        raise UserError(f"{folder / CERTIFICATE} is there already. Name another folder, or remove it with its key.")
    folder.mkdir(parents=True, exist_ok=True)
    above, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _certificate(f"{name}, root", above, f"{name}, root", above, first)
    leaf = _certificate(name, own, f"{name}, root", above, first)
    pem = [item.public_bytes(Encoding.PEM) for item in (leaf, root)]
    _write_secret(folder / KEY, own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    write_atomically(folder / ROOT, pem[1])
    write_atomically(folder / CERTIFICATE, pem[0] + pem[1])  # last: without it the other two are nothing


def _write_secret(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, and could at no moment be read by others."""
    with replacing(path) as temporary:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)


def _certificate(
    name: str, key: "EllipticCurvePrivateKey", issuer: str, above: "EllipticCurvePrivateKey", first: datetime
) -> "Certificate":
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(text: str) -> x509.Name:
        names = ((NameOID.COMMON_NAME, text), (NameOID.ORGANIZATION_NAME, "self-made, for trying"))
        return x509.Name([x509.NameAttribute(oid, value) for oid, value in names])

    ca = key is above
    made = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(first + timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above.public_key()), critical=False)
    )
    if not ca:
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return made.sign(above, SHA256())
