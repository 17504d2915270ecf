"""Writing: tensors with the permissions of ordinary files, and a sentence where the disk is full."""

import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from mmtt.errors import UserError

_OF_THE_SYSTEM = "(os error "  # how tokenizers, which raises a bare Exception, ends what the system told it


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a file of tensors that whoever may read the folder's other files may read too."""
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    save_file(dict(tensors), path, dict(metadata) if metadata else None)  # puts one in its place that is private
    path.chmod(mode)


@contextmanager
def whole_or_absent(temporary: Path, final: Path, kept: str) -> Iterator[None]:
    """Remove a temporary folder that did not take its final name, and tell of a write that failed.

    Args:
        temporary: the folder that is written.
        final: its name when it is whole, for the message.
        kept: what is not lost, for the message.

    Raises:
        UserError: the system refused a write.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, OSError | SafetensorError) and _OF_THE_SYSTEM not in str(error):
            raise
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UserError(f"{final} cannot be written: {why}. Make room and run the command again; {kept}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
