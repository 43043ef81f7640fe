"""The SQLite adapter's ``append`` against its model, under any order of good, bad and repeated writes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from store.port import Doubt
from store.sqlite.adapter import SqliteStore
from store.sqlite.migrate import migrate
from tests.store.append_model import AppendMachine, WorkRows
from tests.store.builders import OWNER, Clock


class SqliteMachine(AppendMachine):
    """The machine on a file; heads are compared as well."""

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
        return {str(key): (int(str(token)), Doubt(int(str(doubt)))) for key, token, doubt in rows}

    @invariant()
    def heads_are_as_in_the_model(self) -> None:
        """Each stream ends where it ends in the model."""
        for stream in self.model.streams:
            assert self.store.load(stream).head == self.model.head(stream)

    def teardown(self) -> None:
        """Throw the file away."""
        super().teardown()
        self.folder.cleanup()


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A migrated database to copy."""
    migrate(tmp_path / "template.db")
    return tmp_path / "template.db"


def test_append_answers_as_its_model(template: Path) -> None:
    """Whatever is appended in whatever order, the answers and the contents are those of the model."""
    SqliteMachine.template = template
    run_state_machine_as_test(
        SqliteMachine,
        settings=settings(
            max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
