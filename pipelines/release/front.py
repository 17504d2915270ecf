"""Front matter: the YAML at the head of a card, which the Hub, its viewer and `datasets` read.

No `dataset_info`: the Parquet files say their features themselves, and counts in it would make `datasets` refuse a
copy from which somebody was taken out.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from mmtt.ids import digest
from mmtt.recipe import Recipe
from mmtt.release import CONFIGS
from mmtt.reports import Report

from . import figures, licence
from .answers import Answers
from .facts import Facts, File
from .markdown import plain

# Those of https://huggingface.co/docs/hub/repositories-licenses that are SPDX ids known here.
_HUB_LICENCES = frozenset({
    "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-2.0", "CC-BY-2.5", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-NC-2.0",
    "CC-BY-NC-3.0", "CC-BY-NC-4.0", "CC-BY-NC-ND-3.0", "CC-BY-NC-ND-4.0", "CC-BY-NC-SA-2.0", "CC-BY-NC-SA-3.0",
    "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC0-1.0", "ISC", "MIT", "MPL-2.0", "Unlicense",
})  # fmt: skip
_SIZES = {10**3: "1K", 10**4: "10K", 10**5: "100K", 10**6: "1M", 10**7: "10M", 10**8: "100M", 10**9: "1B"}
_MADE_BY = {"model": "machine-generated", "template": "machine-generated", "unknown": "found"}
_TAGS = (
    "deepfake-detection",
    "image-forensics",
    "image-forgery-localization",
    "face-forgery",
    "explainability",
    "mmtt",
)

AFFILIATION, COUNTRY, PURPOSE = "Affiliation", "Country", "What I want it for"
PURPOSES = (
    "Detecting forged pictures",
    "Localising what was forged",
    "Describing forgeries in words",
    "Auditing or comparing datasets",
    "Teaching",
)


def front_matter(facts: Facts, answers: Answers) -> str:
    """Return the YAML between `---` lines, in front of which nothing may stand."""
    about, languages = answers.about, {report.language for report in facts.reports}
    writers = _writers(facts.reports, facts.recipe)
    told: dict[str, Any] = {
        **_language(languages),
        **_licence(about.licence),
        "pretty_name": _line(about.title),
        "size_categories": [size_category(len(facts.rows))],
        # Masks follow from the process, so a machine made them; texts come from whom they say.
        "annotations_creators": sorted({"machine-generated", *writers}),
        **({"language_creators": sorted(writers)} if writers else {}),
        "source_datasets": ["original" if facts.recipe.imported is None else "extended"],
        "task_categories": _tasks(facts.reports),
        "tags": list(_TAGS),
        "configs": _configs(facts),
        **gate(facts, answers),
    }
    return f"---\n{yaml.safe_dump(told, sort_keys=False, allow_unicode=True, width=100)}---\n"


def size_category(rows: int) -> str:
    """Return the Hub's word for a number of rows, such as `1K<n<10K`."""
    bounds = list(_SIZES.values())
    place = sum(rows >= least for least in _SIZES)
    if place == 0:
        return f"n<{bounds[0]}"
    return f"{bounds[place - 1]}<n<{bounds[place]}" if place < len(bounds) else f"n>{bounds[-1]}"


def gate(facts: Facts, answers: Answers) -> dict[str, Any]:
    """Return what the Hub shows to whoever asks for access: heading, conditions, fields and button.

    Its list of accepted users is whom a curator tells when somebody is taken out, so the text says so.
    """
    about = answers.about
    return {
        "extra_gated_heading": f"Ask for access to {_line(about.title)}",
        "extra_gated_description": "Say who you are and what you want it for, and agree to the conditions.",
        "extra_gated_prompt": (
            "These pictures hold faces, many of them forged, made so that forgeries can be detected. Access is given "
            "to people, for the purpose they name, on the conditions below; the file LICENSE has them in full. Your "
            "user name and e-mail address, and what you enter here, are seen by those who decide and kept as long as "
            "access lasts: to decide, and to tell you when somebody who is shown asks to be taken out, so that you "
            f"can delete those rows. Questions: {plain(about.contact)}"
        ),
        "extra_gated_fields": _fields(licence.is_commercial(facts, about.licence)),
        "extra_gated_button_content": "Ask for access on these conditions",
    }


def _fields(commercial: bool) -> dict[str, Any]:
    agreed = [
        *([] if commercial else ["I will use it for non-commercial research only"]),
        "I will not identify anybody shown, nor try to",
        "I will not train or test face recognition or any biometric program with it",
        "I will harm nobody shown, and show no forgery without saying that it is one",
        "I will not hand it on, but send others to this page, so that every holder of a copy can be told of removals",
        f"I will delete the rows of people taken out within {licence.DAYS_TO_DELETE} days of being told",
        "I will report leaks and faults to the contact named in the card",
    ]
    asked: dict[str, Any] = {
        AFFILIATION: "text", COUNTRY: "country", PURPOSE: {"type": "select", "options": list(PURPOSES)},
    }  # fmt: skip
    return asked | dict.fromkeys(agreed, "checkbox")


def _licence(name: str) -> dict[str, str]:
    if name in _HUB_LICENCES:
        return {"license": name.lower()}
    return {"license": "other", "license_name": name.lower(), "license_link": "LICENSE"}


def _language(languages: Iterable[str]) -> dict[str, Any]:
    bases = sorted({language.split("-")[0].lower() for language in languages})
    return {"language": bases, "multilinguality": "monolingual" if len(bases) == 1 else "multilingual"} if bases else {}


def _writers(reports: Iterable[Report], recipe: Recipe) -> set[str]:
    qualified = "expert-generated" if recipe.annotate.qualification_tasks else "crowdsourced"
    people = qualified if recipe.imported is None else "found"
    return {_MADE_BY.get(report.text_origin, people) for report in reports}


def _tasks(reports: Sequence[Report]) -> list[str]:
    return ["image-classification", "image-segmentation", *(["image-to-text"] if reports else [])]


def _configs(facts: Facts) -> list[Mapping[str, Any]]:
    """Splits without a row are left out: `datasets` refuses a pattern that finds no file.

    The description names the files, because `datasets` knows a local folder by its last name and these lines alone: of
    two folders `1.0.0` with equal ones it would take the first one's rows out of its cache for the second's.
    """
    release = facts.release
    return [
        {
            "config_name": config,
            "description": f"{release.name} {release.version}, files {_files_digest(splits)}",
            **({"default": True} if config == "default" else {}),
            "data_files": [{"split": split, "path": f"{CONFIGS[config]}/{split}-*.parquet"} for split in splits],
        }
        for config, splits in figures.configs(facts.files).items()
    ]


def _files_digest(splits: Mapping[str, Sequence[File]]) -> str:
    return digest([file.sha256 for shards in splits.values() for file in shards])[:12]


def _line(text: str) -> str:
    """One line: a line of dashes inside a value would end the front matter."""
    return " ".join(text.split())
