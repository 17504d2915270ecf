"""Outcome: what a stage came to, how that is told, and the exit code that follows."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import typer

from mmtt.layout import Layout
from mmtt.manifest import REJECTIONS
from mmtt.record import Rejection
from mmtt.words import cut, printable

_KEYS = {"import": "imported"}  # the recipe's word, where it is not the stage's


class Outcome(NamedTuple):
    """What a stage came to, and whether the recipe tolerates what it refused.

    accepted: records. tolerated: share of all items that may be refused. folder: where the rejections lie, in a
    dataset's directory. beside: other folders of it where there are some.
    """

    stage: str
    accepted: int
    rejections: list[Rejection]
    tolerated: float
    folder: Path
    beside: tuple[Path, ...] = ()

    @property
    def by_reason(self) -> dict[str, int]:
        """How often each reason occurs."""
        return dict(sorted(Counter(f"{row.stage}/{row.code}" for row in self.rejections).items()))

    @property
    def too_many(self) -> bool:
        """Whether more was refused than is tolerated."""
        return len(self.rejections) > self.tolerated * (self.accepted + len(self.rejections))

    def tell(self) -> None:
        """Print what was accepted, what was refused and why, with one example for each reason."""
        typer.echo(f"{self.stage}: {self.accepted} records; refused: {len(self.rejections) or 'none'}")
        example = {f"{row.stage}/{row.code}": row for row in reversed(self.rejections)}
        for reason, count in self.by_reason.items():
            row = example[reason]
            of = row.path or row.manipulator or row.record_id or ""
            typer.echo(printable(f"  {count} {reason}, for example '{cut(of, 160)}': {cut(row.detail, 320)}"))
        if self.too_many:
            where = " and ".join(str(folder / REJECTIONS) for folder in (self.folder, *self.beside))
            recipe = Layout(self.folder.parent).recipe
            allowed = f"`tolerate: {{{_KEYS.get(self.stage, self.stage)}: {self.tolerated:g}}}` in {recipe}"
            typer.echo(printable(f"  more than {allowed} allows, where that can be moved; all are in {where}"))


def finish(done: Sequence[Outcome], as_json: bool, more: dict[str, Any] | None = None) -> NoReturn:
    """Tell what stages came to and end the command: with 0, or with 3 where one refused too much.

    `more` is what JSON says of the last besides.
    """
    if as_json:
        told = [{"stage": o.stage, "accepted": o.accepted, "rejections": o.by_reason} for o in done]
        told[-1] |= more or {}
        typer.echo(json.dumps(told))
    else:
        for outcome in done:
            outcome.tell()
    raise typer.Exit(3 if any(outcome.too_many for outcome in done) else 0)
