"""Languages of the interface: every string that a person reads, one YAML file each, and nothing else in it."""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

import yaml

from mmtt.errors import UserError, did_you_mean
from mmtt.regions import REGIONS

from ..protocols import CONTROLS, FALSE_POSITIVE, FLAGS, GIVEN, MATCHES, VERDICTS, StageName, View
from .taxonomy import GROUPS, REQUIRED

Words = Mapping[str, str]

_ALONE = (
    "banner", "zoom", "message", "instructions.title", "instructions.rework", "difficulty_scale", "keys",
)  # fmt: skip


def languages() -> tuple[str, ...]:
    """Return the languages that there are, by the names of their files."""
    files = resources.files(__package__).joinpath("languages").iterdir()
    return tuple(sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml")))


@cache
def words(language: str) -> Words:
    """Return the strings of a language by dotted key, such as `region.eye.text`.

    Raises:
        UserError: there is no such language, or its file lacks a key, has one too many, or cannot be read.
    """
    known = languages()
    if language not in known:
        raise UserError(f"The interface is not written in '{language}'.{did_you_mean(language, known)}")
    file = resources.files(__package__).joinpath("languages", f"{language}.yaml")
    return parse(file.read_text(encoding="utf-8"), f"languages/{language}.yaml")


def parse(text: str, where: str) -> Words:
    """Return the strings of a language file by dotted key.

    Args:
        text: YAML, nested as the keys are dotted.
        where: what the file is called in an error.

    Raises:
        UserError: no YAML, a missing key, one too many, or a value that no page could show.
    """
    try:
        data = yaml.load(text, yaml.BaseLoader)  # every value a text: `yes` is a word here
    except yaml.YAMLError as error:
        raise UserError(f"{where} is not YAML: {' '.join(str(error).split())}.") from error
    found = dict(_flat(data))
    faults = [f"{where} lacks '{key}'." for key in expected() if key not in found]
    faults += [f"{where} has '{key}', which no page shows." for key in found if key not in expected()]
    faults += [f"{where}: '{key}' must be one text, and hold no '$'." for key in found if not _shown(found[key])]
    if faults:
        raise UserError("\n".join(faults))
    return MappingProxyType({key: str(value).strip() for key, value in found.items()})


def _flat(data: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    if not isinstance(data, dict):
        yield prefix, data
        return
    for key, value in data.items():
        yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))


def _shown(value: object) -> bool:
    """A `$` would be read as the name of a task's variable."""
    return isinstance(value, str) and bool(value.strip()) and "$" not in value


@cache
def expected() -> tuple[str, ...]:
    """Return the keys that a language file must have: those of the taxonomy, and some that stand alone."""
    chosen = {"region": REGIONS, "verdict": VERDICTS, "match": MATCHES, "flag": (*FLAGS, FALSE_POSITIVE)}
    named = [f"{kind}.{word}.{part}" for kind, ones in chosen.items() for word in ones for part in ("text", "hint")]
    named += [f"group.{group}" for group in GROUPS]
    named += [f"{part}.{view}" for view in View for part in ("look", "instructions.sees")]
    named += [f"ask.{stage}.{control}" for stage, controls in CONTROLS.items() for control in controls]
    named += [f"required.{control}" for control in REQUIRED]
    named += [f"{part}.{stage}" for stage in StageName for part in ("placeholder", "instructions")]
    named += [f"{GIVEN}.{page}" for page in ("rework", StageName.VERIFY, StageName.ADJUDICATE)]
    return tuple(sorted([*named, *_ALONE]))
