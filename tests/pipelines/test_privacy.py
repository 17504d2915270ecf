"""What PRIVACY.md and SECURITY.md say must be so."""

import re
from pathlib import Path

import pytest
import typer.main

from mmtt import layout
from mmtt.applications import APPLICATIONS
from mmtt.cli import app, mount
from mmtt.consent import WORDS
from pipelines.release.licence import DAYS_TO_DELETE
from pipelines.sources import ADULT, COLUMNS_HELP

ROOT = Path(__file__).parents[2]
PRIVACY, SECURITY = ((ROOT / name).read_text(encoding="utf-8") for name in ("PRIVACY.md", "SECURITY.md"))


def test_a_curator_has_five_places_to_fill_in():
    assert "(five places)" in PRIVACY
    assert len(re.findall(r"⟦[^⟧]{9,}⟧", PRIVACY)) == 5
    assert "⟦" not in SECURITY


def test_every_word_of_a_consent_and_every_column_about_it_is_explained():
    columns = [name for name in COLUMNS_HELP if name.startswith("consent") or name in ("withdrawal", "age")]
    assert len(columns) == 5
    assert [name for name in (*WORDS, *columns) if f"`{name}`" not in PRIVACY] == []


def test_every_place_where_something_private_lies_is_named():
    places = re.findall(r"private/[\w.]+/?|identities\.csv|photos/|sources\.csv|reports/", layout.__doc__)
    assert len(places) > 8
    assert [place for place in places if f"`{place}`" not in PRIVACY] == []


def test_numbers_are_those_that_are_enforced():
    assert f"below {ADULT}" in PRIVACY
    assert f"| {DAYS_TO_DELETE} days after that |" in PRIVACY


def test_no_face_photo_is_asked_for():
    assert "Never send a photo of your face" in PRIVACY


@pytest.mark.parametrize("text", [PRIVACY, SECURITY], ids=["privacy", "security"])
def test_links_lead_to_files_and_commands_exist(text):
    assert [target for target in re.findall(r"\]\((?!https?:)([^)#]+)", text) if not (ROOT / target).exists()] == []
    mount(*APPLICATIONS)
    known = typer.main.get_command(app).commands
    for command, inner in re.findall(r"mmtt ([a-z]+)(?: ([a-z]+))?", re.sub(r"`mmtt`|mmtt --", "", text)):
        assert command in known, command
        assert not inner or inner in getattr(known[command], "commands", {inner: ""}), f"{command} {inner}"
