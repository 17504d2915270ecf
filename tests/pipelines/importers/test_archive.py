"""The archive's parts are put in order, and whatever is in them is read, refused or told: never followed."""

import gzip
import io
import os
import random
import tarfile
from pathlib import Path

import pytest

from mmtt.errors import UserError
from pipelines.importers import archive
from pipelines.importers.archive import Archive, find_parts, is_inside
from tests.pipelines.importers.release_maker import Parts, put

NOISE = random.Random(0).randbytes(50_000)  # what does not shrink


def parts(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"a.tar.gz{name}").write_bytes(b"x")


def found(folder: Path) -> list[str]:
    return [path.name.removeprefix("a.tar.gz") for path in find_parts(folder, "a.tar.gz")]


@pytest.mark.parametrize(
    "names",
    [
        (".partaa", ".partab", ".partac"),
        (".part0", ".part1", ".part2"),
        (".part1", ".part2", ".part3"),
        tuple(f".part{number}" for number in range(12)),
        (".part-00", ".part-01"),
        (".part_aa", ".part_ab"),
        ("",),
    ],
    ids=lambda names: names[0],
)
def test_parts_come_in_the_order_in_which_they_were_cut(tmp_path, names):
    parts(tmp_path / "r", *reversed(names))
    assert found(tmp_path / "r") == list(names)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ((".partaa", ".partac"), "a part before a.tar.gz.partac is missing"),
        ((".partab",), "a part before a.tar.gz.partab is missing"),
        ((".part0", ".part2"), "a part before a.tar.gz.part2 is missing"),
        ((".part2", ".part3"), "a part before a.tar.gz.part2 is missing"),
        ((".part1", ".part01"), "same number"),
        ((".partaa", ".part1"), "not numbered in one way"),
        ((".partaa", ".partaaa"), "not numbered in one way"),
        ((".partaa", ".partab.download"), "not numbered in one way"),
        ((), "holds neither"),
    ],
)
def test_parts_that_cannot_be_put_in_order_are_told(tmp_path, names, told):
    parts(tmp_path / "r", *names)
    with pytest.raises(UserError, match=told):
        find_parts(tmp_path / "r", "a.tar.gz")


def test_what_is_no_folder_is_told(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        find_parts(tmp_path / "nowhere", "a.tar.gz")


def made(folder: Path, fill, part_bytes: int = 9000, form: int = tarfile.GNU_FORMAT) -> Archive:
    folder.mkdir(exist_ok=True)
    stream = Parts(folder, "a.tar.gz", part_bytes)
    with tarfile.open(fileobj=stream, mode="w|gz", format=form) as tar:
        fill(tar)
    stream.close()
    return Archive(find_parts(folder, "a.tar.gz"))


def raw(folder: Path, data: bytes) -> Archive:
    """An archive of these very bytes, gzipped."""
    folder.mkdir(exist_ok=True)
    (folder / "a.tar.gz").write_bytes(gzip.compress(data))
    return Archive([folder / "a.tar.gz"])


def read_all(archive: Archive, max_bytes: int = 1_000_000) -> dict[str, bytes | str]:
    """Each entry's bytes, or the code of its fault."""
    return {entry.name: entry.fault.code if entry.fault else entry.read() for entry in archive.entries(max_bytes)}


def test_entries_are_read_across_parts(tmp_path):
    files = {f"d/{number}": NOISE[number * 4000 :][:4000] for number in range(10)}
    archive = made(tmp_path / "r", lambda tar: [put(tar, name, data) for name, data in files.items()])
    assert len(archive.parts) > 3
    assert read_all(archive) == files
    assert read_all(archive) == files  # from the beginning, as often as wanted
    assert len(archive.sha256) == 64


def test_the_digest_is_that_of_the_whole_however_it_is_cut(tmp_path):
    def fill(tar):
        put(tar, "x", NOISE)

    few, many = made(tmp_path / "few", fill, 1_000_000), made(tmp_path / "many", fill, 1000)
    read_all(few), read_all(many)
    assert few.sha256 == many.sha256


SPECIAL = {
    "symbolic link": {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
    "hard link": {"type": tarfile.LNKTYPE, "linkname": "../../secret"},
    "character device": {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3},
    "block device": {"type": tarfile.BLKTYPE},
    "pipe": {"type": tarfile.FIFOTYPE},
    "unknown type": {"type": b"Z"},
}


@pytest.mark.parametrize("header", SPECIAL.values(), ids=SPECIAL)
def test_what_is_no_file_has_a_fault_and_what_follows_is_read(tmp_path, header):
    def fill(tar):
        put(tar, "odd", b"", **header)
        put(tar, "good", b"bytes")

    assert read_all(made(tmp_path / "r", fill)) == {"odd": "not_a_file", "good": b"bytes"}


@pytest.mark.parametrize("name", ["/etc/passwd", "../../x", "a/../../x", "C:/x", "a\\..\\..\\x", "..", "\\\\host\\x"])
def test_a_name_that_leads_elsewhere_has_a_fault(tmp_path, name):
    assert not is_inside(name)

    def fill(tar):
        put(tar, name, b"evil")
        put(tar, "good", b"bytes")

    assert read_all(made(tmp_path / "r", fill)) == {name: "unsafe_path", "good": b"bytes"}


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
def test_long_and_odd_names_are_read(tmp_path, form):
    names = ["n" * 300, "脸/面.png", "d\udcff.png", "./x"]

    def fill(tar):
        for name in names:
            put(tar, name, name.encode("utf-8", "surrogateescape"))

    archive = made(tmp_path / "r", fill, form=form)
    assert read_all(archive) == {name: name.encode("utf-8", "surrogateescape") for name in names}


def test_an_entry_over_the_limit_has_a_fault(tmp_path):
    def fill(tar):
        put(tar, "big", b"x" * 2001)
        put(tar, "good", b"x" * 2000)

    assert read_all(made(tmp_path / "r", fill), 2000) == {"big": "too_large", "good": b"x" * 2000}


def test_contents_that_swell_end_the_reading(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "FREE", 1_000_000)
    bomb = made(tmp_path / "r", lambda tar: put(tar, "bomb", bytes(30_000_000)))
    with pytest.raises(UserError, match="a zip bomb"):
        read_all(bomb)


def sparse_gnu() -> bytes:
    header = tarfile.TarInfo("sparse")
    header.type = tarfile.GNUTYPE_SPARSE
    return header.tobuf(tarfile.GNU_FORMAT)


def sparse_pax() -> bytes:
    header = tarfile.TarInfo("sparse")
    header.size = 5120
    header.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "99999999999"}
    return header.tobuf(tarfile.PAX_FORMAT) + b"9" * 5120


@pytest.mark.parametrize("sparse", [sparse_gnu(), sparse_pax()], ids=["gnu", "pax"])
def test_a_sparse_file_is_passed_over(tmp_path, sparse):
    after = tarfile.TarInfo("good")
    after.size = 5
    data = sparse + after.tobuf() + b"bytes".ljust(512, b"\0") + bytes(1024)
    assert read_all(raw(tmp_path / "r", data)) == {"sparse": "not_a_file", "good": b"bytes"}


def with_type(kind: bytes, size: int) -> bytes:
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, size
    return header.tobuf(tarfile.GNU_FORMAT)


def whole(name: str = "good") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        put(tar, name, NOISE[:5000])
        put(tar, "last", NOISE[:700])
    return stream.getvalue()


DAMAGED = {
    "endless pax header": (with_type(tarfile.XHDTYPE, 8_000_000_000), "header claims 8,000,000,000 bytes"),
    "endless long name": (with_type(tarfile.GNUTYPE_LONGNAME, 8_000_000_000), "header claims"),
    "negative size": (with_type(tarfile.REGTYPE, -512), "header claims -512"),
    "headers upon headers": (with_type(tarfile.GNUTYPE_LONGNAME, 0) * 5000 + whole(), "cannot be read on"),
    "bytes after a header": (whole()[:5632] + b"garbage!" * 64 + whole()[6144:], "header is damaged"),
    "half an entry": (whole()[:2000], "unexpected end of data"),
    "half a header": (whole()[:5800], "ends before the archive does"),
    "an entry of exabytes": (with_type(tarfile.REGTYPE, 2**62) + bytes(1024), "ends before the archive does"),
    "no tar": (b"no tar at all" * 100, "cannot be read on"),
    "nothing": (b"", "cannot be read on"),
    "size in a pax header": (
        (lambda h: (setattr(h, "pax_headers", {"size": "-1024"}), h.tobuf(tarfile.PAX_FORMAT))[1])(
            tarfile.TarInfo("x")
        ),
        "cannot be read on",
    ),
}


@pytest.mark.parametrize(("data", "told"), DAMAGED.values(), ids=DAMAGED)
def test_what_cannot_be_read_on_is_one_sentence(tmp_path, data, told):
    with pytest.raises(UserError, match=told) as raised:
        read_all(raw(tmp_path / "r", data))
    assert "a.tar.gz" in str(raised.value)


@pytest.mark.parametrize("how", ["last part cut", "last part gone", "middle cut", "a byte flipped", "no gzip"])
def test_parts_that_are_not_whole_are_one_sentence(tmp_path, how):
    archive = made(tmp_path / "r", lambda tar: put(tar, "x", NOISE))
    names = sorted(archive.parts)
    victim = {"last part cut": -1, "last part gone": -1, "middle cut": 2, "a byte flipped": 3, "no gzip": 0}[how]
    sound = names[victim].read_bytes()
    if how == "last part gone":
        names[victim].unlink()
    else:
        spoilt = {
            "a byte flipped": sound[:100] + bytes([sound[100] ^ 255]) + sound[101:],
            "no gzip": b"<html>" + sound[6:],
        }
        names[victim].write_bytes(spoilt.get(how, sound[: len(sound) // 2]))
    with pytest.raises(UserError, match=r"a\.tar\.gz\.part.*(ends before|cannot be read on)"):
        read_all(Archive(find_parts(tmp_path / "r", "a.tar.gz")))


def test_reading_never_writes(tmp_path):
    def fill(tar):
        put(tar, "../outside", b"evil")
        put(tar, "link", b"", type=tarfile.SYMTYPE, linkname=str(tmp_path / "outside"))
        put(tar, "link/inside", b"evil")

    archive = made(tmp_path / "r", fill)
    before = sorted(os.walk(tmp_path))
    read_all(archive)
    assert sorted(os.walk(tmp_path)) == before
