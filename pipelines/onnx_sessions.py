"""The one door to ONNX Runtime: sessions on one CPU thread, loaded once a process, that never answer NaN.

One thread, so that the same job gives the same bytes with any number of workers: sums that are split among
threads round otherwise.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmtt.errors import MissingDependency, Rejected, UserError

PROVIDERS = ("CPUExecutionProvider",)
_NO_MEMORY = re.compile(r"failed to allocate memory|bad_alloc|bad allocation", re.IGNORECASE)


class Finite:
    """A session whose answers are checked; libraries that hold one instead of their own notice no difference."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, outputs: Sequence[str] | None, feeds: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Return the network's outputs.

        Raises:
            Rejected: `not_finite`. Cast to bytes, NaN would pass for black.
            UserError: too little memory, which concerns every picture.
        """
        try:
            answers: list[npt.NDArray[Any]] = self._session.run(outputs, feeds)
        except Exception as error:  # onnxruntime's own kinds, which it does not export
            if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
                raise UserError(f"Too little memory for a network: {error}. Run fewer --workers.") from error
            raise
        if not all(np.isfinite(answer).all() for answer in answers):
            raise Rejected("not_finite", "the network answered NaN or infinity")
        return answers


def options() -> Any:
    """Return onnxruntime's SessionOptions for one thread.

    Raises:
        ImportError: onnxruntime is not installed.
    """
    import onnxruntime

    made = onnxruntime.SessionOptions()
    made.intra_op_num_threads = made.inter_op_num_threads = 1
    made.log_severity_level = 3
    return made


@lru_cache(maxsize=4)
def session(path: Path, _digest: str, needed_by: str, install: str) -> Finite:
    """Return the network in a file. The digest is there so that another file under the same name is loaded anew.

    Raises:
        UserError: no network.
        MissingDependency: onnxruntime is not installed; `install` is the command that the message gives.
    """
    try:
        import onnxruntime

        how = options()
    except ImportError as error:
        raise MissingDependency(f"'{needed_by}' needs onnxruntime ({error}): {install}.") from error
    try:
        return Finite(onnxruntime.InferenceSession(str(path), how, providers=list(PROVIDERS)))
    except Exception as error:  # whatever a broken file makes onnxruntime raise
        raise UserError(f"{path} cannot be read as an ONNX network: {error}") from error
