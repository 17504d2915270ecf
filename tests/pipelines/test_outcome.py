"""What a stage came to is told so that nothing of a stranger's steers the terminal."""

from pathlib import Path

from mmtt.record import Rejection
from pipelines.outcome import Outcome


def test_names_and_reasons_of_strangers_cannot_steer_a_terminal(capsys):
    hostile = "\x1b]0;owned\x07\x1b[2J\r脸.png"
    rejection = Rejection(stage="import", code="missing", detail=f"'{hostile}' is not there", path=hostile)
    Outcome("import", 19, [rejection], 0.5, Path("d")).tell()
    told = capsys.readouterr().out
    assert all(sign.isprintable() for sign in told.replace("\n", ""))
    assert told.count("\\x1b[2J\\r脸.png") == 2


def test_where_too_much_was_refused_it_is_told_where_that_is_moved_and_where_all_is_told(capsys):
    rejections = [Rejection(stage="import", code="missing", detail="x" * 1000, path="y" * 5000)]
    Outcome("import", 1, rejections, 0.05, Path("d/pristine"), (Path("d/forged"),)).tell()
    told = capsys.readouterr().out
    assert "`tolerate: {imported: 0.05}` in d/recipe.yaml" in told
    assert "d/pristine/rejections.parquet and d/forged/rejections.parquet" in told
    assert max(map(len, told.splitlines())) < 600
