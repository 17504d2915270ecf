"""Search: what is left of some records in annotation's own files: words, pictures, and the keys of their tasks."""

from collections.abc import Iterator
from pathlib import Path

from mmtt import traces
from mmtt.removal import Removal, Trace, needles

from ..private import folder
from .told import LOG, Told

_KEY, _UID = "the key of a task", "the id of an answer"


def files(directory: Path, removal: Removal, known: Told) -> Iterator[Trace]:
    """Yield what files hold; that the log names erased tasks and answers, which tells nobody anything, is no trace."""
    ours = dict.fromkeys(known.sought, _KEY) | dict.fromkeys(known.uids, _UID)
    sought = {**needles(removal), **{name.encode(): kind for name, kind in ours.items()}}
    for root in (folder(directory), directory / "reports"):
        for trace in traces.search(root, sought, {LOG: (_KEY, _UID)}):
            yield Trace((root / trace.where).relative_to(directory).as_posix(), trace.what)


def log(known: Told) -> Iterator[Trace]:
    """Yield what the log itself still tells of the records."""
    if known.seqs:
        yield Trace(f"private/annotation/{LOG}", f"events that still have their words: {len(known.seqs)}")
