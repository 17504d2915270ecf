"""A stranger's manipulator, as a real installed package: found by its entry point, tried, forged with, or refused."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from mmtt import images
from mmtt.check import check
from mmtt.manifest import read
from tests.factories import tiny_dataset

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "tests" / "example_plugin"

BAD = '''
import random
import sys
from typing import ClassVar

import numpy as np

from mmtt.manipulator import Edit, Manipulator
from mmtt.weights import Weights, require
from mmtt_pixelate import Pixelate


def named(name, **changes):
    return Pixelate.declaration._replace(name=name, **changes)


class Changed(Pixelate):
    """Makes each edit of the good one bad."""

    def render(self, batch):
        return [self.bad(job, edit) for job, edit in zip(batch, super().render(batch), strict=True)]


class NanAlpha(Changed):
    declaration: ClassVar = named("nan_alpha")

    def bad(self, job, edit):
        return edit._replace(alpha=np.where(edit.alpha > 0.5, np.float32("nan"), edit.alpha))


class NanImage(Changed):
    declaration: ClassVar = named("nan_image")

    def bad(self, job, edit):
        return edit._replace(image=np.full(edit.image.shape, np.nan, np.float32))


class WrongSize(Changed):
    declaration: ClassVar = named("wrong_size")

    def bad(self, job, edit):
        return edit._replace(image=edit.image[::2, ::2])


class LoudAlpha(Changed):
    declaration: ClassVar = named("loud_alpha")

    def bad(self, job, edit):
        return edit._replace(alpha=edit.alpha * np.float32(2))


class Scribbles(Changed):
    declaration: ClassVar = named("scribbles")

    def bad(self, job, edit):
        job.target[:9, :9] = 0
        return edit


class BatchSize(Pixelate):
    declaration: ClassVar = named("batch_size")

    def render(self, batch):
        return [edit._replace(image=edit.image // np.uint8(len(batch))) for edit in super().render(batch)]


class Raises(Changed):
    declaration: ClassVar = named("raises")

    def bad(self, job, edit):
        raise ZeroDivisionError("no blocks")


class GlobalRandom(Pixelate):
    declaration: ClassVar = named("global_random")

    def plan(self, target, source, rng):
        return super().plan(target, source, rng) | {"block_px": random.randint(5, 500)}


class TooFew(Pixelate):
    declaration: ClassVar = named("too_few")

    def render(self, batch):
        return super().render(batch)[1:]


class NoLicence(Pixelate):
    declaration: ClassVar = named("no_licence", weights_sha256="0" * 64)


class Learned(Pixelate):
    declaration: ClassVar = named("learned")
    weights: str = "eyes.onnx"

    def declare(self):
        require(Weights(self.weights, "MIT", "https://example.org/eyes"))
        return self.declaration


class Unfinished(Manipulator):
    declaration: ClassVar = named("unfinished")


class Misnamed(Pixelate):
    declaration: ClassVar = named("pixelate")


class Undeclared(Manipulator):
    def plan(self, target, source, rng):
        return {}

    def render(self, batch):
        return []


class Twin(Pixelate):
    declaration: ClassVar = named("twin")


class Recolour(Pixelate):
    declaration: ClassVar = named("recolour")


def function():
    return None
'''

ENTRIES = {
    "nan_alpha": "bad_programs:NanAlpha",
    "nan_image": "bad_programs:NanImage",
    "wrong_size": "bad_programs:WrongSize",
    "loud_alpha": "bad_programs:LoudAlpha",
    "scribbles": "bad_programs:Scribbles",
    "batch_size": "bad_programs:BatchSize",
    "raises": "bad_programs:Raises",
    "global_random": "bad_programs:GlobalRandom",
    "too_few": "bad_programs:TooFew",
    "no_licence": "bad_programs:NoLicence",
    "learned": "bad_programs:Learned",
    "unfinished": "bad_programs:Unfinished",
    "misnamed": "bad_programs:Misnamed",
    "undeclared": "bad_programs:Undeclared",
    "function": "bad_programs:function",
    "absent_name": "bad_programs:Nowhere",
    "absent_module": "no_such_module:Pixelate",
    "syntax": "bad_syntax:Pixelate",
    "twin": "bad_programs:Twin",
    "recolour": "bad_programs:Recolour",
}

TRY_ALL = """
import json, sys
from mmtt.errors import UserError
from pipelines import manipulators
from pipelines.trial import trial

def tried(name):
    try:
        return trial(name)
    except UserError as error:
        return f"{type(error).__name__}: {error}"

print(json.dumps({name: tried(name) for name in sys.argv[1:]} | {"": manipulators.shadowed()}))
"""


class Done(NamedTuple):
    code: int
    out: str
    err: str


def run(folder: Path, *arguments: object, **environment: str) -> Done:
    """Run Python where the packages of a folder are installed."""
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, *map(str, arguments)]
    known = os.environ | {"PYTHONPATH": path} | environment
    done = subprocess.run(command, cwd=ROOT, env=known, capture_output=True, text=True, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


def mmtt(folder: Path, *arguments: object) -> Done:
    done = run(folder, "-m", "mmtt", *arguments)
    assert "Traceback" not in done.err, done.err
    return done


def install_example(folder: Path) -> None:
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--root-user-action=ignore",
    ]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--target", folder, EXAMPLE], check=True)


def write_package(folder: Path, name: str, entries: dict[str, str]) -> None:
    """What pip leaves of a package: metadata and entry points."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{left} = {right}" for left, right in entries.items()]
    (info / "entry_points.txt").write_text("\n".join(["[mmtt.manipulators]", *lines, ""]))


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A folder that the example is installed into, as anyone would install it."""
    folder = tmp_path_factory.mktemp("good")
    install_example(folder)
    return folder


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """A folder with the example and every kind of bad one."""
    folder = tmp_path_factory.mktemp("bad")
    install_example(folder)
    (folder / "bad_programs.py").write_text(BAD)
    (folder / "bad_syntax.py").write_text("class Pixelate(:\n")
    write_package(folder, "bad-programs", ENTRIES)
    write_package(folder, "other-twin", {"twin": "mmtt_pixelate:Pixelate"})
    return folder


@pytest.fixture(scope="module")
def told(bad):
    """What a trial of each says, by real entry points in a process of its own."""
    done = run(bad, "-c", TRY_ALL, *ENTRIES, "pixelate", "scribbles", MMTT_MODELS="")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_an_installed_package_is_listed_beside_the_built_in_ones(good):
    done = mmtt(good, "manipulators", "list", "--json")
    listed = {row["name"]: row for row in json.loads(done.out)}
    assert listed["pixelate"]["family"] == "retouch" and "recolour" in listed
    assert done.err == ""


def test_the_example_that_one_copies_keeps_its_contract(good):
    done = mmtt(good, "manipulators", "check", "pixelate")
    assert (done.code, done.out, done.err) == (0, "pixelate: no faults\n", "")


def test_an_installed_package_forges_into_a_shard_that_is_trusted(good, tmp_path):
    entry = {"use": "pixelate", "name": "blocks", "options": {"blocks": 4}}
    layout = tiny_dataset(tmp_path, photos=4, manipulators=[entry])
    done = mmtt(good, "build", tmp_path, "--workers", 2, "--json")
    assert done.code == 0, done.err
    records = list(read(layout.forged))
    assert len(records) == 4
    assert [fault for record in records for fault in check(record)] == []
    for record in records:
        assert (record.manipulator, record.manipulator_version, record.manipulation) == ("pixelate", "1.0.0", "retouch")
        assert set(record.regions) & set(json.loads(record.parameters)["regions"])
        image, pristine = images.decode_rgb(record.image), images.decode_rgb(record.pristine)
        full = images.decode_gray(record.alpha) == 255
        assert len(np.unique(image[full], axis=0)) < len(np.unique(pristine[full], axis=0)) / 3
    assert mmtt(good, "verify", tmp_path).code == 0


def test_a_recipe_that_names_what_is_not_installed_is_told_so(tmp_path):
    tiny_dataset(tmp_path, photos=2, manipulators=["pixelate"])
    done = mmtt(tmp_path, "build", tmp_path)
    assert done.code == 2 and "There is no manipulator 'pixelate'" in done.err


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nan_alpha", "alpha is not finite"),
        ("nan_image", "image is float32 (256, 256, 3), target uint8 (256, 256, 3)"),
        ("wrong_size", "image is uint8 (128, 128, 3), target uint8 (256, 256, 3)"),
        ("loud_alpha", "alpha spans 0 to 2, beyond [0, 1]"),
        ("scribbles", "the inputs were written to"),
        ("batch_size", "the same job gives other bytes in a batch of 5, or twice"),
        ("raises", "ZeroDivisionError: no blocks"),
        ("global_random", "a global random generator was used"),
        ("too_few", "a batch of 1 gives 0 edits"),
        ("no_licence", "weights are declared without their licence"),
    ],
)
def test_a_bad_program_is_refused_with_what_is_wrong(told, name, sentence):
    assert isinstance(told[name], list), told[name]
    assert any(sentence in fault for fault in told[name]), told[name]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("learned", "'eyes.onnx' is missing. Get it from https://example.org/eyes and put it into"),
        ("unfinished", "'unfinished' of the package 'bad-programs' does not define plan, render"),
        ("misnamed", "'misnamed' of the package 'bad-programs' declares the name 'pixelate'"),
        ("undeclared", "'undeclared' of the package 'bad-programs' has no `declaration`"),
        ("function", "'function' of the package 'bad-programs' is not a subclass of mmtt.manipulator.Manipulator"),
        ("absent_name", "'absent_name' of the package 'bad-programs' cannot be loaded: AttributeError"),
        ("absent_module", "'absent_module' of the package 'bad-programs' cannot be loaded: ModuleNotFoundError"),
        ("syntax", "'syntax' of the package 'bad-programs' cannot be loaded: SyntaxError"),
        ("twin", "Several packages install a manipulator 'twin': bad-programs, other-twin"),
    ],
)
def test_what_cannot_even_be_loaded_is_named_with_its_package(told, name, sentence):
    assert told[name].startswith("UserError: ")
    assert sentence in told[name]


def test_a_name_that_a_built_in_has_is_told_and_not_used(told):
    sentence = (
        "The installed manipulator 'recolour' of the package 'bad-programs' is not used: a built-in has its name."
    )
    assert told["recolour"] == [sentence]
    assert told[""] == [sentence]


def test_a_bad_neighbour_is_no_fault_of_the_good_one(told):
    assert told["pixelate"] == []


def test_the_command_refuses_a_bad_one_by_name(bad):
    done = mmtt(bad, "manipulators", "check", "wrong_size")
    assert done.code == 2
    assert "wrong_size: seed 0: bad_edit: image is uint8 (128, 128, 3)" in done.err


def test_the_list_shows_the_good_ones_and_names_the_broken(bad):
    done = mmtt(bad, "manipulators", "list")
    assert done.code == 0
    assert "pixelate" in done.out and "nan_alpha" in done.out
    for name in ("absent_module", "syntax", "twin", "misnamed"):
        assert f"\n{name} " not in done.out and f"'{name}'" in done.err


def test_a_broken_package_is_no_traceback_for_a_recipe_that_uses_it(bad, tmp_path):
    tiny_dataset(tmp_path, photos=2, manipulators=["absent_module"])
    done = mmtt(bad, "build", tmp_path)
    assert done.code == 2 and "'absent_module' of the package 'bad-programs' cannot be loaded" in done.err
