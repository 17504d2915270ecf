"""What every test shares: nothing is skipped unseen, and nothing reaches a model hub."""

import os

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

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
