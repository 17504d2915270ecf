"""Draft: everything that is decided about a release before a byte of it is written."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from mmtt import __version__
from mmtt.files import file_sha256
from mmtt.ids import digest
from mmtt.layout import Layout
from mmtt.recipe import Recipe
from mmtt.record import SCHEMA_VERSION
from mmtt.release import CHECKSUMS, Release, Tombstone, Version
from mmtt.reports import Report, require_same_bytes
from mmtt.samples import digest_of

from .. import denied
from . import answers as questions
from . import gather, history, licence
from .answers import Answers
from .facts import Facts, File
from .selection import Selection, select

RELEASES = "releases"


@dataclass(frozen=True)
class Draft:
    """A release to be made: of which dataset, with which rows and texts, after which release.

    before: the release before; None for the first. removed: all tombstones, those of earlier releases too.
    """

    layout: Layout
    recipe: Recipe
    answers: Answers
    release: Release
    chosen: Selection
    texts: gather.Texts
    changes: history.Changes
    before: Path | None
    removed: Sequence[Tombstone]

    @property
    def staged(self) -> Path:
        """Where it is made."""
        return self.layout.root / RELEASES / f".{self.release.version}.partial"

    @property
    def folder(self) -> Path:
        """Where it lies when it is whole."""
        return self.layout.root / RELEASES / self.release.version

    @property
    def inputs(self) -> str:
        """The digest of all that decides its bytes."""
        return digest([
            __version__, digest_of(self.layout.root), self.release.to_json(), self.answers.model_dump(mode="json"),
            self.recipe.model_dump(mode="json"), self.chosen.rows["record_id"].tolist(),
            [list(stone) for stone in self.removed], self.texts.by_record,
            None if self.before is None else file_sha256(self.before / CHECKSUMS),
        ])  # fmt: skip

    def facts(self, audits: Sequence[Mapping[str, Any]] = (), files: Sequence[File] = ()) -> Facts:
        """Return what the documents tell; audits and files are known when the shards are written."""
        return Facts(
            release=self.release,
            recipe=self.recipe,
            rows=self.chosen.rows,
            reports=self.texts.reports,
            audits=audits,
            refused=gather.refused(self.layout),
            agreement=self.texts.overall,
            ages=gather.ages(self.layout, self.chosen.rows),
            removed=self.removed,
            files=files,
            size_px=gather.size_px(self.staged) if files else None,
        )


def draft(layout: Layout, recipe: Recipe, version: Version, on: date, *, marked: bool, first: bool = False) -> Draft:
    """Decide a release; nothing is written.

    Args:
        layout: the dataset.
        recipe: its recipe.
        version: of the release.
        on: the day of the release.
        marked: whether it has marked pictures, too.
        first: whether nothing was ever published, though records were taken out.

    Raises:
        UserError: an answer is missing, nothing may be released, licences conflict, the version is too small, or the
            releases are not there that would tell who holds what was taken out.
    """
    told = questions.load(layout.root)
    before, barred = history.previous(layout.root, version), denied.records(layout.root)
    history.require_known(layout.root, before, barred, first=first)
    chosen = select(layout, recipe, told.about.unasked, on)
    rows = chosen.rows
    licence.address(told.about.licence, told.about.licence_url)
    licence.require_compatible(Counter(word for words in rows["obligations"] for word in words), told.about.licence)
    texts = gather.texts(layout, rows)
    require_same_bytes(texts.reports, dict(zip(rows["record_id"], rows["image_sha256"], strict=True)))
    said = {report.record_id: (report.text, report.text_origin) for report in texts.reports if report.rank == 0}
    changes = history.compare(rows, said, before, marked=marked)
    history.require_version(version, before, changes)
    made = Draft(
        layout=layout,
        recipe=recipe,
        answers=told,
        release=Release(
            name=recipe.name,
            version=str(version),
            date=on.isoformat(),
            previous=None if before is None else Release.load(before).version,
            licence=told.about.licence,
            schema_version=SCHEMA_VERSION,
            recipe_sha256=file_sha256(layout.recipe),
            buckets=recipe.buckets,
            rows=_counted(rows, texts.reports, marked),
            left_out=chosen.reasons,
            environment=gather.environment(layout),
            repository=told.about.repository,
        ),
        chosen=chosen,
        texts=texts,
        changes=changes,
        before=before,
        removed=history.tombstones(before, changes, version, barred, set(rows["record_id"])),
    )
    _require_answers(made)
    return made


def _counted(rows: pd.DataFrame, reports: Sequence[Report], marked: bool) -> dict[str, dict[str, int]]:
    """Rows of each config by split."""
    split_of = dict(zip(rows["record_id"], rows["split"], strict=True))
    configs = {"default": Counter(rows["split"]), "raw_reports": Counter(split_of[row.record_id] for row in reports)}
    configs |= {"marked": configs["default"]} if marked else {}
    return {config: dict(sorted(counts.items())) for config, counts in configs.items() if counts}


def _require_answers(made: Draft) -> None:
    if missing := questions.missing(made.answers, made.facts()):
        raise questions.left_blank(made.layout.root, list(map(str, missing)))
