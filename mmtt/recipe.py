"""Recipe: everything that decides a dataset, and nothing else. Where and how fast are flags.

Bad recipes are refused whole: every wrong key, name and value is reported at once.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mmtt.errors import RecipeError, did_you_mean

SPLITS = ("train", "validation", "test")


M = TypeVar("M", bound=BaseModel)
Share = Annotated[float, Field(ge=0, le=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key written twice: the first one would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build one mapping."""
        words = [key for key, _ in node.value if key.tag == "tag:yaml.org,2002:str"]
        for place, key in enumerate(words):
            if any(key.value == earlier.value for earlier in words[:place]):
                raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' twice", key.start_mark)
        return super().construct_mapping(node, deep)


class Section(BaseModel):
    """A part of the recipe: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class IngestSection(Section):
    """How photos become pristine records."""

    finders: Annotated[tuple[Literal["sidecar", "insightface", "facexlib", "mediapipe"], ...], Field(min_length=1)] = (
        "sidecar",
        "mediapipe",
    )
    parsers: tuple[Literal["celebamask_hq", "facexlib"], ...] = ()
    embedder: Literal["none", "insightface"] = "none"
    models: dict[str, Sha256] = {}  # digests that the user trusts in place of the known ones
    faces: Literal["all", "largest"] = "largest"
    template: Literal["ffhq_512", "arcface_112"] = "ffhq_512"
    size_px: Literal[256, 512, 1024] = 512
    max_pixels: Annotated[int, Field(ge=1)] = 100_000_000
    max_file_bytes: Annotated[int, Field(ge=1)] = 100_000_000
    max_side_px: Annotated[int, Field(ge=1, le=32_766)] = 16_384  # OpenCV warps no larger picture
    max_faces: Annotated[int, Field(ge=1)] = 50
    min_interocular_px: Annotated[float, Field(ge=1)] = 16
    max_outside_share: Share = 0.05


class DonorSection(Section):
    """From whom a swap may take its face: the `nearest` in shape, of another group, in the same split."""

    nearest: Annotated[int, Field(ge=1)] = 8
    same_origin: bool = False


class IdentitySection(Section):
    """When two embeddings are one person: above a cosine that is given, or calibrated on known-different pairs.

    Without a `false_alarm_rate` it is 1e-5, or as near to that as the known-different pairs can tell: among many
    faces nearly all pairs are of strangers, and a larger share of them would chain everybody together.
    """

    threshold: Annotated[float, Field(gt=0, lt=1)] | None = None
    false_alarm_rate: Annotated[float, Field(gt=0, le=0.1)] | None = None
    doubt: Annotated[float, Field(ge=0, le=0.5)] = 0.08


class PlanSection(Section):
    """How groups are split and donors drawn."""

    splits: dict[Literal["train", "validation", "test"], Share] = Field(
        default={"train": 0.8, "validation": 0.1, "test": 0.1}
    )
    near_duplicate_bits: Annotated[int, Field(ge=0, le=16)] = 6
    donors: DonorSection = DonorSection()
    identity: IdentitySection = IdentitySection()

    @model_validator(mode="after")
    def _shares_make_one(self) -> Self:
        if abs(sum(self.splits.values()) - 1) > 1e-6:
            raise ValueError(f"the shares add up to {sum(self.splits.values()):g}; they must add up to 1")
        return self


class Entry(Section):
    """One line of the menu: a manipulator, its options, and how often it is used."""

    use: str
    name: Annotated[str, Field(pattern=r"^[a-z0-9_]*$")] = ""
    per_target: Annotated[int, Field(ge=1, le=100)] = 1
    share: Share = 1.0
    options: dict[str, Any] = {}

    @property
    def label(self) -> str:
        """The entry's name; the manipulator's where none is given."""
        return self.name or self.use


class Gate(Section):
    """Bars that a finished forgery must pass. They change no byte: an edited gate re-forges nothing."""

    min_change_mean: Annotated[float, Field(ge=0, le=255)] = 2.0
    min_mask_share: Share = 0.0005
    min_face_score: Share = 0.5


class ForgeSection(Section):
    """What is forged, and when a forgery counts."""

    manipulators: Annotated[tuple[Entry, ...], Field(min_length=1)]
    mask_tau: Annotated[int, Field(ge=0, le=254)] = 0
    find_faces: bool = True
    gate: Gate = Gate()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        labels = [entry.label for entry in self.manipulators]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ValueError(f"two entries are named '{twice[0]}'; give each its own `name`")
        return self


class Variant(Section):
    """One degraded copy of every record: its name, and what is done to it, in order."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]
    chain: Annotated[tuple[dict[str, Any], ...], Field(min_length=1)]


class DegradeSection(Section):
    """Which degraded variants `mmtt degrade` makes: named sets that this package ships, and the user's own."""

    presets: tuple[str, ...] = ()
    variants: tuple[Variant, ...] = ()


class Tolerate(Section):
    """Share of items a stage may refuse before the command ends with exit code 3."""

    ingest: Share = 0.5
    plan: Share = 0.5
    forge: Share = 0.5
    degrade: Share = 0.5


class Recipe(Section):
    """Everything that decides a dataset."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    buckets: Annotated[int, Field(ge=1, le=4096)] = 16
    ingest: IngestSection = IngestSection()
    plan: PlanSection = PlanSection()
    forge: ForgeSection
    degrade: DegradeSection = DegradeSection()
    tolerate: Tolerate = Tolerate()

    @classmethod
    def load(cls, path: Path) -> "Recipe":
        """Read a recipe from YAML.

        Raises:
            RecipeError: no such file, no YAML, or wrong keys or values: all of them, one line each.
        """
        try:
            data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
        except FileNotFoundError:
            raise RecipeError(f"{path} does not exist. `mmtt init DIR` writes one to start from.") from None
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise RecipeError(f"{path} is not YAML: {re.sub(chr(10) + ' *', ' ', str(error))}") from error
        if not isinstance(data, dict):
            raise RecipeError(f"{path} must hold keys and values; see the example that `mmtt init DIR` writes.")
        return parse(cls, data, str(path))


def parse(model: type[M], data: Any, where: str) -> M:
    """Validate plain data as a model.

    Raises:
        RecipeError: every fault, each naming its key and, for a wrong key, the nearest right one.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        told = error.errors()
        faults = [_sentence(fault, model) for fault in told if not _follows_from_another(fault, told)]
        raise RecipeError("\n".join(f"{where}: {fault}" for fault in faults)) from None


def _follows_from_another(fault: Any, told: Sequence[Any]) -> bool:
    """A list whose items are at fault is also called too short: the bad ones are not counted."""
    place = fault["loc"]
    return fault["type"] == "too_short" and any(f["loc"][: len(place)] == place and f is not fault for f in told)


def _sentence(fault: Any, model: type[BaseModel]) -> str:
    location = [part for part in fault["loc"] if part != "[key]"]
    key = ".".join(str(part) for part in location) or "the whole"
    if fault["type"] == "extra_forbidden":
        return f"'{key}' is not a key here.{did_you_mean(str(location[-1]), _fields_at(model, location[:-1]))}"
    message = str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "literal_error":
        expected = [word.strip("'") for word in re.split(r", | or ", fault["ctx"]["expected"])]
        return f"'{key}' is {fault['input']!r}.{did_you_mean(str(fault['input']), expected)}"
    if fault["type"] == "missing":
        return f"'{key}' is missing."
    return f"'{key}' is {_short(fault['input'])}: {message[:1].lower()}{message[1:]}."


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _fields_at(model: type[BaseModel], location: list[Any]) -> list[str]:
    """Names of the keys that are allowed at a place inside a model."""
    for part in location:
        if isinstance(part, int):
            continue
        inner = model.model_fields[part].annotation if part in model.model_fields else None
        candidates = [inner, *getattr(inner, "__args__", ())]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), model)
    return list(model.model_fields)
