"""An installation for each test, ended whatever happens, and its logs in the report of a test that fails."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.processes.installation import Installation, installed


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """An installation in which nothing runs yet."""
    with installed(tmp_path) as installation:
        yield installation


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the processes said when a test has failed."""
    report = yield
    installation = item.funcargs.get("installation")
    if report.failed and isinstance(installation, Installation):
        report.sections.append(("what the processes said", installation.logs))
    return report
