"""docker-compose.yml works when its exact commands and environments run as processes of this machine."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.tooling.checkout import CHECKOUT
from tests.tooling.composed import Composed, as_process, composed, is_healthy, login
from tests.tooling.composition import OnThisMachine, environment, started

README = (CHECKOUT / "README.md").read_text()
CURL = re.findall(r"^curl .*$", README, re.MULTILINE)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    """All services, running; each must end after SIGTERM."""
    if shutil.which("curl") is None:
        pytest.skip("needs curl, like the README")
    with composed(tmp_path_factory.mktemp("compose"), as_process) as running:
        yield running


def test_the_readme(up: Composed) -> None:
    """Each curl command of the README gets an answer, and the deposit of the first one completes once."""
    post, lookup, *others = CURL
    transaction = up.deposit(post)
    assert up.curl(lookup.replace("<transaction_id>", transaction["transaction_id"])) == transaction
    for line in others:
        assert up.fetch(line)
    assert [effect["amount"] for effect in up.curl("curl http://localhost:8090/ledger")] == ["100.00"]


def test_the_api_is_documented(up: Composed) -> None:
    """Swagger UI is served."""
    assert "swagger-ui" in up.fetch("curl http://localhost:8080/swagger/index.html")


@pytest.mark.skipif(sys.platform != "linux", reason="counts child processes in /proc (Linux)")
def test_two_processes_serve(up: Composed) -> None:
    """The service has the number of workers that the file sets."""
    assert len(up.processes["service"].children()) == int(environment("service")["PAYMENTS_WORKERS"]) == 2


@pytest.mark.parametrize("name", [name for name in started() if name != "migrate"])
def test_health(up: Composed, tmp_path: Path, name: str) -> None:
    """Each health check succeeds when its service runs, and fails when no process answers."""
    assert is_healthy(up.here, name)
    assert not is_healthy(OnThisMachine(tmp_path), name)


def test_the_data_are_in_the_volumes(up: Composed) -> None:
    """The provider's ledger is in its volume."""
    assert (up.here.folder / "simulator-data/ledger.jsonl").exists()


def test_least_rights(up: Composed) -> None:
    """The service's login can neither change events nor create tables, and it needs its password."""
    password = environment("service")["PGPASSWORD"]
    assert password != environment("migrate")["PGPASSWORD"]
    with psycopg.connect(login(up.here, "payments", password), autocommit=True) as service:
        for statement in ("DELETE FROM events", "UPDATE events SET version = 1", "CREATE TABLE mine (id integer)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                service.execute(statement)
    for user in ("payments", "payments_owner", "postgres"):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(login(up.here, user, "a guess"), connect_timeout=5).close()
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        _connect_as_another_role(up)


def _connect_as_another_role(up: Composed) -> None:
    with psycopg.connect(login(up.here, "postgres", environment("database")["POSTGRES_PASSWORD"])) as admin:
        admin.execute("CREATE ROLE other_role LOGIN PASSWORD 'other_role'")
    psycopg.connect(login(up.here, "other_role", "other_role"), connect_timeout=5).close()
