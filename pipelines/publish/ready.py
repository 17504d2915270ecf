"""Ready: whether a release of a dataset may leave the house today."""

from datetime import date
from pathlib import Path

from mmtt.errors import UserError
from mmtt.removal import journal

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
    if journal(dataset).exists():
        raise UserError(
            f"A removal of {dataset} is not completed, and a release may still hold them: run `mmtt forget apply "
            f"{dataset}` to its end first."
        )
    require_publishable(dataset, release, on)
