"""Responsible: the RAI vocabulary 1.0 of Croissant, filled with what the release and its curators say.

http://mlcommons.org/croissant/RAI/1.0. The names are the specification's; the library mlcroissant 1.1 knows two of them
by others (`dataCollectionTimeFrame`, `dataDataManipulationProtocol`) and passes these over.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from . import licence
from .answers import Answers, is_about_people
from .facts import Facts
from .statements import Told, automatic
from .statements.collection import annotators
from .statements.processing import agreed, prepared, written
from .statements.words import by_people, days, forged, said_of, values

_ESCAPED = re.compile(r"\\([_\W])")


def properties(facts: Facts, answers: Answers) -> dict[str, Any]:
    """Return every property as JSON values; a property that has nothing to say is left out."""
    told = automatic(facts, answers)
    given = _collected(facts, answers, told) | _annotated(facts, answers) | _judged(facts, answers, told)
    return {f"rai:{name}": value for name, value in given.items() if value}


def _collected(facts: Facts, answers: Answers, told: Mapping[str, Told]) -> dict[str, Any]:
    found = days(facts)
    return {
        "dataCollection": _text(answers.said("L1"), told["L1"].text),
        "dataCollectionType": _kinds(facts),
        "dataCollectionMissingData": _text(told["C6"].text),
        "dataCollectionRawData": _text(told["D5"].text, told["P2"].text),
        "dataCollectionTimeframe": sorted({found[0], found[-1]}) if found else [],
        "dataImputationProtocol": "Nothing was imputed: what is not known is null.",
        "dataManipulationProtocol": _text(told["L2"].text, told["L3"].text),
        "dataPreprocessingProtocol": [_text(prepared(facts))],
    }


def _annotated(facts: Facts, answers: Answers) -> dict[str, Any]:
    people = by_people(facts)
    known = any(report.protocol != "unknown" for report in people)
    platform = "Label Studio" if known else "Not recorded" if people else "None: no person annotated"
    return {
        "dataAnnotationProtocol": _text(_MASKS, written(facts)),
        "dataAnnotationPlatform": [platform],
        "dataAnnotationAnalysis": [_text(agreed(facts)), *_each(said_of(facts, "X1"), said_of(facts, "X3"))],
        "annotationsPerItem": _per_item(facts),
        "annotatorDemographics": _each(answers.said("L4"), _text(annotators(facts)), _UNKNOWN if people else ""),
        "machineAnnotationTools": _tools(facts),
    }


def _judged(facts: Facts, answers: Answers, told: Mapping[str, Told]) -> dict[str, Any]:
    shortcuts = [_text(said_of(facts, name)) for name in ("S1", "S2", "S3", "S4", "S7", "F1")]
    impact = told["L11"].text if "L11" in told else ""
    return {
        "dataReleaseMaintenancePlan": _text(told["T4"].text, told["T6"].text),
        "personalSensitiveInformation": _each(answers.said("C15"), _text(told["C15"].text)),
        "dataSocialImpact": _text(answers.said("L11") or impact, answers.said("C12")),
        "dataBiases": _each(answers.said("C3"), answers.said("U4"), *shortcuts),
        "dataLimitations": _each(_text(told["C9"].text, told["C9"].table), *_not_for(facts, answers)),
        "dataUseCases": _each(answers.said("M1"), answers.said("U3"), _USES),
    }


_MASKS = "Masks are no annotation: each follows from the edit itself, by the rule that its row names."
_UNKNOWN = "Nothing about them is recorded but a pseudonym."
_USES = "Training, validation and testing of detection, localization and report generation on forged faces."


def _kinds(facts: Facts) -> list[str]:
    """Values that the vocabulary recommends."""
    found = ["Secondary Data Analysis"] if is_about_people(facts) else []
    return [*found, "Software Collection", *(["Manual Human Curator"] if by_people(facts) else [])]


def _not_for(facts: Facts, answers: Answers) -> list[str]:
    return [f"Forbidden: {sentence}" for sentence in licence.forbidden(facts, answers.about.licence)]


def _per_item(facts: Facts) -> str:
    """How many records have how many texts by people."""
    of = Counter(report.record_id for report in by_people(facts))
    counts = Counter(of.values()) | Counter({0: len(facts.rows) - len(of)})
    return "; ".join(f"{texts} by people: {counts[texts]} records" for texts in sorted(counts))


def _tools(facts: Facts) -> list[str]:
    rows = facts.rows
    finders = {f"landmarks: {name}" for name in values(rows["landmark_finder"]) if name != "none"}
    parsers = {f"face parts: {name}" for name in values(rows["parser"])}
    masks = {f"masks: {name}" for name in values(forged(facts)["manipulator"])}
    texts = {f"texts: {report.annotator} ({report.text_origin})" for report in facts.reports} - {
        f"texts: {report.annotator} ({report.text_origin})" for report in by_people(facts)
    }
    return sorted(finders | parsers | masks | texts)


def _text(*parts: str) -> str:
    """Return Markdown as plain text: without escapes and backticks, parts apart by blanks."""
    return _ESCAPED.sub(r"\1", " ".join(part for part in parts if part).replace("`", ""))


def _each(*parts: str) -> list[str]:
    return [part for part in parts if part]
