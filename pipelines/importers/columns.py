"""What a row of somebody's table says of a picture, in our words: family, split, texts, regions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmtt.errors import Rejected, UserError, did_you_mean
from mmtt.ids import digest
from mmtt.manipulator import FAMILIES, UNTOLD
from mmtt.recipe import SPLITS, PlanSection
from mmtt.regions import REGIONS
from mmtt.reports import TEXT_ORIGINS

from .arguments import require_language, require_name
from .item import COLUMNS, Text
from .rows import brief, storable

PRISTINE = "pristine"
_SPLIT_WORDS = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation",
    "dev": "validation", "test": "test", "testing": "test",
}  # fmt: skip
# Names that mean one thing wherever they are used; Face2Face and NeuralTextures change an expression, not a person.
_KNOWN_FAMILIES = dict.fromkeys(
    ("pristine", "real", "authentic", "original", "negative", "genuine", "bonafide", "untampered"), PRISTINE
) | {
    "deepfakes": "face_swap", "faceswap": "face_swap", "faceshifter": "face_swap",
    "face2face": "attribute_edit", "neuraltextures": "attribute_edit",
    **{family.replace("_", ""): family for family in (*FAMILIES, UNTOLD)},
}  # fmt: skip


def _nearest(word: str, known: Sequence[str]) -> str:
    """Return the nearest known word, and all there are."""
    hint = did_you_mean(word, known)
    return hint if " Known:" in hint else f"{hint} Known: {', '.join(known)}."


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the user tells of a table. All of it decides what comes out.

    name: of the origin. columns: ours → theirs. families: their label → a family of ours, or `pristine`.
    text_origin, language: where no column says so.
    """

    name: str
    columns: Mapping[str, str] = field(default_factory=dict)
    families: Mapping[str, str] = field(default_factory=dict)
    text_origin: str = "unknown"
    language: str = "en"

    def __post_init__(self) -> None:
        require_name("--name", self.name)
        require_language(self.language)
        for column in self.columns:
            if column not in COLUMNS:
                raise UserError(f"--column {column}=…: '{column}' is no column here.{_nearest(column, tuple(COLUMNS))}")
        for label, family in self.families.items():
            if family not in (known := (PRISTINE, *FAMILIES, UNTOLD)):
                raise UserError(f"--family {label}={family}: '{family}' is no family.{_nearest(family, known)}")
        if self.text_origin not in TEXT_ORIGINS:
            hint = did_you_mean(self.text_origin, TEXT_ORIGINS)
            raise UserError(f"--text-origin '{self.text_origin}' is none.{hint}")

    def found_in(self, names: Sequence[str], where: str) -> dict[str, str]:
        """Return our columns → those of a table that has these columns.

        Raises:
            UserError: a column that the user names is not there, or there is none of pictures.
        """
        found = {ours: theirs for ours in COLUMNS for theirs in reversed(COLUMNS[ours]) if theirs in names}
        for ours, theirs in self.columns.items():
            if theirs not in names:
                hint = did_you_mean(theirs, names) if names else ""
                raise UserError(f"--column {ours}={theirs}: {where} has no column '{theirs}'.{hint}")
        found |= self.columns
        if "image" not in found:
            told = f"It has: {brief(', '.join(names))}." if names else "It has no column at all."
            raise UserError(f"{where} has no column 'image'. Name it: --column image=NAME. {told}")
        if twice := [theirs for theirs in found.values() if names.count(theirs) > 1]:
            raise UserError(f"{where} has two columns called '{twice[0]}'; which is meant? Leave one.")
        return found

    def family(self, label: str | None) -> str | None:
        """Return the family that a label means, `pristine`, or None where nobody says."""
        if label is None:
            return None
        if label in self.families:
            return self.families[label]
        return _KNOWN_FAMILIES.get("".join(letter for letter in label.casefold() if letter.isalnum()))


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a row says, but for its pixels. label: theirs. family: ours, `pristine`, or None where nobody says."""

    label: str | None = None
    family: str | None = None
    manipulator: str | None = None
    split: str | None = None
    group: str | None = None
    texts: tuple[Text, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)


def facts(row: Mapping[str, Any], told: Told) -> Facts:
    """Return what a row (our columns → plain values) says.

    Raises:
        Rejected: `bad_split`, `bad_text`.
    """
    label = word(row.get("family"))
    return Facts(
        label=label,
        family=told.family(label),
        manipulator=word(row.get("manipulator")),
        split=split_of(word(row.get("split"))),
        group=word(row.get("group")),
        texts=_texts(row, told),
        parameters={"label": label} if label is not None else {},
    )


def word(value: Any) -> str | None:
    """Return a cell as text without blanks around it; None where it is empty."""
    if value is None or isinstance(value, list | dict | bytes):
        return None
    return storable(str(value).strip()) or None


def split_of(name: str | None) -> str | None:
    """Return our name of a split; None where none is told.

    Raises:
        Rejected: `bad_split`.
    """
    if name is None:
        return None
    if name.casefold() not in _SPLIT_WORDS:
        raise Rejected("bad_split", f"'{name}' is no split: {', '.join(SPLITS)}")
    return _SPLIT_WORDS[name.casefold()]


def split_word(name: str) -> str | None:
    """Return the split that a name says, such as that of a folder; None where it says none."""
    return _SPLIT_WORDS.get(name.casefold())


def _texts(row: Mapping[str, Any], told: Told) -> tuple[Text, ...]:
    cell = row.get("text")
    words = [word(text) for text in (cell if isinstance(cell, list) else [cell])]
    origin = word(row.get("text_origin")) or told.text_origin
    if origin not in TEXT_ORIGINS:
        raise Rejected("bad_text", f"text_origin '{origin}' is none of {', '.join(TEXT_ORIGINS)}")
    language, regions = word(row.get("language")) or told.language, _regions(row.get("regions"))
    made = (Text(text=text, regions=regions, text_origin=origin, language=language) for text in words if text)
    return tuple(made)


def _regions(cell: Any) -> tuple[str, ...] | None:
    """A list of words, words with `,` `;` or `|` between them, or the 21-vector; words outside the 21 are left out."""
    if cell is None or isinstance(cell, dict | bytes):
        return None
    if isinstance(cell, str):
        cell = cell.replace(";", ",").replace("|", ",").split(",")
    if not isinstance(cell, list):
        return None
    if len(cell) == len(REGIONS) and all(value in (0, 1) for value in cell):
        return tuple(name for name, said in zip(REGIONS, cell, strict=True) if said)
    said_words = {str(value).strip().casefold() for value in cell}
    return tuple(name for name in REGIONS if name in said_words)


class Splits:
    """Puts what has no split into one by the digest of its group, and counts who decided."""

    def __init__(self, name: str) -> None:
        self._name, self.shares = name, PlanSection().splits
        self.counts: Counter[str] = Counter()

    def __call__(self, told: str | None, group: str) -> str:
        """Return the split that was told, else that of the group's digest."""
        self.counts["told" if told else "digest"] += 1
        if told is not None:
            return told
        place, reached = int(digest(["split", self._name, group])[:16], 16) / 16**16, 0.0
        for split in SPLITS:
            reached += self.shares.get(split, 0.0)
            if place < reached:
                return split
        return SPLITS[-1]
