"""Audits of shortcuts: whether forged and pristine rows differ where the forgery is not.

S1, S2 and S7 train a classifier that must not see the forgery, S3 and S4 compare traces. All look at the sample of
rows whose pixels are measured, so that their figures are about the same rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd

from mmtt.audit import Audit, Finding, NotApplicable
from mmtt.evidence import Evidence, Pixels
from mmtt.metrics import auc

from ..containers import CONTAINERS
from .answers import by_classifier, by_shift
from .contrasts import Contrast, strongest
from .headers import FEATURES, in_words, read_header
from .names import name_features
from .outside import LEAST_PX, free_strips, gathered, mean_over, names, shared_cells
from .separability import separate
from .traces import BANDS, LOWEST, PHASES, grid_traces, outside_traces, resampling_traces

_BYTES = "bytes per pixel"
_BENFORD = np.log10(1 + 1 / np.arange(1, 10))
Floats = npt.NDArray[np.float64]


def headers_of(pixels: Pixels) -> Mapping[str, float]:
    """Measure S1's features: what the encoder decides, and the bytes per pixel, which content moves."""
    found = read_header(pixels.record.image)
    return found | {_BYTES: len(pixels.record.image) / max(found["width"] * found["height"], 1.0)}


def judge_headers(evidence: Evidence) -> Finding:
    """Judge S1."""
    rows, seed = evidence.measured("S1"), evidence.settings.seed
    found = by_classifier(rows, lambda one, _: one.rows[list(FEATURES)], "File headers", seed=seed, in_words=in_words)
    size = strongest(rows, lambda one, _: one.rows[[_BYTES]], partial(separate, seed=seed), chance=0.5, seed=seed)
    counted = rows["container"].map(lambda code: CONTAINERS[int(code)]).value_counts()
    told = {
        "rows by container": counted.sort_index().to_dict(),
        "AUC of bytes per pixel (no gate)": {**size.by_family, size.contrast.name: size.figure.value},
    }
    return replace(found, details={**found.details, **told})


def judge_outside(evidence: Evidence) -> Finding:
    """Judge S2."""
    rows = _measured_outside(evidence, "S2")
    return by_classifier(rows, _over_cells, "Pixels outside the mask", seed=evidence.settings.seed)


def judge_names(evidence: Evidence) -> Finding:
    """Judge S7."""
    rows = evidence.sampled
    features = pd.concat([name_features(rows[name], name) for name in ("record_id", "origin_id")], axis=1)

    def in_words(name: str, _: float, row: pd.Series) -> str:
        column, _, feature = name.partition(": ")
        return f"{feature} of {column} {row[column]}"

    def build(contrast: Contrast, _: np.random.Generator) -> pd.DataFrame:
        return features.loc[contrast.rows.index]

    found = by_classifier(rows, build, "Ids", seed=evidence.settings.seed, in_words=in_words)
    told = "".join(f" {worst.record_id}, for one, is {worst.why}." for worst in found.worst[:1])
    return replace(found, sentence=found.sentence + told, details={**found.details, **_row_order(rows)})


def judge_grid(evidence: Evidence) -> Finding:
    """Judge S3."""
    rows = _measured_outside(evidence, "S3")
    return by_shift(rows, _grid, "Traces of an 8×8 grid", seed=evidence.settings.seed)


def judge_resampling(evidence: Evidence) -> Finding:
    """Judge S4."""
    rows = _measured_outside(evidence, "S4")
    return by_shift(rows, _periods, "Traces of resampling", seed=evidence.settings.seed)


def _measured_outside(evidence: Evidence, audit_id: str) -> pd.DataFrame:
    rows = evidence.measured(audit_id)
    if "covered 000" not in rows:
        raise NotApplicable(f"No sampled picture can be decoded and has {LEAST_PX} pixels on its shorter side.")
    return rows[rows["covered 000"].notna()]


def _row_order(rows: pd.DataFrame) -> dict[str, float]:
    """How well the place in a shard tells, in shards that hold both; who does not shuffle sees it."""
    forged = rows["manipulation"].notna()
    mixed = rows[forged.groupby(rows["shard"]).transform("nunique") == 2]
    if mixed.empty:
        return {}
    place = mixed.sort_values(["row_group", "row"]).groupby("shard").cumcount()[mixed.index]
    value = float(auc(place.to_numpy(np.float64), forged[mixed.index].to_numpy())[0])
    return {"AUC of the place in a shard (no gate)": max(value, 1 - value)}


# --- what is seen of the rows of a comparison ---


def _over_cells(contrast: Contrast, rng: np.random.Generator) -> pd.DataFrame:
    """S2's features: means over the cells that lie outside the masks of both sides."""
    free = shared_cells(contrast.rows, contrast.labels, rng)
    means = {name: mean_over(gathered(contrast.rows, name), free) for name in names(contrast.rows)}
    return pd.DataFrame(means, index=contrast.rows.index).dropna()


def _over_strips(contrast: Contrast, rng: np.random.Generator, measured: Sequence[str]) -> tuple[Floats, Floats]:
    """Return means over free strips along x and along y, both rows×names; where one has none, those of the other."""
    free = free_strips(shared_cells(contrast.rows, contrast.labels, rng))
    values = [gathered(contrast.rows, name) for name in measured]
    across, down = (
        np.stack([mean_over(table[:, side], free[:, side]) for table in values], axis=1)
        for side in (slice(None, 8), slice(8, None))
    )
    return np.where(np.isnan(across), down, across), np.where(np.isnan(down), across, down)


def _grid(contrast: Contrast, rng: np.random.Generator) -> pd.DataFrame:
    """S3's traces: steps on the grid and at the strongest phase, first digits against Benford's law, flat blocks."""
    measured = [f"phase {phase}" for phase in range(PHASES)] + [f"digit {digit}" for digit in range(1, 10)] + ["flat"]
    values = np.mean(_over_strips(contrast, rng, measured), axis=0)
    phases, digits = values[:, :PHASES], values[:, PHASES:-1]
    shares = digits / np.maximum(digits.sum(axis=1, keepdims=True), 1e-9)
    traces = {
        "steps on the grid": phases[:, 0],
        "steps at the strongest phase": phases.max(axis=1),
        "first digits": ((shares - _BENFORD) ** 2 / _BENFORD).sum(axis=1),
        "flat blocks": values[:, -1],
    }
    return pd.DataFrame(traces, index=contrast.rows.index).dropna()


def _periods(contrast: Contrast, rng: np.random.Generator) -> pd.DataFrame:
    """S4's traces: height and frequency (cycles a pixel) of the highest peak in the spectrum of second differences."""
    bands = np.log(np.stack(_over_strips(contrast, rng, [f"band {band:02d}" for band in range(BANDS)])) + 1e-9).mean(0)
    highest = np.nan_to_num(bands, nan=-np.inf).argmax(axis=1)
    traces = {
        "height of the peak": bands.max(axis=1),
        "frequency of the peak": LOWEST + (highest + 0.5) / BANDS * (0.5 - LOWEST),
    }
    return pd.DataFrame(traces, index=contrast.rows.index).dropna()


AUDITS: tuple[Audit, ...] = (
    Audit(
        id="S1",
        title="File headers",
        question="Can forged and pristine rows be told apart without decoding a pixel?",
        unit="AUC",
        gate=0.55,
        judge=judge_headers,
        measure=headers_of,
    ),
    Audit(
        id="S2",
        title="Outside the mask",
        question="Can forged and pristine rows be told apart by pixels 16 px and more outside the mask?",
        unit="AUC",
        gate=0.60,
        judge=judge_outside,
        measure=outside_traces,
    ),
    # An AUC of 0.60 between two normal distributions of one width is a distance of 0.14.
    Audit(
        id="S3",
        title="8×8 grid",
        question="Do traces of JPEG compression outside the mask differ between forged and pristine rows?",
        unit="Kolmogorov–Smirnov distance",
        gate=0.15,
        judge=judge_grid,
        measure=grid_traces,
    ),
    Audit(
        id="S4",
        title="Resampling",
        question="Do traces of rescaling outside the mask differ between forged and pristine rows?",
        unit="Kolmogorov–Smirnov distance",
        gate=0.15,
        judge=judge_resampling,
        measure=resampling_traces,
    ),
    Audit(
        id="S7",
        title="Names",
        question="Do ids give away what is forged, or by which family?",
        unit="AUC",
        gate=0.55,
        judge=judge_names,
    ),
)
