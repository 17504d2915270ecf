"""Doctor: tells what is here and what could be run; nothing missing is an error, nothing heavy is loaded unasked."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from mmtt import weights
from mmtt.files import file_sha256
from mmtt.weights import Weights
from pipelines import doctor as module
from pipelines import manipulators
from pipelines.doctor import CORE, EXTRAS, NEEDS, as_json, as_text, doctor
from pipelines.finders.insightface import DETECTION, RECOGNITION
from pipelines.manipulators.inswapper import SWAPPER

ROOT = Path(__file__).parents[2]
HIDDEN = ("torch", "torchvision", "onnxruntime", "facexlib", "insightface", "diffusers", "transformers", "accelerate")

TELL = """
import json, sys
from pipelines.doctor import as_json, doctor
print(json.dumps({"findings": json.loads(as_json(doctor("deep" in sys.argv))), "loaded": sorted(sys.modules)}))
"""


def by_name(findings, kind):
    return {finding.name: finding for finding in findings if finding.kind == kind}


@pytest.fixture
def models(tmp_path, monkeypatch):
    """An empty folder that MMTT_MODELS names."""
    monkeypatch.setenv("MMTT_MODELS", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """The installed packages without those of any extra but MediaPipe's, as a folder of links."""
    folder = tmp_path_factory.mktemp("bare")
    for item in Path(sysconfig.get_path("purelib")).iterdir():
        if not item.name.startswith(HIDDEN) and item.suffix != ".pth" and item.name != "__pycache__":
            (folder / item.name).symlink_to(item)
    return folder


def told_by(*folders: Path, deep: bool = False):
    """What doctor says in a process whose packages lie in these folders alone, and which modules it loaded."""
    environment = {name: value for name, value in os.environ.items() if name != "MMTT_MODELS"}
    path = os.pathsep.join(map(str, [*folders, ROOT]))
    done = subprocess.run(
        [sys.executable, "-S", "-c", TELL, *(["deep"] if deep else [])],
        env=environment | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    findings = {(finding["kind"], finding["name"]): finding for finding in told["findings"]}
    return findings, set(told["loaded"])


def test_the_extras_are_those_that_the_package_declares():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = {extra: {re.split(r"[^\w-]", line)[0] for line in lines} - set(CORE) for extra, lines in declared.items()}
    assert EXTRAS["mediapipe"] == ("mediapipe",)  # which no extra may declare, see pyproject.toml
    known = {extra: set(packages) for extra, packages in EXTRAS.items() if extra != "mediapipe"}
    assert known == {extra: packages for extra, packages in names.items() if extra not in ("mediapipe", "dev")}


def test_every_manipulator_that_an_extra_is_for_is_known_with_it():
    homes = {name: import_module(manipulators.find(name).__module__) for name in manipulators.BUILT_IN}
    told = {name: home.INSTALL for name, home in homes.items() if hasattr(home, "INSTALL")}
    assert told == {name: f"pip install 'mmtt[{extra}]'" for name, extra in NEEDS.items() if name in told}
    assert set(NEEDS.values()) <= EXTRAS.keys()


def test_versions_are_those_that_are_installed():
    found = by_name(doctor(), "package")
    assert found["numpy"].status == np.__version__
    assert found["torch"].status == version("torch")
    assert found["python"].status == "{}.{}.{}".format(*sys.version_info[:3])


def test_what_is_absent_is_told_with_the_command_that_brings_it(bare):
    findings, loaded = told_by(bare)
    assert findings["package", "torch"]["status"] == "absent"
    detail = findings["package", "onnxruntime"]["detail"]
    assert detail == "pip install 'mmtt[insightface]' or pip install 'mmtt[onnx]'"
    assert findings["device", "torch"]["status"] == "cpu"
    assert findings["manipulator", "onnx_inpaint"]["status"] == "not ready"
    assert findings["manipulator", "onnx_inpaint"]["detail"] == "needs onnxruntime: pip install 'mmtt[onnx]'"
    assert findings["manipulator", "recolour"]["status"] == "ready"
    assert findings["models", "MMTT_MODELS"]["status"] == "unset"
    assert not loaded & {"torch", "mediapipe", "onnxruntime"}


def test_nothing_heavy_is_loaded_unless_asked_for():
    code = f"{TELL}\nassert not set(sys.modules) & {{'mediapipe', *{HIDDEN}}}"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def test_deep_finds_what_is_installed_but_broken(bare, tmp_path):
    (tmp_path / "accelerate.py").write_text("print('hello'); raise RuntimeError('built for another torch')")
    info = tmp_path / "accelerate-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: accelerate\nVersion: 9.9\n")
    shallow, _ = told_by(tmp_path, bare)
    assert shallow["package", "accelerate"]["status"] == "9.9"
    findings, _ = told_by(tmp_path, bare, deep=True)
    assert findings["package", "accelerate"]["status"] == "broken"
    assert (
        "9.9 is installed, but cannot be imported: RuntimeError: built for"
        in findings["package", "accelerate"]["detail"]
    )


def test_deep_looks_for_a_gpu():
    import torch

    assert module._device(deep=False).status == "unknown"
    assert module._device(deep=True).status == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.usefixtures("models")
def test_absent_weights_are_told_with_their_licence_and_where_they_come_from():
    found = by_name(doctor(), "weights")
    told = found[DETECTION.path]
    assert (told.status, told.licence, told.origin) == ("absent", DETECTION.licence, DETECTION.origin)
    assert {finding.status for finding in found.values()} == {"absent"}
    assert "finder" in told.enables and "inswapper" not in told.enables
    assert "manipulator `inswapper`" in found[RECOGNITION.path].enables
    assert {path.split("/")[0] for path in found} >= {"models", "facexlib"}


def test_weights_of_another_digest_are_told_by_both(models):
    path = models / DETECTION.path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not the detector")
    told = by_name(doctor(), "weights")[DETECTION.path]
    assert (told.status, told.detail) == ("found", "not hashed; mmtt doctor --deep compares digests")
    told = by_name(module._weights(deep=True), "weights")[DETECTION.path]
    assert told.status == "other digest"
    assert told.detail == f"SHA-256 {file_sha256(path)}, known is {DETECTION.sha256}"


@pytest.mark.parametrize("pinned", [True, False])
def test_weights_that_are_as_known_are_found(models, monkeypatch, pinned):
    path = models / "eyes.bin"
    path.write_bytes(b"eyes")
    known = f"'{file_sha256(path)}'" if pinned else None
    source = f"from mmtt.weights import Weights\nEYES = Weights('eyes.bin', 'MIT', 'https://example.org', {known})\n"
    (models / f"known_eyes_{pinned}.py").write_text(source)
    monkeypatch.syspath_prepend(str(models))
    monkeypatch.setattr(module, "WEIGHED", {f"known_eyes_{pinned}": "eyes"})
    (told,) = by_name(module._weights(deep=True), "weights").values()
    assert (told.status, told.detail) == ("found", f"SHA-256 {file_sha256(path)}")
    assert (told.enables, told.licence) == ("eyes", "MIT")


@pytest.mark.parametrize(("folder", "status"), [("", "unset"), ("nowhere", "absent"), (".", "set")])
def test_the_folder_of_models_is_looked_for(tmp_path, monkeypatch, folder, status):
    monkeypatch.setenv("MMTT_MODELS", str(tmp_path / folder) if folder else "")
    (told,) = by_name(doctor(), "models").values()
    assert told.status == status
    assert (str(tmp_path) in told.detail) == bool(folder)


@pytest.mark.usefixtures("models")
def test_every_manipulator_is_listed_with_why_it_could_not_run():
    found = by_name(doctor(), "manipulator")
    assert list(found) == manipulators.names()
    assert found["face_swap"].status == "ready" and found["face_swap"].detail.endswith(", face_swap")
    assert found["inswapper"].status == "not ready"
    assert "' is missing. Get it from " in found["inswapper"].detail
    assert found["command"].status == "needs options"
    assert "'program' is missing" in found["command"].detail and "\n" not in found["command"].detail


def test_installed_manipulators_are_looked_at_like_built_in_ones(bare, tmp_path):
    (tmp_path / "strange.py").write_text("def f(): ...\n")
    info = tmp_path / "strange-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[mmtt.manipulators]\nbroken = strange:g\nretouch = strange:f\n")
    findings, _ = told_by(tmp_path, bare)
    assert findings["manipulator", "broken"]["status"] == "not ready"
    assert "'broken' of the package 'strange' cannot be loaded" in findings["manipulator", "broken"]["detail"]
    assert findings["manipulator", "retouch"]["status"] == "not used"


@pytest.mark.usefixtures("models")
def test_text_and_json_say_the_same():
    findings = doctor()
    assert [finding["name"] for finding in json.loads(as_json(findings))] == [finding.name for finding in findings]
    text = as_text(findings)
    for finding in findings:
        assert finding.name in text and finding.status in text and finding.detail in text
        assert (finding.licence in text and finding.enables in text) or finding.kind != "weights"
    assert re.findall(r"^\w+:$", text, re.M) == ["package:", "device:", "models:", "weights:", "manipulator:"]


@pytest.mark.parametrize("name", ["inswapper", "mat"])
def test_a_manipulator_whose_weights_are_here_is_ready_before_they_are_hashed(models, name, monkeypatch):
    made = manipulators.make(name, {}, name)
    known = [SWAPPER, RECOGNITION] if name == "inswapper" else [Weights(f"mat/{made.network}", "", "")]
    for path in [models / weight.path for weight in known] + [models / "mat/.venv/bin/python"]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"weights")
        path.chmod(0o755)
    read = []
    monkeypatch.setattr(weights, "file_sha256", lambda path: read.append(path) or file_sha256(path))
    ready = by_name(doctor(), "manipulator")[name]
    assert ready.status == "ready" and "; weights not hashed" in ready.detail and read == []
    deep = by_name(module._manipulators(deep=True), "manipulator")[name]
    assert deep.status == ("not ready" if name == "inswapper" else "ready") and read
