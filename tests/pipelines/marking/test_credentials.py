"""Credentials that we write hold, say what is true, and break with the first changed pixel."""

import json
import os
import sys
import time
import traceback
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from zlib import crc32

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from mmtt import images
from mmtt.errors import MissingDependency, UserError
from mmtt.manipulator import FAMILIES
from mmtt.release import Release
from pipelines import cli_mark
from pipelines.audits.containers import parts
from pipelines.audits.rights.metadata import MARKS, marks, remains
from pipelines.marking import certificate, text
from pipelines.marking.credentials import read, require_able, sign
from pipelines.marking.definition import COLUMNS, Picture, definition, source_type
from pipelines.marking.export import mark
from pipelines.marking.keys import load_signer, private_key
from tests.factories import make_forged_record, make_record

NOW = partial(datetime.now, UTC)
TODAY = date.today()  # the library that signs goes by the clock
RELEASE = Release(
    name="tiny", version="1.2.0", date="2026-11-27", previous=None, licence="CC-BY-4.0", schema_version=4,
    recipe_sha256="ab" * 32, buckets=2, rows={},
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("signer")
    certificate.make(made, "a test", NOW() - timedelta(days=1))
    return made


@pytest.fixture(scope="module")
def signer(folder):
    return load_signer(folder / certificate.CERTIFICATE, folder / certificate.KEY, TODAY)


def picture_of(record, digests=None):
    return Picture.of({name: getattr(record, name) for name in COLUMNS}, digests or {})


def marked(record, signer, digests=None):
    return mark(record.image, picture_of(record, digests), RELEASE, signer)


def swap(**changes):
    """A forgery with a donor, and the digests of target and donor."""
    target, donor = make_record(0), make_record(1)
    record = make_forged_record(
        0, manipulation="face_swap", source_id=donor.record_id, source_origin=donor.origin, split="train", **changes
    )
    return record, {target.record_id: target.image_sha256, donor.record_id: donor.image_sha256}


def test_what_is_signed_reads_back_as_valid_and_untrusted(signer, folder):
    record, digests = swap()
    found = read(marked(record, signer, digests))
    assert (found.state, found.trusted, found.faults) == ("valid", False, ())
    assert found.signer == "a test, self-made, for trying"
    assert found.actions == ("c2pa.opened", "c2pa.placed", "c2pa.edited")
    trusted = read(marked(record, signer, digests), (folder / certificate.ROOT).read_text())
    assert (trusted.state, trusted.trusted) == ("valid", True)


def test_the_assertion_says_which_record_it_is_and_from_what_it_was_made(signer):
    record, digests = swap()
    said = read(marked(record, signer, digests)).record
    assert said["record_id"] == record.record_id
    assert (said["manipulated"], said["manipulation"], said["manipulator"]) == (True, "face_swap", "darken")
    assert said["master_sha256"] == record.image_sha256
    assert said["mask_sha256"] == images.sha256(record.mask)
    assert said["parameters_sha256"] == images.sha256(record.parameters.encode())
    assert (said["dataset"], said["release"], said["recipe_sha256"]) == ("tiny", "1.2.0", "ab" * 32)
    for role, linked in (("target", record.target_id), ("donor", record.source_id)):
        assert said[role] == {"record_id": linked, "image_sha256": digests[linked]}


def test_a_pristine_picture_says_that_it_was_only_cropped(signer):
    found = read(marked(make_record(3, split="test"), signer))
    assert found.actions == ("c2pa.opened", "c2pa.cropped")
    assert found.record["manipulated"] is False and "manipulation" not in found.record
    assert found.text.startswith("Not manipulated")


def test_no_pixels_of_target_or_donor_are_in_the_manifest(signer):
    record, digests = swap()
    data = marked(record, signer, digests)
    assert b"thumbnail" not in data
    assert data.count(b"\x89PNG") == 1 and b"\xff\xd8\xff" not in b"".join(
        part.content for part in parts(data) if part.kind == b"caBX"
    )
    assert not remains(data)


def test_the_same_words_give_the_same_claims_though_not_the_same_bytes(signer):
    record, digests = swap()
    first, second = marked(record, signer, digests), marked(record, signer, digests)
    assert read(first) == read(second)
    assert len(first) == len(second)
    told = [json.dumps(definition(picture_of(record, digests), RELEASE)) for _ in range(2)]
    assert told[0] == told[1]


def test_pixels_and_other_chunks_are_as_they_were(signer):
    record, _ = swap()
    data = marked(record, signer)
    assert np.array_equal(images.decode_rgb(data), images.decode_rgb(record.image))
    stored = [(part.kind, part.content) for part in parts(record.image)]
    assert [(part.kind, part.content) for part in parts(data) if part.kind not in (b"caBX", b"tEXt")] == stored


@pytest.mark.parametrize("place", [0.3, 0.6, 0.99])
def test_a_changed_byte_of_the_pixels_is_detected(signer, place):
    data = bytearray(marked(make_record(0, split="train"), signer))
    start = data.index(b"IDAT") + 4
    data[start + int(place * (len(data) - start - 20))] ^= 1
    found = read(bytes(data))
    assert (found.state, found.faults) == ("changed", ("assertion.dataHash.mismatch",))


def pixels_of(png):
    """The one chunk that holds them."""
    (found,) = [part.content for part in parts(png) if part.kind == b"IDAT"]
    return found


def test_a_changed_pixel_under_the_same_credentials_is_detected(signer):
    data = marked(make_record(0, split="train"), signer)
    pixels = images.decode_rgb(data)
    pixels[5, 5] ^= 255
    at, old, other = data.index(b"IDAT"), pixels_of(data), pixels_of(images.encode_png(pixels))
    chunk = len(other).to_bytes(4, "big") + b"IDAT" + other
    chunk += crc32(b"IDAT" + other).to_bytes(4, "big")
    forged = data[: at - 4] + chunk + data[at + 4 + len(old) + 4 :]
    assert np.array_equal(images.decode_rgb(forged), pixels)
    assert read(forged).state == "changed"


def test_a_changed_text_chunk_is_detected(signer):
    data = marked(make_forged_record(0, split="train"), signer)
    assert read(data.replace(b"Manipulated", b"Immaculated")).state == "changed"


def test_a_changed_claim_is_invalid(signer):
    data = marked(make_forged_record(0, split="train"), signer)
    assert read(data.replace(b"recolour", b"retouch_", 2)).state == "invalid"


def test_a_stripped_file_says_so_and_keeps_nothing(signer):
    data = marked(make_forged_record(0, split="train"), signer)
    bare = images.encode_png(images.decode_rgb(data))
    assert read(bare).state == "absent" and read(bare).text is None
    texted = text.add(bare, text.line(picture_of(make_forged_record(0, split="train"))))
    assert read(texted).state == "absent" and "Manipulated" in read(texted).text


def test_credentials_outlive_their_signer_as_expired_and_their_file_as_changed(tmp_path):
    """The library that reads goes by the clock, so this certificate ends in a few seconds."""
    certificate.make(tmp_path, "soon over", NOW() - timedelta(days=certificate.DAYS) + timedelta(seconds=4))
    short = load_signer(tmp_path / certificate.CERTIFICATE, tmp_path / certificate.KEY, TODAY)
    data = marked(make_record(0, split="train"), short)
    until = time.monotonic() + 20
    while read(data).state == "valid" and time.monotonic() < until:
        time.sleep(0.2)
    assert read(data).state == "expired"
    assert read(data[:-200] + bytes([data[-200] ^ 1]) + data[-199:]).state == "changed"


def test_credentials_moved_to_another_picture_are_detected(signer):
    data, other = marked(make_record(0, split="train"), signer), make_record(1).image
    manifest = data[data.index(b"caBX") - 4 :]
    size = int.from_bytes(manifest[:4], "big") + 12
    assert read(other[:33] + manifest[:size] + other[33:]).state in ("changed", "invalid")


def test_torn_and_mutated_files_are_read_without_harm(signer):
    data = marked(make_forged_record(0, split="train"), signer)
    rng = np.random.default_rng(0)
    start = data.index(b"caBX")
    for _ in range(60):
        torn = bytearray(data[: rng.integers(40, len(data))])
        for at in rng.integers(min(start, len(torn) - 1), len(torn), size=4):
            torn[at] = rng.integers(256)
        assert read(bytes(torn)).state in ("absent", "changed", "invalid")


def test_roots_that_are_no_certificates_are_a_sentence(signer):
    with pytest.raises(UserError, match="no certificates in PEM"):
        read(marked(make_record(0, split="train"), signer), "-----BEGIN CERTIFICATE-----")


@pytest.mark.parametrize("data", ["words", [1, 2], 7, {"record_id": ["\x1b[2J"]}])
def test_what_strangers_sign_under_our_label_harms_nobody(data, signer):
    told = definition(picture_of(make_record(0, split="train")), RELEASE)
    told["assertions"][-1]["data"] = data
    found = read(sign(make_record(0).image, told, signer))
    assert found.state == "valid" and (found.record is None or found.record == data)
    assert all(isinstance(line, str) for line in cli_mark.told(found))


def test_only_pictures_that_can_carry_credentials_are_read():
    with pytest.raises(UserError, match="no PNG, JPEG"):
        read(b"BM not a picture")


# --- marks alike ---


def test_both_kinds_carry_every_mark_in_chunks_of_the_same_order(signer):
    record, digests = swap()
    pristine, forged = marked(make_record(0, split="train"), signer), marked(record, signer, digests)
    assert marks(pristine) == marks(forged) == set(MARKS)
    assert [part.kind for part in parts(pristine)] == [part.kind for part in parts(forged)]


def test_a_picture_of_another_format_becomes_a_png_of_the_same_pixels(signer):
    photo = images.decode_rgb(make_record(0).image)
    record = make_record(0, image=images.encode_jpeg(photo), split="train")
    data = marked(record, signer)
    assert np.array_equal(images.decode_rgb(data), images.decode_rgb(record.image))
    assert marks(data) == set(MARKS) and read(data).state == "valid"


def test_what_others_wrote_into_a_file_is_not_signed(signer):
    told = text.add(make_record(0).image, "words").replace(b"mmtt", b"note")
    data = marked(make_record(0, image=told, split="train"), signer)
    assert b"note\0words" not in data


# --- source types ---


@pytest.mark.parametrize("family", FAMILIES)
def test_no_family_claims_a_camera_and_learned_ones_say_so(family):
    plain = picture_of(make_forged_record(0, manipulation=family))
    learned = picture_of(make_forged_record(0, manipulation=family, weights_sha256="cd" * 32))
    expected = "compositeWithTrainedAlgorithmicMedia"
    assert source_type(learned).endswith(f"/{expected}")
    assert source_type(plain).endswith(f"/{expected}" if "er_inp" in family or "ion_inp" in family else "/composite")


def test_a_forgery_whose_target_nobody_told_still_opens_a_picture(signer):
    record = make_forged_record(0, target_id=None, mask_rule="imported", split="train")
    found = read(marked(record, signer))
    assert found.state == "valid" and "target" not in found.record


def test_a_pristine_picture_that_others_cropped_is_not_said_to_be_cropped_here(signer):
    assert read(marked(make_record(0, template="none", split="train"), signer)).actions[-1] == "c2pa.converted"


def test_an_absent_library_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(MissingDependency, match=r"pip install 'mmtt\[c2pa\]'"):
        read(make_record(0).image)


# --- certificates and keys ---


def write_key(path, key, passphrase=None, mode=0o600):
    how = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))
    path.chmod(mode)
    return path


def test_the_key_is_for_its_owner_alone_and_the_roots_key_is_nowhere(folder):
    assert (folder / certificate.KEY).stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == [
        "certificate.pem",
        "key.pem",
        "root.pem",
    ]
    assert b"PRIVATE" not in (folder / certificate.ROOT).read_bytes()
    with pytest.raises(UserError, match="is there already"):
        certificate.make(folder, "another", NOW())


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_key_that_others_may_read_is_refused(folder, tmp_path):
    open_key = tmp_path / "key.pem"
    open_key.write_bytes((folder / certificate.KEY).read_bytes())
    open_key.chmod(0o640)
    with pytest.raises(UserError, match="chmod 600"):
        load_signer(folder / certificate.CERTIFICATE, open_key, TODAY)


def faulty(fault, folder, tmp_path):
    """A pair with one fault, and the secret that no message may hold."""
    pem = (folder / certificate.KEY).read_text()
    path = tmp_path / "key.pem"
    if fault == "another":
        write_key(path, ec.generate_private_key(ec.SECP256R1()))
    elif fault == "passphrase":
        write_key(path, ec.generate_private_key(ec.SECP256R1()), b"secret")
    elif fault == "kind":
        write_key(path, ec.generate_private_key(ec.SECP256K1()))
    elif fault == "torn":
        path.write_text(pem[:80] + "!" + pem[90:])
        path.chmod(0o600)
    return path, path.read_text().splitlines()[1] if path.exists() else "?"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("another", "is not the key of the first certificate"), ("passphrase", "has a passphrase"),
        ("kind", "do not know"), ("torn", "is no private key"), ("missing", "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_key_is_said_without_it(fault, message, folder, tmp_path):
    path, secret = faulty(fault, folder, tmp_path)
    with pytest.raises(UserError, match=message) as raised:
        load_signer(folder / certificate.CERTIFICATE, path, TODAY)
    assert secret not in "".join(traceback.format_exception(raised.value))
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_a_key_shows_nothing_of_itself(folder):
    assert "PRIVATE" not in repr(private_key(folder / certificate.KEY))


def test_a_certificate_that_does_not_hold_today_is_refused(tmp_path):
    certificate.make(tmp_path, "old", NOW() - timedelta(days=2 * certificate.DAYS))
    with pytest.raises(UserError, match="holds from"):
        load_signer(tmp_path / certificate.CERTIFICATE, tmp_path / certificate.KEY, TODAY)


def test_a_certificate_that_may_not_sign_content_is_refused(folder, signer, tmp_path):
    alone = tmp_path / "root.pem"
    alone.write_bytes((folder / certificate.ROOT).read_bytes())
    with pytest.raises(UserError, match=r"cannot sign|does not hold"):
        require_able(replace(signer, certificate=alone))


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (ec.generate_private_key(ec.SECP384R1()), "es384"),
        (ed25519.Ed25519PrivateKey.generate(), "ed25519"),
        (rsa.generate_private_key(65537, 2048), "ps256"),
    ],
    ids=["P-384", "Ed25519", "RSA"],
)
def test_other_kinds_of_keys_are_known(key, name, tmp_path):
    assert private_key(write_key(tmp_path / "key.pem", key)).algorithm == name


def test_words_outside_of_a_png_are_refused():
    with pytest.raises(ValueError, match="only a PNG"):
        text.add(b"\xff\xd8\xff", "words")


def test_a_signer_that_works_passes_its_trial(signer):
    require_able(signer)
    assert read(sign(make_record(0).image, definition(picture_of(make_record(0)), RELEASE), signer)).state == "valid"
