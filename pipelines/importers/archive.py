"""A tar archive in numbered parts, gzipped, read as a stream: nothing is unpacked, nothing a name says is followed.

Entries come in their order, once. Only plain files can be read, and only while they are at hand. Whoever made the
archive may be hostile: names that lead elsewhere, links, devices and sparse files come as entries with a fault; what
would eat memory or time (headers without end, contents that swell a hundredfold) or cannot be read on ends the reading
with one sentence.
"""

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from mmtt.errors import Rejected, UserError

MAX_HEADER = 16_384  # bytes of an extended header: a path has at most 4096
MAX_SWELL = 200  # pictures hardly shrink; not even lists of texts shrink as much
FREE = 256_000_000  # bytes that may come out before that is judged
MAX_PAST = 100  # reads after the end: to skip what a header claims, `tarfile` would go on for as long as it claims
_EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME,
             tarfile.GNUTYPE_LONGLINK)  # fmt: skip
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)
_SPARSE = b"!"  # no type of tar's: such an entry is passed over as one that nobody knows
_KINDS = {
    tarfile.SYMTYPE: "a symbolic link", tarfile.LNKTYPE: "a hard link", tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device", tarfile.FIFOTYPE: "a pipe", _SPARSE: "a sparse file",
}  # fmt: skip


class Entry(NamedTuple):
    """One entry of an archive that is no folder.

    name: as it is written there; bytes that are no UTF-8 as surrogates. fault: why it must not be used, or None.
    read: returns its bytes; only until the next entry is asked for.
    """

    name: str
    size: int
    fault: Rejected | None
    read: Callable[[], bytes]


class Archive:
    """Files that, one after another, are a gzipped tar. Can be read any number of times, from the beginning.

    sha256: of the bytes of all parts, once it was read to its end.
    """

    def __init__(self, parts: Sequence[Path]) -> None:
        self.parts = parts
        self.sha256 = ""

    def entries(self, max_bytes: int) -> Iterator[Entry]:
        """Yield the entries; those of more than `max_bytes` with a fault.

        Raises:
            UserError: a part is truncated, damaged or missing, or it is no archive that a person would make.
        """
        with closing(_Joined(self.parts)) as joined, _judged(joined):
            stream = _Inflated(joined)
            yield from _entries(stream, max_bytes)
            while stream.read(1 << 20):  # what follows the end of a tar, for its checksum
                pass
            self.sha256 = joined.digest.hexdigest()


@contextmanager
def _judged(joined: "_Joined") -> Iterator[None]:
    """Turn what goes wrong while parts are read into a sentence that names the part."""
    try:
        yield
    except EOFError:
        hint = "It is truncated, or a part after it is missing: fetch it again."
        raise UserError(f"{joined.path} ends before the archive does. {hint}") from None
    except (tarfile.TarError, zlib.error, gzip.BadGzipFile, RecursionError, ValueError) as error:
        hint = "It, or a part before it, is damaged or truncated: fetch them again."
        raise UserError(f"{joined.path} cannot be read on ({error}). {hint}") from error


def find_parts(folder: Path, stem: str) -> list[Path]:
    """Return the parts of an archive, in order: `<stem>` itself, or `<stem>.part…` with numbers or letters.

    Raises:
        UserError: there are none, they cannot be put in order, or one in the middle is missing.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder. Name the one that holds {stem}.part… and its lists.")
    if (folder / stem).is_file():
        return [folder / stem]
    named = {path: path.name.removeprefix(f"{stem}.part").lstrip("-_.") for path in folder.glob(f"{stem}.part*")}
    places = {path: _place(suffix) for path, suffix in named.items() if path.is_file()}
    if not places:
        raise UserError(f"{folder} holds neither {stem} nor {stem}.part…")
    kinds = {len(suffix) if suffix.isalpha() else 0 for path, suffix in named.items() if path in places}
    if None in places.values() or len(kinds) > 1:
        raise UserError(f"The parts of {folder / stem} are not numbered in one way: {_shown(places)}.")
    ordered = sorted(places, key=lambda path: places[path] or 0)
    _require_all(folder / stem, [places[path] or 0 for path in ordered], ordered)
    return ordered


def _place(suffix: str) -> int | None:
    """The number that a suffix stands for: `07`, or `aa`, `ab` as `split` counts."""
    if re.fullmatch(r"[0-9]{1,9}", suffix):
        return int(suffix)
    if re.fullmatch(r"[a-z]{1,6}", suffix):
        return sum((ord(letter) - ord("a")) * 26**power for power, letter in enumerate(reversed(suffix)))
    return None


def _require_all(archive: Path, numbers: Sequence[int], paths: Sequence[Path]) -> None:
    for before, number, path in zip((-1, *numbers), numbers, (*paths,), strict=False):
        first = before == -1
        if number != before + 1 and not (first and number == 1 and not path.name[-1].isalpha()):
            where = f"before {path.name}"
            fault = (
                f"two parts have the same number as {path.name}" if number == before else f"a part {where} is missing"
            )
            raise UserError(f"{archive}: {fault}. Fetch all parts into one folder.")


def _shown(paths: Any) -> str:
    return ", ".join(sorted(path.name for path in paths)[:5])


class _Joined(io.RawIOBase):
    """Files read one after another as one; the digest is over all that was read."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._left = list(paths)
        self.digest = sha256()
        self.count = 0
        self._open()

    def _open(self) -> None:
        self.path = self._left.pop(0)
        self._file = self.path.open("rb")

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with what comes next."""
        count = self._file.readinto(buffer)
        while not count and self._left:
            self._file.close()
            self._open()
            count = self._file.readinto(buffer)
        self.digest.update(memoryview(buffer)[:count])
        self.count += count
        return count

    def close(self) -> None:
        """Close the part that is open."""
        self._file.close()
        super().close()


class _Inflated:
    """What comes out of the parts; refuses to go on where it swells as no pictures do."""

    def __init__(self, joined: _Joined) -> None:
        self.joined = joined
        self._gzip = gzip.GzipFile(fileobj=io.BufferedReader(joined, 1 << 20))
        self._count = self._past = 0

    def read(self, size: int) -> bytes:
        """Return so many bytes, fewer only at the end."""
        data = self._gzip.read(size)
        self._count += len(data)
        self._past += not data
        if self._past > MAX_PAST:
            raise EOFError
        if self._count > FREE + MAX_SWELL * self.joined.count:
            raise UserError(
                f"{self.joined.path} swells to more than {MAX_SWELL} times its size, as no pictures do: "
                "a zip bomb. Nothing more of it is read."
            )
        return data


class _Header(tarfile.TarInfo):
    """A header that `tarfile` reads; guarded where it would trust what the header says."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> "_Header":
        """Read one block of 512 bytes.

        Raises:
            tarfile.ReadError: it is damaged, where `tarfile` itself would take it for the end. EOFError: it is cut.
        """
        try:
            header = super().frombuf(buf, encoding, errors)
        except (tarfile.EOFHeaderError, tarfile.EmptyHeaderError):
            raise
        except tarfile.TruncatedHeaderError as error:
            raise EOFError from error
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"an entry's header is damaged: {error}") from error
        if header.size < 0 or (header.type in _EXTENDED and header.size > MAX_HEADER):
            raise tarfile.ReadError(f"an entry's header claims {header.size:,} bytes")
        if header.type == tarfile.GNUTYPE_SPARSE:
            header.type = _SPARSE
        return header

    def _proc_gnusparse_10(self, next: tarfile.TarInfo, *_: Any) -> None:  # noqa: A002 - the name it overrides
        """Pass over a sparse file: its map is read from its data, of any length."""
        next.type = _SPARSE

    def _proc_gnusparse_00(self, next: tarfile.TarInfo, *_: Any) -> None:  # noqa: A002
        next.type = _SPARSE

    _proc_gnusparse_01 = _proc_gnusparse_00


def _entries(stream: _Inflated, max_bytes: int) -> Iterator[Entry]:
    with tarfile.open(
        fileobj=stream, mode="r|", bufsize=1 << 16, tarinfo=_Header, encoding="utf-8", errors="surrogateescape"
    ) as tar:
        while (member := tar.next()) is not None:
            # `tarfile` remembers every entry and every global header; neither is wanted again.
            tar.members.clear()
            tar.pax_headers.clear()
            if member.size < 0:
                raise tarfile.ReadError(f"an entry claims {member.size} bytes")
            if member.type != tarfile.DIRTYPE:
                yield Entry(member.name, member.size, _fault(member, max_bytes), _reader(tar, member, stream.joined))


def _reader(tar: tarfile.TarFile, member: tarfile.TarInfo, joined: _Joined) -> Callable[[], bytes]:
    def read() -> bytes:
        with _judged(joined):
            handle = tar.extractfile(member) if member.type in _PLAIN else None
            return b"" if handle is None else handle.read()

    return read


def _fault(member: tarfile.TarInfo, max_bytes: int) -> Rejected | None:
    if not is_inside(member.name):
        return Rejected("unsafe_path", "its name leads out of the archive; it was not read")
    if member.type not in _PLAIN:
        kind = _KINDS.get(member.type, "an entry of an unknown kind")
        return Rejected("not_a_file", f"it is {kind}, not a file; it was not followed")
    if member.size > max_bytes:
        return Rejected("too_large", f"it has {member.size:,} bytes, more than {max_bytes:,}; it was not read")
    return None


def is_inside(name: str) -> bool:
    """Whether a name stays below where it starts, on any system: no root, no drive, no `..`."""
    path = PurePosixPath(name.replace("\\", "/"))
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and not re.match(r"^[A-Za-z]:", name)
