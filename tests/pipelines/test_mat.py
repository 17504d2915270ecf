"""MAT's command line, spoken by a stand-in that pairs by sorted order and takes 0 for the hole, as MAT does."""

import numpy as np
import pytest

from mmtt import images
from mmtt.check import verify
from mmtt.contract import Case, violations
from mmtt.errors import RecipeError, Rejected, UserError
from mmtt.manifest import read
from mmtt.manipulator import Edit, Job
from pipelines import manipulators
from pipelines.manipulators import foreign
from tests.factories import build, tiny_dataset
from tests.pipelines.shapes import random_face, random_photo
from tests.support import stand_in

NETWORK = "pretrained/CelebA-HQ.pkl"


@pytest.fixture(name="home")
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("MMTT_MODELS", str(tmp_path / "models"))
    foreign._streaks.clear()
    home = stand_in.install(tmp_path / "models", "mat")
    (home / NETWORK).parent.mkdir()
    (home / NETWORK).write_bytes(b"a pickle that we never open")
    return home


def made(**options):
    return manipulators.make("mat", {"retries": 0} | options, "here")


def case(seed: int, size_px: int) -> Case:
    rng = np.random.default_rng(seed)
    faces = [random_face(rng, size_px) for _ in range(2)]
    return Case(random_photo(rng, size_px), faces[0], random_photo(rng, size_px), faces[1], seed)


def jobs(manipulator, count: int, size_px: int = 512) -> list[Job]:
    cases = [case(seed, size_px) for seed in range(count)]
    plans = [manipulator.plan(c.target_face, None, np.random.default_rng(c.seed)) for c in cases]
    return [
        Job(c.target, c.target_face, None, None, plan, np.random.default_rng(c.seed))
        for c, plan in zip(cases, plans, strict=True)
    ]


@pytest.mark.usefixtures("home")
def test_keeps_the_contract():
    assert violations(made(deterministic=True, keep_raw=True), [case(seed, 128) for seed in range(2)]) == []


def test_every_hole_is_filled_by_its_own_picture(home):
    """The stand-in pairs by sorted order and keeps what is 255 in the mask: both would be seen."""
    inpaint = made(regions_range=(1, 2))
    batch = jobs(inpaint, 4)
    edits = inpaint.render(batch)
    for job, edit in zip(batch, edits, strict=True):
        hole = edit.support
        assert hole.any() and np.array_equal(edit.alpha, hole.astype(np.float32))
        assert np.array_equal(hole, inpaint.hole_of(job))
        assert np.array_equal(edit.image[hole], 255 - job.target[hole])
        assert np.array_equal(edit.image[~hole], job.target[~hole])
    assert len(stand_in.calls(home)) == 1


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("size_px", [128, 256, 640, 1024])
def test_any_size_goes_there_and_back(size_px):
    """In the hole the opposite colour comes back, blurred a little; around it, every byte as it was."""
    inpaint = made(regions_range=(1, 2))
    (job,) = jobs(inpaint, 1, size_px)
    (edit,) = inpaint.render([job])
    away = np.abs(edit.image.astype(int) - (255 - job.target.astype(int)))
    assert edit.image.shape == job.target.shape
    assert away[edit.support].mean() < 12
    if size_px <= 512:
        assert np.array_equal(edit.image[~edit.support], job.target[~edit.support])


def test_alone_each_picture_has_a_process_of_its_own(home):
    batch = jobs(made(), 2, 128)
    together = made().render(batch)
    assert len(stand_in.calls(home)) == 1
    alone = made(alone=True).render(batch)
    assert len(stand_in.calls(home)) == 3
    assert all(np.array_equal(a.image, b.image) for a, b in zip(together, alone, strict=True))


@pytest.mark.parametrize("alone", [False, True])
def test_a_lost_picture_is_the_rejection_of_its_item_only(home, alone):
    batch = jobs(made(), 3)
    sent = stand_in.Image.fromarray(batch[1].target)
    (home / ".behaviour").write_text(f"lose {stand_in.pixels_sha256(sent)}")
    results = made(alone=alone).render(batch)
    assert [type(result) for result in results] == [Edit, Rejected, Edit]
    assert "exit code 0 after" in results[1].log


@pytest.mark.parametrize(
    ("word", "sentence"),
    [("crash", "exit code 3"), ("extra", "was not asked for"), ("partial", "exit code 4"), ("missing", "no picture")],
)
def test_a_batch_in_doubt_is_refused_whole(home, word, sentence):
    (home / ".behaviour").write_text(word)
    with pytest.raises(Rejected, match=sentence):
        made().render(jobs(made(), 2, 128))


def test_the_flags_are_mats_own(home):
    made(resolution=256, side_px=256, truncation=0.5).render(jobs(made(), 1, 128))
    (call,) = stand_in.calls(home)
    assert f"--network {NETWORK} " in call
    assert call.endswith("--resolution 256 --trunc 0.5 --noise-mode const")


@pytest.mark.parametrize(
    "other",
    [{"truncation": 0.5}, {"side_px": 1024}, {"resolution": 256}, {"network": "other.pkl"}, {"alone": True}],
    ids=str,
)
def test_what_mat_is_told_stands_in_the_plan(other):
    plain, told = (jobs(made(**options), 1, 128)[0].parameters for options in ({}, other))
    assert plain != told == {**plain, **other}


def test_a_size_that_mat_cannot_take_is_told_with_the_recipe():
    with pytest.raises(RecipeError, match="no multiple of resolution 512"):
        made(side_px=768)


def test_the_network_is_weights_and_not_code(home):
    before = made().declare()
    (home / NETWORK).write_bytes(b"another")
    after = made().declare()
    assert before.code_sha256 == after.code_sha256 and before.weights_sha256 != after.weights_sha256
    (home / NETWORK).unlink()
    with pytest.raises(UserError, match=r"CelebA-HQ\.pkl' is missing. Get it from the OneDrive link in MAT's README"):
        made().declare()


def test_from_photos_to_shards(home, tmp_path):
    entry = {"use": "mat", "options": {"retries": 0, "regions_range": [1, 3]}}
    layout = tiny_dataset(tmp_path / "set", 2, (entry,), buckets=1)
    build(layout)
    records = [*read(layout.forged)]
    assert len(records) == 2 and [*verify(layout.forged)] == []
    for record in records:
        image, pristine = images.decode_rgb(record.image), images.decode_rgb(record.pristine)
        alpha, mask = images.decode_gray(record.alpha), images.decode_gray(record.mask)
        assert np.array_equal(alpha, mask) and np.array_equal(image[alpha == 0], pristine[alpha == 0])
        # Enlarged to 512 px and back: the opposite colour to within what resampling rounds.
        assert np.abs(image[mask > 0].astype(int) - (255 - pristine[mask > 0].astype(int))).mean() < 12
        assert record.obligations == ["BY", "NC"] and record.manipulation == "transformer_inpainting"
    assert len(stand_in.calls(home)) == 1
