"""Stage: makes shards from jobs, one shard a job, on any executor, resumable by content."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from mmtt.errors import UserError
from mmtt.executors import Executor
from mmtt.files import file_sha256, replacing, write_atomically
from mmtt.manifest import MANIFEST, REJECTIONS, Manifest, assemble_manifest, environment_path, note_environment
from mmtt.record import Lineage, Note, Record, Rejection
from mmtt.shards import Footer, ShardWriter, read_footer, side_path, write_table


@dataclass(frozen=True)
class ShardJob:
    """One shard to be made: its name, what its rows depend on, and whatever the stage needs (picklable)."""

    name: str
    stage: str
    input_digest: str
    fingerprint: str
    payload: Any


Rows = Callable[[ShardJob], Iterable[Record | Rejection | Lineage | Note]]
After = Callable[[Path], None]  # what is done with a finished shard where it was made; nobody relies on it
_SIDE = (Rejection, Lineage)
_ASIDE = ".manifest.before.json"


def is_current(job: ShardJob, directory: Path) -> bool:
    """Whether the job's shard and its side tables exist and were made from these very inputs in this very way."""
    footer = read_footer(directory / f"{job.name}.parquet")
    if footer is None or (footer.input_digest, footer.fingerprint) != (job.input_digest, job.fingerprint):
        return False
    sides = {side_path(directory, job.name, c): footer.side.get(c.__name__) for c in _SIDE}
    return all(path.exists() and file_sha256(path) == sha256 for path, sha256 in sides.items())


def make_shard(rows: Rows, directory: Path, job: ShardJob, after: After | None = None) -> str:
    """Make one shard and its side tables; return its name. The shard is renamed last, so it vouches for them."""
    aside: dict[type, list[Any]] = {row_class: [] for row_class in (*_SIDE, Note)}
    # Processes are the only parallelism: threads inside them would fight, and may reorder sums.
    with threadpool_limits(limits=1), replacing(directory / f"{job.name}.parquet") as temporary:
        writer = ShardWriter(temporary, Record)
        for row in rows(job):
            if isinstance(row, Record):
                writer.add(row)
            else:
                aside[type(row)].append(row)
        # Notes hold times: the shard, whose bytes must not depend on them, does not vouch for them.
        _write_notes(side_path(directory, job.name, Note), aside.pop(Note))
        side = {}
        for row_class, noted in aside.items():
            path = side_path(directory, job.name, row_class)
            write_table(path, noted, row_class)
            side[row_class.__name__] = file_sha256(path)
        writer.close(Footer(job.stage, job.input_digest, job.fingerprint, side=side))
        note_environment(directory, job.name, file_sha256(temporary))
    if after is not None:
        after(directory / f"{job.name}.parquet")
    return job.name


def _write_notes(path: Path, notes: Sequence[Note]) -> None:
    if notes:
        write_table(path, notes, Note)
    else:
        path.unlink(missing_ok=True)


def _rotten(directory: Path, known: Mapping[str, str]) -> list[Path]:
    """Shards whose bytes are not those that the last manifest knows."""
    paths = {directory / f"{name}.parquet": sha256 for name, sha256 in known.items()}
    return [path for path, sha256 in paths.items() if path.exists() and file_sha256(path) != sha256]


def _last_known(directory: Path) -> dict[str, str]:
    """SHA-256 of each shard by the manifest, or by what an unfinished run set aside of it."""
    with suppress(UserError):
        return {shard.name: shard.sha256 for shard in Manifest.load(directory).shards}
    with suppress(OSError, ValueError):
        return dict(json.loads((directory / _ASIDE).read_text(encoding="utf-8")))
    return {}


def _set_aside(directory: Path, known: Mapping[str, str]) -> None:
    write_atomically(directory / _ASIDE, json.dumps(known, sort_keys=True).encode())


def run(
    rows: Rows,
    jobs: Sequence[ShardJob],
    directory: Path,
    executor: Executor,
    progress: Callable[[Sequence[ShardJob], Iterator[Any]], Iterator[Any]],
    after: After | None = None,
) -> list[ShardJob]:
    """Make every shard that is not current and remove those that no job asks for; return what was made.

    The manifest steps aside first when anything is to change, so that a reader never trusts one that lies.
    """
    known = _last_known(directory)
    rotten = _rotten(directory, known)
    untrusted = {path.stem for path in rotten}
    due = [job for job in jobs if job.name in untrusted or not is_current(job, directory)]
    wanted = {f"{job.name}.parquet" for job in jobs} | {REJECTIONS}
    orphans = [path for path in directory.glob("*.parquet") if path.name not in wanted]
    if due or orphans:
        _set_aside(directory, known)
        (directory / MANIFEST).unlink(missing_ok=True)
    # A rotten shard goes before anything is made, so that no stage carries rows over from it.
    for path in {*orphans, *rotten, *_orphaned_sides(jobs, directory)}:
        path.unlink()
    if due or orphans:
        # Only now: a run killed before this line must still know which shards were rotten.
        _set_aside(directory, {name: known[name] for name in known if name not in {job.name for job in due}})
    for _ in progress(due, executor(partial(make_shard, rows, directory, after=after), due)):
        pass
    return due


def conclude(stage: str, jobs: Sequence[ShardJob], directory: Path, extra: Sequence[Rejection] = ()) -> Manifest:
    """Assemble the manifest of a stage whose shards are all made."""
    manifest = assemble_manifest(directory, stage, [job.name for job in jobs], extra)
    (directory / _ASIDE).unlink(missing_ok=True)
    return manifest


def _orphaned_sides(jobs: Sequence[ShardJob], directory: Path) -> list[Path]:
    wanted = {side_path(directory, job.name, row_class) for job in jobs for row_class in (*_SIDE, Note)}
    wanted |= {environment_path(directory, job.name) for job in jobs}
    private = directory.parent / "private" / directory.name
    return [path for kind in ("parquet", "environment.json") for path in private.glob(f"*{kind}") if path not in wanted]
