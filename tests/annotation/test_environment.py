import sys

import pytest

from annotation.server import environment as module
from annotation.server.environment import CONSTRAINTS, VARIABLE, VERSION, cache, environment
from mmtt.errors import UserError

MAKE = """
import pathlib, sys
home = pathlib.Path(sys.argv[1])
(home / "bin").mkdir(exist_ok=True)
(home / "bin" / "python").symlink_to(sys.executable)
print("Collecting django")
"""
FILL = f"""
import pathlib, sys
home = pathlib.Path(sys.argv[1])
record = home / "lib" / "python3.11" / "site-packages" / "label_studio-{VERSION}.dist-info" / "RECORD"
record.parent.mkdir(parents=True)
record.touch()
print("Collecting label-studio")
"""


def told(text: str) -> str:
    return f"import sys; print({text!r}); sys.exit(1)"


@pytest.fixture(autouse=True)
def steps(monkeypatch, tmp_path):
    """Stand-ins for venv and pip; and a cache of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(VARIABLE, raising=False)
    programs = [MAKE, FILL]
    ran = []

    def taken(home):
        ran.append(home)
        return [[sys.executable, "-c", program, str(home)] for program in programs]

    monkeypatch.setattr(module, "_steps", taken)
    return programs, ran


def refusal(home=None) -> str:
    with pytest.raises(UserError) as caught:
        environment(home, lambda _: None)
    return str(caught.value)


def test_it_is_installed_once_into_the_cache(steps, tmp_path):
    _, ran = steps
    said = []
    home = environment(None, said.append)
    assert home == tmp_path / "cache" / "mmtt" / f"label-studio-{VERSION}" == cache() / f"label-studio-{VERSION}"
    assert environment(None, said.append) == home
    assert ran == [home]
    assert len(said) == 1
    assert "django" in home.with_name(f"{home.name}.log").read_text()


def test_a_folder_may_be_named_by_flag_or_variable(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "by variable"))
    assert environment(None, print) == tmp_path / "by variable"
    assert environment(tmp_path / "by flag", print) == tmp_path / "by flag"


def test_a_ready_environment_is_taken_as_it_is(steps, tmp_path):
    _, ran = steps
    ready = environment(tmp_path / "ready", print)
    (ready / "bin" / "mine").touch()
    assert environment(ready, print) == ready
    assert (ready / "bin" / "mine").exists()
    assert len(ran) == 1


def test_an_installation_that_was_killed_is_not_taken_for_a_whole_one(steps, tmp_path):
    _, ran = steps
    home = environment(tmp_path / "env", print)
    (home / ".unfinished").touch()
    (home / "half").touch()
    environment(home, print)
    assert len(ran) == 2
    assert not (home / "half").exists()


def test_what_is_something_else_is_left_alone(steps, tmp_path):
    _, ran = steps
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    assert "holds no working environment" in refusal(tmp_path / "photos")
    assert (tmp_path / "photos" / "a.jpg").exists()
    assert ran == []


def test_an_environment_whose_python_is_gone_is_refused(tmp_path):
    home = environment(tmp_path / "env", print)
    (home / "bin" / "python").unlink()
    (home / "bin" / "python").symlink_to(tmp_path / "uninstalled")
    assert "holds no working environment" in refusal(home)


def test_another_version_is_refused(tmp_path):
    home = environment(tmp_path / "env", print)
    info = next(home.glob("lib/python3*/site-packages/*.dist-info"))
    info.rename(info.with_name("label_studio-1.0.0.dist-info"))
    assert f"with Label Studio {VERSION}" in refusal(home)


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("WARNING: Retrying after NewConnectionError('<pip>: [Errno 111] refused')", "package index cannot be reached"),
        ("ERROR: Could not find a version that satisfies label-studio (from versions: none)", "package index cannot"),
        ("Temporary failure in name resolution", "package index cannot be reached"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("because ensurepip is not available.  On Debian/Ubuntu systems", "apt install python3-venv"),
        ("ERROR: something\nERROR: Failed to build lxml.\nhint: see above", "installed: Failed to build lxml."),
        ("just this", "installed: just this."),
        ("", "no reason was given"),
    ],
)
def test_a_failure_is_a_sentence_and_leaves_nothing(steps, tmp_path, said, cause):
    programs, _ = steps
    programs[1] = told(said)
    message = refusal(tmp_path / "env")
    assert cause in message
    assert str(tmp_path / "env.log") in message
    assert not (tmp_path / "env").exists()
    programs[1] = FILL
    assert environment(tmp_path / "env", print).exists()


def test_stopping_an_installation_leaves_nothing(steps, tmp_path, monkeypatch):
    programs, _ = steps
    programs[1] = "import time; print('Collecting x', flush=True); time.sleep(60)"

    def stopped(_, results):
        next(results)
        next(results)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "for_person", lambda _: stopped)
    with pytest.raises(KeyboardInterrupt):
        environment(tmp_path / "env", print)
    assert not (tmp_path / "env").exists()


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    assert "cannot be written" in refusal(tmp_path / "file" / "env")


def test_the_constraints_are_whole_and_of_no_machine():
    lines = [line for line in CONSTRAINTS.read_text().splitlines() if not line.startswith("#")]
    assert f"label-studio=={VERSION}" in lines
    assert [line for line in lines if "/" in line or "@" in line or line.count("==") != 1] == []
    assert len(lines) > 100
