"""Manifest: what a folder of shards holds. Assembled from footers and written last: no manifest, no dataset.

A folder of shards holds `<shard>.parquet` (records), `rejections.parquet` (every item that was refused, with
its reason), `manifest.json` (rows, bytes and SHA-256 of each shard, counts, schema version) and `.lock` (held by
the one process that writes there). What a stage noted beside a shard lies in `../private/`, in a folder of the
same name; `<shard>.environment.json` there notes where the shard was made, so that a later run elsewhere, which keeps
shards that are current, does not claim them for itself.
"""

import json
import platform
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq

from mmtt import __version__
from mmtt.errors import UserError
from mmtt.files import file_sha256, write_atomically
from mmtt.record import SCHEMA_VERSION, Record, Rejection
from mmtt.shards import Shard, read_footer, read_rows, read_table, require_known_version, side_path, write_table

MANIFEST = "manifest.json"
REJECTIONS = "rejections.parquet"
_ACCELERATOR = "accelerator"
_SHARD_NAME = re.compile(r"\w[\w.@ -]*")  # no path: a manifest must not lead out of its folder
# Besides numpy and OpenCV, what pixels pass through; an absent one has no say.
_COMPUTING = (
    "scikit-image", "pillow", "onnxruntime", "torch", "diffusers", "transformers",
    "mediapipe", "insightface", "facexlib",
)  # fmt: skip


@dataclass(frozen=True)
class ShardInfo:
    """One shard as the manifest lists it."""

    name: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a directory of shards holds; its presence says that the stage came to its end.

    environment: where the shards were made (see `environment`); `a | b` where they came from several, empty where
        none of them was noted.
    """

    stage: str
    schema_version: int
    rows: int
    rejections: dict[str, int]
    shards: list[ShardInfo]
    environment: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the manifest as JSON text that ends in a newline; equal manifests give equal text."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def load(cls, directory: Path) -> "Manifest":
        """Read the manifest of a directory.

        Raises:
            UserError: there is none, or it cannot be read. SchemaError: a newer version wrote it.
        """
        path = directory / MANIFEST
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            require_known_version(path, data["schema_version"])
            shards = [ShardInfo(**shard) for shard in data["shards"]]
            if strange := [info.name for info in shards if not _SHARD_NAME.fullmatch(info.name)]:
                raise ValueError(f"{strange[0]!r} is no name of a shard")
            return cls(**{**data, "shards": shards})
        except FileNotFoundError:
            hint = "The stage that writes it has not come to its end: run it (again)."
            raise UserError(f"{directory} has no {MANIFEST}. {hint}") from None
        except (ValueError, TypeError, KeyError, OSError) as error:
            raise UserError(f"{path} cannot be read as a manifest ({error}). Run the stage again.") from error


def environment() -> Mapping[str, str]:
    """Return what may change a pixel here: versions of Python and of what computes, the machine, the CPU's features.

    The CPU's are those that numpy found and may use; OpenCV goes by the same ones. `accelerator` is there from when
    torch computes on one in this process.
    """
    torch = sys.modules.get("torch")  # importing it would take seconds, and tell of a GPU that nothing uses
    if torch is None or not torch.cuda.is_initialized():
        return _installed()
    return MappingProxyType({**_installed(), _ACCELERATOR: torch.cuda.get_device_name()})


@cache
def _installed() -> Mapping[str, str]:
    simd = np.show_config(mode="dicts").get("SIMD Extensions", {})
    known = {
        "python": platform.python_version(),
        "mmtt": __version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "machine": platform.machine(),
        "cpu": " ".join([*simd.get("baseline", []), *simd.get("found", [])]),
    }
    for name in _COMPUTING:
        with suppress(PackageNotFoundError):
            known[name] = version(name)
    return MappingProxyType(known)


def shard_paths(directory: Path) -> list[Path]:
    """Return the shards that the manifest of a directory lists, in order."""
    return [directory / f"{shard.name}.parquet" for shard in Manifest.load(directory).shards]


def read(directory: Path) -> Iterator[Record]:
    """Yield the records of a finished directory, shard by shard, one row group in memory at a time."""
    for path in shard_paths(directory):
        yield from Shard(path).records()


def read_columns(directory: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return some columns of all records of a finished directory, as one mapping a row."""
    rows: list[dict[str, Any]] = []
    for path in shard_paths(directory):
        rows.extend(read_rows(path, columns))
    return rows


def passed(forged: Path) -> set[str]:
    """Return the ids of the records of a forged directory that passed every gate of the recipe."""
    ids = {row["record_id"] for row in read_columns(forged, ["record_id"])}
    return ids - {row.record_id for row in read_table(forged / REJECTIONS, Rejection) if row.stage == "gate"}


def assemble_manifest(directory: Path, stage: str, names: Iterable[str], extra: Sequence[Rejection] = ()) -> Manifest:
    """Write `rejections.parquet`, then the manifest, from the footers of the named shards.

    `extra` are rejections that belong to no shard: items refused before or after the shards were made.
    """
    infos, refused = [], list(extra)
    for name in sorted(names):
        path = directory / f"{name}.parquet"
        footer = read_footer(path)
        if footer is None:
            raise UserError(f"{path} vanished while the manifest was assembled. Run the stage again.")
        refused += read_table(side_path(directory, name, Rejection), Rejection)
        rows = pq.read_metadata(path).num_rows
        infos.append(ShardInfo(name, rows, path.stat().st_size, file_sha256(path)))
    refused.sort(key=lambda r: (r.stage, r.code, r.path or "", r.record_id or "", r.detail))
    write_table(directory / REJECTIONS, refused, Rejection)
    counts = dict(sorted(Counter(rejection.code for rejection in refused).items()))
    made_in = _joined(_environments(directory, infos))
    manifest = Manifest(stage, SCHEMA_VERSION, sum(info.rows for info in infos), counts, infos, made_in)
    write_atomically(directory / MANIFEST, manifest.to_json().encode())
    return manifest


def environment_path(directory: Path, shard: str) -> Path:
    """Return where it is noted in which environment a shard was made."""
    return directory.parent / "private" / directory.name / f"{shard}.environment.json"


def note_environment(directory: Path, shard: str, sha256: str) -> None:
    """Note that the shard of these bytes is made here. It may differ between machines, so no shard vouches for it."""
    path = environment_path(directory, shard)
    path.parent.mkdir(parents=True, exist_ok=True)
    noted = {"sha256": sha256, "environment": dict(environment())}
    write_atomically(path, json.dumps(noted, indent=1, sort_keys=True).encode())


def _environments(directory: Path, infos: Iterable[ShardInfo]) -> Iterator[dict[str, str]]:
    """Yield what was noted of each shard; a note that is missing, or of other bytes, says nothing."""
    for info in infos:
        with suppress(OSError, ValueError, TypeError, KeyError):
            noted = json.loads(environment_path(directory, info.name).read_text(encoding="utf-8"))
            if noted["sha256"] == info.sha256:
                yield dict(noted["environment"])


def _joined(places: Iterable[Mapping[str, str]]) -> dict[str, str]:
    places = list(places)
    told = {name: {place.get(name, "absent") for place in places} for place in places for name in place}
    # Not every shard of one machine needs its accelerator, but none has two versions of a package.
    told.get(_ACCELERATOR, set()).discard("absent")
    return {name: " | ".join(sorted(values)) for name, values in sorted(told.items())}
