"""E4S' command line, spoken by a stand-in with E4S' habits: one pair a process, 1024 px, RGBA, `src` at its root."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from mmtt import images
from mmtt.check import verify
from mmtt.contract import Case, violations
from mmtt.errors import RecipeError, Rejected, UserError
from mmtt.manifest import read
from mmtt.manipulator import Edit, Job, finish
from mmtt.masks import MaskRule
from pipelines import manipulators
from pipelines.manipulators import foreign
from pipelines.manipulators.e4s import parsed_alpha
from tests.factories import build, tiny_dataset
from tests.pipelines.shapes import random_face, random_photo
from tests.support import stand_in

SIDE_PX = 256
SKIN, HAIR, EARRING, NECK, CLOTH = 1, 13, 15, 17, 18


@pytest.fixture(name="home")
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("MMTT_MODELS", str(tmp_path / "models"))
    foreign._streaks.clear()
    home = stand_in.install(tmp_path / "models", "e4s")
    for weight in made(face_parser="segnext").brought() + made().brought():
        (home / weight.path).parent.mkdir(parents=True, exist_ok=True)
        (home / weight.path).write_text(weight.path)
    return home


def made(**options):
    return manipulators.make("e4s", {"retries": 0} | options, "here")


def case(seed: int, size_px: int = SIDE_PX) -> Case:
    rng = np.random.default_rng(seed)
    faces = [random_face(rng, size_px) for _ in range(2)]
    return Case(random_photo(rng, size_px), faces[0], random_photo(rng, size_px), faces[1], seed)


def parsing() -> np.ndarray:
    """A head: cloth below, hair above, skin between, an earring on one side."""
    label = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    label[200:, 40:220] = CLOTH
    label[180:200, 90:160] = NECK
    label[40:90, 60:190] = HAIR
    label[90:180, 70:180] = SKIN
    label[130:140, 180:186] = EARRING
    return label


def job(seed: int, label: np.ndarray | None = None, **options) -> Job:
    c = case(seed)
    plan = made(**options).plan(c.target_face, c.source_face, np.random.default_rng(seed))
    face = c.target_face if label is None else replace(c.target_face, parsing_png=images.encode_png(label))
    return Job(c.target, face, c.source, c.source_face, plan, np.random.default_rng(seed))


def swapped(source: np.ndarray) -> np.ndarray:
    """What the stand-in paints into the lower half, back at the source's size."""
    large = np.asarray(255 - foreign.handed(source, 1024))
    return np.asarray(cv2.resize(large, source.shape[:2][::-1], interpolation=cv2.INTER_AREA))


@pytest.mark.usefixtures("home")
def test_keeps_the_contract():
    assert violations(made(deterministic=True, keep_raw=True), [case(0)]) == []


@pytest.mark.parametrize("blending", ["multiband", "soft"])
def test_each_pair_gives_its_own_donor(home, blending):
    """Without `--lap_bld` E4S writes RGBA; either must be read."""
    batch = [job(seed, blending=blending) for seed in range(2)]
    edits = made(blending=blending).render(batch)
    half = SIDE_PX // 2
    for each, edit in zip(batch, edits, strict=True):
        assert np.array_equal(edit.image[half:], swapped(each.source)[half:])
        assert np.array_equal(edit.image[:half], each.target[:half])
    assert len(stand_in.calls(home)) == 2
    assert all(("--lap_bld" in call) == (blending == "multiband") for call in stand_in.calls(home))


@pytest.mark.usefixtures("home")
def test_what_e4s_left_alone_is_not_in_the_mask():
    """The frame is enlarged to 1024 px and shrunk again; that alone must not count as an edit."""
    each = job(0)
    (edit,) = made().render([each])
    forged = finish(each.target, edit, MaskRule.BLEND, 0)
    assert not forged.mask[: SIDE_PX // 2].any() and not forged.change[: SIDE_PX // 2].any()
    assert forged.mask[SIDE_PX // 2 :].any()


def test_the_label_map_is_handed_over_at_the_size_that_e4s_can_join(home):
    made().render([job(0, parsing())])
    handed = np.asarray(Image.open(home / ".mask.png"))
    assert handed.shape == (512, 512) and np.array_equal(handed[::2, ::2], parsing())
    (home / ".mask.png").unlink()
    made().render([job(0, parsing(), hand_parsing=False)])
    made().render([job(0)])
    assert not (home / ".mask.png").exists()


def test_alpha_is_what_e4s_pastes():
    label = parsing()
    alpha = parsed_alpha(label)
    assert (alpha[(label == SKIN) | (label == NECK)] == 1).all()
    assert alpha[:80].max() == 0 and alpha[210:].max() == 0 and alpha[150, 190] == 0
    edge = alpha[120, 60:72]
    assert 0 < edge[9] < 1 and (np.diff(edge) >= 0).all()
    assert np.count_nonzero((edge > 0) & (edge < 1)) == 3


@pytest.mark.usefixtures("home")
def test_alpha_follows_the_face_where_it_was_not_parsed():
    (edit,) = made().render([job(0)])
    (parsed,) = made().render([job(0, parsing())])
    assert edit.alpha[0, 0] == 0 and edit.alpha.max() == 1
    assert np.array_equal(parsed.alpha, parsed_alpha(parsing()))


def test_a_pair_that_fails_costs_its_own_row_only(home):
    batch = [job(seed) for seed in range(3)]
    sent = Image.fromarray(foreign.handed(batch[1].target, 1024))
    (home / ".behaviour").write_text(f"crash {stand_in.pixels_sha256(sent)}")
    results = made().render(batch)
    assert [type(result) for result in results] == [Edit, Rejected, Edit]
    assert "out of memory" in results[1].log
    with pytest.raises(Rejected, match="exit code 3"):
        made().render([batch[1]])


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("missing", "wrote no picture"),
        ("wrong_size", "512×512, expected 1024×1024"),
        ("transparent", "transparent in places"),
        ("extra", "was not asked for"),
        ("truncated", "decoded to its end"),
    ],
)
def test_what_e4s_gives_back_is_not_trusted(home, word, sentence):
    (home / ".behaviour").write_text(word)
    with pytest.raises(Rejected, match=sentence):
        made().render([job(0, blending="soft")])


def test_a_missing_checkpoint_is_named_with_where_it_comes_from(home):
    (home / "pretrained_ckpts/gpen/weights/GPEN-BFR-512.pth").unlink()
    with pytest.raises(UserError, match=r"GPEN-BFR-512\.pth' is missing. Get it from its .*fetch_gpen_models.sh"):
        made().declare()
    assert stand_in.calls(home) == []


def test_checkpoints_are_weights_and_not_code(home):
    before = made().declare()
    (home / "pretrained_ckpts/e4s/iteration_300000.pt").write_text("others")
    after = made().declare()
    assert before.code_sha256 == after.code_sha256 and before.weights_sha256 != after.weights_sha256
    other_parser = made(face_parser="segnext").declare()
    assert other_parser.weights_sha256 != after.weights_sha256
    assert (after.code_licence, after.weights_licence) == ("MIT", "LicenseRef-E4S-weights")


def test_the_other_face_parser_is_asked_for_by_name(home):
    made(face_parser="segnext").render([job(0, face_parser="segnext")])
    made().render([job(0)])
    with_name, without = stand_in.calls(home)
    assert "--faceParser_name segnext" in with_name and "faceParser" not in without


def test_e4s_takes_one_size_only():
    with pytest.raises(RecipeError, match="side_px"):
        made(side_px=512)


@pytest.mark.parametrize(
    "other", [{"blending": "soft"}, {"face_parser": "segnext"}, {"hand_parsing": False}, {"feather": 0.3}], ids=str
)
def test_what_e4s_is_told_stands_in_the_plan(other):
    plain, told = job(0).parameters, job(0, **other).parameters
    assert plain != told == {**plain, **other} and told["side_px"] == 1024


@pytest.mark.usefixtures("home")
def test_from_photos_to_shards(tmp_path):
    entry = {"use": "e4s", "options": {"retries": 0}}
    plan = {"splits": {"train": 1.0}, "donors": {"nearest": 1}}
    layout = tiny_dataset(tmp_path / "set", 2, (entry,), plan=plan, buckets=1)
    build(layout)
    pristine = {record.record_id: images.decode_rgb(record.image) for record in read(layout.pristine)}
    records = [*read(layout.forged)]
    assert len(records) == 2
    for record in records:
        image, alpha = images.decode_rgb(record.image), images.decode_gray(record.alpha)
        assert np.array_equal(image[alpha == 0], pristine[record.target_id][alpha == 0])
        lower = alpha == 255
        lower[: SIDE_PX // 2] = False
        assert lower.any() and np.array_equal(image[lower], swapped(pristine[record.source_id])[lower])
        assert "research-only" in record.obligations and record.manipulation == "face_swap"
    assert [*verify(layout.forged)] == []
