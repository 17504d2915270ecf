"""Pruning: folders of Parquet files, a release's or a copy of one, brought in step with a list of removals."""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from mmtt.errors import UserError
from mmtt.files import file_sha256, lock, replacing, write_atomically
from mmtt.ids import digest
from mmtt.layout import Layout
from mmtt.progress import Progress, silent
from mmtt.release import (
    CHECKSUMS,
    CONFIGS,
    OVERVIEW,
    RELEASE,
    REMOVED,
    SHEET,
    Tombstone,
    read_checksums,
    read_removed,
    write_checksums,
    write_removed,
)  # fmt: skip
from mmtt.rewriting import Goes, count, names_any, rewrite
from mmtt.traces import search

PAGES = (OVERVIEW, SHEET)
_JOURNAL = ".pruned.json"
_LINKED = re.compile(rf"(!?)\[([^\]]*)\]\((?:{'|'.join(map(re.escape, PAGES))})\)")
Changed = Mapping[str, tuple[str, str]]  # SHA-256 before and after, by path
Edit = Callable[[dict[str, Any], Path, Changed], dict[str, Any]]


@dataclass
class Pruned:
    """What pruning did: rows that went, by file; pages of pictures that went; sentences on what it left to the user."""

    rows: dict[str, int] = field(default_factory=dict)
    pages: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def plan(root: Path, tombstones: Sequence[Tombstone], progress: Progress = silent) -> Pruned:
    """Return what `prune` would do; nothing is changed.

    Raises:
        UserError: as for `prune`.
    """
    _require_copy(root)
    done, goes, files = Pruned(), _goes(tombstones), _parquet(root)
    counted = ((path, 0 if _leads_out(path, root) else count(path, goes)[0]) for path in files)
    for path, gone in progress(files, counted):
        if gone:
            done.rows[path.relative_to(root).as_posix()] = gone
    done.pages = _named(root, _pages(root, [*done.rows, *_noted(root)]))
    done.left = [*_links(root, files), *_elsewhere(root, tombstones)]
    return done


def prune(root: Path, tombstones: Sequence[Tombstone], progress: Progress = silent) -> Pruned:
    """Take removed records, and what was erased with them, out of every Parquet file below a folder.

    Pages of pictures beside them go: they show the version that is no more. A release's manifests, checksums, Croissant
    file, card and list of removals are brought in step, for files that agreed with them before. Killed at any moment
    and called again, it completes.

    Raises:
        UserError: no such folder, a dataset, or a file that cannot be read.
    """
    _require_copy(root)
    done = Pruned()
    with lock(root):
        for torn in root.rglob(".*.parquet.*.tmp"):
            torn.unlink()
        files = _parquet(root)
        for name, gone in progress(files, _prune_files(root, files, _goes(tombstones))):
            if gone:
                done.rows[name] = gone
        pages = _pages(root, _noted(root))
        done.pages = _named(root, pages)
        for page in pages:
            page.unlink()
        _bring_in_step(root, tombstones)
    done.left = [*_links(root, files), *_elsewhere(root, tombstones)]
    return done


def _require_copy(root: Path) -> None:
    if not root.is_dir():
        raise UserError(f"{root} is not a folder. Name the one that holds the Parquet files.")
    if Layout(root).recipe.is_file():
        raise UserError(
            f"{root} is a dataset, not a copy of a release. `mmtt forget plan {root} WHOM` takes people out."
        )


def _parquet(root: Path) -> list[Path]:
    return [path for path in sorted(root.rglob("*.parquet")) if path.is_file()]


def _goes(tombstones: Sequence[Tombstone]) -> Goes:
    erased = names_any([stone.record_id for stone in tombstones if stone.reason == "erasure"])
    itself = names_any([stone.record_id for stone in tombstones], ["record_id"])
    return lambda table: erased(table) | itself(table)


def _prune_files(root: Path, files: list[Path], goes: Goes) -> Iterator[tuple[str, int]]:
    for path in files:
        cut = not _leads_out(path, root) and count(path, goes)[0]
        yield path.relative_to(root).as_posix(), _prune_file(root, path, goes) if cut else 0


def _links(root: Path, files: list[Path]) -> list[str]:
    hint = "Name the folder where the files themselves lie, or download the newest release"
    found = _named(root, [path for path in files if _leads_out(path, root)])
    return [f"{name} is a link, and is not touched. {hint}." for name in found]


def _pages(root: Path, changed: Collection[str]) -> list[Path]:
    """Pages of pictures of the releases that some files belong to: no name tells whom they show."""
    folders = [path.parent for path in sorted(root.rglob(RELEASE))]
    cut = [root / name for name in changed if name.endswith(".parquet")]
    stale = [folder for folder in folders if any(path.is_relative_to(folder) for path in cut)]
    return [folder / name for folder in stale for name in PAGES if (folder / name).is_file()]


def _named(root: Path, paths: Collection[Path]) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def _leads_out(path: Path, root: Path) -> bool:
    return path.is_symlink() or not path.resolve().is_relative_to(root.resolve())


def _prune_file(root: Path, path: Path, goes: Goes) -> int:
    with replacing(path) as temporary:
        gone = rewrite(path, temporary, goes)
        _note(root, path, file_sha256(temporary))
    return gone


def _note(root: Path, path: Path, sha256: str) -> None:
    """Note what a file was and will be, before it is: so it is known, after a kill, that manifests may follow it."""
    noted, name = _noted(root), path.relative_to(root).as_posix()
    noted[name] = (noted[name][0] if name in noted else file_sha256(path), sha256)
    write_atomically(root / _JOURNAL, json.dumps(noted).encode())


def _noted(root: Path) -> dict[str, tuple[str, str]]:
    """SHA-256 before and after of each file that was changed and may not be in step yet."""
    try:
        told = json.loads((root / _JOURNAL).read_text(encoding="ascii"))
        return {name: (old, new) for name, (old, new) in told.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{root / _JOURNAL} cannot be read ({error}). Download the newest release instead.") from error


def _changed(root: Path, folder: Path) -> dict[str, tuple[str, str]]:
    """What was noted of the files below a folder, by their path there."""
    paths = {root / name: told for name, told in _noted(root).items()}
    return {path.relative_to(folder).as_posix(): told for path, told in paths.items() if path.is_relative_to(folder)}


def _bring_in_step(root: Path, tombstones: Sequence[Tombstone]) -> None:
    for path in sorted(root.rglob("manifest.json")):
        if changed := _changed(root, path.parent):
            _edit_json(root, path, _manifest, changed)
    for folder in sorted(path.parent for path in root.rglob(RELEASE)):
        _release(root, folder, tombstones)
    (root / _JOURNAL).unlink(missing_ok=True)


def _write(root: Path, path: Path, data: bytes) -> None:
    if data != path.read_bytes():
        _note(root, path, hashlib.sha256(data).hexdigest())
        write_atomically(path, data)


def _edit_json(root: Path, path: Path, edit: Edit, changed: Changed) -> None:
    """Edit a JSON file in the form that it has; one that says something else than ours is left alone."""
    if not path.is_file():
        return
    text = path.read_text(encoding="utf-8")
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        told = edit(json.loads(text), path.parent, changed)
        indent = len(found[1]) if (found := re.search(r"\n( +)", text)) else None
        said = json.dumps(told, indent=indent, ensure_ascii=text.isascii())
        _write(root, path, (said + "\n" * text.endswith("\n")).encode())


def _manifest(told: dict[str, Any], folder: Path, changed: Changed) -> dict[str, Any]:
    for shard in told["shards"]:
        name = f"{shard['name']}.parquet"
        if shard["sha256"] == changed.get(name, ("",))[0]:
            rows = pq.read_metadata(folder / name).num_rows
            shard |= {"sha256": changed[name][1], "bytes": (folder / name).stat().st_size, "rows": rows}
    return told | {"rows": sum(shard["rows"] for shard in told["shards"])}


def _release(root: Path, folder: Path, tombstones: Sequence[Tombstone]) -> None:
    """Bring in step what a release says of its files: counts, Croissant, card, list of removals, checksums."""
    listed = read_checksums(folder) if (folder / CHECKSUMS).is_file() else {}
    if changed := _changed(root, folder):
        _edit_json(root, folder / RELEASE, _counted, changed)
        _edit_json(root, folder / "croissant.json", _distributed, changed)
        _declare(root, folder / "README.md", digest(sorted(stone.record_id for stone in tombstones))[:12])
        listed = {name: sha256 for name, sha256 in listed.items() if name not in PAGES or (folder / name).exists()}
    if (folder / REMOVED).is_file():
        known = {stone.record_id: stone for stone in [*tombstones, *read_removed(folder / REMOVED)]}
        _write(root, folder / REMOVED, write_removed(known.values()).encode())
    for name, (old, new) in _changed(root, folder).items():
        if listed.get(name) == old:
            listed[name] = new
    if listed:
        write_atomically(folder / CHECKSUMS, write_checksums(listed).encode())


def _counted(told: dict[str, Any], folder: Path, _: Changed) -> dict[str, Any]:
    """Rows of each config by split, counted anew."""
    for config, splits in told["rows"].items():
        for split in [*splits]:
            shards = (folder / CONFIGS[config]).glob(f"{split}-*.parquet")
            splits[split] = sum(pq.read_metadata(path).num_rows for path in shards)
            if not splits[split]:
                del splits[split]
    return told


def _distributed(told: dict[str, Any], folder: Path, changed: Changed) -> dict[str, Any]:
    for item in told["distribution"]:
        name = item.get("contentUrl")
        if name in changed and item.get("sha256") == changed[name][0]:
            size = (folder / name).stat().st_size
            item |= {"sha256": changed[name][1], "contentSize": f"{size} B"}
    return told


def _declare(root: Path, card: Path, cut: str) -> None:
    """Take out of a card what is no more: declared sizes and splits, which `datasets` refuses to load by, and pages.

    Configs get another description: `datasets` caches a local folder by those lines, and would load the rows that went.
    """
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    found = re.match(r"---\n(.*?\n)---\n", text, re.DOTALL)
    told = yaml.safe_load(found[1]) if found is not None else None
    if found is None or not isinstance(told, dict):
        return
    new = {name: value for name, value in told.items() if name != "dataset_info"}
    with suppress(KeyError, TypeError, ValueError):  # somebody else's card
        new["configs"] = [
            config | {"data_files": left, "description": f"{_uncut(config.get('description', ''))}cut by {cut}"}
            for config in told["configs"]
            if (left := [entry for entry in config["data_files"] if _has_rows(card.parent, entry["path"])])
        ]
    head = found[0]
    if new != told:
        head = f"---\n{yaml.safe_dump(new, sort_keys=False, allow_unicode=True, width=120)}---\n"
    body = _LINKED.sub(lambda link: "" if link[1] else f"{link[2]} (not in this copy)", text[found.end() :])
    _write(root, card, f"{head}{body}".encode())


def _uncut(description: str) -> str:
    """A config's description as it was before any copy was cut, with what parts it from more."""
    before = re.sub(r"(, )?cut by [0-9a-f]{12}$", "", description)
    return f"{before}, " if before else ""


def _has_rows(folder: Path, pattern: str) -> bool:
    return any(pq.read_metadata(path).num_rows for path in folder.glob(pattern))


def _elsewhere(root: Path, tombstones: Sequence[Tombstone]) -> list[str]:
    """Sentences on files of other kinds that name removed records: predictions, lists, notes."""
    ids = {stone.record_id.encode(): "a removed record" for stone in tombstones}
    found = sorted({trace.where for trace in search(root, ids)})
    told = [name for name in found if Path(name).name != REMOVED and not name.endswith(".parquet")]
    hint = "It was not touched: take those lines out, or make it again; scores over them count other records"
    return [f"{name} names removed records. {hint}." for name in told]
