"""Computing: which versions decide what a language model says, and what is said when its folder cannot be loaded."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from logging import CRITICAL
from pathlib import Path

from mmtt.errors import MissingDependency, UserError

_DECIDING = ("transformers", "torch", "tokenizers")


def versions() -> dict[str, str]:
    """Return the versions of the packages that decide what a model answers."""
    return {name: version(name) for name in _DECIDING}


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
