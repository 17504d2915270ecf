"""Memory: a sentence for running out of it, on a GPU or off it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mmtt.errors import UserError

# Of main memory, and below torch's allocator, only the text says what went wrong.
_TOLD_BY = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")


def is_shortage(error: Exception) -> bool:
    """Whether an error says that memory ran out."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or any(words in str(error) for words in _TOLD_BY)


@contextmanager
def shortage_told(sentence: str) -> Iterator[None]:
    """Make a sentence of running out of memory; everything else passes.

    Raises:
        UserError: the sentence.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_shortage(error):
            raise
        raise UserError(sentence) from error
