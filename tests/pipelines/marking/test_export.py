"""Marked shards: one for each shard of records, signed once, and kept as long as what they tell is true."""

import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mmtt import images
from mmtt.audit import Verdict
from mmtt.errors import UserError
from mmtt.executors import processes, serial
from mmtt.progress import silent
from mmtt.recipe import Recipe
from mmtt.release import DATA, MARKED, RELEASE, Release
from mmtt.shards import ShardWriter, read_footer, read_rows
from pipelines import cli_mark
from pipelines.marking import certificate
from pipelines.marking.check import faults
from pipelines.marking.credentials import read
from pipelines.marking.definition import COLUMNS as PICTURE_COLUMNS
from pipelines.marking.definition import Picture
from pipelines.marking.export import MarkedPicture, mark, write_marked
from pipelines.marking.keys import load_signer
from pipelines.release import shards
from pipelines.release.selection import select
from tests.factories import make_forged_record, make_record, make_report, stored_dataset
from tests.pipelines.audits.verdicts import outcome

TODAY = date.today()
SEEDS = range(8)
PRISTINE = [make_record(seed, consent="nobody") for seed in SEEDS]
FORGED = [make_forged_record(seed, consent="nobody") for seed in SEEDS]
COLUMNS = ["record_id", "split", "manipulation", "image", "image_sha256", "mask", "master_sha256"]
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def pair(tmp_path_factory):
    """Paths of a certificate and its key."""
    folder = tmp_path_factory.mktemp("pair")
    certificate.make(folder, "a test", datetime.now(UTC) - timedelta(days=1))
    return folder / certificate.CERTIFICATE, folder / certificate.KEY


@pytest.fixture(scope="session")
def signer(pair):
    return load_signer(*pair, TODAY)


def release_of(version):
    return Release(
        name="tiny", version=version, date="2026-11-27", previous=None, licence="CC0-1.0", schema_version=4,
        recipe_sha256="ab" * 32, buckets=2, rows={},
    )  # fmt: skip


def staged(root, pristine=PRISTINE, forged=FORGED, version="1.0.0", reports=(), previous=None):
    """Stage the records of a release; return its folder."""
    layout = stored_dataset(root / "dataset", pristine, forged, buckets=2)
    recipe = Recipe.load(layout.recipe)
    chosen = select(layout, recipe, (), TODAY)
    folder = root / version
    folder.mkdir(parents=True)
    (folder / RELEASE).write_text(release_of(version).to_json(), encoding="utf-8")
    todo = shards.jobs(chosen.rows, reports, {}, recipe.buckets)
    shards.write_shards(todo, folder, previous, serial, silent)
    shards.write_manifest(todo, folder, {})
    return folder


def marked(folder, signer, executor=serial, previous=None):
    return write_marked(folder, folder / MARKED, signer, executor, silent, previous)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, signer):
    """A release with its marked shards, to be copied and not changed."""
    folder = staged(tmp_path_factory.mktemp("whole"))
    marked(folder, signer)
    return folder


@pytest.fixture
def release(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "release"))


def digests(folder):
    return {path.name: images.sha256(path.read_bytes()) for path in (folder / MARKED).glob("*.parquet")}


def rows_of(folder):
    return [row for path in sorted((folder / MARKED).glob("*.parquet")) for row in read_rows(path, COLUMNS)]


def check(folder):
    return faults(folder, serial, silent)


# --- what is written ---


def test_each_record_is_marked_once_in_the_shard_of_its_name(whole):
    assert sorted(digests(whole)) == sorted(path.name for path in (whole / DATA).glob("*.parquet"))
    rows = rows_of(whole)
    assert sorted(row["record_id"] for row in rows) == sorted(record.record_id for record in (*PRISTINE, *FORGED))
    assert all(read(row["image"]["bytes"]).record["record_id"] == row["record_id"] for row in rows)
    assert check(whole) == []


def test_a_forgery_names_the_digest_of_its_target_where_that_is_released(whole):
    said = {row["record_id"]: read(row["image"]["bytes"]).record for row in rows_of(whole)}
    for record, target in zip(FORGED, PRISTINE, strict=True):
        assert said[record.record_id]["target"] == {
            "record_id": target.record_id, "image_sha256": target.image_sha256
        }  # fmt: skip


def test_datasets_reads_them_without_us(whole):
    import datasets

    files = {"train": [str(path) for path in (whole / MARKED).glob("train-*.parquet")]}
    stream = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True)
    row = next(iter(stream))
    assert row["image"].size == row["mask"].size == (64, 64)
    assert set(row) == {*COLUMNS, "schema_version"}


# --- what is kept ---


def test_run_again_it_signs_nothing_and_changes_no_byte(release, signer):
    before = digests(release)
    done = marked(release, signer)
    assert (done.signed, sorted(done.kept)) == ([], sorted(name.removesuffix(".parquet") for name in before))
    assert sum(done.rows.values()) == 16
    assert digests(release) == before


def test_what_a_killed_run_left_is_kept_or_swept(release, signer):
    before = digests(release)
    lost = sorted(before)[0]
    (release / MARKED / lost).unlink()
    (release / MARKED / f".{lost}.123.tmp").write_bytes(b"torn")
    (release / MARKED / "train-00009-of-00002.parquet").write_bytes(b"of another release")
    assert marked(release, signer).signed == [lost.removesuffix(".parquet")]
    assert {name for name, sha256 in digests(release).items() if before.get(name) != sha256} == {lost}
    assert sorted(path.name for path in (release / MARKED).iterdir()) == sorted(before)
    assert check(release) == []


_KILLED = """
import os, signal, sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from mmtt.executors import serial
from pipelines.marking.export import write_marked
from pipelines.marking.keys import load_signer

def deadly(due, results):
    for result in results:
        yield result
        os.kill(os.getpid(), signal.SIGKILL)

release, certificate, key = map(Path, sys.argv[1:])
write_marked(release, release / "marked", load_signer(certificate, key, date.today()), serial, deadly)
"""


def test_killed_in_the_middle_it_goes_on(tmp_path, pair, signer):
    folder = staged(tmp_path)
    done = subprocess.run([sys.executable, "-c", _KILLED, str(folder), *map(str, pair)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    first = digests(folder)
    assert len(first) == 1
    again = marked(folder, signer)
    assert [f"{name}.parquet" for name in again.kept] == list(first)
    assert first.items() <= digests(folder).items()
    assert check(folder) == []


def test_a_report_changes_no_mark_and_a_mask_those_of_its_shard_alone(tmp_path, release, signer):
    texts = [make_report(FORGED[0])]
    told = staged(tmp_path / "told", version="1.1.0", reports=texts)
    done = marked(told, signer, previous=release)
    assert done.signed == [] and digests(told) == digests(release)
    mask = images.encode_png(images.decode_gray(FORGED[0].mask) // 255 * 255, 9)
    assert mask != FORGED[0].mask
    other = staged(tmp_path / "other", forged=[replace(FORGED[0], mask=mask), *FORGED[1:]], version="1.1.0")
    done = marked(other, signer, previous=release)
    (name,) = done.signed
    assert FORGED[0].record_id in [row["record_id"] for row in read_rows(other / DATA / f"{name}.parquet", COLUMNS[:1])]
    assert check(other) == []


def test_marks_that_are_taken_over_name_the_release_in_which_they_were_signed(tmp_path, release, signer):
    following = staged(tmp_path, version="1.1.0", forged=FORGED[1:])
    done = marked(following, signer, previous=release)
    assert len(done.signed) == 1
    versions = {
        row["split"] + read(row["image"]["bytes"]).record["release"]: path.stem in done.signed
        for path in (following / MARKED).glob("*.parquet")
        for row in read_rows(path, COLUMNS)
    }
    assert all(signed == name.endswith("1.1.0") for name, signed in versions.items())
    assert check(following) == []


def test_another_signer_signs_everything_anew(release, tmp_path):
    certificate.make(tmp_path / "new", "another", datetime.now(UTC) - timedelta(days=1))
    other = load_signer(tmp_path / "new" / certificate.CERTIFICATE, tmp_path / "new" / certificate.KEY, TODAY)
    assert marked(release, other).kept == []
    assert {read(row["image"]["bytes"]).signer for row in rows_of(release)} == {"another, self-made, for trying"}


def test_workers_say_the_same(release, whole, signer):
    shutil.rmtree(release / MARKED)
    assert len(marked(release, signer, processes(2)).signed) == len(digests(whole))
    pairs = zip(rows_of(release), rows_of(whole), strict=True)
    assert all(read(one["image"]["bytes"]) == read(two["image"]["bytes"]) for one, two in pairs)


# --- what is found ---


def rewritten(folder, change):
    """Write the first marked shard again, its rows changed."""
    path = min((folder / MARKED).glob("*.parquet"))
    footer, rows = read_footer(path), list(read_rows(path, COLUMNS))
    writer = ShardWriter(path, MarkedPicture)
    for row in change([row | {name: row[name]["bytes"] for name in ("image", "mask")} for row in rows]):
        writer.add(MarkedPicture(**row))
    writer.close(footer)


def pixel_changed(rows):
    data = bytearray(rows[0]["image"])
    data[-200] ^= 1
    return [rows[0] | {"image": bytes(data), "image_sha256": images.sha256(bytes(data))}, *rows[1:]]


def stripped(rows):
    image = images.encode_png(images.decode_rgb(rows[0]["image"]))
    return [rows[0] | {"image": image, "image_sha256": images.sha256(image)}, *rows[1:]]


FAULTS = {
    "credentials are changed": pixel_changed,
    "credentials are absent": stripped,
    "tell another record_id": lambda rows: [
        rows[0] | {name: rows[1][name] for name in ("image", "image_sha256")}, *rows[1:]
    ],
    "is another row": lambda rows: [rows[1], rows[0], *rows[2:]],
    "one row for each record": lambda rows: rows[1:],
    "pixels are not those of its master": lambda rows: [
        rows[0] | {name: rows[1][name] for name in ("image", "image_sha256")}, *rows[1:]
    ],
    "digests are not those": lambda rows: [rows[0] | {"master_sha256": "0" * 64}, *rows[1:]],
}  # fmt: skip


@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_in_a_marked_shard_is_found(what, release):
    rewritten(release, FAULTS[what])
    found = check(release)
    assert any(what in told for _, told in found), found
    assert {where.split(",")[0] for where, _ in found} == {f"marked/{min(digests(release))}"}


def test_a_shard_too_few_or_too_many_is_found(release):
    lost = min((release / MARKED).glob("*.parquet"))
    lost.rename(lost.with_name("train-00007-of-00002.parquet"))
    assert [what for _, what in check(release)] == [
        "belongs to no shard of records", "is missing, or is no shard of marked pictures"
    ]  # fmt: skip


# --- audits ---


def audited(root, signer, kinds, seeds=8):
    """Write records as a dataset, the pictures of those kinds as a marked shard holds them."""
    told = release_of("1.0.0")

    def of(record):
        picture = Picture.of({name: getattr(record, name) for name in PICTURE_COLUMNS}, {})
        image = mark(record.image, picture, told, signer)
        return replace(record, image=image, image_sha256=images.sha256(image))

    made = {"pristine": make_record, "forged": make_forged_record}
    records = {kind: [make(seed) for seed in range(seeds)] for kind, make in made.items()}
    chosen = {kind: [of(record) for record in rows] if kind in kinds else rows for kind, rows in records.items()}
    return stored_dataset(root, chosen["pristine"], chosen["forged"])


@pytest.mark.parametrize(
    ("kinds", "verdict"),
    [
        (("pristine", "forged"), Verdict.PASSES), ((), Verdict.ABSENT), (("pristine",), Verdict.FAILS),
        (("forged",), Verdict.FAILS),
    ],
)  # fmt: skip
def test_r3_passes_where_both_kinds_are_marked_and_fires_where_one_is_not(kinds, verdict, signer, tmp_path):
    assert outcome(audited(tmp_path, signer, kinds), "R3").verdict is verdict


def test_marks_are_no_leftovers_of_people(signer, tmp_path):
    assert outcome(audited(tmp_path, signer, ("pristine", "forged")), "R4").verdict is Verdict.PASSES


@pytest.mark.parametrize(
    ("kinds", "verdict"),
    [((), Verdict.PASSES), (("pristine", "forged"), Verdict.PASSES), (("forged",), Verdict.FAILS)],
)
def test_headers_tell_the_kinds_apart_only_where_one_alone_is_marked(kinds, verdict, signer, tmp_path):
    found = outcome(audited(tmp_path, signer, kinds, seeds=60), "S1")
    assert found.verdict is verdict, found


# --- commands ---


@pytest.fixture
def command():
    app = typer.Typer()
    app.command("other")(lambda: None)
    cli_mark.register(app)

    def run(*arguments):
        done = CliRunner().invoke(app, ["mark", *map(str, arguments)])
        if isinstance(done.exception, UserError):
            raise done.exception
        return done

    return run


def test_a_marked_picture_is_read_and_a_stripped_one_says_so(whole, command, pair, tmp_path):
    row = next(row for row in rows_of(whole) if row["manipulation"])
    path = tmp_path / "picture.png"
    path.write_bytes(row["image"]["bytes"])
    done = command("read", path)
    assert done.exit_code == 0
    assert f"{row['record_id']} of tiny 1.0.0, manipulated: recolour" in done.output and "untrusted" in done.output
    assert "(trusted)" in command("read", path, "--trust", pair[0].with_name("root.pem")).output
    assert "before it was changed" not in done.output
    path.write_bytes(path.read_bytes().replace(b"Manipulated", b"Immaculated"))
    lines = command("read", path).output.splitlines()
    assert "BROKEN" in lines[0] and "what follows was said before it was changed" in lines[1] and len(lines) > 4
    path.write_bytes(images.encode_png(images.decode_rgb(path.read_bytes())))
    done = command("read", path)
    assert done.exit_code == 3 and "stripped" in done.output
    assert '"state": "absent"' in command("read", path, "--json").output


def test_what_is_no_picture_is_a_sentence(command, tmp_path):
    path = tmp_path / "words.png"
    path.write_text("words")
    with pytest.raises(UserError, match=r"words\.png: no PNG"):
        command("read", path)
    with pytest.raises(UserError, match="cannot be read"):
        command("read", tmp_path / "nowhere.png")
    picture = tmp_path / "picture.png"
    picture.write_bytes(PRISTINE[0].image)
    with pytest.raises(UserError, match=r"words\.png: no certificates in PEM"):
        command("read", picture, "--trust", path)


def test_a_release_is_exported_elsewhere_and_never_into_itself(release, command, pair, tmp_path):
    options = ("--certificate", pair[0], "--key", pair[1], "--out")
    assert "shards signed" in command("export", release, *options, tmp_path / "out").output
    assert sorted(path.name for path in (tmp_path / "out").glob("*.parquet")) == sorted(digests(release))
    with pytest.raises(UserError, match="lies inside"):
        command("export", release, *options, release / "out")
    pair[1].chmod(0o644)
    try:
        with pytest.raises(UserError, match="chmod 600"):
            command("export", release, *options, tmp_path / "other")
    finally:
        pair[1].chmod(0o600)
    assert not (tmp_path / "other").exists()


def test_a_forgery_to_be_shown_is_framed_and_a_pristine_picture_is_not(release, command, pair, tmp_path):
    options = ("--certificate", pair[0], "--key", pair[1])
    for record, framed in ((FORGED[0], True), (PRISTINE[0], False)):
        out = tmp_path / "shown.png"
        command("picture", release, record.record_id, out, *options)
        pixels, found = images.decode_rgb(out.read_bytes()), read(out.read_bytes())
        assert (pixels.shape[0] > 64) is framed and found.state == "valid"
        assert found.record["record_id"] == record.record_id
    with pytest.raises(UserError, match="holds no record"):
        command("picture", release, "0" * 24, tmp_path / "none.png", *options)
    with pytest.raises(UserError, match="which is a folder"):
        command("picture", release, FORGED[0].record_id, tmp_path, *options)


def test_a_certificate_made_here_signs(command, release, tmp_path):
    made = command("certificate", tmp_path / "made").output
    assert f"mmtt mark read IMAGE --trust {tmp_path / 'made' / 'root.pem'}" in made
    options = ("--certificate", tmp_path / "made/certificate.pem", "--key", tmp_path / "made/key.pem")
    assert command("export", release, *options, "--out", tmp_path / "out").exit_code == 0
