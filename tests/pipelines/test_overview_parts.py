"""The overview of imported datasets, and its parts: heat maps, texts, audits, provenance, room."""

import base64
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from mmtt import html, images
from mmtt.errors import SchemaError, UserError
from mmtt.ids import derived_id
from mmtt.layout import Layout
from mmtt.record import Record, Rejection
from mmtt.reports import Report
from mmtt.samples import digest_of
from pipelines.overview import audited, gallery, heat, texts, write_overview
from tests.factories import make_forged_record, make_record, make_report, stored_dataset
from tests.pipelines.test_overview import HOSTILE, escaped, only_text

IMPORTED: dict[str, Any] = {
    "forge": {},
    "imported": {"format": "pairs", "digest": "0" * 64, "options": {"folder": HOSTILE}},
}


def imported_record(seed: int, **changes: Any) -> Record:
    """A forged record as an importer makes it: nothing is known but picture and mask."""
    record = replace(
        make_forged_record(seed), record_id=derived_id("imported", seed), target_id=None, pristine=None, alpha=None,
        change=None, change_mean=None, mask_rule="imported", exact_mask=False, landmarks=[], landmark_scheme="none",
        landmark_finder="none", regions=[], region_shares=[], manipulation="unknown", manipulator="unknown",
        manipulator_version=None, seed=None, code_licence=None, align_matrix=[],
    )  # fmt: skip
    return replace(record, **changes)


def written(layout: Layout) -> str:
    return write_overview(layout.root).read_text(encoding="utf-8")


def plain(page: str) -> str:
    """What a reader reads."""
    return re.sub(r"\s+", " ", re.sub(r"<style.*?</style>|<script.*?</script>|<[^>]*>", "", page, flags=re.S))


def forged_pair(seed: int, **changes: Any) -> tuple[Record, Record]:
    return make_record(seed), make_forged_record(seed, **changes)


def test_an_imported_dataset_without_pristine_rows_has_a_page(tmp_path: Path) -> None:
    records = [imported_record(seed) for seed in range(3)]
    refused = [Rejection(stage="import", code="mask_size", detail="the mask is 3×3, the picture 64×64")]
    layout = stored_dataset(tmp_path, [], records, refused=refused, **IMPORTED)
    (layout.plan / "rejections.parquet").unlink(missing_ok=True)
    page = written(layout)
    told = plain(page)
    assert "0 pristine faces, and 3 forgeries of 1 family, imported from another dataset" in told
    assert "No landmarks are known" in told and "Nobody knows: the pictures have neither landmarks" in told
    assert "mask_size" in told and "Imported as pairs" in told
    assert re.findall(r'data-told="(.*?)"', page) == ["", "mask"] * 3
    assert "<svg" not in page
    only_text(page)


def test_an_import_of_nothing_has_a_page(tmp_path: Path) -> None:
    refused = [Rejection(stage="import", code="not_an_image", detail="none of JPEG, PNG")]
    page = written(stored_dataset(tmp_path, [], [], refused=refused, **IMPORTED))
    assert "Nothing is in it: everything that was to be imported was refused, 1 in all." in plain(page)


def hostile_dataset(root: Path, text: str = HOSTILE) -> Layout:
    """An imported dataset in which every text that a stranger may write is that one."""
    hostile = {
        "manipulation": text, "manipulator": text, "origin": text, "origin_id": text, "licence": text,
        "consent": text, "parameters": json.dumps({text: text}), "regions": [text], "region_shares": [0.5],
        "obligations": [text], "mask_rule": text, "manipulator_version": text, "group_id": text,
    }  # fmt: skip
    record = imported_record(0, **hostile)
    said = dict.fromkeys(("text_origin", "language", "protocol"), text)
    report = make_report(record, text, regions=[text], text_regions=[text], **said)
    refused = [Rejection(stage=text, code=text, detail=text)]
    layout = stored_dataset(root, [], [record], reports=[report], refused=refused, **IMPORTED)
    row = dict.fromkeys((*audited._WORDS, "verdict", "statistic", "interval", "gate", "n"), text)
    rows = [row, row | {"statistic": 1.5, "gate": 1, "n": 3, "interval": [1, 2]}]
    layout.audits.write_text(json.dumps({"digest": digest_of(root), "variant": text, "audits": rows}))
    return layout


def test_whatever_an_import_or_an_author_wrote_stays_text(tmp_path: Path) -> None:
    page = written(hostile_dataset(tmp_path))
    assert page.count(escaped(HOSTILE)) > 40
    only_text(page)


AUDIT_ROW: dict[str, Any] = {
    "id": "S1", "title": "File headers", "question": "?", "unit": "AUC", "better": "low", "gate": 0.55,
    "verdict": "fails", "statistic": 0.612, "interval": [0.58, 0.64], "n": 1200, "of": "rows",
    "sentence": "Headers tell.", "details": {}, "worst": [],
}  # fmt: skip


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    pristine, forged = zip(*(forged_pair(seed) for seed in range(3)), strict=True)
    return stored_dataset(tmp_path, pristine, forged)


def audit_file(layout: Layout, *rows: Any, **changes: Any) -> None:
    told = {"name": "x", "digest": digest_of(layout.root), "variant": "master", "rows": 6, "sampled": 4}
    layout.audits.write_text(json.dumps(told | {"audits": list(rows)} | changes), encoding="utf-8")


def test_audits_are_told_with_light_word_figure_interval_gate_and_sentence(layout: Layout) -> None:
    absent = {name: AUDIT_ROW[name] for name in ("id", "title", "question", "unit", "better", "gate")}
    audit_file(layout, AUDIT_ROW, absent | {"id": "L2", "verdict": "absent", "reason": "No hashes."})
    page = written(layout)
    row = re.search(r'<tr role="row"><th scope="row".*?S1.*?</tr>', page, re.S)
    assert row and 'class="light fails" data-sign="✕">fails<' in row[0]
    assert "0.612 AUC [0.58, 0.64], gate ≤ 0.55 Headers tell. (rows: 1,200)" in plain(row[0])
    assert "No hashes." in page and 'class="light absent"' in page
    assert "Out of date" not in page


def test_audits_of_another_state_are_called_out_of_date(layout: Layout) -> None:
    audit_file(layout, AUDIT_ROW, digest="0" * 64)
    assert "Out of date. The dataset has changed" in plain(written(layout))


def test_without_audits_the_page_says_how_to_make_them(layout: Layout) -> None:
    assert "Nobody has audited this dataset yet. mmtt audit DIR does" in plain(written(layout))


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"audits": 3}', "[" * 100_000, "\udcff", '{"audits": {"a": 1}}'], ids=range(7)
)
def test_a_damaged_audit_file_is_told_and_does_not_end_the_page(layout: Layout, content: str) -> None:
    layout.audits.write_bytes(content.encode(errors="surrogateescape"))
    assert audited.read_audits(layout).state == "damaged"
    assert "audits.json cannot be read" in plain(written(layout))


@pytest.mark.parametrize("figure", ["0.5", None, True, [1], {"a": 1}, float("nan"), float("inf"), 10**400])
def test_what_is_no_figure_is_none(layout: Layout, figure: Any) -> None:
    odd = AUDIT_ROW | {"statistic": figure, "gate": figure, "interval": [figure, 1], "n": figure, "verdict": "green"}
    audit_file(layout, odd, "no row", 7, None)
    found = audited.read_audits(layout)
    assert len(found.rows) == 1 and found.counts == [("absent", 1)]
    assert (found.rows[0]["statistic"], found.rows[0]["gate"], found.rows[0]["interval"]) == (None, None, None)
    written(layout)


def decoded(uri: str) -> np.ndarray:
    return images.decode_rgb(base64.b64decode(uri.partition(",")[2]))


def colour_at(share: float) -> np.ndarray:
    value = np.uint8([[round(share * 255)]])
    return cv2.cvtColor(cv2.applyColorMap(value, heat.COLOURS), cv2.COLOR_BGR2RGB)[0, 0]


def test_a_heat_map_is_the_mean_of_its_masks(tmp_path: Path) -> None:
    masks = np.zeros((4, 64, 64), np.uint8)
    masks[:, :32] = 255  # all cover the upper half, one the lower right quarter as well
    masks[0, 32:, 32:] = 255
    records = [imported_record(seed, mask=images.encode_png(mask)) for seed, mask in enumerate(masks)]
    layout = stored_dataset(tmp_path, [], records, **IMPORTED)
    rows = pd.DataFrame({"record_id": [r.record_id for r in records], "shard": 0, "row_group": 0, "row": range(4)})
    maps, top = heat.heat_maps({"a": rows, "b": rows[1:]}, [layout.forged / "bucket-0000.parquet"])
    assert (maps["a"].n, maps["a"].peak, maps["b"].n, top) == (4, 1.0, 3, 1.0)
    assert (maps["a"].face, maps["a"].faces) == ("", 0)
    for family, shares in (("a", (1, 1, 0, 0.25)), ("b", (1, 1, 0, 0))):
        pixels = decoded(maps[family].uri).astype(int)
        corners = [pixels[5, 5], pixels[5, -5], pixels[-5, 5], pixels[-5, -5]]
        for corner, share in zip(corners, shares, strict=True):
            assert np.abs(corner - colour_at(share)).max() <= 2


def test_a_heat_map_reads_a_sample_and_shows_the_mean_face(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heat, "MASKS", 2)
    page = written(layout)
    assert "2 of 3 masks" in plain(page)
    assert re.search(r'<path class="over" d="M[\d. ]+L', page)


def test_a_mask_that_cannot_be_decoded_is_left_out_of_map_and_sheet(tmp_path: Path) -> None:
    records = [imported_record(0), imported_record(1, mask=b"no picture")]
    told = plain(written(stored_dataset(tmp_path, [], records, **IMPORTED)))
    assert "1 of 2 masks" in told
    assert "1 of the records that were to be shown cannot be decoded" in told


def table_of(*reports: Report) -> pd.DataFrame:
    return pd.DataFrame([{name: getattr(r, name) for name in texts._COLUMNS} for r in reports])


def test_texts_are_counted_by_origin_length_region_and_agreement() -> None:
    one, other = make_record(0), make_record(1)
    found = texts.statistics(
        table_of(
            make_report(one, "The nose is off.", annotator="a", regions=["nose", "lip"]),
            make_report(one, "The lip is off, and so on, and so on, and on.", annotator="b", regions=["lip"]),
            make_report(other, "鼻子不对", language="zh", text_origin="model", regions=[], text_regions=[]),
        ),
        {other.record_id},
    )
    assert found is not None
    assert (found["count"], found["records"], found["distinct"], found["median_words"]) == (3, 2, 3, 4)
    assert [(row["origin"], row["count"], row["machine"]) for row in found["origins"]] == [
        ("human", 2, False),
        ("model", 1, True),
    ]
    assert found["languages"] == [("en", 2), ("zh", 1)]
    assert [cell[0] for _, cell in found["lengths"]] == [2, 1, 0, 0, 0, 0, 0]
    assert found["regions"] == [{"word": "nose", "named": 2, "chosen": 1}, {"word": "lip", "named": 0, "chosen": 2}]
    assert found["agreement"] == {"records": 1, "jaccard": 0.5}
    assert found["examples"][0]["record_id"] == other.record_id


def test_without_texts_there_are_no_statistics(layout: Layout) -> None:
    assert texts.statistics(texts.read_texts(layout.root), ()) is None
    assert "No record has a text." in plain(written(layout))


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        ("human", "written by a person"),
        ("template", "written by a machine"),
        ("new", "who or what wrote it is not known"),
    ],
)
def test_every_text_says_who_wrote_it(tmp_path: Path, origin: str, told: str) -> None:
    pristine, forged = forged_pair(0)
    report = make_report(forged, "A seam runs along the chin.", text_origin=origin)
    page = plain(written(stored_dataset(tmp_path, [pristine], [forged], reports=[report])))
    assert page.count("A seam runs along the chin.") == 2  # among the texts, and with its record
    assert len(re.findall(rf"A seam runs along the chin\. {origin}, [^.]*{told}", page)) == 2


def test_reports_that_are_no_table_of_ours_are_an_error(layout: Layout) -> None:
    path = layout.root / "reports" / "reports.parquet"
    path.parent.mkdir()
    path.write_bytes(b"no table")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        write_overview(layout.root)
    pd.DataFrame({"text": ["x"]}).to_parquet(path)
    with pytest.raises(SchemaError, match="lacks the column"):
        write_overview(layout.root)


def test_provenance_tells_all_that_a_row_knows(tmp_path: Path) -> None:
    pristine, forged = forged_pair(
        0, source_id="donor-7", source_origin="museum", source_origin_id="m-1", source_licence="CC-BY-4.0",
        source_consent="given", source_group_id="g-2", weights_sha256="ab" * 32, weights_licence="CC0-1.0",
        code_sha256="cd" * 32, parser="parser 3",
    )  # fmt: skip
    layout = stored_dataset(tmp_path, [pristine], [forged], splits={pristine.record_id: "validation"})
    article = re.search(r'<article class="from".*?</article>', written(layout), re.S)
    assert article
    told = plain(article[0])
    for value in (
        forged.record_id, forged.target_id, "donor-7", "museum", "m-1", "CC-BY-4.0", "given", "g-2", "drawn people",
        forged.origin_id, forged.group_id, "darken", forged.seed, forged.image_sha256, forged.weights_sha256,
        forged.code_sha256, "CC0-1.0", "Apache-2.0", "BY", "blend", "validation", "parser 3", "shard bucket-0000",
    ):  # fmt: skip
        assert str(value) in told
    assert escaped('{"regions": ["nose"]}') in told


def test_pictures_take_no_more_room_than_there_is() -> None:
    def made(record_id: str) -> tuple[str, int] | None:
        return None if record_id == "broken" else (record_id, 10)

    chosen = {"a": ["a1", "a2", "a3"], "b": ["broken", "b2"], "c": ["c1"]}
    assert gallery._filled(chosen, 9, 1000, made) == {"a": ["a1", "a2", "a3"], "b": ["b2"], "c": ["c1"]}
    assert gallery._filled(chosen, 9, 21, made) == {"a": ["a1", "a2"], "b": [], "c": ["c1"]}
    assert gallery._filled(chosen, 1, 1000, made) == {"a": ["a1"], "b": [], "c": ["c1"]}


def test_an_imported_page_is_the_same_wherever_it_lies(tmp_path: Path) -> None:
    pages = [
        written(stored_dataset(tmp_path / name, [], [imported_record(seed) for seed in range(2)], **IMPORTED))
        for name in ("here", "there")
    ]
    assert pages[0] == pages[1]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.12345, "0.1235"), (152_217, "152,217"), (1234.6, "1,235"), (1e-7, "1e-07"), (float("nan"), "nan")],
)
def test_figures_keep_four_digits(value: float, text: str) -> None:
    assert html.figure(value) == text


def test_imported_forgeries_count_among_the_pictures_of_their_origin(tmp_path: Path) -> None:
    pristine, (_, forged) = [make_record(seed) for seed in range(2)], forged_pair(0)
    came = [imported_record(seed, origin=pristine[0].origin, licence=pristine[0].licence) for seed in range(3)]
    options = {"splits": {"shares": {"train": 0.8, "test": 0.2}}, "find_faces": False, "revision": None, "columns": {}}
    imported = IMPORTED["imported"] | {"options": options}
    told = plain(written(stored_dataset(tmp_path, pristine, came, **IMPORTED | {"imported": imported})))
    assert f"{forged.origin}: 5 pictures, 3 of them forged when they came, licence" in told
    assert "find faces: no; splits: shares test 0.2, train 0.8." in told, "and neither braces nor what is empty"


def test_controls_of_strangers_stand_in_no_page_but_lines_stay(tmp_path: Path) -> None:
    record = imported_record(0, origin="a\x00b\x1b[2Jc\x9bd")
    report = make_report(record, "One.\nTwo\x08\x7f.")
    page = written(stored_dataset(tmp_path, [], [record], reports=[report], **IMPORTED))
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", page)
    assert "a\ufffdb\ufffd[2Jc\ufffdd" in page
    assert "One.\nTwo\ufffd\ufffd." in page
