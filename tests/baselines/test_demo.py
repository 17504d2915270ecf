"""The demo's page in a real browser: what it shows, what it refuses, and that nothing leaves or stays."""

import base64
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from PIL import Image

from baselines.forgerytalker import demo, opinion
from baselines.forgerytalker.export import Trained, load
from mmtt import images
from mmtt.devices import steady
from mmtt.errors import MissingDependency, Rejected
from mmtt.regions import REGIONS
from tests.baselines.untrained import reported_dataset, small_config, untrained_run
from tests.factories import drawn

served = pytest.mark.skipif(not find_spec("gradio"), reason="no Gradio: pip install 'mmtt[demo]'")
browser = pytest.mark.skipif(not shutil.which("chromedriver"), reason="no driver: apt-get install chromium-driver")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    with steady(exact_gpu=False):
        yield


@pytest.fixture(scope="module")
def photo(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "face.jpg"
    path.write_bytes(images.encode_jpeg(drawn(0).image[:, 40:-20]))
    return path


@pytest.fixture(scope="module")
def trained(photo, tmp_path_factory) -> Trained:
    """A model whose first weights happen to take a part of the photo for altered, and not all of it."""
    root, square = reported_dataset(tmp_path_factory.mktemp("data"), 4), opinion.read_square(photo.read_bytes())
    for seed in range(60):
        config = small_config(verdict=True).model_copy(update={"seed": seed})
        found = load(untrained_run(tmp_path_factory.mktemp("runs") / "run", root, config))
        said = opinion.explain(found.model, config.generation, square, ["eye"])
        if 0.05 < (said.mask > 0.5).mean() < 0.95:
            return found
    raise AssertionError("no seed gives such a mask")


@pytest.fixture(scope="module")
def temporary(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def server(trained, temporary):
    """The command itself, in a process of its own: Gradio leaves sockets open behind it."""
    process = start(trained, free_port(), {"TMPDIR": str(temporary)})
    yield process
    process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def address(server) -> str:
    return server.stdout.readline().partition(" ")[0]


def start(trained: Trained, port: int, environment: Mapping[str, str] = MappingProxyType({})) -> subprocess.Popen:
    command = [sys.executable, "-m", "mmtt", "baseline", "demo", str(trained.run.folder), "--port", str(port)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | environment | {"MMTT_DEVICE": "cpu"},
    )


@pytest.fixture
def chrome(tmp_path):
    from tests.support.chrome import chrome

    page = chrome(tmp_path / "profile")
    yield page
    page.quit()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Page:
    """The page as a person works it."""

    def __init__(self, chrome, address: str) -> None:
        from selenium.webdriver.common.by import By

        self.chrome, self._by = chrome, By.CSS_SELECTOR
        chrome.get(address)
        self.wait("#upload input[type=file]")

    def all(self, selector: str):
        return self.chrome.find_elements(self._by, selector)

    def wait(self, selector: str, told: str = ""):
        from tests.support.chrome import wait

        return wait(lambda: next((e for e in self.all(selector) if told in e.text), None))

    def wait_until(self, script: str) -> None:
        from tests.support.chrome import wait

        wait(lambda: self.chrome.execute_script(script))

    def drop(self, path: Path) -> None:
        self.all("#upload input[type=file]")[0].send_keys(str(path))

    def press(self) -> None:
        self.wait("#explain").click()

    def ticked(self) -> set[str]:
        return {label.text for label in self.all("#words label") if label.find_element(self._by, "input").is_selected()}

    def picture(self, selector: str):
        source = self.wait(selector).get_attribute("src")
        assert source.startswith("data:image/jpeg;base64,")
        return images.decode_photo(base64.b64decode(source.partition(",")[2]))

    def asked(self) -> set[str]:
        """Every address that a page of ours asked for."""
        told = [json.loads(entry["message"])["message"] for entry in self.chrome.get_log("performance")]
        sent = [message["params"] for message in told if message["method"] == "Network.requestWillBeSent"]
        return {p["request"]["url"] for p in sent if not p.get("documentURL", "").startswith("chrome:")}


@served
@browser
def test_a_photo_is_scored_and_explained_and_nothing_leaves_the_machine_or_stays_on_it(
    chrome, address, temporary, trained, photo
):
    page = Page(chrome, address)
    page.drop(photo)
    scores = opinion.suspected(trained.model, opinion.read_square(photo.read_bytes()))
    page.wait("#regions .mt-regions", "%")
    ranked = [row.text for row in page.all("#regions th")]
    assert ranked == sorted(REGIONS, key=lambda word: -scores[word])
    assert page.ticked() == {word for word in REGIONS if scores[word] > trained.config.model.prompter.threshold}
    page.press()
    said = page.wait("#said", "Its report")
    assert "Tinted:" in said.text
    page.wait_until("return Math.abs(document.getElementById('said').getBoundingClientRect().top) < innerHeight / 2")
    assert "gives it a probability of" in said.text
    shown, judged = page.picture("#photo img"), page.picture("#said img")
    assert (shown.shape, judged.shape) == ((640, 640, 3), (674, 640, 3))
    changed = np.abs(shown.astype(int) - judged[:640].astype(int)).max(axis=2) > 40
    assert 0.02 < changed.mean() < 0.98
    assert {url for url in page.asked() if not url.startswith((address, "data:", "blob:", "chrome"))} == set()
    kept = [path for path in temporary.rglob("*") if path.is_file() and path.stat().st_size]
    assert kept == []
    assert chrome.execute_script("return document.documentElement.scrollWidth <= innerWidth")


@served
@browser
def test_regions_are_the_users_to_choose_and_a_bad_file_is_a_sentence(chrome, address, photo, tmp_path):
    page = Page(chrome, address)
    page.drop(photo)
    page.wait("#regions .mt-regions", "%")
    for label in page.all("#words label"):
        if label.find_element("css selector", "input").is_selected() != (label.text in ("nose", "chin")):
            label.click()
    page.press()
    page.wait("#said", "It was asked about: nose, chin.")
    bad = tmp_path / "face.png"
    bad.write_bytes(b"<script>no picture</script>")
    page.drop(bad)
    page.wait("#fault [role=alert]", "This file is no picture that can be read here")
    assert not [part for part in page.all("#seen, #said") if part.is_displayed()]
    page.drop(photo)
    page.wait("#regions .mt-regions", "%")
    assert not [part for part in page.all("#fault") if part.is_displayed() and part.text]


@served
def test_the_server_forbids_foreign_requests_and_offers_no_programs_interface(address):
    with urllib.request.urlopen(address) as answer:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "http" not in policy
    with urllib.request.urlopen(f"{address}gradio_api/info") as answer:
        assert json.load(answer)["named_endpoints"] == {}


@served
def test_a_file_that_nobody_uploaded_is_neither_read_nor_removed(address, photo, tmp_path):
    own = shutil.copy(photo, tmp_path / "own.jpg")
    body = {"data": [{"path": str(own), "meta": {"_type": "gradio.FileData"}}], "fn_index": 0, "session_hash": "s"}
    asked = urllib.request.Request(
        f"{address}gradio_api/queue/join", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    urllib.request.urlopen(asked).close()
    with urllib.request.urlopen(f"{address}gradio_api/queue/data?session_hash=s", timeout=20) as events:
        ended = next(line for line in events if b"process_completed" in line)
    assert b'"success":false' in ended
    assert own.exists()


@served
def test_a_port_that_is_taken_is_a_sentence(trained):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused = start(trained, taken.getsockname()[1])
        told, _ = refused.communicate(timeout=60)
    assert refused.returncode == 2
    assert "cannot be served on" in told
    assert "Traceback" not in told


def test_without_gradio_the_demo_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(MissingDependency, match=r"pip install 'mmtt\[demo\]'"):
        demo.require_gradio()


def test_the_overlay_is_drawn_on_a_copy_and_covers_nothing_but_what_is_marked():
    square = np.full((640, 640, 3), 90, np.uint8)
    mask = np.zeros((640, 640), np.float32)
    mask[200:400, 200:400] = 1
    drawn_over = opinion.overlay(square, mask)
    assert (square == 90).all()
    changed = (drawn_over[:640] != 90).any(axis=2)
    assert changed[205:395, 205:395].all()
    changed[190:410, 190:410] = False
    assert not changed.any()
    assert (opinion.overlay(square, np.full_like(mask, 0.5))[:640] == 90).all()


def opinion_of(**changes) -> opinion.Opinion:
    known = {"mask": np.zeros((64, 64), np.float32), "regions": {}, "told": (), "verdict": None, "report": "The nose."}
    return opinion.Opinion(**{**known, **changes})


def test_what_a_model_writes_is_text_on_the_page():
    square = np.zeros((64, 64, 3), np.uint8)
    html = opinion.opinion_html(square, opinion_of(report="<img src=x onerror=alert(1)>"))
    assert "<img src=x" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html


def test_the_page_says_what_a_model_cannot_say():
    square = np.zeros((64, 64, 3), np.uint8)
    assert "This model cannot say" in opinion.opinion_html(square, opinion_of())
    with_verdict = opinion.opinion_html(square, opinion_of(verdict=0.25))
    assert "25\N{NO-BREAK SPACE}%" in with_verdict
    assert "cannot say" not in with_verdict
    assert "The model wrote nothing" in opinion.opinion_html(square, opinion_of(report=""))
    assert "Nothing is tinted" in opinion.opinion_html(square, opinion_of())


def png(size: tuple[int, int], **options) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size).save(file, **{"format": "PNG", **options})
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "The file is empty."),
        (b"%PDF-1.7", "This file is no picture"),
        (png((40, 400)), "too small"),
        (png((200, 200))[:90], "damaged"),
        (png((9000, 6000)), "too many pixels"),
        (png((80, 80), format="GIF", save_all=True, append_images=[Image.new("RGB", (80, 80), "red")]), "moves"),
    ],
)
def test_photos_that_cannot_be_used_are_refused_with_a_sentence(data, told):
    with pytest.raises(Rejected) as refused:
        opinion.read_square(data)
    assert told in opinion.why_not(refused.value)


def test_a_large_photo_is_kept_small():
    assert opinion.read_square(png((3000, 2000))).shape == (1024, 1024, 3)


def test_the_square_is_the_middle_of_the_photo():
    wide = np.zeros((100, 300, 3), np.uint8)
    wide[:, 100:200] = 200
    assert (opinion.read_square(images.encode_png(wide)) == 200).all()
    assert opinion.read_square(images.encode_png(wide)).shape == (100, 100, 3)


@served
def test_ended_by_its_user_the_server_leaves_nothing_behind(server, address, temporary):
    assert address
    assert len([*temporary.glob("mmtt-demo-*")]) == 1
    server.send_signal(signal.SIGINT)
    told, _ = server.communicate(timeout=60)
    assert (server.returncode, told.splitlines()[-1:]) == (0, ["Ended."])
    assert [*temporary.glob("mmtt-demo-*")] == []
