"""The `command` manipulator against a real process that does what programs of others do, on purpose."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from mmtt import images
from mmtt.check import verify
from mmtt.contract import Case, violations
from mmtt.errors import RecipeError, Rejected, UserError
from mmtt.manifest import read
from mmtt.manipulator import Edit, Job
from mmtt.recipe import Recipe
from mmtt.record import Note, Rejection
from mmtt.shards import read_table
from pipelines import manipulators
from pipelines.manipulators import foreign, programs, work_folder
from pipelines.manipulators.region_holes import RegionHoles
from pipelines.plan import require_fresh
from tests.factories import build, tiny_dataset
from tests.pipelines.shapes import random_face, random_photo
from tests.support import stand_in

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "pipelines" / "manipulators" / "COMMAND.md").read_text(encoding="utf-8")
OPTIONS = {"program": "program", "family": "face_swap", "code_licence": "MIT", "retries": 0}
SIDE_PX = 96


@pytest.fixture(name="home")
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("MMTT_MODELS", str(tmp_path / "models"))
    foreign._streaks.clear()
    return stand_in.install(tmp_path / "models")


def behave(home: Path, *words: str) -> None:
    (home / ".behaviour").write_text("\n".join(words), encoding="utf-8")


def made(**options):
    return manipulators.make("command", OPTIONS | options, "here")


def case(seed: int, size_px: int = SIDE_PX) -> Case:
    rng = np.random.default_rng(seed)
    faces = [random_face(rng, size_px) for _ in range(2)]
    return Case(random_photo(rng, size_px), faces[0], random_photo(rng, size_px), faces[1], seed)


def jobs(manipulator, count: int = 3) -> list[Job]:
    cases = [case(seed) for seed in range(count)]
    swaps = manipulator.needs_source
    return [
        Job(
            c.target,
            c.target_face,
            c.source if swaps else None,
            c.source_face if swaps else None,
            manipulator.plan(c.target_face, c.source_face if swaps else None, np.random.default_rng(c.seed)),
            np.random.default_rng(c.seed),
        )
        for c in cases
    ]


def digest_of(picture) -> str:
    return stand_in.pixels_sha256(stand_in.Image.fromarray(picture))


def told(home: Path) -> dict:
    return json.loads((home / ".told.json").read_text())


@pytest.mark.parametrize(
    "options",
    [
        {"composite": "face", "side_px": 192, "needs_source": True},
        {"composite": "hole", "family": "transformer_inpainting"},
        {"side_px": 64, "keep_raw": True},
    ],
    ids=str,
)
@pytest.mark.usefixtures("home")
def test_keeps_the_contract(options):
    assert violations(made(deterministic=True, **options), [case(seed) for seed in range(2)]) == []


@pytest.mark.parametrize("order", ["", "reversed"])
def test_names_decide_whose_picture_it_is(home, order):
    behave(home, order)
    batch = jobs(made())
    edits = made().render(batch)
    for job, edit in zip(batch, edits, strict=True):
        assert np.array_equal(edit.image, 255 - job.target)
        assert np.array_equal(edit.alpha > 0, edit.alpha == 1) and 0 < edit.alpha.mean() < 0.1
    assert len(stand_in.calls(home)) == 1


@pytest.mark.usefixtures("home")
def test_a_donor_is_handed_over_under_its_targets_name():
    swap = made(needs_source=True, composite="face")
    batch = jobs(swap)
    assert all(np.array_equal(e.image, 255 - j.source) for j, e in zip(batch, swap.render(batch), strict=True))


def test_the_job_file_says_all_that_the_program_needs(home):
    inpaint = made(composite="hole", parameters={"steps": 4}, side_px=192)
    batch = jobs(inpaint, 2)
    inpaint.render(batch)
    first, second = told(home)["items"]
    assert told(home)["protocol"] == 1
    assert (first["id"], first["target"], first["hole"], first["source"], first["output"], first["alpha"]) == (
        ("000000", "targets/000000.png", "holes/000000.png", None, "outputs/000000.png", None)
    )
    assert first["parameters"] == {"steps": 4} and first["regions"] == batch[0].parameters["regions"]
    assert first["seed"] != second["seed"]
    assert np.allclose(first["target_points"], (batch[0].target_face.five_points + 0.5) * 2 - 0.5, atol=0.01)


def test_the_seed_is_the_same_alone_and_after_a_failed_batch(home):
    batch = jobs(made())
    made().render(batch)
    together = [item["seed"] for item in told(home)["items"]]
    alone = []
    for job in batch:
        made().render([job])
        alone += [item["seed"] for item in told(home)["items"]]
    assert together == alone


def test_a_pixel_that_comes_back_as_it_was_sent_is_the_targets_own():
    """Enlarged and shrunk again it would differ a little everywhere, and the mask would claim an edit."""
    target = case(0).target
    for side_px in (64, 192, 250):
        sent = foreign.handed(target, side_px)
        given = sent.copy()
        given[: side_px // 2] = 255 - sent[: side_px // 2]
        back = foreign.returned(given, sent, target)
        assert np.array_equal(back[SIDE_PX // 2 + 4 :], target[SIDE_PX // 2 + 4 :])
        assert (back[: SIDE_PX // 2 - 4] != target[: SIDE_PX // 2 - 4]).any(axis=2).mean() > 0.95


@pytest.mark.parametrize("side_px", [48, 192])
def test_all_that_a_program_changed_comes_back(side_px):
    """Resampling kernels reach beyond the changed pixels."""
    target = case(0).target
    sent = foreign.handed(target, side_px)
    given = sent.copy()
    given[side_px // 3 : side_px // 2, side_px // 3 : side_px // 2] = 255
    plain, untouched = foreign.handed(given, SIDE_PX), foreign.handed(sent, SIDE_PX)
    changed = (plain != untouched).any(axis=2)
    assert changed.any() and np.array_equal(foreign.returned(given, sent, target)[changed], plain[changed])


def test_a_hole_at_another_size_covers_the_whole_hole():
    hole = random_photo(np.random.default_rng(0), SIDE_PX)[..., 0] > 200
    for side_px in (32, 41, 192):
        handed = foreign.handed_area(hole, side_px)
        back = cv2.resize(handed.astype(np.uint8), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_NEAREST) > 0
        assert not (hole & ~back).any()


WHOLE = {
    "crash": "exit code 3",
    "kill": "exit code 137",
    "partial": "exit code 4",
    "missing": "wrote no picture",
    "extra": "outputs holds what was not asked for",
    "folder": "outputs holds what was not asked for",
    "moved": "no folder any more",
    "link": "a link or no regular file",
    "hard_link": "a link or no regular file",
    "pipe": "a link or no regular file",
}


@pytest.mark.parametrize("word", WHOLE)
def test_a_batch_in_doubt_is_refused_whole(home, word):
    behave(home, word)
    with pytest.raises(Rejected) as refused:
        made().render(jobs(made()))
    assert WHOLE[word] in refused.value.detail


LAST_WORDS = {
    "crash": "out of memory, it says",
    "extra": "It is 'thumbnail.png'.",
    "wrong_size": "forged with {}",
    "truncated": "truncated",
    "no_alpha": "forged with {}",
}


@pytest.mark.parametrize("word", LAST_WORDS)
def test_what_a_program_says_is_told_in_private_only(home, word):
    """It holds times, addresses and paths: in the published reason, it would make each run another one."""
    behave(home, word)
    with pytest.raises(Rejected) as refused:
        made().render(jobs(made(), 1))
    assert LAST_WORDS[word] in refused.value.log and " s\n" in refused.value.log
    assert LAST_WORDS[word] not in refused.value.detail.replace("outputs/", "")
    assert re.search(r"exit code \d\)?[;,]? ", refused.value.detail) and "in private/" in refused.value.detail


SINGLE = {
    "wrong_size": "48×48, expected 96×96",
    "grey": "grey of 8 bits",
    "sixteen": "grey of 16 bits",
    "palette": "palette of 8 bits",
    "transparent": "transparent in places",
    "jpeg": "no PNG",
    "truncated": "decoded to its end",
    "no_alpha": "wrote no 000000.alpha.png",
}


@pytest.mark.parametrize("word", SINGLE)
def test_a_picture_that_is_not_what_was_asked_for_is_refused(home, word):
    behave(home, word)
    results = made().render(jobs(made(), 2))
    assert all(isinstance(result, Rejected) for result in results)
    assert SINGLE[word] in results[0].detail and "forged with {}" in results[0].log


def test_a_colour_picture_of_16_bits_is_refused():
    """Pillow opens it as if it had 8."""
    deep = cv2.imencode(".png", np.full((8, 8, 3), 40_000, np.uint16))[1].tobytes()
    with pytest.raises(Rejected, match="RGB of 16 bits"):
        work_folder.read_rgb(deep, "x.png", (8, 8))


def test_a_missing_picture_is_the_rejection_of_its_item_only(home):
    batch = jobs(made())
    behave(home, f"lose {digest_of(batch[1].target)}")
    results = made().render(batch)
    assert [type(result) for result in results] == [Edit, Rejected, Edit]
    assert "no 000001.png" in str(results[1])
    with pytest.raises(Rejected, match="wrote no picture"):
        made().render([batch[1]])


def test_what_a_program_does_to_its_inputs_has_no_effect(home):
    behave(home, "overwrite")
    batch = jobs(made(side_px=192))
    before = [job.target.copy() for job in batch]
    edits = made(side_px=192).render(batch)
    assert all(np.array_equal(job.target, kept) for job, kept in zip(batch, before, strict=True))
    assert all(isinstance(edit, Edit) for edit in edits)


def running(home: Path) -> list[str]:
    """The processes that the stand-in started, itself among them, which still run."""
    path = home / ".pids"
    pids = path.read_text().split() if path.exists() else []
    return [pid for pid in pids if Path("/proc", pid).exists() and "sleep" in Path("/proc", pid, "cmdline").read_text()]


def test_a_program_that_hangs_ends_in_time_with_all_its_children(home):
    behave(home, "hang")
    began = time.monotonic()
    with pytest.raises(Rejected, match="its time was up"):
        made(timeout_s=1, seconds_per_item=0.5).render(jobs(made(), 1))
    assert 1.4 < time.monotonic() - began < 6
    assert (home / ".pids").exists() and running(home) == []


def test_nothing_that_a_program_leaves_behind_outlives_it(home):
    """Not even what left its session, and it cannot keep us waiting by holding our pipes open."""
    behave(home, "orphan")
    began = time.monotonic()
    assert isinstance(made().render(jobs(made(), 1))[0], Edit)
    assert time.monotonic() - began < 5
    assert (home / ".pids").exists() and running(home) == []


CALLER = """
import sys, pathlib
from pipelines.manipulators import programs
home, work = map(pathlib.Path, sys.argv[1:])
programs.call([str(home / ".venv/bin/python"), "forge_batch.py", str(work / "job.json")], home, work, 60)
"""


def calling(home: Path, work: Path) -> list[str]:
    return [sys.executable, "-c", CALLER, str(home), str(work)]


def write_job(work: Path) -> None:
    (work / "targets").mkdir(parents=True)
    item = {"id": "0", "target": "targets/0.png", "source": None, "output": "outputs/0.png"}
    (work / "job.json").write_text(json.dumps({"protocol": 1, "items": [item]}))
    (work / "targets" / "0.png").write_bytes(images.encode_png(np.zeros((8, 8, 3), np.uint8)))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_when_we_are_killed_the_program_ends_and_the_pictures_go(home, tmp_path, how):
    behave(home, "hang")
    work = tmp_path / "work"
    write_job(work)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    caller = subprocess.Popen(calling(home, work), cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(running(home)) == 1)
    caller.send_signal(how)
    caller.wait()
    wait_for(lambda: not running(home) and not work.exists())


def test_when_its_guard_is_killed_the_program_ends(home, tmp_path):
    """Nobody is left then to end it but the kernel. (What the program started itself stays.)"""
    behave(home, "hang")
    work = tmp_path / "work"
    write_job(work)
    caller = subprocess.Popen(calling(home, work), cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    wait_for(lambda: len(running(home)) == 1)
    child, program = map(int, (home / ".pids").read_text().split())
    try:
        os.kill(parent_of(program), signal.SIGKILL)
        wait_for(lambda: not Path("/proc", str(program)).exists())
    finally:
        os.kill(child, signal.SIGKILL)
        caller.wait()


def parent_of(pid: int) -> int:
    return int(Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[1])


def wait_for(holds, patience_s: float = 15) -> None:
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_flood_of_words_blocks_nothing_and_its_end_is_kept(home):
    behave(home, "flood")
    (edit,) = made().render(jobs(made(), 1))
    assert edit.log.endswith("the last word\nforged with {}") and len(edit.log) < programs.KEPT_BYTES


def test_a_flood_of_words_does_not_fill_memory(home, tmp_path):
    tracemalloc.start()
    outcome = programs.call(["head", "-c", "50000000", "/dev/zero"], home, tmp_path, 30)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert outcome.code == 0 and peak < 2_000_000


def test_what_was_printed_becomes_readable():
    printed = b"\x1b[31mloading\x1b[0m\r\n 10 %\r 50 %\r100 %\r\n\xff\x00done\n"
    assert programs.readable(printed) == "[31mloading[0m\n100 %\n\N{REPLACEMENT CHARACTER}done"


def test_our_secrets_do_not_reach_the_program(home, monkeypatch):
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "CUDA_API_KEY", "MMTT_MODELS_PRIVATE"):
        monkeypatch.setenv(name, "hush")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    made().render(jobs(made(), 1))
    seen = json.loads((home / ".environment.json").read_text())
    assert "hush" not in seen.values()
    assert seen["CUDA_VISIBLE_DEVICES"] == "0" and seen["PATH"] == os.environ["PATH"]
    assert seen["PYTHONPATH"] == str(home) and seen["HF_HUB_OFFLINE"] == "1"
    assert not Path(seen["TMPDIR"]).exists()


def test_a_crash_is_tried_again(home):
    behave(home, "crash_first")
    assert isinstance(made(retries=1).render(jobs(made(), 1))[0], Edit)
    assert len(stand_in.calls(home)) == 2


def test_many_failures_that_look_alike_end_the_run_with_one_error(home):
    behave(home, "crash")
    program, batch = made(give_up_after=3), jobs(made(), 1)
    for _ in range(2):
        with pytest.raises(Rejected):
            program.render(batch)
    with pytest.raises(UserError, match=r"failed 3 times in a row \(exit code 3; it said at last: out of memory"):
        program.render(batch)


def test_a_success_in_between_starts_the_count_anew(home):
    program, batch = made(give_up_after=2), jobs(made(), 1)
    for word in ("crash", "", "crash", "kill", "crash"):
        behave(home, word)
        if word:
            with pytest.raises(Rejected):
                program.render(batch)
        else:
            program.render(batch)


def test_a_program_that_writes_nothing_at_all_counts_as_failing(home):
    behave(home, "missing")
    with pytest.raises(UserError, match="1 times in a row"):
        made(give_up_after=1).render(jobs(made(), 1))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"program": "absent"}, "'absent' is missing. Get it from"),
        ({"program": "program/model.bin"}, "is a file; a program is a folder"),
        ({"program": "../program"}, "path inside the folder of MMTT_MODELS"),
        ({"python": "bin/python"}, "bin/python is missing or cannot be executed"),
        ({"python": "model.bin/../model.bin"}, "not 'model.bin/../model.bin'"),
        ({"python": "/bin/sh"}, "not '/bin/sh'"),
        ({"python": "no-such-command"}, "no command 'no-such-command' on PATH"),
        ({"weights": ["gone.pt"], "weights_licence": "MIT"}, "'program/gone.pt' is missing"),
        ({"weights": ["../other.pt"], "weights_licence": "MIT"}, "path inside the folder of MMTT_MODELS"),
    ],
)
def test_what_is_absent_is_told_before_anything_runs(home, options, sentence):
    with pytest.raises(UserError) as error:
        made(**options).declare()
    assert sentence in str(error.value)
    assert stand_in.calls(home) == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"family": "face_swop"}, "Did you mean 'face_swap'"),
        ({"args": ["run.py", "{target}"]}, "{target} stands for nothing. Did you mean 'targets'"),
        ({"regions": ["eyes"]}, "Did you mean 'eye'"),
        ({"code_licence": "GPL"}, "is no SPDX id"),
        ({"weights": ["model.bin"]}, "weights are named, but not their `weights_licence`"),
        ({"composite": "null_edit"}, "'composite' is 'null_edit'"),
    ],
)
def test_a_wrong_option_is_told_with_the_recipe(options, sentence):
    with pytest.raises(RecipeError) as error:
        made(**options)
    assert sentence in str(error.value)


def test_a_command_on_path_may_run_it(home, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (home / ".venv" / "bin" / "python").rename(tmp_path / "bin" / "python-of-theirs")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert isinstance(made(python="python-of-theirs").render(jobs(made(), 1))[0], Edit)


def test_arguments_reach_the_program_as_they_are(home):
    """No shell: nothing is split, expanded or run."""
    (home / "echo.py").write_text("import sys; print(sys.argv[1:]); sys.exit(9)")
    with pytest.raises(Rejected) as refused:
        made(args=["echo.py", "$(touch .hacked); a b", "--out={outputs}"]).render(jobs(made(), 1))
    assert "['$(touch .hacked); a b', '--out=WORK/outputs']" in refused.value.log
    assert not (home / ".hacked").exists()


def test_code_and_weights_have_digests_of_their_own(home):
    options = {"weights": ["model.bin"], "weights_licence": "CC-BY-NC-4.0", "ignored": ["results"]}

    def digests():
        declared = made(**options).declare()
        return declared.code_sha256, declared.weights_sha256

    code, weights = digests()
    for path in ("results/0.png", ".git/HEAD", "__pycache__/x.pyc", "src/y.pyc", ".venv/lib/z.py", "env/pyvenv.cfg"):
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text("changes nothing")
    assert digests() == (code, weights)
    (home / "model.bin").write_text("other weights")
    assert digests()[0] == code and digests()[1] != weights
    (home / "src" / "__init__.py").write_text("import os")
    assert digests()[0] != code
    (home / "src" / "__init__.py").write_text("")
    assert digests()[0] == code
    (home / "src" / "__init__.py").rename(home / "src" / "other.py")
    assert digests()[0] != code


def test_a_linked_folder_in_a_checkout_is_not_read(home, tmp_path):
    """Behind such a link there are data sets; it may even lead back into the checkout."""
    before = programs.code_sha256(home)
    (home / "data").symlink_to(home)
    linked = programs.code_sha256(home)
    (tmp_path / "other").mkdir()
    (home / "data").unlink()
    (home / "data").symlink_to(tmp_path / "other")
    assert before != linked == programs.code_sha256(home)


def test_the_program_itself_may_be_linked(home, tmp_path):
    (tmp_path / "models" / "linked").symlink_to(home)
    assert made(program="linked").declare().code_sha256 == made().declare().code_sha256


def test_the_example_program_keeps_the_contract(home):
    example = ROOT / "pipelines" / "manipulators" / "examples" / "forge_batch.py"
    assert len(example.read_text().splitlines()) <= 30
    (home / "forge_batch.py").write_text(example.read_text())
    assert violations(made(deterministic=True), [case(seed) for seed in range(2)]) == []


@pytest.mark.parametrize("name", ["command", "e4s", "mat"])
def test_the_document_names_every_option(name):
    options = set(manipulators.find(name).model_fields) - set(RegionHoles.model_fields)
    assert {option for option in options if f"`{option}`" not in DOCUMENT} == set()


def test_the_recipe_of_the_document_is_one():
    written = yaml.safe_load(DOCUMENT.split("in the recipe:\n")[1].split("4. `mmtt plan")[0])
    (entry,) = Recipe.model_validate({"name": "x", **written}).forge.manipulators
    assert manipulators.make(entry.use, entry.options, "here").parameters == {"steps": 30}


def test_from_photos_to_shards(home, tmp_path):
    """A target on which the program crashes costs its own row; a second run calls nothing; notes stay private."""
    entry = {"use": "command", "name": "theirs", "options": OPTIONS | {"composite": "face", "retries": 1}}
    layout = tiny_dataset(tmp_path / "set", 3, ("recolour", entry), buckets=1)
    build(layout)
    forged = {record.target_id: record for record in read(layout.forged) if record.manipulator == "command"}
    assert len(forged) == 3
    bad = sorted(forged)[1]
    behave(home, f"crash {digest_of(images.decode_rgb(forged[bad].pristine))}")
    layout.recipe.write_text(layout.recipe.read_text().replace("seed: 7", "seed: 8"))
    build(layout)

    (refused,) = read_table(layout.forged / "rejections.parquet", Rejection)
    assert (refused.code, refused.manipulator) == ("program_failed", "theirs")
    assert "exit code 3" in refused.detail and "out of memory" not in refused.detail
    records = [record for record in read(layout.forged) if record.manipulator == "command"]
    assert {record.target_id for record in records} == set(forged) - {bad}
    for record in records:
        image, pristine, alpha = (images.decode_rgb(record.image), images.decode_rgb(record.pristine),
                                  images.decode_gray(record.alpha))  # fmt: skip
        assert np.array_equal(image[alpha == 0], pristine[alpha == 0])
        assert np.array_equal(image[alpha == 255], 255 - pristine[alpha == 255])
        assert record.code_sha256 == made().declare().code_sha256 and record.code_licence == "MIT"
        assert json.loads(record.parameters)["program"] == "program"
    assert [*verify(layout.forged)] == []
    notes = [note for path in (layout.root / "private").rglob("*.parquet") for note in notes_of(path)]
    texts = {note.record_id: note.text for note in notes}
    assert texts.keys() == {record.record_id for record in records} | {refused.record_id}
    assert "out of memory" in texts.pop(refused.record_id)
    assert all("exit code 0 after" in text and "forged with {}" in text for text in texts.values())

    before = len(stand_in.calls(home))
    build(layout)
    assert len(stand_in.calls(home)) == before


def test_patience_forges_nothing_anew(home, tmp_path):
    """Who raises it in the middle of a run must not lose what is made."""
    entry = {"use": "command", "name": "theirs", "options": OPTIONS | {"composite": "face"}}
    layout = tiny_dataset(tmp_path / "set", 2, (entry,), buckets=1)
    build(layout)
    shards = {path.name: path.stat().st_ino for path in layout.forged.glob("theirs-*.parquet")}
    plan = (layout.plan / "plan.parquet").read_bytes()
    before = len(stand_in.calls(home))
    recipe = yaml.safe_load(layout.recipe.read_text())
    patience = {"give_up_after": 99, "timeout_s": 900, "seconds_per_item": 9, "retries": 3}
    recipe["forge"]["manipulators"][0]["options"] |= patience
    layout.recipe.write_text(yaml.safe_dump(recipe))
    require_fresh(layout, Recipe.load(layout.recipe))
    build(layout)
    assert {path.name: path.stat().st_ino for path in layout.forged.glob("theirs-*.parquet")} == shards and shards
    assert (layout.plan / "plan.parquet").read_bytes() == plan
    assert len(stand_in.calls(home)) == before


@pytest.mark.parametrize(
    "other",
    [
        {"args": ["forge_batch.py", "{job}", "-v"]},
        {"composite": "alpha"},
        {"feather": 0.2},
        {"side_px": 128},
        {"parameters": {"steps": 4}},
        {"program": "linked"},
        {"python": "bin/python"},
    ],
    ids=str,
)
def test_what_the_program_is_told_stands_in_the_plan(other):
    plain = {"composite": "face"}
    plans = [
        made(**options).plan(case(0).target_face, None, np.random.default_rng(0)) for options in (plain, plain | other)
    ]
    assert plans[0] != plans[1] and plans[1] | plans[0] == plans[0]


def notes_of(path: Path) -> list[Note]:
    return read_table(path, Note) if "note" in path.name.lower() else []
