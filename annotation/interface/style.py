"""How the interface looks: inline styles, in Label Studio's own colours, so that they are right on dark ground too."""

from typing import Literal, NamedTuple

_BOX = "padding: 6px 12px; margin-bottom: 8px; background: var(--color-neutral-surface); border-left: 4px solid "
_SMALL = "font-size: 12px; font-weight: 400; color: var(--color-neutral-content-subtle); "

PAGE = "padding: 0 4px 8px"
BANNER = _BOX + "#a51526"
MESSAGE = _BOX + "#c98a00"
GIVEN = _BOX + "#1d5a86"
BOX_HEADING = "margin: 0 0 2px; font-size: 14px; line-height: 20px; font-weight: 600"
CAPTION = "margin: 0 0 4px; font-size: 14px; line-height: 20px; font-weight: 600"
HEADING = "margin: 10px 0 2px; font-size: 16px; line-height: 24px; font-weight: 600"
HEADING_OF_CHOICES = HEADING.replace("0 2px", "0 -8px")  # which bring a margin of their own
NOTE = _SMALL + "margin: 4px 0; line-height: 18px"
COLUMNS = "display: flex; flex-wrap: wrap; gap: 8px 24px; align-items: flex-start"
CELL = "min-width: 0"
GROUP = "display: flex; align-items: flex-start"
GROUP_NAME = _SMALL + "margin: 0; flex: 0 0 52px; line-height: 28px"
WRAPPING = "display: flex; flex-wrap: wrap"
ROWS = {"verdict": "display: flex; flex-direction: column", "match": WRAPPING, "flag": WRAPPING}
CHOICE = "line-height: 28px"


class Layout(NamedTuple):
    """How a page shares out its room: what is looked at, what is answered, and each half of the answers.

    texts: the half, 0 or 1, at whose head others' texts stand.
    close_ups: where they stand: in the column of the pictures, open, or closed across the foot of the page.
    """

    look: str
    answers: str
    half: str
    texts: int
    close_ups: Literal["column", "foot"]


# One picture or two stand beside the answers and stay while those scroll; three run across the page, above them.
# Where there is no room beside, answers follow below, and slide over pictures that stay.
PICTURES = "display: grid; gap: 8px; grid-template-columns: repeat(auto-fit, minmax(280px, 1fr))"
_STAYS = "min-width: 0; position: sticky; top: 0; flex: "
_SLIDES = "min-width: 0; position: relative; z-index: 1; background: var(--color-neutral-background); flex: "
_HALF = "flex: 1 1 340px; min-width: 0"
_LAYOUTS = {
    1: Layout(_STAYS + "4 1 300px", _SLIDES + "3 1 320px", "min-width: 0", 0, "foot"),
    2: Layout(_STAYS + "2 1 560px", _SLIDES + "1 1 320px", "min-width: 0", 0, "column"),
    3: Layout("flex: 1 1 100%; min-width: 0", COLUMNS + "; flex: 1 1 100%", _HALF, 1, "foot"),
}


def layout(views: int) -> Layout:
    """Return the layout of a page that shows so many views, one to three."""
    return _LAYOUTS[views]
