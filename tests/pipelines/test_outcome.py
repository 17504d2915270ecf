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
