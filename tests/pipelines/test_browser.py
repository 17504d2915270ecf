"""The overview as a browser draws it: offline, on a wide screen and on a phone's."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mmtt.images import decode_photo
from pipelines.overview import write_overview
from tests.factories import build, tiny_dataset

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
)  # fmt: skip
BORDER_RGB = (178, 24, 43)  # of `mmtt.images.mark_border`


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    layout = tiny_dataset(tmp_path_factory.mktemp("page"), 6, ("face_swap", "recolour"))
    build(layout)
    return write_overview(layout)


def screenshot(page: Path, width: int, folder: Path):
    shot = folder / f"{width}.png"
    size, profile = f"--window-size={width},2400", f"--user-data-dir={folder / 'profile'}"
    command = [CHROMIUM, *QUIET, profile, size, f"--screenshot={shot}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return decode_photo(shot.read_bytes())


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
@pytest.mark.parametrize("width", [1280, 500])
def test_a_browser_shows_faces_and_frames_the_forged_ones(page, tmp_path, width):
    drawn = screenshot(page, width, tmp_path)
    near_border = (np.abs(drawn.astype(int) - BORDER_RGB).max(axis=2) < 24).mean()
    assert near_border > 0.002
    assert len(np.unique(drawn.reshape(-1, 3)[::7], axis=0)) > 2000
