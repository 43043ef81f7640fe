"""docs/adding-a-store.md, followed: its backend is registered, and the contract suite runs on it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Final

import apsw
import pytest

from config.settings import CHECKOUT, Settings, SettingsError
from store.backend import Backend
from store.backends import BACKENDS, backend_of
from store.errors import NotSupportedError, StoreError
from store.sqlite.connection import IN_USE
from tests.postgresql.servers import new_database
from tests.store import conftest
from tests.store.builders import Clock
from tests.store.conftest import Fixture

# The contract suite, on the fixture below.
from tests.store.test_contract_append import *  # noqa: F403
from tests.store.test_contract_breakers import *  # noqa: F403
from tests.store.test_contract_generations import *  # noqa: F403
from tests.store.test_contract_keys import keyring, test_a_key_is_found_as_it_was_created  # noqa: F401
from tests.store.test_contract_loads import *  # noqa: F403
from tests.store.test_contract_reads import *  # noqa: F403
from tests.store.test_contract_relay_health import *  # noqa: F403
from tests.store.test_contract_relays import *  # noqa: F403
from tests.store.test_contract_work import *  # noqa: F403

PAGE: Final = (Path(__file__).parents[2] / "docs/adding-a-store.md").read_text("utf-8")


def block(place: str) -> str:
    """The first code block of the page after ``place``."""
    found = re.search(r"```python\n(.*?)```", PAGE[PAGE.index(place) :], re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture(autouse=True)
def scratch(monkeypatch: pytest.MonkeyPatch) -> type[Backend]:
    """The backend of the page, registered as it describes."""
    module = types.ModuleType("store.scratch.backend")
    exec(compile(block("`store/scratch/backend.py`:"), "docs/adding-a-store.md", "exec"), vars(module))  # noqa: S102
    backend: type[Backend] = module.ScratchBackend
    monkeypatch.setitem(sys.modules, module.__name__, module)
    ((scheme, name),) = re.findall(r'^    "(\w+)": "(\S+)",$', block("In `BACKENDS`"), re.MULTILINE)
    assert name == f"{module.__name__}:{backend.__name__}"
    monkeypatch.setitem(BACKENDS, scheme, name)
    return backend


@pytest.fixture
def fixture(request: pytest.FixtureRequest, tmp_path: Path, scratch: type[Backend]) -> Iterator[Fixture]:
    """The fixture of the page in place of those of the two adapters."""
    del scratch  # is registered
    ((scheme, expression),) = re.findall(r'^    "(\w+)": (.*),$', block("In `FIXTURES`"), re.MULTILINE)
    assert scheme == "scratch"
    ast.parse(expression, mode="eval")
    entry = eval(expression, {"embedded": conftest.embedded})  # noqa: S307  # the page's own line
    with entry(request, tmp_path) as made:
        yield made


def test_the_store_of_a_url_is_the_registered_one(tmp_path: Path, scratch: type[Backend]) -> None:
    """The table alone decides which backend a URL has."""
    backend = backend_of("scratch:///payments.db", root=tmp_path)
    assert type(backend) is scratch
    assert backend.file == tmp_path / "payments.db"
    backend.migrate()
    with backend.audit() as audit:
        assert list(audit.streams()) == []


def test_an_entry_of_the_table_names_a_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every entry leads to a backend; one that names something else is reported as such."""
    for scheme in BACKENDS:
        assert isinstance(backend_of(f"{scheme}:///payments", root=Path("/")), Backend)
    monkeypatch.setitem(BACKENDS, "odd", "store.errors:StoreError")
    with pytest.raises(TypeError, match=r"store\.errors:StoreError is not a Backend"):
        backend_of("odd://", root=Path("/"))


DRIVERS_OF_A_SERVICE: Final = """
import sys
from falcon.testing import TestClient
import wsgi
wsgi.service.start(lambda: 0)
print(TestClient(wsgi.app).simulate_get("/v1/customers/absent").status_code)
wsgi.service.stop()
print(*sorted({"apsw", "psycopg", "psycopg_pool"} & sys.modules.keys()))
"""


def drivers_of_a_service(url: str) -> list[str]:
    """The lines that such a service prints: the status of a read, and the drivers that it has imported."""
    command = [sys.executable, "-c", DRIVERS_OF_A_SERVICE]
    environ = {**os.environ, "PAYMENTS_DATABASE_URL": url}
    done = subprocess.run(command, cwd=CHECKOUT, env=environ, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


def test_a_service_imports_its_own_driver_only(tmp_path: Path, postgresql_url: str) -> None:
    """A service that has started and has read from its database has imported no other driver."""
    assert drivers_of_a_service(f"sqlite:///{tmp_path}/payments.db") == ["404", "apsw"]
    with new_database(postgresql_url) as url:
        backend_of(url, root=CHECKOUT).migrate()
        assert drivers_of_a_service(url) == ["404", "psycopg psycopg_pool"]


def test_an_unknown_url_names_all_forms() -> None:
    """The error lists the forms of the registered backends, the new one included."""
    with pytest.raises(StoreError, match=r"sqlite:////absolute/file\.db, postgresql://\S+ or scratch:///file\.db$"):
        backend_of("mysql:///payments", root=Path("/"))


def test_the_defaults_of_a_backend(tmp_path: Path) -> None:
    """By default a backend holds no lock, has no file, and refuses a backup as not supported."""

    class Server(Backend):
        """A backend that overrides only what is required."""

        def __init__(self, url: str, root: Path) -> None:
            """Accept any URL."""

    Server.__abstractmethods__ = frozenset()
    server = Server("server://host", tmp_path)  # type: ignore[abstract]  # it opens nothing here
    with server.lock(sleep=lambda _: None), server.lock(sleep=lambda _: None):
        assert server.file is None
    for refused in (server.backup_files, lambda: server.back_up(tmp_path), lambda: server.audit_copy(tmp_path)):
        with pytest.raises(NotSupportedError):
            refused()


@pytest.mark.parametrize("url", ["sqlite:///payments.db", "postgresql://host/payments"])
def test_the_lock_is_for_exclusive_stores(url: str, tmp_path: Path) -> None:
    """One process at a time holds a file's lock. A store that is opened meanwhile is the service's store."""
    backend = backend_of(url, root=tmp_path)
    waits: list[float] = []

    def give_up(seconds: float) -> None:
        waits.append(seconds)
        raise TimeoutError

    with backend.lock(sleep=give_up):
        if backend.exclusive:
            with pytest.raises(TimeoutError):
                backend_of(url, root=tmp_path).lock(sleep=give_up)
            backend.migrate()
            with closing(backend.open(clock=Clock())), closing(apsw.Connection(str(backend.file))) as beside:
                assert beside.pragma("application_id") == IN_USE
        else:
            backend_of(url, root=tmp_path).lock(sleep=give_up)
    assert len(waits) == backend.exclusive


@pytest.mark.parametrize("url", ["sqlite:////var/lib/payments.db", "postgresql://host/payments"])
def test_settings_and_backends_agree(url: str) -> None:
    """Settings are checked before a driver is imported. Their file and their limit of workers match the backend's."""
    backend = backend_of(url, root=CHECKOUT)
    environ = {"PAYMENTS_DATABASE_URL": url}
    assert Settings.from_environ(environ).sqlite_path == backend.file
    with pytest.raises(SettingsError) if backend.exclusive else nullcontext():
        Settings.from_environ(environ | {"PAYMENTS_WORKERS": "2"})
