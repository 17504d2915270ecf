"""Diffusion pipelines out of a user's folder in diffusers' format: how one is checked, loaded and called.

Nothing of the folder is executed: weights are safetensors, never pickles; components are of the classes listed here,
never code out of the folder; nothing is downloaded. Noise is drawn on the CPU by a generator for each picture, so
that a seed means the same noise on any device.
"""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from logging import CRITICAL
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image

from mmtt import weights
from mmtt.devices import steady
from mmtt.errors import Rejected, UserError
from mmtt.images import Rgb
from mmtt.regions import Mask
from mmtt.weights import Weights

from .diffusion_device import concerning_all, device, missing

GRID_PX = 8  # an autoencoder's factor: sides are multiples of it

Scheduler = Literal["own", "ddim", "dpm_multistep", "euler", "euler_ancestral", "pndm", "unipc"]
Precision = Literal["float32", "float16", "bfloat16"]

_SCHEDULERS: Mapping[str, str] = MappingProxyType({
    "ddim": "DDIMScheduler",
    "dpm_multistep": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_ancestral": "EulerAncestralDiscreteScheduler",
    "pndm": "PNDMScheduler",
    "unipc": "UniPCMultistepScheduler",
})  # fmt: skip
_CLASSES: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "vae": ("AutoencoderKL", "AsymmetricAutoencoderKL"),
    "unet": ("UNet2DConditionModel",),
    "text_encoder": ("CLIPTextModel",),
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "scheduler": ("LMSDiscreteScheduler", "DPMSolverSinglestepScheduler", *_SCHEDULERS.values()),
})  # fmt: skip
_LEARNED = ("vae", "unet", "text_encoder")
_LIBRARIES = ("diffusers", "transformers")
# A safety checker blackens what it takes for nudity: a black square would pass for a forgery.
_LEFT_OUT: Mapping[str, Any] = MappingProxyType({
    "safety_checker": None, "feature_extractor": None, "image_encoder": None, "requires_safety_checker": False,
})  # fmt: skip


class Kind(NamedTuple):
    """A kind of pipeline: diffusers' class, as what it may have been saved, how many channels its U-Net takes."""

    pipeline: str
    saved_as: tuple[str, ...]
    channels: tuple[int, ...]


class Source(NamedTuple):
    """Which pipeline to load: its checked folder, the digest of that, and how."""

    folder: Path
    sha256: str
    kind: Kind
    variant: str | None
    precision: Precision


class Ask(NamedTuple):
    """One picture to make: of `image`, RGB uint8 S×S×3, S a multiple of `GRID_PX`; mask: bool S×S, what to repaint."""

    image: Rgb
    prompt: str
    negative_prompt: str
    seed: int
    mask: Mask | None = None


class _Model(NamedTuple):
    pipe: Any
    scheduler: Any  # as it was saved


def located(name: str, licence: str, pinned: str | None) -> Path:
    """Return where a pipeline's folder lies, checked against a pinned digest.

    Raises:
        UserError: absent, or other bytes than pinned.
    """
    if name.startswith(weights.HUB) and weights.find(name) is None:
        repository, _, revision = name.removeprefix(weights.HUB).partition("@")
        hint = f"hf download {repository} --revision {revision}"
        raise UserError(f"'{name}' is not in the Hugging Face Hub's cache on this machine. To get it: {hint}.")
    origin = "wherever you chose it, as a folder in diffusers' format (`hf download OWNER/NAME --local-dir DIR`)"
    return weights.require(Weights(name, licence, origin), pinned)


def check_folder(folder: Path, kind: Kind) -> None:
    """Refuse what is no pipeline of a kind, or would have to be unpickled or executed; needs neither torch nor time.

    Raises:
        UserError: what is wrong with the folder, and what to do.
    """
    index = _read_json(folder / "model_index.json", folder)
    saved_as = index.get("_class_name")
    if saved_as not in kind.saved_as:
        raise UserError(f"{folder} holds a pipeline {saved_as!r}, not one of {', '.join(kind.saved_as)}.")
    for name, classes in _CLASSES.items():
        found = index.get(name)
        if not isinstance(found, list) or len(found) != 2 or found[0] not in _LIBRARIES or found[1] not in classes:
            raise UserError(f"{folder}/model_index.json says {name}: {found}. Only {', '.join(classes)} are loaded.")
    channels = _read_json(folder / "unet" / "config.json", folder).get("in_channels")
    if channels not in kind.channels:
        wanted = " or ".join(map(str, kind.channels))
        raise UserError(f"The U-Net of {folder} takes {channels} channels; {kind.pipeline} needs {wanted}.")
    for name in _CLASSES:
        # Some versions of diffusers import a component's class from a file of the library's name beside it.
        if any((folder / name).glob("*.py")):
            raise UserError(f"{folder / name} holds code (.py), which is never run. Remove it once you have read it.")
    for name in _LEARNED:
        _require_safetensors(folder / name)


def _read_json(path: Path, folder: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        hint = "Single files are turned into one by from_single_file(...).save_pretrained(DIR) of diffusers."
        raise UserError(f"{folder} is no pipeline in diffusers' folder format ({error}). {hint}") from error
    if not isinstance(read, dict):
        raise UserError(f"{path} must hold keys and values.")
    return read


def _require_safetensors(folder: Path) -> None:
    if any(folder.glob("*.safetensors")):
        return
    found = ", ".join(sorted(path.name for path in folder.glob("*"))) or "nothing"
    raise UserError(
        f"{folder} has no weights as safetensors (there is {found}). Pickled weights (.bin, .ckpt, .pt) can run any "
        "code when they are opened and are refused: get the safetensors, or convert them where that can do no harm."
    )


def pictures(
    source: Source, asks: Sequence[Ask], scheduler: Scheduler, told: Mapping[str, Any], *, deterministic: bool
) -> list[Rgb | Rejected]:
    """Call a pipeline once; return a picture, RGB uint8 S×S×3, for each ask of the same size.

    Args:
        source: the pipeline; loaded once a process.
        asks: what to make.
        scheduler: the sampler; `own` is the one the pipeline was saved with.
        told: keyword arguments of the pipeline.
        deterministic: whether to give up speed on a GPU for the same bytes each time.

    Raises:
        UserError: a prompt that the model would cut; weights that cannot be read; no such device, or one that
            fails or lacks memory.
        MissingDependency: torch, diffusers or transformers is absent.
    """
    where = device()
    with concerning_all(where):
        model = _loaded(source, where)
        with _quiet(), steady(deterministic and where == "cuda"):
            model.pipe.scheduler = _scheduler(model.scheduler, scheduler)
            return _asked(model.pipe, asks, told)


@lru_cache(maxsize=2)
def _loaded(source: Source, where: str) -> _Model:
    """The digest in `source` is there so that other weights under the same name are loaded anew."""
    try:
        import diffusers
        import torch
        import transformers  # noqa: F401

        pipeline = getattr(diffusers, source.kind.pipeline)
    except (ImportError, RuntimeError) as error:  # a torchvision that does not fit torch raises the latter
        raise missing(error) from error
    try:
        with _quiet():
            pipe = pipeline.from_pretrained(
                source.folder,
                torch_dtype=getattr(torch, source.precision),
                variant=source.variant,
                use_safetensors=True,
                local_files_only=True,
                **_LEFT_OUT,
            )
    except ImportError as error:
        raise missing(error) from error
    except Exception as error:  # whatever a broken or foreign file makes the libraries raise
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{source.folder} cannot be loaded as {source.kind.pipeline}: {reason}") from error
    pipe.set_progress_bar_config(disable=True)
    return _Model(pipe.to(where), pipe.scheduler)


def _scheduler(own: Any, name: Scheduler) -> Any:
    """A sampler without a past, with the noise schedule that the model was trained with."""
    import diffusers

    made = type(own) if name == "own" else getattr(diffusers, _SCHEDULERS[name])
    return made.from_config(own.config)


def _asked(pipe: Any, asks: Sequence[Ask], told: Mapping[str, Any]) -> list[Rgb | Rejected]:
    import torch

    for prompt in {text for ask in asks for text in (ask.prompt, ask.negative_prompt)}:
        _refuse_cut(pipe.tokenizer, prompt)
    call = {**told, "prompt": [ask.prompt for ask in asks], "negative_prompt": [ask.negative_prompt for ask in asks]}
    call["image"] = [Image.fromarray(ask.image) for ask in asks]
    masks = [Image.fromarray(ask.mask.astype(np.uint8) * np.uint8(255)) for ask in asks if ask.mask is not None]
    if masks:
        height, width = asks[0].image.shape[:2]
        call |= {"mask_image": masks, "height": height, "width": width}
    generators = [torch.Generator("cpu").manual_seed(ask.seed) for ask in asks]
    return [_picture(image) for image in pipe(**call, generator=generators, output_type="np").images]


def _refuse_cut(tokenizer: Any, prompt: str) -> None:
    count, most = len(tokenizer(prompt).input_ids), tokenizer.model_max_length
    if count > most:
        raise UserError(f"The model reads {most} tokens and would cut this prompt of {count}; shorten it: '{prompt}'")


def _picture(image: Any) -> Rgb | Rejected:
    if not np.isfinite(image).all():
        return Rejected("not_finite", "the model gave no number for some pixels; float16 overflows: try float32")
    return np.round(image * 255).astype(np.uint8)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' bars, advice and deprecations to themselves, and leave their settings as they were."""
    from diffusers.utils import logging as ours
    from transformers.utils import logging as theirs

    before = [(log, log.get_verbosity(), log.is_progress_bar_enabled()) for log in (ours, theirs)]
    for log, _, _ in before:
        log.set_verbosity(CRITICAL)  # what goes wrong is raised as well
        log.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, verbosity, bars in before:
            log.set_verbosity(verbosity)
            if bars:
                log.enable_progress_bar()
