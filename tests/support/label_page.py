"""Label Studio's labelling page in headless Chromium, worked as a person works it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chrome import chrome, wait
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys


class LabelPage:
    """One browser of one person. Close it."""

    def __init__(self, url: str, login: str, password: str, profile: Path, size: tuple[int, int] = (1440, 900)) -> None:
        self.page = chrome(profile, size)
        self.url = url
        self.page.get(f"{url}/user/login/")
        self.page.find_element(By.NAME, "email").send_keys(login)
        field = self.page.find_element(By.NAME, "password")
        field.send_keys(password)
        field.submit()
        wait(lambda: "/user/login" not in self.page.current_url)

    def close(self) -> None:
        self.page.quit()

    def open(self, project: int) -> None:
        """Open the label stream of a project, and put its instructions away."""
        self.page.get(f"{self.url}/projects/{project}/data?labeling=1")
        wait(lambda: self._all("label.lsf-choice__checkbox"))
        wait(self._instructions)
        ActionChains(self.page).send_keys(Keys.ESCAPE).perform()
        wait(lambda: not self._instructions())
        time.sleep(0.5)

    def _instructions(self) -> list[Any]:
        shown = self.page.find_elements(By.XPATH, "//*[text()='Labeling Instructions']")
        return [element for element in shown if element.is_displayed()]

    def _all(self, selector: str) -> list[Any]:
        return [e for e in self.page.find_elements(By.CSS_SELECTOR, selector) if e.is_displayed()]

    def _click(self, found: Callable[[], Any]) -> None:
        def act() -> bool:
            element = found()
            pane = self.page.find_element(By.CSS_SELECTOR, ".lsf-main-content")
            # The bar at the bottom lies over what is scrolled under it.
            up = "arguments[1].scrollTop += arguments[0].getBoundingClientRect().top - 350"
            self.page.execute_script(up, element, pane)
            time.sleep(0.15)
            element.click()
            return True

        wait(act)
        time.sleep(0.2)

    def pick(self, text: str) -> None:
        """Click a choice by its words."""

        def named() -> Any:
            return next(e for e in self._all("label.lsf-choice__checkbox") if e.text.split("[")[0].strip() == text)

        self._click(named)

    def type(self, text: str) -> None:
        self._click(lambda: self._all("[data-testid=textarea-input]")[0])
        self._all("[data-testid=textarea-input]")[0].send_keys(text)

    def rate(self, stars: int) -> None:
        self._click(lambda: self._all(".ant-rate-star")[stars - 1].find_element(By.CSS_SELECTOR, "[role=radio]"))

    def press(self, name: str) -> None:
        """Press a button by its words."""
        wait(lambda: next(b for b in self._all("button") if b.text.strip() == name)).click()
        time.sleep(1.5)

    def refusal(self) -> str | None:
        """What the page refused, which is then put away; None if it refused nothing."""
        shown = self._all(".ant-modal-content")
        if not shown:
            return None
        text = shown[0].text
        next(b for b in self._all(".ant-modal-content button")).click()
        time.sleep(0.8)
        return str(text)

    def picture(self, path: Path) -> None:
        self.page.save_screenshot(str(path))
