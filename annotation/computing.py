"""Computing: where language models run, how steadily, and what is said when a folder cannot be loaded."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from logging import CRITICAL
from pathlib import Path

from mmtt.errors import MissingDependency, UserError, did_you_mean

DEVICE, DEVICES = "MMTT_DEVICE", ("auto", "cpu", "cuda")
_DECIDING = ("transformers", "torch", "tokenizers")


def device() -> str:
    """Return where to compute, `cpu` or `cuda`: what MMTT_DEVICE says, by default a GPU where there is one.

    Raises:
        UserError: an unknown word, or a GPU is asked for that is not there.
    """
    import torch

    asked = os.environ.get(DEVICE) or "auto"
    if asked not in DEVICES:
        raise UserError(f"{DEVICE} is '{asked}'.{did_you_mean(asked, DEVICES)}")
    if asked == "cuda" and not torch.cuda.is_available():
        raise UserError(f"{DEVICE} is cuda, but torch {torch.__version__} sees no GPU here.")
    return "cuda" if asked != "cpu" and torch.cuda.is_available() else "cpu"


def versions() -> dict[str, str]:
    """Return the versions of the packages that decide what a model answers."""
    return {name: version(name) for name in _DECIDING}


@contextmanager
def steady(where: str) -> Iterator[None]:
    """One thread, so that their number has no say; on a GPU, algorithms that repeat themselves."""
    import torch

    threads, before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    if where == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(before)


@contextmanager
def concerning(folder: Path) -> Iterator[None]:
    """Say in a sentence what is missing or wrong with a folder."""
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401

        yield
    except ImportError as error:
        hint = "pip install 'mmtt[translation]'"
        raise MissingDependency(f"Translating needs torch, transformers and sentencepiece ({error}): {hint}") from error
    except Exception as error:  # whatever a broken or foreign file makes the libraries raise
        raise UserError(f"{folder} cannot be loaded as a language model: {type(error).__name__}: {error}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' bars and advice to itself, and leave its settings as they were."""
    try:
        from transformers.utils import logging
    except ImportError:  # told by whoever needs it
        yield
        return
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(CRITICAL)  # what goes wrong is raised as well
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
