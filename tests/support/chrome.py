"""Headless Chromium, driven through its own driver; it asks nobody on the network for anything."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")


def chrome(profile: Path, size: tuple[int, int] = (1280, 1000)) -> Any:
    """Return a browser; quit it. Its log has what pages ask for."""
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", *QUIET, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.add_argument(f"--window-size={size[0]},{size[1]}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # An explicit service: else Selenium looks for a driver on the network.
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


def wait(found: Callable[[], Any], seconds: float = 40) -> Any:
    """Return what is found once it is there; what went stale meanwhile is looked up again."""
    end = time.monotonic() + seconds
    while True:
        try:
            if it := found():
                return it
        except Exception:
            if time.monotonic() > end:
                raise
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.1)
