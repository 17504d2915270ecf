"""Doctor: what is installed, which weights are there, and what could therefore be run. Missing things are no errors."""

import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from types import MappingProxyType

from mmtt import __version__, weights
from mmtt.errors import RecipeError, UserError
from mmtt.manipulator import Manipulator

from . import manipulators
from .manipulators import programs
from .manipulators.foreign import Foreign

UNHASHED = "not hashed; mmtt doctor --deep compares digests"
CORE = ("numpy", "opencv-python-headless", "pillow", "pyarrow", "pydantic", "scikit-image")
# What each extra brings; MediaPipe itself cannot be declared.
EXTRAS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "mediapipe": ("mediapipe",),
        "insightface": ("insightface", "onnxruntime"),
        "facexlib": ("facexlib", "torch"),
        "onnx": ("onnxruntime",),
        "diffusion": ("accelerate", "diffusers", "torch", "transformers"),
        "annotation": ("httpx", "label-studio-sdk", "markdown-it-py", "rapidfuzz"),
        "translation": ("safetensors", "sentencepiece", "torch", "transformers"),
        "baselines": ("safetensors", "sentencepiece", "tensorboard", "torch", "transformers"),
        "meteor": ("pycocoevalcap",),
        "demo": ("gradio",),
        "hub": ("huggingface_hub",),
        "c2pa": ("c2pa-python", "cryptography"),
    }
)
# Packages that are imported under another name than the one they are installed under.
_MODULES: Mapping[str, str] = MappingProxyType(
    {"label-studio-sdk": "label_studio_sdk", "markdown-it-py": "markdown_it", "c2pa-python": "c2pa"}
)
# Manipulators that an extra is for.
NEEDS: Mapping[str, str] = MappingProxyType(
    {
        "inswapper": "insightface",
        "onnx_inpaint": "onnx",
        "diffusion_inpaint": "diffusion",
        "diffusion_edit": "diffusion",
    }
)
# Modules that know weights by name, and what these are for.
WEIGHED: Mapping[str, str] = MappingProxyType(
    {
        ".finders.insightface": "face finder and identity embeddings `insightface`",
        ".finders.facexlib": "face finder `facexlib`",
        ".parsers.facexlib": "face parser `facexlib`",
        ".manipulators.inswapper": "manipulator `inswapper`",
    }
)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    kind: package, device, models, weights or manipulator.
    status: a version for what is installed; else found, absent, other digest, broken, ready, not ready, needs options,
        not used, set, unset, unknown, cuda, cpu.
    """

    kind: str
    name: str
    status: str
    detail: str = ""
    enables: str = ""
    licence: str = ""
    origin: str = ""


def doctor(deep: bool = False) -> list[Finding]:
    """Look at packages, device, weights and manipulators, in that order.

    By default only versions are read; `deep` imports what is installed, to see whether it works, looks for a GPU, and
    reads the weights, to see whether they are those that are known.
    """
    return [*_packages(deep), _device(deep), _models(), *_weights(deep), *_manipulators(deep)]


def as_text(findings: Sequence[Finding]) -> str:
    """Return the findings as text for people, a line or two each."""
    lines = []
    for kind, group in groupby(findings, key=lambda finding: finding.kind):
        some = list(group)
        wide = max(len(finding.name) for finding in some)
        lines.append(f"{kind}:")
        for finding in some:
            lines.append(f"  {finding.name:{wide}}  {finding.status:13}  {finding.detail}".rstrip())
            if finding.kind == "weights":
                lines.append(f"  {'':{wide}}  {'':13}  for the {finding.enables}; licence {finding.licence}")
    return "\n".join(lines) + "\n"


def as_json(findings: Sequence[Finding]) -> str:
    """Return the findings as a JSON list of objects."""
    return json.dumps([asdict(finding) for finding in findings])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _packages(deep: bool) -> Iterator[Finding]:
    yield Finding("package", "python", platform.python_version(), sys.executable)
    yield Finding("package", "mmtt", __version__)
    for name in CORE:
        yield Finding("package", name, _version(name) or "absent")
    for name in sorted({name for brought in EXTRAS.values() for name in brought}):
        yield _optional(name, deep)


def _optional(name: str, deep: bool) -> Finding:
    extras = [extra for extra, brought in EXTRAS.items() if name in brought]
    commands = " or ".join(f"pip install 'mmtt[{extra}]'" for extra in extras)
    found = _version(name)
    if found is None:
        return Finding("package", name, "absent", commands, enables=", ".join(extras))
    fault = _import_fault(name) if deep else ""
    return Finding("package", name, "broken" if fault else found, fault, enables=", ".join(extras))


def _import_fault(name: str) -> str:
    try:
        with redirect_stdout(sys.stderr):  # some greet on import, and standard output may be read by a machine
            import_module(_MODULES.get(name, name))
    except Exception as error:  # a package that does not fit another may raise anything
        return f"{_version(name)} is installed, but cannot be imported: {type(error).__name__}: {error}"
    return ""


def _device(deep: bool) -> Finding:
    found = _version("torch")
    if found is None:
        return Finding("device", "torch", "cpu", "torch is not installed")
    if not deep:
        return Finding("device", "torch", "unknown", "mmtt doctor --deep loads torch and looks for a GPU")
    fault = _import_fault("torch")
    if fault:
        return Finding("device", "torch", "broken", fault)
    import torch

    if torch.cuda.is_available():
        return Finding("device", "torch", "cuda", torch.cuda.get_device_name(0))
    return Finding("device", "torch", "cpu", "torch sees no GPU")


def _models() -> Finding:
    folder = os.environ.get(weights.FOLDER)
    if not folder:
        return Finding(
            "models", weights.FOLDER, "unset", f"mmtt --models DIR, or {weights.FOLDER}=DIR, names your folder"
        )
    if not Path(folder).is_dir():
        return Finding("models", weights.FOLDER, "absent", f"{folder} is no folder")
    return Finding("models", weights.FOLDER, "set", folder)


def _weights(deep: bool) -> Iterator[Finding]:
    enables: dict[weights.Weights, list[str]] = {}
    for module, use in WEIGHED.items():
        for value in _known(module):
            enables.setdefault(value, []).append(use)
    for known, uses in enables.items():
        status, detail = _state(known, deep)
        yield Finding("weights", known.path, status, detail, ", ".join(uses), known.licence, known.origin)


def _known(module: str) -> list[weights.Weights]:
    values = vars(import_module(module, __package__)).values()
    return [value for value in values if isinstance(value, weights.Weights)]


def _state(known: weights.Weights, deep: bool) -> tuple[str, str]:
    path = weights.find(known.path)
    if path is None:
        return "absent", f"get it from {known.origin}"
    if not deep:
        return "found", UNHASHED
    sha256 = weights.sha256(path)
    if known.sha256 not in (None, sha256):
        return "other digest", f"SHA-256 {sha256}, known is {known.sha256}"
    return "found", f"SHA-256 {sha256}"


def _manipulators(deep: bool) -> Iterator[Finding]:
    for name in manipulators.names():
        yield Finding("manipulator", name, *_readiness(name, deep))
        for sentence in manipulators.shadowed(name):
            yield Finding("manipulator", name, "not used", sentence)


def _readiness(name: str, deep: bool) -> tuple[str, str]:
    """Whether a manipulator could run now with its default options, and why not."""
    extra = NEEDS.get(name)
    missing = [package for package in EXTRAS[extra] if _version(package) is None] if extra else []
    if missing:
        return "not ready", f"needs {', '.join(missing)}: pip install 'mmtt[{extra}]'"
    try:
        made = manipulators.make(name, {}, name)
        needed = () if deep else _needed(name, made)
        for known in needed:
            weights.require(known._replace(sha256=None))
        declared = made.declaration if needed else made.declare()
    except RecipeError as error:
        return "needs options", str(error).replace("\n", " ")
    except UserError as error:
        return "not ready", str(error)
    except Exception as error:  # a stranger's code may raise anything
        return "not ready", f"{type(error).__name__}: {error}"
    return "ready", f"version {declared.version}, {declared.family}{f'; weights {UNHASHED}' if needed else ''}"


def _needed(name: str, made: Manipulator) -> list[weights.Weights]:
    """Known weights that declaring would read."""
    if isinstance(made, Foreign):
        programs.executable(made.home, made.python)
        return [known._replace(path=f"{made.program}/{known.path}") for known in made.brought()]
    module = f".manipulators.{name}"
    return _known(module) if module in WEIGHED else []
