"""Recipe: everything that decides a dataset, and nothing else. Where and how fast are flags.

Bad recipes are refused whole: every wrong key, name and value is reported at once.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, model_validator

from mmtt.errors import RecipeError
from mmtt.settings import Section, Share, parse

SPLITS = ("train", "validation", "test")


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


class IngestSection(Section):
    """How photos become pristine records."""

    finders: Annotated[tuple[Literal["sidecar", "insightface", "facexlib", "mediapipe"], ...], Field(min_length=1)] = (
        "sidecar",
        "mediapipe",
    )
    parsers: tuple[Literal["celebamask_hq", "facexlib"], ...] = ()
    embedder: Literal["none", "insightface"] = "none"
    models: dict[str, Sha256] = Field(default={})  # digests that the user trusts in place of the known ones
    faces: Literal["all", "largest"] = "largest"
    template: Literal["ffhq_512", "arcface_112"] = "ffhq_512"
    size_px: Literal[256, 512, 1024] = 512
    max_pixels: Annotated[int, Field(ge=1)] = 100_000_000
    max_file_bytes: Annotated[int, Field(ge=1)] = 100_000_000
    max_side_px: Annotated[int, Field(ge=1, le=32_766)] = 16_384  # OpenCV warps no larger picture
    max_faces: Annotated[int, Field(ge=1)] = 50
    min_interocular_px: Annotated[float, Field(ge=1)] = 16
    max_outside_share: Share = 0.05


class ConsentSection(Section):
    """Whose photos are used: of people whom nobody asked, and of those who are known to be under 18.

    What somebody agreed to, or did not, is held to whatever stands here.
    """

    unasked: Literal["forge", "refuse"] = "forge"  # here, on this machine; a release has its own rule
    minors: Literal["refuse", "keep"] = "refuse"


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
    options: dict[str, Any] = Field(default={})

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

    manipulators: tuple[Entry, ...] = ()
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


Protocol = Literal["blind_then_verified", "paper", "informed"]


class QualitySection(Section):
    """When an answer is sent back, held or told; each rule is explained in `annotation/quality`."""

    ignore: tuple[str, ...] = ()  # rules that are not applied
    warn: tuple[str, ...] = ()  # rules that tell, but send nothing back
    min_dwell_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 60
    max_idle_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1800
    max_words_per_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2.5
    min_words: Annotated[int, Field(ge=0)] = 5
    max_words: Annotated[int, Field(ge=1)] = 120
    near_duplicate: Share = 0.92
    template_share: Share = 0.6
    monotone_share: Share = 0.6
    choices_overlap: Share = 0.5
    grounding_precision: Share = 0.5
    check_score: Share = 0.6
    min_checks: Annotated[int, Field(ge=1)] = 4
    drift_lambda: Annotated[float, Field(gt=0, le=1)] = 0.2
    drift_sigmas: Annotated[float, Field(gt=0)] = 3
    rework_rounds: Annotated[int, Field(ge=0)] = 2

    @model_validator(mode="after")
    def _some_length_is_right(self) -> Self:
        if self.min_words > self.max_words:
            raise ValueError(f"min_words is {self.min_words}, max_words {self.max_words}: no text could be right")
        return self


class AnnotateSection(Section):
    """Who is asked what about which records, and when an answer counts."""

    protocol: Protocol = "blind_then_verified"
    language: Literal["en", "zh"] = "en"
    share: Share = 1.0  # of the forged records, drawn by digest
    overlap: Annotated[int, Field(ge=1, le=20)] = 2
    overlap_share: Share = 0.1  # of the records that are asked about: those that `overlap` people see
    gold_share: Share = 0.03
    catch_share: Share = 0.05
    qualification_tasks: Annotated[int, Field(ge=0, le=200)] = 20
    qualification_score: Share = 0.8
    verify_share: Share = 1.0
    min_agreement: Share = 0.5  # below it, two reports of one record go to adjudication
    quality: QualitySection = QualitySection()


class AuditSection(Section):
    """How a dataset is audited: which sample pixels are measured on, and where a gate stands other than by default.

    `gates` maps the id of an audit to the figure that its statistic must not pass; null takes the gate away.
    """

    sample: Annotated[int, Field(ge=20)] = 2000
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    gates: dict[
        Annotated[str, Field(pattern=r"^[A-Z][0-9]+$")],
        Annotated[float, Field(strict=True, allow_inf_nan=False)] | None,
    ] = Field(default={})


class ImportedSection(Section):
    """Where an imported dataset came from; written by `mmtt import`, which alone fills such a dataset's shards.

    digest: of all that was read. options: what the command was told.
    """

    format: Literal["mmtt-release", "pairs", "hub"]
    digest: Sha256
    options: dict[str, Any] = Field(default={})


class Tolerate(Section):
    """Share of items a stage may refuse before the command ends with exit code 3."""

    ingest: Share = 0.5
    imported: Share = 0.05
    plan: Share = 0.5
    forge: Share = 0.5
    degrade: Share = 0.5


class Recipe(Section):
    """Everything that decides a dataset."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    buckets: Annotated[int, Field(ge=1, le=4096)] = 16
    ingest: IngestSection = IngestSection()
    consent: ConsentSection = ConsentSection()
    plan: PlanSection = PlanSection()
    imported: ImportedSection | None = None
    forge: ForgeSection = ForgeSection()
    degrade: DegradeSection = DegradeSection()
    annotate: AnnotateSection = AnnotateSection()
    audit: AuditSection = AuditSection()
    tolerate: Tolerate = Tolerate()

    @model_validator(mode="after")
    def _something_makes_it(self) -> Self:
        if self.imported is None and not self.forge.manipulators:
            raise ValueError(
                "'forge.manipulators' is missing or empty; `mmtt manipulators list` names those who can forge"
            )
        if self.imported is not None and self.forge.manipulators:
            raise ValueError("a dataset is imported or forged, not both: take 'forge.manipulators' out")
        return self

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
