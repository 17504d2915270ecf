"""A real Label Studio for all tests of a run, and small queues on it."""

import itertools

import pytest

from annotation import interface
from annotation.log import Log
from annotation.protocols import StageName
from annotation.server.serve import running
from annotation.sync import projects
from annotation.sync.projects import Setup
from annotation.sync.push import Queue
from annotation.sync.studio import Studio
from mmtt.progress import silent

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Where a server runs, and its token; made as `mmtt annotate serve` makes it."""
    with running(tmp_path_factory.mktemp("served")) as connection:
        yield connection


@pytest.fixture(scope="session")
def studio(server):
    with Studio(server) as made:
        yield made


@pytest.fixture
def log(tmp_path):
    made = Log(tmp_path / "log.sqlite")
    yield made
    made.close()


@pytest.fixture
def marker():
    """What tells this test's projects from those of others on the same server."""
    return f"test-{next(_numbers)}"


@pytest.fixture
def setup():
    config = interface.build("blind_then_verified", StageName.DESCRIBE, "en")
    return Setup("describe", "tests: describe", config, interface.interface_sha256(config), "<p>Look.</p>")


@pytest.fixture
def queue(studio, log, marker, setup):
    return open_queue(studio, log, marker, setup)


def open_queue(studio, log, marker, setup) -> Queue:
    project = projects.ensure(studio, log, setup, marker)
    return Queue("describe", studio, log, project, "/pictures/", silent)
