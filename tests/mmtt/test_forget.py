"""`mmtt forget`, whole: a released dataset, a person who leaves, the next release, and what a killed run leaves."""

import json
import shutil
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

import pipelines.cli
from mmtt import cli, forget
from mmtt.check import verify_all
from mmtt.errors import UserError
from mmtt.executors import serial
from mmtt.files import file_sha256
from mmtt.layout import Layout
from mmtt.manifest import read, read_columns
from mmtt.progress import silent
from mmtt.pruning import PAGES
from mmtt.recipe import Recipe
from mmtt.release import DATA, Release, Version, read_removed
from mmtt.release_check import verify_release
from mmtt.removal import Removal, begin, journal
from pipelines.release.staging import release
from pipelines.removals.restaging import restage
from pipelines.template_reports import write_template_reports
from tests.factories import answered, build, source_row, tiny_dataset, write_sources

ON = date(2026, 11, 27)
NAME = "person 3"
# A dozen drawn people say nothing about shortcuts, and their texts are templates.
GATES = dict.fromkeys(["S1", "S2", "S3", "S4", "S7", "L1", "L2", "L3", "F1", "X1", "X2", "X6", "X7", "M2", "R2"])


@pytest.fixture(scope="module")
def released(tmp_path_factory) -> Layout:
    layout = tiny_dataset(tmp_path_factory.mktemp("forget") / "dataset", 8, ("recolour", "face_swap"),
                          audit={"gates": GATES, "sample": 20}, buckets=4)  # fmt: skip
    rows = [
        source_row(f"drawn_{n:02d}.png", f"person {n}", origin_id=f"origin-{n}", consent="nobody") for n in range(8)
    ]
    write_sources(layout.root, rows)
    build(layout)
    write_template_reports(layout)
    answered(layout.root, repository="someone/tiny", removal_contact="leave@example.org")
    release(layout, Recipe.load(layout.recipe), Version(1, 0, 0), ON, serial, lambda _: silent)
    return layout


@pytest.fixture
def copy(released, tmp_path) -> Layout:
    shutil.copytree(released.root, tmp_path / "copy")
    return Layout(tmp_path / "copy")


@pytest.fixture
def unreleased(released, tmp_path) -> Layout:
    """The same, before its first release; a killed run has left half of one."""
    shutil.copytree(released.root, tmp_path / "copy", ignore=shutil.ignore_patterns("releases"))
    (tmp_path / "copy" / "releases" / ".1.0.0.partial" / "data").mkdir(parents=True)
    (tmp_path / "copy" / "releases" / ".1.0.0.partial" / "README.md").write_text(NAME)
    return Layout(tmp_path / "copy")


def run(*words: object, stdin: str = "", app: typer.Typer = cli.app) -> "tuple[int, str]":
    result = CliRunner().invoke(app, [str(word) for word in words], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def files(root: Path) -> dict[str, str]:
    found = (path for path in root.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(root).as_posix(): file_sha256(path) for path in found}


def test_from_plan_to_the_next_release_nothing_is_left(copy, tmp_path):
    closure, mine, before = tmp_path / "closure.json", tmp_path / "mine", files(copy.root)
    shutil.copytree(copy.root / "releases" / "1.0.0", mine)  # somebody has a copy
    old = {record.record_id: record for record in read(copy.root / "releases" / "1.0.0" / DATA)}
    code, told = run("forget", "plan", copy.root, NAME, "--out", closure)
    assert code == 0 and "Nothing was changed" in told and "releases/1.0.0: the staged folder goes" in told
    assert files(copy.root) == before
    removal = Removal.load(closure)
    assert removal.subjects == (NAME,) and removal.texts
    assert closure.stat().st_mode & 0o077 == 0, "it names the person"

    code, told = run("forget", "apply", copy.root, NAME, stdin="y\n")
    assert code == 0 and "finds nothing that is left" in told
    code, told = run("forget", "verify", copy.root, closure, "--json")
    assert (code, json.loads(told)) == (0, {"traces": []})

    folder = copy.root / "releases" / "1.0.1"
    assert [path.name for path in (copy.root / "releases").glob("[!.]*")] == ["1.0.1"]
    assert list(verify_release(folder)) == []
    assert (Release.load(folder).version, Release.load(folder).previous) == ("1.0.1", "1.0.0")
    stones = read_removed(folder / "removed.csv")
    assert {stone.record_id for stone in stones} == old.keys() & set(removal.records)
    assert {(stone.version, stone.reason) for stone in stones} == {("1.0.1", "erasure")}
    for path in (mine / DATA).glob("*.parquet"):
        if not set(_ids(path)) & set(removal.records):
            assert file_sha256(folder / DATA / path.name) == file_sha256(path), "only the planned shards change"
    new = {record.record_id: record for record in read(folder / DATA)}
    assert new == {key: record for key, record in old.items() if key not in removal.records}
    assert all(new[key].split == old[key].split for key in new)
    notice = (copy.root / "private" / "notices" / "1.0.1.md").read_text()
    assert f"take {len(stones)} records out" in notice and "leave@example.org" in notice and "someone/tiny" in notice
    assert NAME not in notice and not any(name in notice for name in removal.records)
    assert not journal(copy.root).exists()

    code, told = run("prune", mine, "--removed", folder / "removed.csv", "--yes")
    assert code == 0 and "rows that went: " in told
    texts = [path.read_text() for path in mine.glob("*.md")]
    assert not any(f"]({name})" in text for text in texts for name in PAGES) and "(not in this copy)" in "".join(texts)
    assert {record.record_id: record for record in read(mine / DATA)} == new
    assert list(verify_release(mine)) == []


def _ids(path: Path) -> list[str]:
    return pq.read_table(path, columns=["record_id"]).column("record_id").to_pylist()


def forget_all(layout: Layout, removal: Removal, between=lambda _: None) -> None:
    def staged(removal):
        return restage(layout.root, removal, ON, serial, lambda _: silent)

    list(forget.apply(layout.root, removal, ON, staged, between))


class Killed(BaseException):
    pass


def test_stopped_between_any_two_steps_and_run_again_it_ends_the_same(unreleased, tmp_path):
    removal, ends = forget.close(unreleased.root, NAME), []
    for stop in (None, "deny-list", "baselines", "pipelines", "release", "end"):
        layout = Layout(tmp_path / f"{stop}")
        shutil.copytree(unreleased.root, layout.root)

        def between(step, stop=stop):
            if step == stop:
                raise Killed

        if stop is not None:
            with pytest.raises(Killed):
                forget_all(layout, removal, between)
            assert forget.under_way(layout.root, None) == removal
        forget_all(layout, forget.under_way(layout.root, NAME) or removal)
        assert not any((layout.root / "releases").iterdir()), "what a killed release left goes, too"
        ends.append(files(layout.root))
    assert all(end == ends[0] for end in ends)


def test_a_release_that_cannot_be_made_is_told_and_made_later(copy):
    sheet = copy.root / "datasheet.toml"
    text = sheet.read_text()
    sheet.write_text(text.replace("[answers]", "[answers]\nnonsense = 'x'"))
    with pytest.raises(UserError, match=r"All else is done, but the next release cannot be staged: .* goes on"):
        run("forget", "apply", copy.root, NAME, "--yes")
    assert journal(copy.root).exists() and (copy.root / "releases" / "1.0.0").exists()
    with pytest.raises(UserError, match=r"Another removal is not completed"):
        run("forget", "plan", copy.root, "person 1")
    sheet.write_text(text)
    removal, notice = Removal.load(journal(copy.root)), copy.root / "private" / "notices" / "1.0.1.md"
    (copy.root / "releases" / ".1.0.1.partial" / "data").mkdir(parents=True)  # a killed run was staging it
    assert run("forget", "apply", copy.root, "--yes")[0] == 0
    assert [path.name for path in (copy.root / "releases").iterdir() if path.is_dir()] == ["1.0.1"]
    told = notice.read_bytes()
    notice.unlink()
    begin(copy.root, removal)  # as if killed when it was staged
    assert run("forget", "apply", copy.root, "--yes")[0] == 0
    assert notice.read_bytes() == told
    assert [path.name for path in (copy.root / "releases").iterdir() if path.is_dir()] == ["1.0.1"]


def test_when_the_last_one_leaves_no_version_follows(copy):
    write_sources(copy.root, [source_row(path.name, "everybody", consent="nobody") for path in copy.photos.iterdir()])
    code, told = run("forget", "apply", copy.root, "everybody", "--yes")
    assert code == 0 and "nobody is left, so no version follows" in told
    assert not [path for path in (copy.root / "releases").iterdir() if path.is_dir()]
    assert list(verify_all([copy.pristine, copy.forged])) == []


def test_what_only_the_curator_can_mend_keeps_the_removal_open(unreleased):
    (unreleased.root / "notes.txt").write_text(f"{NAME} wrote to us")
    with pytest.raises(UserError, match=r"a search still finds 1 place\."):
        run("forget", "apply", unreleased.root, NAME, "--yes")
    assert journal(unreleased.root).exists()
    (unreleased.root / "notes.txt").unlink()
    assert run("forget", "apply", unreleased.root, "--yes")[0] == 0
    assert not journal(unreleased.root).exists()


def test_predictions_and_scores_lose_their_lines(unreleased, tmp_path):
    removal = forget.close(unreleased.root, NAME)
    kept = next(row["record_id"] for row in read_columns(unreleased.forged, ["record_id"])
                if row["record_id"] not in removal.records)  # fmt: skip
    (tmp_path / "runs").mkdir()
    lines = [json.dumps({"image_id": name, "text": "x"}) + "\n" for name in (kept, removal.records[0])]
    (tmp_path / "runs" / "predictions.jsonl").write_text("".join(lines))
    code, _ = run("forget", "apply", unreleased.root, NAME, "--yes", "--runs", tmp_path / "runs")
    assert code == 0
    assert (tmp_path / "runs" / "predictions.jsonl").read_text() == lines[0]


def test_a_killed_removal_goes_on_with_its_folders_of_runs(unreleased, tmp_path, monkeypatch):
    monkeypatch.setenv("MMTT_RUNS", "")
    removal = forget.close(unreleased.root, NAME)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        lines = json.dumps({"image_id": removal.records[0], "text": "x"}) + "\n"
        (tmp_path / name / "predictions.jsonl").write_text(lines)
    begin(unreleased.root, forget.close(unreleased.root, NAME, [str(tmp_path / "one")]))
    _, told = run("forget", "plan", unreleased.root, NAME)
    assert f"mmtt forget apply --runs {tmp_path / 'one'} " in told
    assert run("forget", "apply", unreleased.root, "--yes", "--runs", tmp_path / "two")[0] == 0
    assert [(tmp_path / name / "predictions.jsonl").read_text() for name in ("one", "two")] == ["", ""]


def test_nothing_is_made_while_a_removal_is_under_way(copy):
    begin(copy.root, forget.close(copy.root, NAME))
    before, app = files(copy.root), typer.Typer()
    pipelines.cli.register(app)
    commands = ("build", "ingest", "plan", "forge", "degrade", "overview")
    for words in (*((command, copy.root) for command in commands), ("release", copy.root, "--version", "1.1.0")):
        with pytest.raises(UserError, match=r"A removal is not completed in .*completes it first"):
            run(*words, app=app)
    assert files(copy.root) == before
    assert run("replay", copy.root, "--json", app=app)[0] == 0, "readers read"


def test_a_lost_certificate_is_no_hindrance(copy):
    (copy.root / "releases" / "1.0.0" / "marked").mkdir()
    _, told = run("forget", "plan", copy.root, NAME)
    assert "has marked pictures: the next needs" in told
    assert f"mmtt forget apply --certificate CHAIN.pem --key KEY.pem {copy.root} '{NAME}'" in told
    with pytest.raises(UserError, match=r"Give --certificate and --key, .* or --without-marks"):
        run("forget", "apply", copy.root, NAME, "--yes")
    with pytest.raises(UserError, match=r"exclude each other"):
        run("forget", "apply", copy.root, NAME, "--yes", "--without-marks", "--certificate", "x", "--key", "y")
    assert not journal(copy.root).exists()
    code, told = run("forget", "apply", copy.root, NAME, "--yes", "--without-marks")
    assert code == 0 and "releases/1.0.1: has no marked pictures any more" in told
    assert "marked" not in Release.load(copy.root / "releases" / "1.0.1").rows


def test_where_nobody_can_answer_it_is_told_and_counts_are_words(copy):
    with pytest.raises(UserError, match=r"Nobody is there to answer.* Give --yes"):
        run("forget", "apply", copy.root, NAME)
    assert not journal(copy.root).exists()
    assert "\n1 photo, 1 pristine record, " in run("forget", "plan", copy.root, NAME)[1]


def test_a_closure_inside_the_dataset_is_refused(copy):
    for verb in ("plan", "apply"):
        with pytest.raises(UserError, match=r"would lie in the dataset.* Give --out a place outside"):
            run("forget", verb, copy.root, NAME, "--out", copy.root / "private" / "closure.json")


def test_nobody_goes_unless_it_is_confirmed(copy):
    before = files(copy.root)
    assert run("forget", "apply", copy.root, NAME, stdin="n\n")[0] == 1
    assert files(copy.root) == before
