"""What diffusion models are asked for: the reviewed words, for each region and each attribute.

Every entry was read by a person with one question: does it turn someone into a member of another group? So none
names or implies race, ethnicity, nationality, skin colour, gender, religion or disability; people are a "person" or
a "face". Age is in, because the attribute edits of the literature have it. The recipe's own prompts are its
author's to answer for; they are kept with every record.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

NEGATIVE = "drawing, cartoon, blurry, deformed"
NAMED = 3
"""Of a hole that unites more regions, so many are named: CLIP reads 77 tokens, and mixes up long lists."""

INPAINT: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "eye": ("bright eyes", "tired eyes", "wide open eyes", "half closed eyes"),
    "pupil": ("small pupils", "wide pupils"),
    "lip": ("dry lips", "soft lips", "pressed lips"),
    "mouth": ("a closed mouth", "a slightly open mouth", "a gentle smile"),
    "nose": ("a straight nose", "a crooked nose", "a short nose", "a long nose"),
    "ear": ("small ears", "large ears"),
    "cheek": ("smooth cheeks", "hollow cheeks", "round cheeks"),
    "forehead": ("a smooth forehead", "a high forehead", "a furrowed forehead"),
    "chin": ("a round chin", "a pointed chin", "a dimpled chin"),
    "jaw": ("a square jaw", "a round jaw", "a narrow jaw"),
    "eyebrow": ("thin eyebrows", "thick eyebrows", "raised eyebrows"),
    "skin": ("smooth skin", "skin with fine pores", "freckled skin"),
    "hair": ("short hair", "wavy hair", "tousled hair", "neatly combed hair"),
})  # fmt: skip
"""What may take a region's place."""


class Attribute(NamedTuple):
    """An attribute edit: ways to ask for it, and the region words it concerns."""

    instructions: tuple[str, ...]
    regions: tuple[str, ...]


EDITS: Mapping[str, Attribute] = MappingProxyType({
    "surprised": Attribute(
        ("make the person look surprised", "give them a surprised expression"),
        ("eye", "lip", "mouth", "forehead", "chin", "jaw", "eyebrow"),
    ),
    "angry": Attribute(
        ("make the person look angry", "give them an angry expression"),
        ("eye", "lip", "mouth", "forehead", "eyebrow"),
    ),
    "smiling": Attribute(("make the person smile", "give them a wide smile"), ("eye", "lip", "mouth", "cheek")),
    "sad": Attribute(
        ("make the person look sad", "give them a sad expression"), ("eye", "lip", "mouth", "chin", "eyebrow")
    ),
    "fearful": Attribute(
        ("make the person look afraid", "give them a fearful expression"),
        ("eye", "lip", "mouth", "forehead", "eyebrow"),
    ),
    "disgusted": Attribute(
        ("make the person look disgusted", "give them a disgusted expression"),
        ("eye", "lip", "mouth", "nose", "cheek", "eyebrow"),
    ),
    "teeth": Attribute(("show their teeth", "have them smile with their teeth"), ("lip", "mouth", "tooth")),
    "tongue": Attribute(("have them stick out their tongue",), ("lip", "mouth", "chin", "tongue")),
    "eyes_closed": Attribute(("close their eyes", "have them shut their eyes"), ("eye", "pupil")),
    "glasses": Attribute(
        ("add glasses", "have the person wear eyeglasses"), ("eye", "pupil", "nose", "cheek", "eyebrow")
    ),
    "makeup": Attribute(
        ("add makeup to the face", "have them wear lipstick and eye shadow"),
        ("eye", "lip", "cheek", "eyebrow", "skin"),
    ),
    "bushy_eyebrows": Attribute(("give them bushy eyebrows", "make their eyebrows thicker"), ("eyebrow",)),
    "beard": Attribute(
        ("give them a full beard", "add a short beard"), ("lip", "mouth", "cheek", "chin", "jaw", "beard", "mustache")
    ),
    "mustache": Attribute(("give them a mustache", "add a thick mustache"), ("lip", "mouth", "mustache")),
    "clean_shaven": Attribute(
        ("make the face clean shaven", "remove all facial hair"),
        ("lip", "mouth", "cheek", "chin", "jaw", "beard", "mustache"),
    ),
    "freckles": Attribute(("add freckles to the face",), ("nose", "cheek", "forehead", "skin", "freckle")),
    "dimples": Attribute(("give them dimples", "add dimples to the cheeks"), ("cheek", "dimple")),
    "scar": Attribute(("add a scar across the cheek",), ("cheek", "scar")),
    "wrinkles": Attribute(
        ("add wrinkles to the face", "give them deep wrinkles"), ("eye", "cheek", "forehead", "skin", "wrinkle")
    ),
    "older": Attribute(
        ("make the person look older", "make the person thirty years older"),
        ("eye", "lip", "mouth", "cheek", "forehead", "chin", "jaw", "eyebrow", "skin", "hair", "wrinkle"),
    ),
    "younger": Attribute(
        ("make the person look younger", "make the person twenty years younger"),
        ("eye", "lip", "mouth", "cheek", "forehead", "chin", "jaw", "eyebrow", "skin", "hair", "wrinkle"),
    ),
    "bald": Attribute(("make the person bald", "remove the hair on their head"), ("hair",)),
    "red_hair": Attribute(("dye their hair red", "turn the hair red"), ("hair",)),
    "blond_hair": Attribute(("dye their hair blond", "turn the hair blond"), ("hair",)),
    "black_hair": Attribute(("dye their hair black", "turn the hair black"), ("hair",)),
    "grey_hair": Attribute(("dye their hair grey", "turn the hair grey"), ("hair",)),
    "curly_hair": Attribute(("make their hair curly", "give them curly hair"), ("hair",)),
})  # fmt: skip
"""What may be asked of a whole face."""


def draw(choices: Sequence[str], rng: np.random.Generator) -> str:
    """Draw one of some texts evenly."""
    return choices[int(rng.integers(len(choices)))]


def describe(words: Sequence[str], rng: np.random.Generator) -> str:
    """Return a prompt for a hole over these region words; the first `NAMED` of them are named."""
    *rest, last = [draw(INPAINT[word], rng) for word in words[:NAMED]]
    named = f"{', '.join(rest)} and {last}" if rest else last
    return f"a photo of a person with {named}"
