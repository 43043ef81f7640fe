"""An installation for each test, which always ends its processes and adds their logs to the report of a failure."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from store.backends import backend_of
from tests.postgresql.servers import new_database
from tests.processes.installation import CHECKOUT, Installation, installed
from tests.processes.targets import SQLITE, Target


@pytest.fixture
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    """An installation without running processes, on SQLite unless the test names another target."""
    target: Target = getattr(request, "param", SQLITE)
    with ExitStack() as stack:
        postgresql = None
        if target.postgresql:
            postgresql = stack.enter_context(new_database(request.getfixturevalue("postgresql_url")))
            backend_of(postgresql, root=CHECKOUT).migrate()
        yield stack.enter_context(installed(tmp_path, postgresql=postgresql, workers=target.workers))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the output of the processes to the report of a failed test."""
    report = yield
    installation = item.funcargs.get("installation")
    if report.failed and isinstance(installation, Installation):
        report.sections.append(("output of the processes", installation.logs))
    return report
