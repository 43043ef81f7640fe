"""Each adapter's ``append`` against its model, under any order of good, bad and repeated writes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from store.port import DeliveryCertainty
from store.postgresql.adapter import PostgresqlStore
from store.sqlite.adapter import SqliteStore
from tests.effort import EFFORT
from tests.store.append_model import AppendMachine, WorkRows
from tests.store.builders import OWNER, Clock
from tests.store.postgresql_server import Schema
from tests.store.templates import new_sqlite


class SqliteMachine(AppendMachine):
    """The machine on a file."""

    template: Path
    store: SqliteStore

    def fresh(self) -> SqliteStore:
        """A copy of the template."""
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "payments.db"
        self.path.write_bytes(self.template.read_bytes())
        store = self.again()
        store.register_owner(OWNER)
        return store

    def again(self) -> SqliteStore:
        """The same file."""
        return SqliteStore(self.path, clock=Clock(), synchronous="OFF")

    def work_rows(self) -> WorkRows:
        """The rows of the table."""
        with self.store._readers.cursor() as cursor:
            rows = cursor.execute("SELECT work_id, token, doubt FROM work").fetchall()
        return {str(key): (int(str(token)), DeliveryCertainty(int(str(certainty)))) for key, token, certainty in rows}

    def teardown(self) -> None:
        """Delete the file."""
        super().teardown()
        self.folder.cleanup()


class PostgresqlMachine(AppendMachine):
    """The machine on a schema."""

    schema: Schema
    store: PostgresqlStore

    def fresh(self) -> PostgresqlStore:
        """Empty tables."""
        self.schema.clear()
        store = self.again()
        store.register_owner(OWNER)
        return store

    def again(self) -> PostgresqlStore:
        """Open other connections."""
        return PostgresqlStore(self.schema.conninfo(), writers=1, readers=1)

    def work_rows(self) -> WorkRows:
        """The rows of the table."""
        rows = self.schema.execute("SELECT work_id, token, doubt FROM work")
        return {key: (token, DeliveryCertainty(certainty)) for key, token, certainty in rows}


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A migrated database to copy."""
    new_sqlite(tmp_path / "template.db")
    return tmp_path / "template.db"


def test_append_on_sqlite_answers_as_its_model(template: Path) -> None:
    """For any appends in any order, the answers and the contents are those of the model."""
    SqliteMachine.template = template
    _run(SqliteMachine, max_examples=40, steps=25)


def test_append_on_postgresql_answers_as_its_model(schema: Schema) -> None:
    """The same machine gets the same answers as on SQLite: the port has the same meaning on both."""
    PostgresqlMachine.schema = schema
    _run(PostgresqlMachine, max_examples=25, steps=20)


def _run(machine: type[AppendMachine], *, max_examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=max_examples * EFFORT,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
