"""The model card: what a model was made from, what it may be used for, and what its data obliges to.

Written in the form that the Hugging Face Hub reads: YAML between `---` lines, then Markdown.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import yaml

from mmtt.errors import UserError
from mmtt.samples import Rows, of_split, read_samples

from .config import Config, DataConfig

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&])")
SCORES = "scores.md"


class Verbatim(str):
    """Markdown of our own: the only text that goes into the card as it is."""

    __slots__ = ()


@dataclass(frozen=True)
class Facts:
    """What the training split of a dataset is made of; each counts samples.

    manipulations: family; `pristine` for untouched faces. licences: of photos and donors. origins: where photos came
    from. text_origins: who wrote the reports. obligations: what all of it obliges to. groups: how many there are.
    """

    samples: int
    groups: int
    manipulations: Mapping[str, int]
    origins: Mapping[str, int]
    licences: Mapping[str, int]
    text_origins: Mapping[str, int]
    obligations: tuple[str, ...] = field(default=())


def facts_of(root: Path, data: DataConfig) -> Facts:
    """Return the facts of what a config trains on.

    Raises:
        UserError: no dataset, or nothing in its training split.
    """
    found = read_samples(root, variants=data.variants, pristine=data.pristine, inexact=data.inexact)
    samples = of_split(found, "train")
    row_of = Rows(("origin", "licence", "source_licence", "obligations"))
    rows = [row_of(sample) for sample in samples]
    licences = Counter(row[name] for row in rows for name in ("licence", "source_licence") if row[name])
    texts = [sample.references[0].text_origin or "unknown" if sample.references else "none" for sample in samples]
    return Facts(
        samples=len(samples),
        groups=len({sample.group for sample in samples}),
        manipulations=_counted(sample.manipulation or "pristine" for sample in samples),
        origins=_counted(row["origin"] for row in rows),
        licences=dict(sorted(licences.items())),
        text_origins=_counted(texts),
        obligations=tuple(sorted({word for row in rows for word in row["obligations"] or ()})),
    )


def _counted(words: Any) -> dict[str, int]:
    return dict(sorted(Counter(words).items()))


def card(
    config: Config, checkpoint: Mapping[str, Any], dataset: str, parameters: int, facts: Facts, scores: Path | None
) -> str:
    """Return the model card.

    Args:
        config: of the run.
        checkpoint: its `stage` and `step`, and the `weights`' digest.
        dataset: digest of what it was trained on.
        parameters: how many numbers the model is made of.
        facts: of the training split.
        scores: the folder that `mmtt baseline evaluate` made; None where nothing was scored.

    Raises:
        UserError: `scores` holds none.
    """
    head = yaml.safe_dump(_front(config), sort_keys=False, allow_unicode=True)
    told = _scores(scores)
    drawn = facts.text_origins.get("template", 0) + facts.text_origins.get("model", 0)
    body = _template().render(
        config=config, checkpoint=checkpoint, dataset=dataset, parameters=parameters, facts=facts, scores=told,
        machine_texts=drawn, human_texts=sum(facts.text_origins.values()) - facts.text_origins.get("none", 0) - drawn,
    )  # fmt: skip
    return f"---\n{head}---\n\n{body}"


def _front(config: Config) -> dict[str, Any]:
    """What the Hub reads. No licence is claimed: what the data obliges to decides, and the card says that."""
    base = re.fullmatch(r"hub:([^@]+)@(.+)", config.model.pretrained or "")
    found: dict[str, Any] = {
        "license": "other",
        "license_name": "obligations-of-the-training-data",
        "license_link": "README.md",
        "library_name": "mmtt",
        "language": [config.data.language],
        "tags": ["image-forensics", "deepfake-detection", "forgery-localization", "mmtt", "forgerytalker"],
    }
    return found | ({"base_model": base[1]} if base else {})


def _scores(folder: Path | None) -> Verbatim | None:
    if folder is None:
        return None
    path = folder / SCORES
    if not path.is_file():
        raise UserError(f"{path} does not exist. `mmtt baseline evaluate RUN DATASET {folder}` writes it.")
    return Verbatim(path.read_text(encoding="utf-8").strip())


def _plain(value: Any) -> Any:
    """Escape what Markdown and HTML would read as their own, and keep to one line: ids and licences are strangers'."""
    if isinstance(value, Verbatim) or not isinstance(value, str):
        return value
    return _SPECIAL.sub(r"\\\1", " ".join(value.split()))


@cache
def _template() -> jinja2.Template:
    text = (resources.files(__package__ or "") / "templates" / "card.md.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_plain,
        keep_trailing_newline=True,
    )
    environment.filters["number"] = lambda value: f"{value:,}"
    return environment.from_string(text)
