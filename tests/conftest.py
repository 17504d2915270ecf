"""What every test shares: nothing is skipped unseen, and nothing reaches a model hub."""

import os
import signal
import sys
from pathlib import Path

import hypothesis
import pytest

# The same examples in every run: what is green here must be green where it lands. To look for more: HYPOTHESIS=random.
hypothesis.settings.register_profile("same", derandomize=os.environ.get("HYPOTHESIS") != "random")
hypothesis.settings.load_profile("same")

# A run in the background inherits an ignored Ctrl-C, and so would every child that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

# Where the only torchvision is a CUDA wheel, child processes need the shim as much as this one.
_SUPPORT = str(Path(__file__).parent / "support")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_SUPPORT, os.environ.get("PYTHONPATH")]))
sys.path.insert(0, _SUPPORT)
__import__("torchvision_shim").install()

_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped:
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where everything is installed (MMTT_NO_SKIPS=1), a skip means that something is missing after all."""
    if os.environ.get("MMTT_NO_SKIPS") == "1" and _skipped:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if os.environ.get("MMTT_NO_SKIPS") == "1" and _skipped:
        terminalreporter.write_line(f"skipped, though nothing should be: {', '.join(_skipped)}", red=True)
