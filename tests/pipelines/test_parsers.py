"""Parsers: part masks as CelebAMask-HQ ships them, and facexlib's network on weights whose answer can be foretold."""

import os
import pickle
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from mmtt import images, regions
from mmtt.check import check, verify
from mmtt.errors import MissingDependency, RecipeError, Rejected, UserError
from mmtt.executors import serial
from mmtt.faces import Face, align
from mmtt.ids import digest
from mmtt.layout import Layout
from mmtt.manifest import REJECTIONS, read
from mmtt.parsing import LABELS, WORDS, label_mask, parsed_words
from mmtt.progress import silent
from mmtt.recipe import IngestSection, Recipe
from mmtt.record import Lineage, Rejection
from mmtt.shards import read_table
from mmtt.weights import FOLDER, sha256
from pipelines import parsers
from pipelines.ingest import ingest
from pipelines.parsers import Cropped, celebamask_hq, facexlib
from pipelines.photos import Photo
from pipelines.sources import Source
from tests.factories import build, drawn, make_face, source_row, tiny_dataset, tiny_recipe, write_sources

ROOT = Path(__file__).parents[2]
PX = 512
HAIR, SKIN, HAT = (LABELS.index(name) for name in ("hair", "skin", "hat"))


@pytest.fixture(autouse=True)
def _no_way_out(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a parser tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


# Part masks


def parts_of(seed):
    """The part masks of a drawn person, bool 512×512: as annotators draw them, skin below all, a fringe over a brow."""
    person = drawn(seed)
    face = Face(person.landmarks, "openpose_70")
    y, x = np.mgrid[:PX, :PX]
    middle = face.points_68[27:31].mean(axis=0)
    around = np.hypot((x - middle[0]) / 1.05, y - middle[1]) < 1.9 * face.interocular
    eyes = regions.outline(face, "eye").covers
    fringe = y < face.points_68[17:22, 1].mean()
    mouth, lip = (regions.region_mask(face, word, (PX, PX)) for word in ("mouth", "lip"))
    return {
        "hair": around & fringe,
        "skin": regions.fill([regions.oval(face)], (PX, PX)),
        "nose": regions.region_mask(face, "nose", (PX, PX)),
        "r_eye": regions.fill(eyes[:1], (PX, PX)),
        "l_eye": regions.fill(eyes[1:], (PX, PX)),
        "u_lip": lip & (y < face.points_68[62, 1]),
        "l_lip": lip & (y >= face.points_68[62, 1]),
        "mouth": mouth & ~lip,
    }


def write_mask(path, shown, ink=255):
    """As the dataset stores them: three equal channels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(images.encode_png(np.repeat(np.where(shown, ink, 0).astype(np.uint8)[..., None], 3, axis=2)))


def celeba_dataset(root, photos=4, manipulators=("recolour",), **sections):
    """A dataset of drawn people named and masked as CelebA-HQ: `photos/0.png`, `parsing/0/00000_hair.png`."""
    layout = tiny_dataset(root, photos, manipulators, **sections)
    landmarks = yaml.safe_load(layout.landmarks.read_text(encoding="utf-8"))
    for number in range(photos):
        (layout.photos / f"drawn_{number:02d}.png").rename(layout.photos / f"{number}.png")
        landmarks[f"{number}.png"] = landmarks.pop(f"drawn_{number:02d}.png")
        for part, shown in parts_of(number).items():
            write_mask(layout.parsing / str(number % 2) / f"{number:05d}_{part}.png", shown)
    layout.landmarks.write_text(str(landmarks).replace("'", '"'), encoding="utf-8")
    write_sources(root, [source_row(f"{number}.png", f"person {number}") for number in range(photos)])
    return layout


def masked(*names):
    return {"ingest": {"finders": ["sidecar"], "size_px": 256, "parsers": list(names or ("celebamask_hq",))}}


def ingested(layout):
    """Ingest; return the records by photo and the rejections by photo."""
    ingest(layout, Recipe.load(layout.recipe), serial, silent)
    paths = {row.record_id: row.path for row in read_table(layout.lineage, Lineage)}
    refused = read_table(layout.pristine / REJECTIONS, Rejection)
    return {paths[record.record_id]: record for record in read(layout.pristine)}, {row.path: row for row in refused}


def cropped(layout_root, number=0, size_px=256, parts=None, photo_hw=(PX, PX)):
    """The crop of a drawn person as ingest hands it to a parser."""
    person = drawn(number)
    face = Face(person.landmarks, "openpose_70")
    crop, matrix = align(person.image, face, "ffhq_512", size_px)
    photo = Photo(f"{number}.png", f"{number}.png", "0" * 64, Source("*", "drawn", "CC0-1.0"), None)
    refused = []
    if parts is None:
        (photo,) = celebamask_hq.with_parts([photo], layout_root / "parsing", refused)
        assert not refused
    return Cropped(photo, photo_hw, crop, face.moved(matrix), matrix, layout_root / "parsing")


def draw_parts(root, parts, number=0):
    for part, shown in parts.items():
        write_mask(root / "parsing" / f"{number:05d}_{part}.png", shown)


def test_part_masks_become_the_crops_label_map(tmp_path):
    draw_parts(tmp_path, parts_of(0))
    look = cropped(tmp_path)
    labels = celebamask_hq.PartMaskParser().parse(look)
    assert labels.shape == (256, 256)
    assert labels.dtype == np.uint8
    for word, least in (("nose", 0.9), ("mouth", 0.9), ("eye", 0.8)):
        found = label_mask(labels, *WORDS[word])
        # The polygons' filling adds their outline, which at half the size is a good part of an eye.
        expected = regions.region_mask(look.face, word, (256, 256)) & (labels != HAIR)
        assert (found & expected).sum() / (found | expected).sum() > least, word
    assert set(parsed_words(labels)) == {"eye", "lip", "mouth", "nose", "skin", "hair"}


@pytest.mark.parametrize("side", [256, 512, 1024])
def test_masks_of_any_size_lie_in_the_photos_frame(tmp_path, side):
    """A disc in the photo is the same disc in the crop, whether its mask has half, the same, or twice the pixels."""
    y, x = np.mgrid[:side, :side] * (PX / side) + (PX / side - 1) / 2
    face = Face(drawn(0).landmarks, "openpose_70")
    centre, radius = face.points_68[30], 0.9 * face.interocular
    draw_parts(tmp_path, {"skin": np.hypot(x - centre[0], y - centre[1]) <= radius})
    look = cropped(tmp_path, size_px=PX)
    labels = celebamask_hq.PartMaskParser().parse(look)
    scale = np.hypot(*look.matrix[:, 0])
    middle = look.matrix @ [*centre, 1]
    y, x = np.mgrid[:PX, :PX]
    expected = np.hypot(x - middle[0], y - middle[1]) <= radius * scale
    found = labels == SKIN
    assert (found & expected).sum() / (found | expected).sum() > 0.97
    assert np.abs(np.argwhere(found).mean(axis=0) - middle[::-1]).max() < 0.2


def test_of_parts_that_overlap_the_later_of_the_datasets_order_is_seen(tmp_path):
    """`g_mask.py`: skin, nose, glasses, eyes, brows, ears, mouth, lips, hair, hat, ear ring, necklace, neck, cloth."""
    full = np.ones((64, 64), bool)
    expected = np.zeros((64, 64), np.uint8)
    parts = {}
    for number, name in enumerate(LABELS[1:], 1):
        parts[name] = full & (np.arange(64)[:, None] >= 3 * number)
        expected[parts[name]] = number
    draw_parts(tmp_path, dict(reversed(parts.items())))
    look = cropped(tmp_path)
    still = np.array([[1 / 8, 0, -7 / 16], [0, 1 / 8, -7 / 16]])
    look = look._replace(matrix=still, crop=np.zeros((64, 64, 3), np.uint8), face=make_face(0, 64))
    assert np.array_equal(celebamask_hq.PartMaskParser().parse(look), expected)


def test_masks_of_another_face_say_nothing_about_this_one(tmp_path):
    draw_parts(tmp_path, {name: np.roll(shown, -300, axis=1) & (np.arange(PX) < 200) for name, shown in
                          parts_of(0).items()})  # fmt: skip
    assert celebamask_hq.PartMaskParser().parse(cropped(tmp_path)) is None
    assert celebamask_hq.PartMaskParser().parse(cropped(tmp_path, parts=())) is None


def photo(file):
    return Photo(file, file, "0" * 64, Source("*", "drawn", "CC0-1.0"), None)


def found(root, *files):
    refused = []
    photos = celebamask_hq.with_parts([photo(file) for file in files], root / "parsing", refused)
    return {one.file: [name for name, _ in one.parts] for one in photos}, {row.path: row for row in refused}


def test_a_photos_number_finds_its_masks_in_any_folder_below(tmp_path):
    for name in ("0/00123_hair.png", "a/b/00123_skin.png", "0/00124_hair.png", "0/123_nose.png", "0/00123_beard.png"):
        write_mask(tmp_path / "parsing" / name, np.ones((4, 4)))
    files, refused = found(tmp_path, "123.jpg", "00124.png", "0125.jpg", "portrait.jpg", "٣.jpg", "-123.jpg")
    assert files == {
        "123.jpg": ["0/00123_hair.png", "a/b/00123_skin.png"], "00124.png": ["0/00124_hair.png"],
        "0125.jpg": [], "portrait.jpg": [], "٣.jpg": [], "-123.jpg": [],
    }  # fmt: skip
    assert not refused


def test_masks_belong_to_the_photos_of_the_folder_that_their_path_names(tmp_path):
    """FFHQ's 00123.png is another person than CelebA-HQ's 123.jpg."""
    write_mask(tmp_path / "parsing" / "celeba" / "0" / "00123_hair.png", np.ones((4, 4)))
    files, _ = found(tmp_path, "celeba/123.jpg", "ffhq/00123.png", "00123.png")
    assert files == {"celeba/123.jpg": ["celeba/0/00123_hair.png"], "ffhq/00123.png": [], "00123.png": []}


def test_masks_that_could_be_of_two_photos_or_show_one_part_twice_are_refused(tmp_path):
    for name in ("0/00001_hair.png", "0/00002_hair.png", "1/00002_hair.png"):
        write_mask(tmp_path / "parsing" / name, np.ones((4, 4)))
    files, refused = found(tmp_path, "1.jpg", "00001.png", "2.jpg", "3.jpg")
    assert files == {"3.jpg": []}
    assert {path: row.code for path, row in refused.items()} == dict.fromkeys(
        ("1.jpg", "00001.png", "2.jpg"), "parts_ambiguous"
    )
    assert "'0/00002_hair.png' and '1/00002_hair.png'" in refused["2.jpg"].detail
    assert "'0/00001_hair.png'" in refused["1.jpg"].detail


def test_a_folder_that_has_masks_for_no_photo_is_told(tmp_path):
    with pytest.raises(UserError, match=r"00123_hair\.png"):
        found(tmp_path, "celeba/123.jpg")
    write_mask(tmp_path / "parsing" / "0" / "00123_hair.png", np.ones((4, 4)))
    with pytest.raises(UserError, match="below parsing/celeba/"):
        found(tmp_path, "celeba/123.jpg")
    assert found(tmp_path) == ({}, {})


def test_links_are_not_followed_out_of_the_folder(tmp_path):
    secret = tmp_path / "secret.png"
    write_mask(secret, np.ones((4, 4)))
    write_mask(tmp_path / "elsewhere" / "00002_hair.png", np.ones((4, 4)))
    write_mask(tmp_path / "parsing" / "00003_hair.png", np.ones((4, 4)))
    (tmp_path / "parsing" / "00001_hair.png").symlink_to(secret)
    (tmp_path / "parsing" / "linked").symlink_to(tmp_path / "elsewhere")
    files, refused = found(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    assert files == {"2.jpg": [], "3.jpg": ["00003_hair.png"]}
    assert refused["1.jpg"].code == "outside_folder"
    assert "'00001_hair.png'" in refused["1.jpg"].detail


def torn(path):
    path.write_bytes(path.read_bytes()[:-200])


def stretched(path):
    write_mask(path, np.ones((PX, 400)))


def smaller(path):
    write_mask(path, np.ones((256, 256)))


def grey(path):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    path.write_bytes(images.encode_png(cv2.resize(ramp, (PX, PX))))


def no_picture(path):
    path.write_text("<html>not found</html>")


@pytest.mark.parametrize(
    ("spoil", "part", "code"),
    [
        (torn, "hair", "parts_unreadable"),
        (no_picture, "nose", "parts_unreadable"),
        (grey, "skin", "parts_unreadable"),
        (smaller, "hair", "parts_misfit"),
        (stretched, "skin", "parts_misfit"),
    ],
)
def test_a_mask_that_cannot_be_used_is_named(tmp_path, spoil, part, code):
    draw_parts(tmp_path, parts_of(0))
    spoil(tmp_path / "parsing" / f"00000_{part}.png")
    with pytest.raises(Rejected) as caught:
        celebamask_hq.PartMaskParser().parse(cropped(tmp_path))
    assert caught.value.code == code
    assert f"_{part}.png'" in caught.value.detail or spoil in (smaller, stretched)
    assert "part mask '00000_" in caught.value.detail


def test_masks_of_another_shape_than_the_photo_are_refused(tmp_path):
    """Part masks of the aligned face do not fit the photo that it was cut from."""
    draw_parts(tmp_path, parts_of(0))
    with pytest.raises(Rejected, match="512×512, no shape for a photo of 768×512"):
        celebamask_hq.PartMaskParser().parse(cropped(tmp_path, photo_hw=(512, 768)))


def test_a_mask_that_changes_while_photos_are_ingested_is_refused(tmp_path):
    draw_parts(tmp_path, parts_of(0))
    look = cropped(tmp_path)
    write_mask(tmp_path / "parsing" / "00000_hair.png", np.ones((PX, PX)))
    with pytest.raises(Rejected, match=r"changed_meanwhile.*00000_hair\.png"):
        celebamask_hq.PartMaskParser().parse(look)


def test_a_changed_mask_makes_its_photo_anew_and_no_other(tmp_path):
    layout = celeba_dataset(tmp_path, 3, buckets=1, **masked())
    before, _ = ingested(layout)
    untouched = layout.parsing / "1" / "00001_hair.png"
    hair = layout.parsing / "0" / "00000_hair.png"
    write_mask(hair, np.arange(PX)[:, None] < 180 + np.zeros((PX, PX)))
    (layout.parsing / "0" / "00002_hair.png").unlink()
    after, _ = ingested(layout)
    assert untouched.exists()
    assert after["1.png"] == before["1.png"]
    assert after["0.png"].parsing != before["0.png"].parsing
    assert replace(after["0.png"], parsing=before["0.png"].parsing) == before["0.png"]
    assert "hair" in before["2.png"].parsed_regions
    assert "hair" not in after["2.png"].parsed_regions


def test_what_was_refused_for_a_mask_comes_back_when_it_is_mended(tmp_path):
    layout = celeba_dataset(tmp_path, 2, **masked())
    hair = layout.parsing / "0" / "00000_hair.png"
    whole = hair.read_bytes()
    torn(hair)
    records, refused = ingested(layout)
    assert set(records) == {"1.png"}
    assert refused["0.png"].code == "parts_unreadable"
    hair.write_bytes(whole)
    records, refused = ingested(layout)
    assert set(records) == {"0.png", "1.png"}
    assert not refused


def test_an_edit_of_hair_is_told_in_a_dataset_with_part_masks(tmp_path):
    """The hole is the brows' polygons; the masks say that a fringe lies over them."""
    entry = {
        "use": "classical_inpaint",
        "options": {"region_pool": ["eyebrow"], "regions_range": [1, 1], "free_form_share": 0},
    }
    layout = celeba_dataset(tmp_path, 4, [entry], **masked())
    build(layout)
    forged = list(read(layout.forged))
    assert forged
    for record in forged:
        assert check(record) == []
        assert "hair" in record.regions
        assert record.parsed_regions == list(parsed_words(images.decode_gray(record.parsing)))
        labels, mask = images.decode_gray(record.parsing), images.decode_gray(record.mask)
        share = (mask[labels == HAIR] > 0).mean()
        assert record.region_shares[record.regions.index("hair")] == pytest.approx(share, abs=1e-6)
    assert list(verify(layout.pristine)) == list(verify(layout.forged)) == []


def test_without_parsers_nothing_is_parsed(tmp_path):
    layout = celeba_dataset(tmp_path, 2)
    records, _ = ingested(layout)
    assert {(record.parsing, record.parser) for record in records.values()} == {(None, None)}
    assert all(record.parsed_regions == [] for record in records.values())


# facexlib's network

BISENET = facexlib.PARSING.path


def bisenet_state():
    """Weights that label by colour: red is hair, green is the nose, blue a hat, all else skin.

    Three channels of the picture pass through every layer untouched; a bias makes a fourth that is always 1.
    """
    torch = pytest.importorskip("torch")
    from facexlib.parsing.bisenet import BiSeNet

    with torch.device("meta"):
        shapes = {key: (value.shape, value.dtype) for key, value in BiSeNet(num_class=19).state_dict().items()}
    state = {
        key: torch.full((1,), 1.0 if key.endswith("running_var") or _is_scale(key) else 0.0).expand(shape)
        if dtype.is_floating_point
        else torch.zeros(shape, dtype=dtype)
        for key, (shape, dtype) in shapes.items()
    }

    def write(key, *entries):
        state[key] = state[key].clone()
        for place, value in entries:
            state[key][place] = value

    write("cp.resnet.conv1.weight", *(((c, c, 3, 3), 1.0) for c in range(3)))
    write("cp.resnet.layer2.0.downsample.0.weight", *(((c, c, 0, 0), 1.0) for c in range(3)))
    write("ffm.convblk.conv.weight", *(((c, c, 0, 0), 1.0) for c in range(3)))
    write("conv_out.conv.conv.weight", *(((c, c, 1, 1), 1.0) for c in range(3)))
    write("conv_out.conv.bn.bias", (3, 1.0))
    # In the network's numbers: 1 skin, 10 nose, 17 hair, 18 hat. Fusing multiplies by 1.5.
    write("conv_out.conv_out.weight", ((17, 0, 0, 0), 1.0), ((10, 1, 0, 0), 1.0), ((18, 2, 0, 0), 1.0),
          ((1, 3, 0, 0), 0.75))  # fmt: skip
    return state


def _is_scale(key):
    return key.endswith("weight") and ("bn" in key or "downsample.1" in key)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch = pytest.importorskip("torch")
    pytest.importorskip("facexlib")
    folder = tmp_path_factory.mktemp("models")
    (folder / BISENET).parent.mkdir()
    torch.save(bisenet_state(), folder / BISENET)
    return folder


@pytest.fixture
def models(weights, monkeypatch):
    monkeypatch.setenv(FOLDER, str(weights))
    return {BISENET: sha256(weights / BISENET)}


def painted(size_px):
    """A grey crop with a red, a green and a blue quarter."""
    crop = np.full((size_px, size_px, 3), 90, np.uint8)
    half = size_px // 2
    for channel, (rows, cols) in enumerate([(np.s_[:half], np.s_[:half]), (np.s_[:half], np.s_[half:]),
                                            (np.s_[half:], np.s_[:half])]):  # fmt: skip
        crop[rows, cols, channel] = 230
    return crop


def seen(crop):
    return Cropped(photo("0.png"), (PX, PX), crop, make_face(0, crop.shape[0]), np.eye(2, 3), Path("nowhere"))


@pytest.mark.parametrize("size_px", [256, 512, 1024])
def test_the_networks_labels_are_renumbered_at_the_crops_size(models, size_px):
    labels = facexlib.FacexlibParser(models).parse(seen(painted(size_px)))
    assert labels.shape == (size_px, size_px)
    assert labels.dtype == np.uint8
    expected = np.full((size_px, size_px), SKIN)
    half = size_px // 2
    expected[:half, :half], expected[:half, half:], expected[half:, :half] = HAIR, LABELS.index("nose"), HAT
    agree = labels == expected
    # The network sees steps of 8 pixels at 512.
    edge = size_px // 40
    assert agree[np.abs(np.arange(size_px) - half) > edge][:, np.abs(np.arange(size_px) - half) > edge].all()


def test_the_picture_is_normalised_as_the_network_was_trained(models):
    """Red is hair from 1.5·(red/255 − 0.485)/0.229 = 0.75 on, which is at 153: raw values would cross elsewhere."""
    for value, label in ((146, SKIN), (160, HAIR)):
        crop = np.full((256, 256, 3), 60, np.uint8)
        crop[..., 0] = value
        assert (facexlib.FacexlibParser(models).parse(seen(crop)) == label).all(), value


def test_it_runs_in_one_thread_and_learns_nothing(models):
    import torch

    facexlib.FacexlibParser(models).parse(seen(painted(256)))
    network = facexlib._loaded(Path(os.environ[FOLDER]) / BISENET, models[BISENET])
    assert torch.get_num_threads() == 1
    assert not network.training
    assert all(weight.grad is None for weight in network.parameters())


def test_missing_weights_are_named_with_where_they_come_from(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tmp_path))
    section = IngestSection(parsers=("facexlib",))
    for ask in (lambda: parsers.digests(section), lambda: facexlib.FacexlibParser().parse(seen(painted(256)))):
        with pytest.raises(UserError, match=r"facexlib/parsing_bisenet\.pth.*github\.com/xinntao/facexlib"):
            ask()


def test_missing_weights_are_told_before_any_photo_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tmp_path))
    layout = tiny_dataset(tmp_path, 1, **masked("facexlib"))
    with pytest.raises(UserError, match=r"parsing_bisenet\.pth.*is missing"):
        ingested(layout)
    assert not layout.pristine.exists()


def test_other_weights_than_the_known_need_a_pin(models):
    with pytest.raises(UserError, match="468e13ca13a9"):
        parsers.digests(IngestSection(parsers=("facexlib",)))
    assert parsers.digests(IngestSection(parsers=("facexlib",), models=models)) == models
    assert parsers.digests(IngestSection(parsers=("celebamask_hq",))) == {}
    assert parsers.WEIGHTS[0].licence == "LicenseRef-CelebAMask-HQ-NonCommercial"


class Bomb:
    """What a malicious file of weights may hold: unpickling it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.filterwarnings("ignore:Environment variable TORCH_FORCE")
@pytest.mark.parametrize("forced", ["", "1"])
def test_weights_that_would_run_code_are_refused(tmp_path, monkeypatch, forced):
    """Also where the environment tells torch to be trusting."""
    torch = pytest.importorskip("torch")
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", forced)
    monkeypatch.setenv(FOLDER, str(tmp_path))
    (tmp_path / BISENET).parent.mkdir()
    for save in (torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))):
        save({"conv_out.conv.conv.weight": Bomb(tmp_path / "owned")}, tmp_path / BISENET)
        pins = {BISENET: sha256(tmp_path / BISENET)}
        with pytest.raises(UserError, match=r"parsing_bisenet\.pth.*cannot be read as weights"):
            facexlib.FacexlibParser(pins).parse(seen(painted(256)))
    assert not (tmp_path / "owned").exists()


def test_weights_of_another_network_are_told(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setenv(FOLDER, str(tmp_path))
    (tmp_path / BISENET).parent.mkdir()
    torch.save({"weight": torch.zeros(3)}, tmp_path / BISENET)
    with pytest.raises(UserError, match="cannot be read as weights of BiSeNet"):
        facexlib.FacexlibParser({BISENET: sha256(tmp_path / BISENET)}).parse(seen(painted(256)))


def test_a_missing_package_is_told_with_the_command(models, monkeypatch):
    facexlib._loaded.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "facexlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "facexlib", None)
    with pytest.raises(MissingDependency, match=r"pip install 'mmtt\[facexlib\]'"):
        facexlib.FacexlibParser(models).parse(seen(painted(256)))


def test_the_parsers_are_there_without_their_packages():
    code = "import sys, pipelines.parsers; print({'torch', 'facexlib', 'torchvision'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "set()"


def test_a_dataset_parsed_by_the_network_is_sound(tmp_path, models):
    """Faces of drawn people are light: the made-up network calls nearly all of them hair."""
    section = masked("facexlib")["ingest"] | {"models": models}
    layout = tiny_dataset(tmp_path, 3, [{"use": "recolour", "options": {"parts": ["lips"]}}], ingest=section)
    build(layout)
    pristine, forged = list(read(layout.pristine)), list(read(layout.forged))
    assert forged
    again = facexlib.FacexlibParser(models).parse(seen(images.decode_rgb(pristine[0].image)))
    assert np.array_equal(images.decode_gray(pristine[0].parsing), again)
    for record in pristine:
        assert record.parsed_regions == list(parsed_words(images.decode_gray(record.parsing)))
    assert any("hair" in record.regions for record in forged)
    assert [check(record) for record in forged] == [[]] * len(forged)
    assert list(verify(layout.pristine)) == list(verify(layout.forged)) == []


def test_weights_decide_what_is_carried_over(tmp_path, models, monkeypatch):
    torch = pytest.importorskip("torch")
    section = masked("facexlib")["ingest"] | {"models": models}
    layout = tiny_dataset(tmp_path / "data", 1, ingest=section)
    before, _ = ingested(layout)
    other = bisenet_state()
    other["conv_out.conv_out.weight"] = torch.zeros(1).expand(19, 256, 1, 1)
    (tmp_path / "models" / BISENET).parent.mkdir(parents=True)
    torch.save(other, tmp_path / "models" / BISENET)
    monkeypatch.setenv(FOLDER, str(tmp_path / "models"))
    section["models"] = {BISENET: sha256(tmp_path / "models" / BISENET)}
    layout.recipe.write_text(yaml.safe_dump(tiny_recipe() | {"ingest": section}), encoding="utf-8")
    after, _ = ingested(layout)
    assert "hair" in before["drawn_00.png"].parsed_regions
    assert after["drawn_00.png"].parsed_regions == []
    assert not images.decode_gray(after["drawn_00.png"].parsing).any()


def test_a_pin_for_what_nothing_reads_is_a_mistake(tmp_path):
    section = masked("facexlib")["ingest"] | {"models": {"facexlib/parsing_bisnet.pth": "0" * 64}}
    layout = tiny_dataset(tmp_path, 1, ingest=section)
    with pytest.raises(RecipeError, match=r"Did you mean 'facexlib/parsing_bisenet\.pth'"):
        ingested(layout)


def test_the_first_parser_that_knows_a_photo_decides(tmp_path, models):
    section = masked("celebamask_hq", "facexlib")["ingest"] | {"models": models}
    layout = celeba_dataset(tmp_path, 2, ingest=section)
    for mask in layout.parsing.rglob("00001_*.png"):
        mask.unlink()
    records, _ = ingested(layout)
    drawn_there = celebamask_hq.PartMaskParser().parse(cropped(tmp_path))
    assert np.array_equal(images.decode_gray(records["0.png"].parsing), drawn_there)
    by_network = facexlib.FacexlibParser(models).parse(seen(images.decode_rgb(records["1.png"].image)))
    assert np.array_equal(images.decode_gray(records["1.png"].parsing), by_network)
    network = f"facexlib {version('facexlib')} bisenet LicenseRef-CelebAMask-HQ-NonCommercial"
    assert [records[path].parser for path in ("0.png", "1.png")] == ["celebamask_hq", network]


def test_names_that_are_no_utf8_are_escaped_and_end_nothing(tmp_path):
    """A folder of both photos and masks, so named; the second photo's masks are doubled, the third's are torn."""
    layout = celeba_dataset(tmp_path, 3, ingest=masked()["ingest"])
    odd = os.fsdecode(b"caf\xe9")
    for number, name in enumerate(("0", odd, odd)):
        for mask in [*layout.parsing.rglob(f"0000{number}_*.png")]:
            (layout.parsing / name).mkdir(exist_ok=True)
            mask.replace(layout.parsing / name / mask.name)
    shutil.copy(layout.parsing / odd / "00001_hair.png", layout.parsing / "00001_hair.png")
    torn(layout.parsing / odd / "00002_hair.png")
    records, refused = ingested(layout)
    assert set(records) == {"0.png"}
    assert [refused[path].code for path in ("1.png", "2.png")] == ["parts_ambiguous", "parts_unreadable"]
    assert all("caf\\xe9/0000" in row.detail for row in refused.values())


def test_masks_that_are_missing_for_a_folder_that_is_no_utf8_are_told_in_words_that_can_be_printed(tmp_path):
    with pytest.raises(UserError) as caught:
        found(tmp_path, os.fsdecode(b"caf\xe9/123.jpg"))
    assert "below parsing/caf\\xe9/" in str(caught.value)


def test_part_masks_are_part_of_what_a_photo_is_made_from():
    plain = photo("0.png")
    assert replace(plain, parts=(("00000_hair.png", digest(1)),)).item_digest != plain.item_digest
    assert Layout(Path("d")).parsing == Path("d/parsing")
