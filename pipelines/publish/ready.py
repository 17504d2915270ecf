"""Ready: whether a release of a dataset may leave the house today."""

from datetime import date
from pathlib import Path

from mmtt.removal import require_none_under_way

from ..release.selection import require_publishable


def require_ready(dataset: Path, release: Path, on: date) -> None:
    """Refuse a release that holds a record which may not be published on that day, and any while somebody is taken out.

    Args:
        dataset: the dataset that it was made from.
        release: its folder.
        on: the day.

    Raises:
        UserError: a removal is not completed, or what `require_publishable` refuses.
    """
    require_none_under_way(dataset)
    require_publishable(dataset, release, on)
