"""A loopback Hub that this process talks to."""

import pytest

from tests.support.hub import hub


@pytest.fixture
def server(tmp_path, monkeypatch):
    with hub(tmp_path / "hub") as state:
        state.enter(monkeypatch)
        yield state
