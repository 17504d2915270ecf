"""Opening: a split of a dataset, its texts and labels, and a sentence for everything that it lacks."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mmtt.errors import UserError
from mmtt.images import Array
from mmtt.samples import Reference, Sample, digest_of, of_split, read_samples
from mmtt.words import base

from ..config import DataConfig
from .cache import cached, opened, reduced
from .decode import Example, Job, Pixels, example_of
from .geometry import FRAME
from .labels import reference_of, regions_of


class Source:
    """Does jobs: takes pixels out of the cache where there is one, else out of the shards. Pickles small."""

    def __init__(self, config: DataConfig, cache: Path | None, kept_groups: int) -> None:
        self._config, self._cache, self._kept = config, cache, kept_groups

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("_config", "_cache", "_kept")}

    @cached_property
    def _shards(self) -> Pixels:
        return Pixels(self._kept)

    @cached_property
    def _rows(self) -> Array:
        assert self._cache is not None
        return opened(self._cache)

    def __call__(self, job: Job) -> Example:
        """Return a job done.

        Raises:
            DamagedError: its shard or picture is damaged; UserError: it cannot be reduced to `data.cache_px`.
        """
        if job.cached is not None:
            pixels = self._rows[job.cached]
        else:
            pixels = self._shards(job.sample)
            pixels = reduced(pixels, self._config.cache_px) if self._config.cache_px else pixels
        return example_of(job, pixels, self._config.size_px)


@dataclass(frozen=True)
class Data:
    """One split, ready for batches; map-style, `data[3]` is a sample with its whole frame.

    samples: in the order in which they lie. reports, regions: the text (or "") and the 21-vector of each.
    unreported: forged samples among them that have no text. left_out: forged samples that were left out because the
        stage needs region labels, and theirs would come out of a text that they do not have.
    cache: file with the reduced pictures; rows: that file's row of each sample.
    """

    config: DataConfig
    samples: tuple[Sample, ...]
    reports: tuple[str, ...]
    regions: tuple[tuple[int, ...], ...]
    unreported: int
    left_out: int
    cache: Path | None = None
    rows: tuple[int, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Example:
        return self._source(self.job(index))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_source"}

    @cached_property
    def _source(self) -> Source:
        return Source(self.config, self.cache, self.config.window)

    @cached_property
    def groups(self) -> tuple[int, ...]:
        """The row group of each sample, numbered from 0."""
        known: dict[tuple[Path, int], int] = {}
        return tuple(known.setdefault((s.shard, s.row_group), len(known)) for s in self.samples)

    def job(self, index: int) -> Job:
        """Return what is to be done for one sample, with its whole frame."""
        row = self.rows[index] if self.cache else None
        return Job(self.samples[index], row, FRAME, self.reports[index], self.regions[index])


def open_data(
    root: Path,
    config: DataConfig,
    split: str,
    *,
    need_reports: bool,
    need_regions: bool,
    length: Callable[[str], int] | None = None,
    cache: Path | None = None,
) -> Data:
    """Open one split of a dataset, or of a released folder.

    Args:
        root: as for `mmtt.samples.read_samples`.
        config: which samples, and what is done to them.
        split: `train`, `validation` or `test`.
        need_reports: whether it is for learning texts; some forged sample must then have one.
        need_regions: whether it is for learning regions; forged samples without a label are then left out.
        length: tokens of a text in the language model; None where texts are not learnt.
        cache: folder for reduced pictures, used with `config.cache_px`; None keeps none.

    Raises:
        UserError: no such samples, no masks, no texts (in the language), a text that is too long, or pictures that
            cannot be reduced; SchemaError: shards of another schema; DamagedError: pictures that cannot be decoded.
    """
    found = _samples(root, config, split)
    references = [reference_of(sample, config.language) for sample in found]
    _require_readable(config)
    _require_masks(root, found, config)
    from_texts = need_regions and config.region_labels != "mask"
    if need_reports or from_texts:
        _require_texts(root, found, references, config, split)
    if length is not None and not config.cut_reports:
        _require_short(found, references, config, length)
    kept = [at for at, s in enumerate(found) if not (from_texts and s.manipulated and references[at] is None)]
    stored = _cached(root, config, found, cache) if config.cache_px and cache else None
    texts = [references[at] if found[at].manipulated else None for at in kept]
    samples = tuple(found[at] for at in kept)
    return Data(
        config=config,
        samples=samples,
        reports=tuple(text.text if text else "" for text in texts),
        regions=tuple(regions_of(s, text, config) for s, text in zip(samples, texts, strict=True)),
        unreported=sum(s.manipulated and text is None for s, text in zip(samples, texts, strict=True)),
        left_out=len(found) - len(kept),
        cache=stored,
        rows=tuple(kept),
    )


def _samples(root: Path, config: DataConfig, split: str) -> list[Sample]:
    def read(inexact: bool) -> list[Sample]:
        return read_samples(root, variants=config.variants, pristine=config.pristine, inexact=inexact)

    try:
        return of_split(read(config.inexact), split)
    except UserError:
        if config.inexact:
            raise
        try:
            hidden = len(of_split(read(True), split))
        except UserError:
            hidden = 0
        if not hidden:
            raise
    told = f"All {hidden} samples of split '{split}' of {root} are full-frame edits whose masks are inexact"
    raise UserError(f"{told}; `data.inexact: true` takes them.")


def _require_readable(config: DataConfig) -> None:
    """A language in which no sides can be exchanged, nor regions found, is refused before training."""
    if config.flip == "off" and config.region_labels != "text":
        return
    try:
        base(config.language)
    except UserError as error:
        told = "`data.flip: off` and `data.region_labels: report` need no reading"
        raise UserError(f"`data.language`: {error}; {told}.") from None


def _require_masks(root: Path, samples: Sequence[Sample], config: DataConfig) -> None:
    """Every sample says how much of it is masked; the first is also read, for a whole dataset may lack the column."""
    empty = [sample for sample in samples if sample.manipulated and not sample.mask_share]
    if empty:
        forged = sum(sample.manipulated for sample in samples)
        told = f"{len(empty)} of {forged} forged samples of {root} have no mask, record {empty[0].record_id} first"
        raise UserError(f"{told}. Localization cannot be learnt from them; build or import them with masks.")
    Source(config, None, 1)(Job(samples[0], None, FRAME, "", ()))


def _require_texts(
    root: Path, samples: Sequence[Sample], references: Sequence[Reference | None], config: DataConfig, split: str
) -> None:
    forged = [at for at, sample in enumerate(samples) if sample.manipulated]
    if any(references[at] for at in forged):
        return
    tags = Counter(text.language for at in forged for text in samples[at].references[:1])
    others = ", ".join(f"{count} in '{tag}'" for tag, count in sorted(tags.items()))
    told = f"{len(forged)} of {len(forged)} forged samples of split '{split}' of {root} lack a report"
    also = f" (there are {others}; see `data.language`)" if others else ""
    raise UserError(f"{told} in '{config.language}'{also}, and this stage learns from reports. Bring reports first.")


def _require_short(
    samples: Sequence[Sample],
    references: Sequence[Reference | None],
    config: DataConfig,
    length: Callable[[str], int],
) -> None:
    for sample, reference in zip(samples, references, strict=True):
        tokens = length(reference.text) if reference else 0
        if tokens > config.report_tokens:
            told = f"The report of record {sample.record_id} has {tokens} tokens, more than `data.report_tokens`"
            raise UserError(f"{told} ({config.report_tokens}). Raise that, or cut it with `data.cut_reports: true`.")


def _cached(root: Path, config: DataConfig, samples: Sequence[Sample], folder: Path) -> Path:
    assert config.cache_px is not None
    return cached(folder, digest_of(root), samples, config.cache_px, Pixels(1))
