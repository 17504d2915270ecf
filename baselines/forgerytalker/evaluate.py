"""Evaluate: a model's predictions for a split, scored strictly and beside the trivial baselines.

OUT/predictions/    as `predict` makes them; what is there already is not made again
OUT/scores.md, .tex, .json, .parquet    as `mmtt score` writes them
"""

from collections.abc import Callable
from pathlib import Path

from mmtt import scoreboard
from mmtt.metrics.board import Board
from mmtt.progress import Progress

from .export import Trained
from .predict import Asked, predict

PREDICTIONS = "predictions"


def evaluate(
    trained: Trained,
    root: Path,
    out: Path,
    asked: Asked,
    *,
    batch: int = 16,
    workers: int = 1,
    progress: Callable[[str], Progress],
) -> Board:
    """Predict where that was not done yet, score, and write the scores.

    Args:
        trained: the model.
        root: a dataset, or a released folder.
        out: the folder to make.
        asked: which samples, and which regions.
        batch: samples at once.
        workers: threads that decode pictures.
        progress: tells a person, by a title.

    Raises:
        UserError: no such samples, or `out` holds the predictions of something else.
    """
    said = out / PREDICTIONS
    predict(trained, root, said, asked, batch=batch, workers=workers, progress=progress("Predicting"))
    data = asked.of(trained.config.data)
    board, rows = scoreboard.run(
        said,
        root,
        split=asked.split,
        variants=data.variants,
        pristine=data.pristine,
        inexact=data.inexact,
        progress=progress("Scoring"),
    )
    scoreboard.write(board, rows, out)
    return board
