"""Setup of every test: hide the machine's settings, give Hypothesis no deadline, provide a PostgreSQL server.

``tests.tooling.distribution`` distributes and orders the tests over several workers (``make test``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest
from xdist.remote import Producer

from tests.postgresql.servers import shared_server
from tests.tooling.distribution import Scheduling, rank

# Machines that run tests are shared and sometimes slow. The outcome of a test must not depend on that.
hypothesis.settings.register_profile("default-without-deadline", deadline=None, print_blob=True)
hypothesis.settings.load_profile("default-without-deadline")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """With ``--dist loadscope``, distribute tests by our units instead of those of xdist."""
    if config.getoption("dist") != "loadscope":
        return None
    config.option.loadscopereorder = False  # our order instead of the order by number of tests
    return Scheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a worker of xdist, run long tests first; a run in one process keeps the order of the files."""
    if hasattr(config, "workerinput"):
        items.sort(key=rank)


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide exported settings from tests and from the processes that they start."""
    for name in list(os.environ):
        if name.startswith(("PAYMENTS_", "SIMULATOR_", "GUNICORN_")) and not name.startswith("PAYMENTS_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """URL of a server for all tests: that of PAYMENTS_TEST_DATABASE_URL, else a local one, else one from a package."""
    with shared_server() as url:
        yield url
