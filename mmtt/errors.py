"""Everything that may go wrong, and whose fault it is.

    MmttError
    ├── UserError              the user can mend it: one sentence, exit code 2
    │   ├── RecipeError        a key, a name or a value of the recipe
    │   ├── SchemaError        a shard written by another version of the schema
    │   ├── DamagedError       a stored picture cannot be decoded (also a ValueError)
    │   ├── LockedError        another process is writing this directory
    │   └── MissingDependency  an optional package is absent; the message holds the command
    └── Rejected               one item cannot be used: becomes a row of `rejections.parquet`

Anything else that escapes is a bug and keeps its traceback (exit code 1).
"""

import difflib
from collections.abc import Iterable


class MmttError(Exception):
    """Root of the errors that this package raises on purpose."""


class UserError(MmttError):
    """Something the user can mend; the message says what, where and what to do."""


class RecipeError(UserError):
    """The recipe holds a wrong key, name or value."""


class SchemaError(UserError):
    """A shard does not have the columns that this version reads."""


class DamagedError(UserError, ValueError):
    """A stored picture cannot be decoded."""


class LockedError(UserError):
    """Another process is writing the directory."""


class MissingDependency(UserError):
    """An optional package is absent."""


class Rejected(MmttError):
    """One item cannot be used; the run goes on and keeps the reason.

    `code` is a short word for counting (`no_face`), `detail` a sentence for people, `log` what a program said:
    private, it is noted and never told.
    """

    def __init__(self, code: str, detail: str = "", log: str = "") -> None:
        # All of them, so that it survives the way from one process to another.
        super().__init__(code, detail, log)
        self.code = code
        self.detail = detail
        self.log = log

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}" if self.detail else self.code


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the nearest known word, or the list of all when none is near."""
    names = {name.casefold(): name for name in sorted(known)}
    near = difflib.get_close_matches(word.casefold(), names, n=1, cutoff=0.6)
    return f" Did you mean '{names[near[0]]}'?" if near else f" Known: {', '.join(names.values())}."
