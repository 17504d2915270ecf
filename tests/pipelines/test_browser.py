"""The overview as a browser draws it: offline, light and dark, on a wide screen and on a phone's."""

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmtt.images import Rgb, decode_photo
from mmtt.samples import digest_of
from pipelines.overview import write_overview
from pipelines.template_reports import write_template_reports
from tests.factories import build, tiny_dataset
from tests.pipelines.test_overview import HOSTILE
from tests.pipelines.test_overview_parts import hostile_dataset
from tests.support.chrome import chrome, wait

WIDTHS = (1280, 390)
BORDER_RGB = (178, 24, 43)  # of `mmtt.images.mark_border`
VERDICTS = ("passes", "doubtful", "fails", "told", "absent")

pytestmark = pytest.mark.skipif(shutil.which("chromedriver") is None, reason="no Chromium with its driver")


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    layout = tiny_dataset(tmp_path_factory.mktemp("page"), 4, ("face_swap", "recolour"))
    build(layout)
    write_template_reports(layout)
    rows = [audit_row(number, verdict) for number, verdict in enumerate(VERDICTS)]
    told = {"digest": digest_of(layout.root), "variant": "master", "rows": 18, "sampled": 18, "audits": rows}
    layout.audits.write_text(json.dumps(told), encoding="utf-8")
    return write_overview(layout.root)


def audit_row(number: int, verdict: str) -> dict[str, Any]:
    return {
        "id": f"S{number}", "title": "File headers and sizes", "question": "?", "unit": "AUC", "better": "low",
        "gate": 0.55, "verdict": verdict, "statistic": 0.612, "interval": [0.58, 0.64], "n": 1200, "of": "rows",
        "sentence": "What the encoder controls tells forged from pristine. " * 3,
    }  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Any]:
    driver = chrome(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


def opened(browser: Any, page: Path, width: int = 1280, scheme: str = "light") -> Any:
    """Show the page on such a screen."""
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    preference = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [preference]})
    browser.get_log("browser")
    browser.get(page.as_uri())
    return browser


def drawn(browser: Any) -> Rgb:
    """What the screen shows."""
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {})
    return decode_photo(base64.b64decode(shot["data"]))


def press(browser: Any, *keys: str) -> None:
    codes = {"Tab": 9, "Enter": 13, "ArrowRight": 39, "ArrowLeft": 37, "ArrowDown": 40}
    for key in keys:
        event = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        browser.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": "keyDown", **event, **text})
        browser.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": "keyUp", **event})


def seen(browser: Any, tile: str = "document.querySelector('.tile')") -> str:
    """What a tile shows: the words of its layer's picture, up to the colon or comma."""
    alt = browser.execute_script(f"return {tile}.querySelector('img.on').alt")
    visible = "[...tile.querySelectorAll('img')].filter((i) => getComputedStyle(i).visibility === 'visible')"
    assert browser.execute_script(f"const tile = {tile}; return {visible}.map((i) => i.alt)") == [alt]
    return str(alt).partition(",")[0]


# Elements that reach beyond the screen and do not lie in a box that scrolls or clips by itself.
BEYOND = """
return [...document.querySelectorAll("main *")]
  .filter((one) => !one.closest(".scroll, .regions, pre, [hidden], select, thead"))
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
  .map((one) => one.outerHTML.slice(0, 99));
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overflows_nothing_complains_and_forgeries_are_framed(browser, page, width, scheme):
    opened(browser, page, width, scheme)
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.execute_script(BEYOND) == []
    assert browser.get_log("browser") == []
    centre(browser, ".sheet")
    pixels = drawn(browser).astype(int)
    assert (np.abs(pixels - BORDER_RGB).max(axis=2) < 24).mean() > 0.01
    assert len(np.unique(pixels @ (1 << 16, 1 << 8, 1))) > 2000


@pytest.mark.parametrize("text", [HOSTILE, "W" * 200], ids=["hostile", "long"])
def test_what_strangers_wrote_runs_nowhere_and_fits_a_phone(browser, tmp_path, text):
    opened(browser, write_overview(hostile_dataset(tmp_path, text).root), 390)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.execute_script(BEYOND) == []
    assert text in browser.execute_script("return document.querySelector('.audited bdi').textContent")


def contrast(browser: Any, selector: str) -> float:
    """WCAG 2 contrast of an element's text against the page's ground."""
    ask = f"const of = (e) => getComputedStyle(e); const e = document.querySelector('{selector}');"
    ask += "return [of(e).color, of(document.body).backgroundColor]"
    lights = []
    for colour in browser.execute_script(ask):
        values = np.array([int(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]) / 255
        linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        lights.append(float(linear @ (0.2126, 0.7152, 0.0722)))
    return (max(lights) + 0.05) / (min(lights) + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_lights_are_words_of_enough_contrast_on_either_ground(browser, page, scheme):
    opened(browser, page, 1280, scheme)
    dark = browser.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(21, 21, 20)"
    assert dark == (scheme == "dark")
    for verdict in VERDICTS:
        assert contrast(browser, f".audited .light.{verdict}") >= 4.5
    assert contrast(browser, ".soft") >= 4.5
    assert "passes" in browser.execute_script("return document.querySelector('.audited').innerText")


def test_a_tile_answers_the_keyboard(browser, page):
    opened(browser, page)
    assert seen(browser) == "Forged"
    browser.execute_script("document.querySelector('.contents a:last-child').focus()")
    for _ in range(60):
        press(browser, "Tab")
        if browser.execute_script("return document.activeElement === document.querySelector('.tile')"):
            break
    assert seen(browser) == "Alpha"
    told = []
    for key in ("Enter", "Enter", "ArrowRight", "ArrowRight", "ArrowLeft"):
        press(browser, key)
        told.append(seen(browser))
    assert told == ["Change", "Forged", "Alpha", "Change", "Alpha"]
    press(browser, "Tab")
    assert seen(browser) == "Forged"


def centre(browser: Any, selector: str) -> dict[str, float]:
    ask = f"const e = document.querySelector('{selector}'); e.scrollIntoView({{block: 'center', behavior: 'instant'}});"
    ask += "const b = e.getBoundingClientRect(); return {x: b.x + b.width / 2, y: b.y + b.height / 2}"
    return browser.execute_script(ask)


def test_a_tile_answers_the_mouse(browser, page):
    opened(browser, page)
    at = centre(browser, ".tile")
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        told = {"type": kind, **at} | ({} if kind == "mouseMoved" else {"button": "left", "clickCount": 1})
        browser.execute_cdp_cmd("Input.dispatchMouseEvent", told)
        assert seen(browser) == ("Change" if kind == "mouseReleased" else "Alpha")
    browser.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": 2, "y": 2})
    assert seen(browser) == "Forged"


def test_a_tile_answers_a_finger(browser, page):
    opened(browser, page, 390)
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        told = []
        for _ in range(3):
            point = centre(browser, ".tile")
            browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
            browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
            told.append(seen(browser))
    finally:
        browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
    assert told == ["Alpha", "Change", "Forged"]


SHOWN = "return [...document.querySelectorAll('article.from')].filter((a) => !a.hidden).map((a) => a.dataset.record)"


def test_the_provenance_of_a_chosen_record_is_shown(browser, page):
    opened(browser, page)
    ids = browser.execute_script("return [...document.querySelectorAll('#record option')].map((o) => o.value)")
    assert len(ids) > 4 and browser.execute_script(SHOWN) == ids[:1]
    browser.execute_script("document.querySelector('#record').focus()")
    press(browser, "ArrowDown", "ArrowDown")
    assert browser.execute_script(SHOWN) == ids[2:3]
    link = f"document.querySelector('.sheet a[data-record=\"{ids[4]}\"]')"
    browser.execute_script(f"{link}.focus()")
    press(browser, "Enter")
    assert browser.execute_script(SHOWN) == ids[4:5]
    press(browser, "Tab")
    assert browser.execute_script("return document.activeElement.value") == ids[4]
    copied = "return document.querySelector('article.from:not([hidden]) img.copy').src === "
    assert browser.execute_script(f"{copied}{link}.closest('li').querySelector('img').src")
    top = "return document.querySelector('#record').getBoundingClientRect().top"
    assert wait(lambda: 0 < browser.execute_script(top) < 900)  # it scrolls smoothly there


def test_the_viewer_still_opens_and_gives_the_focus_back(browser, page):
    opened(browser, page)
    picture = "document.querySelector('.example button.picture')"
    browser.execute_script(f"{picture}.focus()")
    press(browser, "Enter")
    assert browser.execute_script("return document.querySelector('dialog').open")
    press(browser, "ArrowRight")
    assert "Forged" in browser.execute_script("return document.querySelector('dialog p').textContent")
    browser.execute_script("document.querySelector('dialog .close').click()")
    alt = "return document.activeElement.querySelector('img').alt"
    assert wait(lambda: "Forged" in browser.execute_script(alt))  # a dialog tells of its closing in a later task
    assert browser.get_log("browser") == []
