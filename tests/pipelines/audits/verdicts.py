"""What one audit says of a dataset that was written for it."""

from datetime import date

from mmtt.audit import gather
from mmtt.executors import serial
from mmtt.layout import Layout
from mmtt.progress import silent
from pipelines.audits.run import Outcome, run


def outcome(layout: Layout, audit: str, today: date | None = None) -> Outcome:
    """Run one audit, by its id, with one worker, in silence."""
    audited, _ = run(layout.root, gather(), serial, lambda _: silent, only=[audit], today=today)
    return audited.outcomes[0]
