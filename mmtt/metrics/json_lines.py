"""JSON lines as strangers' programs wrote them: each line an object, or why it is none."""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

MAX_BYTES = 1_000_000  # of a line


def json_lines(handle: BinaryIO) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield the number of each line that is not blank, and its object or what is wrong with it.

    A line of `MAX_BYTES` or more is skipped unread; an object in which a key stands twice is none, for nobody can tell
    which value counts.
    """
    for number, data in enumerate(_lines(handle), 1):
        if data is None:
            yield number, f"{MAX_BYTES:,} bytes or more"
        elif data.strip():
            yield number, _object(data)


def _lines(handle: BinaryIO) -> Iterator[bytes | None]:
    while data := handle.readline(MAX_BYTES):
        short = len(data) < MAX_BYTES
        while len(data) == MAX_BYTES and not data.endswith(b"\n"):
            data = handle.readline(MAX_BYTES)
        yield data if short else None


def _object(data: bytes) -> dict[str, Any] | str:
    try:
        found = json.loads(data, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        return f"no JSON ({error})"
    return found if isinstance(found, dict) else "no JSON object"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found
