"""The viewer: a real server, real HTTP, a real browser; nobody but its own page gets an answer, no text acts."""

import base64
import http.client
import json
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from mmtt import images
from mmtt.errors import UserError
from mmtt.files import write_atomically
from mmtt.record import Rejection
from mmtt.shards import write_table
from pipelines.view import Catalog, make_server
from tests.factories import make_forged_record, make_record, make_report, store_shards, stored_dataset
from tests.support.chrome import chrome, wait

ROOT = Path(__file__).parents[2]
HOSTILE = '<img src=x onerror=\'document.title="acted"\'><script>document.title="acted"</script>\u202e{{7*7}}'
SIDE_PX = 64
PRISTINE = [make_record(seed, SIDE_PX) for seed in range(3)]
FORGED = [
    make_forged_record(0, SIDE_PX, origin=HOSTILE, parameters=json.dumps({HOSTILE: HOSTILE})),
    make_forged_record(1, SIDE_PX, manipulation="face_swap", manipulator="swap", regions=["chin"], region_shares=[1.0]),
    make_forged_record(2, SIDE_PX),
    make_forged_record(3, SIDE_PX, target_id=PRISTINE[0].record_id),
]
FIRST, SECOND, THIRD, REFUSED = (record.record_id for record in FORGED)
AUDITS = {
    "audits": [
        {"id": "S2", "title": HOSTILE, "verdict": "fails", "worst": [
            {"record_id": SECOND, "why": HOSTILE, "other_id": PRISTINE[1].record_id, "variant": "master"},
            {"record_id": FIRST, "why": "less so", "other_id": "../../etc/passwd"},
            {"record_id": "gone", "why": "no such record"}, "no example", None,
        ]},
        {"id": 7}, "no audit",
    ]
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    refused = [Rejection(stage="gate", code="face_lost", detail="lost", record_id=REFUSED)]
    reports = [make_report(FORGED[0], HOSTILE), make_report(FORGED[1], "Der Mund wirkt unscharf. Süß.", language="de")]
    layout = stored_dataset(tmp_path_factory.mktemp("seen"), PRISTINE, FORGED, reports=reports, refused=refused)
    layout.audits.write_text(json.dumps(AUDITS), encoding="utf-8")
    returned = Rejection(stage="report", code="too_short", detail="3 words", record_id=THIRD)
    write_table(layout.root / "reports" / "rejections.parquet", [returned], Rejection)
    return layout.root


def serving(catalog: Catalog) -> Iterator[int]:
    with make_server(catalog, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def port(root) -> Iterator[int]:
    yield from serving(Catalog(root))


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, answer.headers, data


def found(port: int, **query: str) -> list[str]:
    status, _, data = ask(port, "/api/records?" + "&".join(f"{name}={quote(value)}" for name, value in query.items()))
    assert status == 200, data
    return [record["record_id"] for record in json.loads(data)["records"]]


def test_filters_find_what_they_name(port):
    pristine = [record.record_id for record in PRISTINE]
    assert found(port) == [*pristine, FIRST, SECOND, THIRD]
    assert found(port, family="pristine") == pristine
    assert found(port, family="recolour") == [FIRST, THIRD]
    assert found(port, manipulator="swap", region="chin") == [SECOND]
    assert found(port, region="no such word") == []
    assert found(port, split="test") == [PRISTINE[1].record_id, SECOND]
    assert found(port, report="yes") == [FIRST, SECOND]
    assert found(port, report="no", family="recolour") == [THIRD]
    assert found(port, verdict="visible") == [FIRST, SECOND]
    assert found(port, search="SÜSS mund") == [SECOND]
    assert found(port, search=THIRD[:10]) == [THIRD]
    assert found(port, gate="face_lost") == found(port, gate="refused") == [REFUSED]
    assert found(port, offset="1", count="2") == pristine[1:3]


def test_a_record_that_is_named_brings_the_page_that_holds_it(port):
    everything = found(port)
    place = everything.index(SECOND) // 2 * 2
    assert found(port, count="2", holding=f"{SECOND}:master") == everything[place : place + 2]
    assert found(port, count="2", family="pristine", holding=f"{SECOND}:master") == everything[:2]


def test_the_worst_of_an_audit_come_worst_first_and_rules_count_too(port):
    assert found(port, hit="S2") == [SECOND, FIRST]
    assert found(port, hit="S2", family="recolour") == [FIRST]
    assert found(port, hit="report too_short") == [THIRD]
    assert found(port, hit="no such audit") == []
    hits = json.loads(ask(port, f"/api/record/{FIRST}")[2])["hits"]
    assert [(hit["key"], hit["other_id"]) for hit in hits] == [("S2", None)]


@pytest.mark.parametrize("content", ["[[[[", "[]", '{"audits": {"id": "S2"}}', "[" * 100_000, "\x00"])
def test_an_odd_audits_file_points_at_nothing(content, tmp_path):
    layout = stored_dataset(tmp_path / "d", PRISTINE, FORGED)
    layout.audits.write_text(content, encoding="utf-8")
    assert Catalog(layout.root).facets()["filters"]["hit"] == []


def test_pictures_are_the_stored_bytes_with_their_true_type(port):
    status, headers, data = ask(port, f"/picture/{FIRST}/alpha")
    assert (status, data, headers["Content-Type"]) == (200, FORGED[0].alpha, "image/png")
    assert ask(port, f"/picture/{FIRST}/raw")[0] == 404
    record = json.loads(ask(port, f"/api/record/{FIRST}")[2])
    assert record["pictures"] == ["image", "mask", "pristine", "alpha", "change"]
    assert record["columns"]["landmarks"] == len(FORGED[0].landmarks)
    assert record["columns"]["split"] == "train"


@pytest.mark.parametrize("stored", [b"<svg xmlns='http://www.w3.org/2000/svg' onload='x'/>", b"<html>", b""])
def test_what_is_no_picture_is_served_as_bytes(stored, tmp_path):
    odd = replace(FORGED[0], image=stored, alpha=images.encode_jpeg(np.zeros((8, 8, 3), np.uint8)))
    catalog = Catalog(stored_dataset(tmp_path / "d", PRISTINE, [odd]).root)
    for port in serving(catalog):
        assert ask(port, f"/picture/{FIRST}/image")[1]["Content-Type"] == "application/octet-stream"
        assert ask(port, f"/picture/{FIRST}/alpha")[1]["Content-Type"] == "image/jpeg"


@pytest.mark.parametrize(
    "path",
    [
        "/api/record/none", f"/picture/{FIRST}/parameters", f"/picture/{FIRST}/../../recipe.yaml", "/../../etc/passwd",
        "/view.py", "/catalog.py", "/%2e%2e/%2e%2e/etc/passwd", "/picture/..%2f..%2fetc/image", f"/picture/{FIRST}",
        f"/picture/{FIRST}/mask/x", f"/picture/{FIRST}/mask?variant=../x", "/picture/%00/mask", "/api", "/api/record/",
        f"/picture/{FIRST}/__class__", "/api/record/%ff%fe", "/private/salt",
    ],
)  # fmt: skip
def test_only_what_is_there_is_served(path, port):
    status, headers, data = ask(port, path)
    assert (status, json.loads(data)) == (404, {"error": "There is no such thing here."})
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "query",
    [
        "offset=-1",
        "offset=1e9",
        "count=x",
        "rows=1",
        f"offset={'9' * 40}",
        "&".join(["a=1"] * 40),
        "search=" + "a+" * 999,
    ],
)
def test_a_wrong_question_is_a_sentence(query, port):
    status, _, data = ask(port, f"/api/records?{query}")
    assert status == 400
    assert len(json.loads(data)["error"]) > 10


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "127.0.0.1@evil.example", "", "[::1"]
)
def test_another_host_is_refused(host, port):
    for path in ("/", f"/picture/{FIRST}/image"):
        status, _, data = ask(port, path, Host=host)
        assert status == 403
        assert images.sha256(data) != FORGED[0].image_sha256


@pytest.mark.parametrize("host", ["127.0.0.1:9000", "localhost:1", "LOCALHOST"])
def test_this_machine_by_any_name_and_through_a_tunnel_is_answered(host, port):
    assert ask(port, "/", Host=host)[0] == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_page_gets_nothing_but_may_link_here(site, port):
    assert ask(port, "/api/records", Sec_Fetch_Site=site)[0] == 403
    assert ask(port, f"/picture/{FIRST}/image", Sec_Fetch_Site=site)[0] == 403
    assert ask(port, "/", Sec_Fetch_Site=site)[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW"])
def test_other_methods_are_refused(method, port):
    status, headers, _ = ask(port, "/api/records", method)
    assert (status, headers["Allow"]) == (405, "GET")
    assert "Access-Control-Allow-Origin" not in headers


def test_two_hosts_a_body_and_nonsense_are_refused(port):
    for raw, wanted in (
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n", b"403"),
        (b"GET / HTTP/1.1\r\n\r\n", b"403"),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\nGET /", b"403"),
        (b"GET / HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n", b"505"),
        (b"\x16\x03\x01 nonsense \xff\xff\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert wanted in answer.split(b"\r\n")[0]
        assert b"script-src 'self'" in answer


def test_a_browser_that_goes_away_is_no_fault_of_the_server(port, capfd):
    question = f"GET /picture/{FIRST}/image HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 50
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            # Closed with a reset, while answers are still on their way.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(question)
    assert ask(port, "/")[0] == 200
    time.sleep(0.2)
    assert capfd.readouterr().err == ""


def test_every_answer_forbids_to_keep_frame_or_share_it(port):
    for path in ("/", "/view.js", "/api/facets", f"/picture/{FIRST}/image", "/none"):
        headers = ask(port, path)[1]
        assert headers["Cache-Control"] == "no-store"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert "Access-Control-Allow-Origin" not in headers


def test_it_listens_on_loopback_only(root):
    with make_server(Catalog(root), 0) as server:
        assert server.server_address[0] == "127.0.0.1"
        with pytest.raises(UserError, match="--port"):
            make_server(Catalog(root), server.server_port)


def test_many_threads_get_the_right_bytes(tmp_path):
    records = [make_record(seed, 16) for seed in range(400)]
    catalog = Catalog(stored_dataset(tmp_path / "d", records, []).root)
    wrong: list[int] = []

    def look(start: int) -> None:
        order = np.random.default_rng(start).permutation(len(records))[:60]
        wrong.extend(n for n in order if catalog.picture(records[n].record_id, "master", "image") != records[n].image)

    threads = [threading.Thread(target=look, args=(start,)) for start in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_release_an_imported_dataset_and_an_unfinished_one_are_shown(tmp_path):
    imported = replace(
        FORGED[0], target_id=None, pristine=None, alpha=None, change=None, mask_rule="imported", landmarks=[],
        landmark_scheme="none", parameters=None,
    )  # fmt: skip
    catalog = Catalog(stored_dataset(tmp_path / "i", [], [imported]).root)
    assert catalog.record(FIRST)["pictures"] == ["image", "mask"]
    assert catalog.record(FIRST)["columns"]["split"] == "train"
    told = {"split": "test", "report": "The chin.", "report_regions": [0] * 21, "report_language": "en"}
    store_shards(tmp_path / "r", [replace(record, **told, text_origin="human") for record in FORGED])
    released = Catalog(tmp_path / "r")
    assert released.record(FIRST)["texts"][0]["text"] == "The chin."
    assert released.page({"report": "yes", "split": "test"})["total"] == 4
    begun = stored_dataset(tmp_path / "u", PRISTINE, FORGED)
    (begun.forged / "manifest.json").unlink()
    unfinished = Catalog(begun.root)
    assert (unfinished.facets()["unfinished"], len(unfinished.rows)) == (["forged"], 3)
    with pytest.raises(UserError, match="neither a built dataset"):
        Catalog(tmp_path)


def test_shards_that_changed_meanwhile_are_told(tmp_path):
    layout = stored_dataset(tmp_path / "d", PRISTINE, FORGED)
    catalog = Catalog(layout.root)
    store_shards(layout.forged, FORGED[::-1])
    for port in serving(catalog):
        status, _, data = ask(port, f"/api/record/{FIRST}")
        assert (status, "start it again" in json.loads(data)["error"]) == (400, True)
        write_atomically(layout.pristine / "bucket-0000.parquet", b"torn")
        status, _, data = ask(port, f"/api/record/{PRISTINE[0].record_id}")
        assert (status, "not a whole Parquet file" in json.loads(data)["error"]) == (400, True)


def test_ctrl_c_ends_the_command_with_a_sentence(root):
    code = "import typer; from pipelines import cli_look; app = typer.Typer(); cli_look.register(app); app()"
    command = [sys.executable, "-c", code, "view", str(root), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        told = process.stdout.readline()
        port = int(told.split("http://127.0.0.1:")[1].split("/")[0])
        assert json.loads(ask(port, "/api/facets")[2])["rows"] == 7
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert "has ended" in rest


# ---- in a browser ----


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if shutil.which("chromedriver") is None:
        pytest.skip("no Chromium: apt-get install chromium chromium-driver")
    driver = chrome(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


def visit(browser, port: int, where: str = "", width: int = 1280) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get("about:blank")
    browser.get(f"http://127.0.0.1:{port}/{where}")
    wait(lambda: browser.execute_script("return document.querySelectorAll('.pane canvas').length"))


def press(browser, *keys: str) -> None:
    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def text(browser, selector: str) -> str:
    return str(browser.execute_script("return document.querySelector(arguments[0]).textContent", selector))


def pane(browser, column: str) -> np.ndarray:
    """What a pane shows, RGB uint8 H×W×3."""
    code = """
      const canvas = document.querySelector(`[data-column=${arguments[0]}] canvas`);
      const values = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      return [canvas.height, canvas.width, btoa(Array.from(values, (v) => String.fromCharCode(v)).join(""))];
    """
    height, width, data = browser.execute_script(code, column)
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)[..., :3]


def test_hostile_text_is_shown_as_text(browser, port):
    visit(browser, port, f"#{FIRST}")
    assert HOSTILE in text(browser, "#texts")
    assert text(browser, "#facts").count(HOSTILE) >= 3
    visit(browser, port, f"?hit=S2#{SECOND}")
    assert HOSTILE in text(browser, "#hits")
    assert HOSTILE in text(browser, "select[name=hit]")
    time.sleep(0.2)
    assert browser.title.endswith("mmtt view")
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def test_forged_panes_are_framed_and_named_and_no_other(browser, port):
    visit(browser, port, f"#{FIRST}")
    code = "return [...document.querySelectorAll('.pane.forged')].map((one) => one.dataset.column)"
    assert browser.execute_script(code) == ["image"]
    border = "return getComputedStyle(document.querySelector('.pane.forged .glass')).borderTopColor"
    assert browser.execute_script(border) == "rgb(178, 24, 43)"
    assert text(browser, ".pane.forged figcaption b") == "Forged"
    visit(browser, port, f"#{PRISTINE[0].record_id}")
    assert browser.execute_script(code) == []


def test_keys_zoom_every_picture_to_the_same_region_without_smoothing(browser, port):
    visit(browser, port, f"#{FIRST}")
    press(browser, "0", *["+"] * 8, "c")
    assert text(browser, "#zoom") == "800\u00a0%"
    image, mask = images.decode_rgb(FORGED[0].image), images.decode_gray(FORGED[0].mask)
    before = pane(browser, "image")
    assert_shows(before, image, (32, 32))
    assert_shows(pane(browser, "mask"), np.repeat(mask[..., None], 3, axis=2), (32, 32))
    browser.execute_script("document.activeElement.blur()")
    shift_right(browser)
    middle = where(browser)
    assert middle != (32, 32)
    for column, stored in (("image", image), ("pristine", images.decode_rgb(FORGED[0].pristine))):
        assert_shows(pane(browser, column), stored, middle)
    assert value(browser, "image") == " ".join(map(str, image[middle[1], middle[0]]))
    assert value(browser, "mask") == str(mask[middle[1], middle[0]])


def shift_right(browser) -> None:
    ActionChains(browser).key_down(Keys.SHIFT).send_keys(Keys.ARROW_RIGHT).key_up(Keys.SHIFT).perform()


def where(browser) -> tuple[int, int]:
    """The pixel in the middle, as the page says it."""
    x, y = (int("".join(c for c in part if c.isdigit())) for part in text(browser, "#pixel").split(",")[:2])
    return x, y


def value(browser, column: str) -> str:
    return text(browser, f"[data-column={column}] output")


def assert_shows(shown: np.ndarray, stored: np.ndarray, middle: tuple[int, int], scale: int = 8) -> None:
    """Whether a pane shows squares of equal pixels, the middle one in its middle."""
    colours = {tuple(colour) for colour in shown.reshape(-1, 3)}
    assert colours <= {tuple(colour) for colour in stored.reshape(-1, 3)} | {(0, 0, 0)}
    centre = shown[shown.shape[0] // 2 + 1, shown.shape[1] // 2 + 1]
    near = stored[middle[1] - 1 : middle[1] + 2, middle[0] - 1 : middle[0] + 2].reshape(-1, 3)
    assert tuple(centre) in {tuple(colour) for colour in near}
    rows = (np.diff(shown.astype(int), axis=0) != 0).any(axis=(1, 2)).nonzero()[0]
    assert not rows.size or set(np.diff(rows) % scale) == {0}


def test_dragging_moves_all_panes_and_the_pointer_reads_all_of_them(browser, port):
    visit(browser, port, f"#{FIRST}")
    press(browser, "0", *["+"] * 8)
    canvas = browser.find_element("css selector", "[data-column=mask] canvas")
    ActionChains(browser).move_to_element(canvas).perform()
    before = where(browser)
    ActionChains(browser).click_and_hold().move_by_offset(-80, 0).release().perform()
    assert "middle" not in text(browser, "#pixel")
    x, y = where(browser)
    assert (x, y) == before  # the pixel that was grasped is still below the pointer
    pixel = images.decode_rgb(FORGED[0].pristine)[y, x]
    assert value(browser, "pristine") == " ".join(map(str, pixel))


def test_arrows_go_through_the_records_found_and_numbers_show_panes(browser, port):
    visit(browser, port, "?family=recolour")
    assert text(browser, "#id") == FIRST
    press(browser, Keys.ARROW_RIGHT)
    wait(lambda: text(browser, "#id") == THIRD)
    assert browser.current_url.endswith(f"/?family=recolour#{THIRD}")
    press(browser, Keys.ARROW_RIGHT)  # there is no further one
    press(browser, Keys.ARROW_LEFT)
    wait(lambda: text(browser, "#id") == FIRST)
    press(browser, "4")
    columns = "return [...document.querySelectorAll('.pane')].map((one) => one.dataset.column)"
    assert browser.execute_script(columns) == ["pristine", "image", "mask", "change"]
    press(browser, "4", "?")
    assert browser.execute_script("return document.getElementById('help').open")
    press(browser, Keys.ESCAPE, "/", "mund")
    wait(lambda: text(browser, "#total") == "0 records")  # `recolour` still holds


def test_the_outline_lies_on_the_edge_of_the_mask(browser, port):
    visit(browser, port, f"#{FIRST}")
    press(browser, "0", *["+"] * 8)
    plain = pane(browser, "mask").copy()
    press(browser, "o")
    drawn = (pane(browser, "mask") != plain).any(axis=2)
    edge = np.zeros_like(drawn)
    for axis in (0, 1):
        steps = np.diff(plain[..., 0].astype(int), axis=axis) != 0
        edge |= np.pad(steps, [(0, 1) if axis == dim else (0, 0) for dim in (0, 1)])
    assert drawn.any()
    assert drawn[edge].mean() > 0.9
    drawn[:8] = drawn[-8:] = drawn[:, :8] = drawn[:, -8:] = False  # a line may lie on the pane's own edge
    rows, cols = drawn.nonzero()
    apart = [
        edge[max(0, r - 4) : r + 5, max(0, c - 4) : c + 5].any() for r, c in zip(rows[::7], cols[::7], strict=True)
    ]
    assert all(apart)


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(width, browser, port):
    visit(browser, port, f"#{FIRST}", width)
    widths = "return [document.documentElement.scrollWidth, window.innerWidth]"
    assert browser.execute_script(widths)[0] <= width
    browser.execute_script("document.getElementById('finder').open = true")
    assert browser.execute_script(widths)[0] <= width
