"""Gates: bars that a finished forgery must pass. They read stored columns and change no byte."""

from collections.abc import Iterator, Sequence
from typing import Any

from mmtt.layout import Layout
from mmtt.recipe import Gate
from mmtt.record import Rejection
from mmtt.shards import read_rows
from mmtt.stage import ShardJob


def gate(layout: Layout, bars: Gate, jobs: Sequence[ShardJob]) -> list[Rejection]:
    """Return a rejection for each forged record that does not pass the bars; shards are left alone."""
    refused = []
    for job in jobs:
        entry = job.payload.entry.label
        path = layout.forged / f"{job.name}.parquet"
        for row in read_rows(path, ["record_id", "change_mean", "mask_share", "face_score"]):
            for code, detail in _below(row, bars):
                refused.append(
                    Rejection(stage="gate", code=code, detail=detail, record_id=row["record_id"], manipulator=entry)
                )
                break
    return refused


def _below(row: dict[str, Any], bars: Gate) -> Iterator[tuple[str, str]]:
    if row["change_mean"] < bars.min_change_mean:
        yield "change_too_small", f"mean change {row['change_mean']:.2f} is below {bars.min_change_mean:g}"
    if row["mask_share"] < bars.min_mask_share:
        yield "mask_too_small", f"mask share {row['mask_share']:.5f} is below {bars.min_mask_share:g}"
    if row["face_score"] is not None and row["face_score"] < bars.min_face_score:
        yield "face_lost", f"face score {row['face_score']:.2f} is below {bars.min_face_score:g}"
