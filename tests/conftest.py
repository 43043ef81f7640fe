"""What holds for every test: no settings of the machine leak in, Hypothesis has no deadline, a PostgreSQL answers.

On several workers (``make test``) tests are spread and ordered as ``tests.tooling.distribution`` says.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest
from xdist.remote import Producer

from tests.postgresql.servers import shared_server
from tests.tooling.distribution import Scheduling, rank

# Machines that run tests are shared and slow at times; a test's outcome must not depend on that.
hypothesis.settings.register_profile("default-without-deadline", deadline=None, print_blob=True)
hypothesis.settings.load_profile("default-without-deadline")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """With ``--dist loadscope``, spread tests by our units in place of those of xdist."""
    if config.getoption("dist") != "loadscope":
        return None
    config.option.loadscopereorder = False  # our order in place of that by the number of tests
    return Scheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a worker of xdist, put long tests first; a run in one process keeps the order of the files."""
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
    """A server for all tests: the one of PAYMENTS_TEST_DATABASE_URL, else a local one, else one from a package."""
    with shared_server() as url:
        yield url
