"""The overview shows what is there, marks every forgery, and lets no stranger's text act."""

import base64
import hashlib
import html as entities
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pytest

from mmtt import html, images
from mmtt.errors import UserError
from mmtt.layout import Layout
from mmtt.manifest import assemble_manifest
from mmtt.record import Assignment, Record, Rejection
from mmtt.shards import Footer, ShardWriter, side_path, write_table
from pipelines import examples
from pipelines.overview import write_overview

SIDE_PX = 64
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}\u202e"
FRAME_RGB = (178, 24, 43)


def record(record_id: str, **values: Any) -> Record:
    """A pristine record of a plain grey picture; `values` make it whatever a test needs."""
    grey = np.full((SIDE_PX, SIDE_PX, 3), 120, np.uint8)
    plain: dict[str, Any] = {
        "record_id": record_id, "image_sha256": "0" * 64, "image": images.encode_png(grey),
        "mask": images.encode_png(grey[..., 0] * 0), "landmarks": [], "landmark_scheme": "openpose_70",
        "landmark_finder": "sidecar", "align_matrix": [], "template": "ffhq_512", "origin": HOSTILE, "origin_id": "1",
        "licence": "CC0-1.0", "consent": "none", "group_id": record_id,
    }  # fmt: skip
    return Record(**{**plain, **values})


def forgery(record_id: str, target_id: str, **values: Any) -> Record:
    """A forged record whose lower half was altered."""
    weight = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    weight[SIDE_PX // 2 :] = 255
    half = images.encode_png(weight)
    plain: dict[str, Any] = {
        "target_id": target_id, "pristine": record(target_id).image, "mask": half, "alpha": half,
        "change": images.encode_png(weight // 20), "manipulation": "retouch", "manipulator": "retouch",
        "parameters": '{"kind": "smooth", "strength": 0.25}', "mask_rule": "blend", "mask_share": 0.5,
        "change_mean": 12.75, "regions": ["chin", "skin"], "region_shares": [1.0, 0.4],
    }  # fmt: skip
    return record(record_id, **{**plain, **values})


def store(directory: Path, records: list[Record], refused: list[Rejection]) -> None:
    """Write one shard and all that a finished stage leaves beside it."""
    directory.mkdir(parents=True, exist_ok=True)
    writer = ShardWriter(directory / "shard-0000.parquet", Record)
    for row in records:
        writer.add(row)
    writer.close(Footer("test", "", ""))
    write_table(side_path(directory, "shard-0000", Rejection), [], Rejection)
    assemble_manifest(directory, "test", ["shard-0000"], refused)


def dataset(root: Path, forged: list[Record], refused: list[Rejection]) -> Layout:
    """A finished dataset of two pristine records."""
    layout = Layout(root)
    layout.recipe.write_text("name: tiny\nseed: 3\nforge: {manipulators: [{use: retouch}]}\n", encoding="utf-8")
    store(layout.pristine, [record("p1"), record("p2", origin="museum", licence="CC-BY-4.0", consent="given")], [])
    store(layout.forged, forged, refused)
    splits = [
        Assignment(record_id=i, group_id=i, component_id=i, split=s) for i, s in (("p1", "train"), ("p2", "test"))
    ]
    write_table(layout.plan / "splits.parquet", splits, Assignment)
    write_table(layout.plan / "rejections.parquet", [], Rejection)
    return layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Two accepted forgeries, one of them with a donor, and one that the gate turned away."""
    forged = [
        forgery("f1", "p1"),
        forgery("f2", "p2", source_id="p1", manipulation="face_swap", manipulator="face_swap", parameters=None),
        forgery("gated", "p1"),
    ]
    gated = Rejection(stage="gate", code="change_too_small", detail=HOSTILE, record_id="gated", manipulator="retouch")
    return dataset(tmp_path, forged, [gated])


class Tags(HTMLParser):
    """Collects every tag with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag."""
        self.found.append((tag, dict(attrs)))


def written(layout: Layout) -> str:
    return write_overview(layout.root).read_text(encoding="utf-8")


def row_of(page: str, head: str) -> list[str]:
    """The cells of the table row with that head."""
    row = re.search(rf'<tr><th scope="row"><bdi>{head}</bdi></th>(.*?)</tr>', page, re.S)
    assert row
    return [re.sub(r"<.*?>", "", cell).strip() for cell in re.findall(r"<td.*?>(.*?)</td>", row[1], re.S)]


def test_counts_are_of_accepted_forgeries_in_their_targets_split(layout: Layout) -> None:
    page = written(layout)
    assert row_of(page, "pristine")[:4] == ["1", "0", "1", "2"]
    assert row_of(page, "retouch")[:4] == ["1", "0", "0", "1"]
    assert row_of(page, "face_swap")[:4] == ["0", "0", "1", "1"]
    assert "2 forgeries of" in page


def test_gated_forgeries_are_rejections_and_not_shown(layout: Layout) -> None:
    page = written(layout)
    assert "change_too_small" in page
    assert set(re.findall(r'<article class="from" data-record="(.*?)"', page)) == {"f1", "f2"}
    assert re.findall(r"<code>(f1|f2|gated)</code></p>\n</footer>", page) == ["f2", "f1"]


def test_every_forged_picture_is_framed(layout: Layout) -> None:
    shown = [a for tag, a in Tags(written(layout)).found if tag == "img" and str(a.get("alt")).startswith("Forged")]
    pictures = [str(a["src"]) for a in shown if "src" in a]
    assert len(pictures) == 4  # in a sheet and as an example, for two records; the others are copies of the first
    for uri in pictures:
        pixels = images.decode_rgb(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,")))
        assert pixels.shape[0] > SIDE_PX
        for edge in (pixels[:4], pixels[-4:], pixels[:, :4], pixels[:, -4:]):
            assert np.abs(np.median(edge, axis=(0, 1)) - FRAME_RGB).max() < 12


def test_every_example_has_its_pictures_with_words(layout: Layout) -> None:
    page = written(layout)
    edit = ["target", "forged", "mask", "alpha", "change"]
    examples_shown = re.findall(r'<article class="example".*?</article>', page, re.S)
    assert [re.findall(r'<figure class="(.*?)">', one) for one in examples_shown] == [[*edit, "source"], edit]
    pictures = [attributes for tag, attributes in Tags(page).found if tag == "img"]
    assert all("alt" in a for a in pictures if a.get("src"))
    assert "mean 12.8, shown ×21.2" in page


def test_a_tile_holds_its_layers_in_turn(layout: Layout) -> None:
    sheets = re.findall(r'<ul class="sheet".*?</ul>', written(layout), re.S)
    layers = [re.findall(r'data-told="(.*?)"', sheet) for sheet in sheets]
    assert layers == [["", "alpha: weight of the blend", "change, shown ×21.2"]] * 2


def escaped(text: str) -> str:
    return entities.escape(text).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")


def only_text(page: str) -> None:
    """Whatever strangers wrote became no tag, no attribute and no second script, and its direction stays its own."""
    found = Tags(page).found
    assert sum(tag == "script" for tag, _ in found) == 1
    assert not [name for _, attributes in found for name in attributes if name.startswith("on")]
    assert not [a for tag, a in found if tag == "img" and a.get("src") == "x"]
    turned = re.sub(r"<(?:bdi|title|option|h1|optgroup)[ >].*?</", "", re.sub(r'"[^"]*"', "", page), flags=re.S)
    assert "\u202e" not in turned


def test_strangers_text_stays_text(layout: Layout) -> None:
    page = written(layout)
    assert page.count(escaped(HOSTILE)) == 7  # notes, origins, rejections, examples, three in provenance
    only_text(page)


def test_page_asks_the_network_for_nothing(layout: Layout) -> None:
    page = written(layout)
    links = [v for _, attributes in Tags(page).found for k, v in attributes.items() if k in ("src", "href")]
    assert links
    assert all(link and link.startswith(("data:image/", "#")) for link in links)
    assert "url(" not in page
    script = re.search(r"<script>(.*?)</script>", page, re.S)
    assert script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    policy = next(a["content"] for t, a in Tags(page).found if t == "meta" and "http-equiv" in a)
    assert policy and policy.startswith("default-src 'none'") and f"'sha256-{digest}'" in policy


def test_same_dataset_same_page(layout: Layout) -> None:
    assert written(layout) == written(layout)


def test_a_dataset_whose_forgeries_all_failed_still_has_a_page(tmp_path: Path) -> None:
    gated = Rejection(stage="gate", code="face_lost", detail="face score 0.10 is below 0.5", record_id="f1")
    page = written(dataset(tmp_path, [forgery("f1", "p1")], [gated]))
    assert "0 forgeries of" in page
    assert "face_lost" in page
    assert "<figure" not in page
    assert "<select" not in page


def test_a_program_that_is_not_installed_is_named_without_words(tmp_path: Path) -> None:
    foreign = forgery("f1", "p1", manipulator="foreign_program", manipulation="foreign_family")
    assert "<b><bdi>foreign_program</bdi></b>" in written(dataset(tmp_path, [foreign], []))


def test_without_forged_shards_it_says_what_to_run(layout: Layout) -> None:
    (layout.forged / "manifest.json").unlink()
    with pytest.raises(UserError, match="run it"):
        write_overview(layout.root)
    assert not layout.overview.exists()


def test_the_snippet_on_the_page_loads_the_dataset(layout: Layout, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    snippet = re.search(r"<pre.*?><code>(.*?)</code></pre>", written(layout), re.S)
    assert snippet
    code = entities.unescape(snippet[1]) + '\nprint(train["record_id"][:], train[0]["mask"].size)'
    quiet = {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    told = subprocess.run([sys.executable, "-c", code], cwd=layout.root, env=quiet, capture_output=True, text=True)
    assert told.stdout.strip() == f"['f1'] ({SIDE_PX}, {SIDE_PX})", told.stderr


def row(record_id: str, manipulator: str, parameters: str, finder: str = "sidecar") -> dict[str, Any]:
    """What `choose` reads of a forged record."""
    return {
        "record_id": record_id, "manipulator": manipulator, "parameters": parameters,
        "landmark_finder": finder, "target_id": record_id,
    }  # fmt: skip


def test_examples_cover_programs_then_photos_then_what_is_new() -> None:
    rows = [row(f"a{i}", "warp", '{"attribute": "smile"}') for i in range(9)]
    rows += [
        row("b1", "warp", '{"attribute": "frown"}'),
        row("b2", "ageing", "{}"),
        row("c", "warp", "{}", "mediapipe 1"),
    ]
    assert examples.choose(rows) == ["c", "b2", "a0", "b1"]
    assert examples.choose(rows[::-1]) == examples.choose(rows)
    assert examples.choose([]) == []


def test_parameters_are_said_shortly() -> None:
    parameters = {
        "regions": ["eye"], "kept_mouth": "lips", "feather": 0.16233, "off": False, "none": None,
        "gain_rgb": [1.5, 2, 3], "strokes": [[1, 2], [3, 4]], "long": "x" * 99,
    }  # fmt: skip
    told = examples.spoken(json.dumps(parameters))
    assert told == [
        ("feather", "0.162"), ("gain rgb", "1.5, 2, 3"), ("kept mouth", "lips"), ("long", "x" * 47 + "…"),
        ("off", "no"), ("strokes", "2 values"),
    ]  # fmt: skip


def test_a_template_that_names_what_is_missing_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        html.render("pipelines", "overview.html.j2")


@pytest.mark.parametrize(("share", "text"), [(0, "0 %"), (0.0061, "0.61 %"), (0.043, "4.3 %"), (0.5, "50 %")])
def test_percent_keeps_two_digits(share: float, text: str) -> None:
    assert html.percent(share).replace("\N{NO-BREAK SPACE}", " ") == text
