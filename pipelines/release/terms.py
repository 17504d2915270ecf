"""Terms: address and citation of a release, and its conditions of use as DUO and ODRL say them.

DUO: http://purl.obolibrary.org/obo/duo.owl. ODRL 2.2: https://www.w3.org/TR/odrl-model/. Croissant 1.1 recommends both.
"""

from typing import Any

from mmtt.release import Release

from . import licence
from .answers import About
from .facts import Facts


def hub_url(about: About) -> str:
    """Return the address on the Hub; empty where it is published nowhere yet."""
    return f"https://huggingface.co/datasets/{about.repository}" if about.repository else ""


def home(about: About, release: Release) -> str:
    """Return the address of the dataset: its page, its place on the Hub, or a name where it has neither."""
    return about.homepage or hub_url(about) or f"urn:mmtt:{release.name}"


def citation(about: About, release: Release) -> str:
    """Return how a release is cited: as its authors ask, or else a sentence."""
    address = about.homepage or hub_url(about)
    told = f"{', '.join(about.authors)}. {about.title}, version {release.version}, {release.date[:4]}. {address}"
    return about.citation or told.rstrip()


def usage(facts: Facts, about: About) -> dict[str, Any]:
    """Return the conditions of use for `usageInfo`: an `odrl:Offer` of research, with its limits and prohibitions."""
    return {
        "@type": ["CreativeWork", "odrl:Offer"],
        "name": "Conditions of use",
        "url": licence.address(about.licence, about.licence_url),
        "odrl:permission": {
            "@type": "odrl:Permission",
            "odrl:action": {"@id": "duo:0000042", "name": "general research use"},
        } | _limits(facts, about),
        "odrl:prohibition": [
            {"@type": "odrl:Prohibition", "description": sentence}
            for sentence in licence.forbidden(facts, about.licence)
        ],
        "odrl:obligation": {
            "@type": "odrl:Duty",
            "odrl:action": {"@id": "odrl:delete"},
            "description": f"Records that a later removed.csv names are deleted within {licence.DAYS_TO_DELETE} days.",
        },
    }  # fmt: skip


def _limits(facts: Facts, about: About) -> dict[str, Any]:
    if licence.is_commercial(facts, about.licence):
        return {}
    return {
        "odrl:constraint": {
            "@type": "odrl:Constraint",
            "name": "non-commercial use only",
            "odrl:operator": {"@id": "odrl:eq"},
            "odrl:rightOperand": {"@id": "duo:0000046"},
        }
    }
