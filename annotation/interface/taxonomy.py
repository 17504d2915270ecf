"""Choices of the interface: their order on the page, their keys, and which controls insist on an answer.

Label Studio gives a choice without a key a plain letter, and that fires as soon as somebody types beside the text
field. So every choice has a key of its own: digits for the first question, shift and a letter for a region (`e` for
*eye*, the same in every language), none of them Label Studio's own (`KEYMAP`).
"""

from collections.abc import Mapping
from types import MappingProxyType

from mmtt.regions import REGIONS

from ..protocols import FALSE_POSITIVE, FLAGS, MATCHES, VERDICTS, Control, StageName

GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "eyes": ("eye", "pupil", "eyebrow"),
    "middle": ("nose", "cheek", "ear"),
    "mouth": ("mouth", "lip", "tooth", "tongue"),
    "outline": ("forehead", "chin", "jaw"),
    "hair": ("hair", "beard", "mustache"),
    "skin": ("skin", "wrinkle", "freckle", "scar", "dimple"),
})  # fmt: skip

_REGION_KEYS = {
    "eye": "e", "pupil": "p", "eyebrow": "b", "nose": "n", "cheek": "k", "ear": "a", "mouth": "m", "lip": "l",
    "tooth": "t", "tongue": "g", "forehead": "f", "chin": "c", "jaw": "j", "hair": "h", "beard": "d",
    "mustache": "u", "skin": "s", "wrinkle": "w", "freckle": "y", "scar": "x", "dimple": "i",
}  # fmt: skip
RATING_KEY = "0"

KEYS: Mapping[Control, Mapping[str, str]] = MappingProxyType({
    Control.VERDICT: {word: str(place) for place, word in enumerate(VERDICTS, 1)},
    Control.MATCH: {word: str(place) for place, word in enumerate(MATCHES, 1)},
    Control.REGIONS: {word: f"shift+{_REGION_KEYS[word]}" for word in REGIONS},
    Control.MISSED: {word: f"shift+{_REGION_KEYS[word]}" for word in REGIONS},
    Control.FLAGS: {word: str(place) for place, word in enumerate((*FLAGS, FALSE_POSITIVE), 5)},
})  # fmt: skip

REQUIRED = frozenset({Control.VERDICT, Control.MATCH, Control.REGIONS, Control.REPORT, Control.DIFFICULTY})


def aliases(control: Control, stage: StageName) -> tuple[str, ...]:
    """Return what may be chosen at a control of a stage, in the order of the page; nothing where nothing is chosen."""
    if control is Control.FLAGS:
        return FLAGS if stage is StageName.DESCRIBE else (*FLAGS, FALSE_POSITIVE)
    if control in (Control.REGIONS, Control.MISSED):
        return tuple(word for words in GROUPS.values() for word in words)
    return {Control.VERDICT: VERDICTS, Control.MATCH: MATCHES}.get(control, ())


# As the editor of Label Studio 1.23 has it; on a Mac, `command` stands for `ctrl`.
KEYMAP = (
    "enter", "escape", "backspace", "delete", "left", "right", "[", "]", "u", "b", "e", "h", "k", "m", "o", "p", "r",
    "v", "w", "shift+1", "shift+2", "shift+r", "shift+.", "shift+left", "shift+right", "shift+up", "shift+down",
    "ctrl+enter", "ctrl+space", "ctrl+z", "ctrl+shift+z", "ctrl+backspace", "ctrl+h", "ctrl+d", "ctrl+b", "ctrl+p",
    "ctrl+plus", "ctrl+minus", "ctrl+left", "ctrl+right", "ctrl+up", "ctrl+down", "ctrl+shift+a", "ctrl+alt+space",
    "ctrl+alt+left", "ctrl+alt+right", "alt+enter", "alt+a", "alt+d", "alt+h", "alt+l", "alt+m", "alt+r", "alt+.",
    "alt+left", "alt+right", "shift+alt+left", "shift+alt+right", "shift+ctrl+alt+left", "shift+ctrl+alt+right",
)  # fmt: skip
