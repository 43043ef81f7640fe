"""The functions of PostgreSQL are applied after the migrations, once for each change, never in place of newer ones."""
# ruff: noqa: S608 - the statements are this file's own

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import pytest

from store.errors import SchemaError, StoreError
from store.port import Committed
from store.postgresql import functions
from store.postgresql.adapter import PostgresqlStore
from store.postgresql.migrate import migrate, migrations
from store.verify import verify
from tests.store.builders import OWNER, Customer
from tests.store.looking import contents
from tests.store.postgresql_server import Schema, new_schema
from tests.store.tampering import append

RELEASED = {
    1: "fe32ce841ee122e05c8980fbdd454945a9c8b2a504f0d90852b3e5e3f7a8881d",
    2: "31158813926fe83508690111b198ff3c2c13b51c5bd2748d8937e5d834aeeabc",
    3: "e3c09369a9a74f99c837cd8f45190ff2b2e39bb197172c9b93a5aee607fc3eee",
}
"""The digest of the files at each revision. A change adds a line, and no line ever changes."""
OF_TABLES = {"is_readable", "refuse_change", "refuse_earlier_version"}
"""Functions that constraints and triggers need: migrations define them."""


@pytest.fixture
def empty(postgresql_url: str) -> Iterator[Schema]:
    """A schema without tables."""
    with new_schema(postgresql_url) as schema:
        yield schema


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the files, which the service uses from now on."""
    copy = copytree(functions._FOLDER, tmp_path / "functions")
    monkeypatch.setattr(functions, "_FOLDER", copy)
    return copy


def defined(schema: Schema) -> dict[str, str]:
    """The functions of the schema with their definitions."""
    rows = schema.execute(
        "SELECT p.proname, replace(pg_get_functiondef(p.oid), %s, '')"
        " FROM pg_proc AS p"
        " WHERE p.pronamespace = %s::regnamespace",
        (f"{schema.name}.", schema.name),
    )
    return {str(name): str(text) for name, text in rows}


def recorded(schema: Schema) -> list[tuple[int, str]]:
    """The revisions on record, and the time when each was applied."""
    return [
        (int(revision), str(at))
        for revision, at in schema.execute("SELECT revision, applied_at FROM schema_functions ORDER BY revision")
    ]


def change(folder: Path) -> None:
    """Change the result of ``last_position``."""
    file = folder / "feed.sql"
    text = file.read_text(encoding="utf-8")
    assert "ELSE 0 END" in text
    file.write_text(text.replace("ELSE 0 END", "ELSE -1 END"), encoding="utf-8")


def test_every_change_has_its_revision() -> None:
    """A changed statement needs a new revision, by which services recognise a database of a newer version."""
    found = functions.digest(functions.definitions())
    assert RELEASED.get(functions.REVISION) == found, (
        f"the functions changed: raise REVISION in store/postgresql/functions.py and add {found} to RELEASED under it"
    )
    assert list(RELEASED) == list(range(1, functions.REVISION + 1))
    assert len(set(RELEASED.values())) == len(RELEASED)


def test_comments_need_no_revision() -> None:
    """A comment can change at any time: no database needs it."""
    assert functions.digest("-- one\nSELECT 1;\n    -- two\n") == functions.digest("SELECT 1;")
    assert functions.digest("SELECT 1;") != functions.digest("SELECT 2;")


def test_the_files_define_all_functions(empty: Schema) -> None:
    """Every function of a migration is also defined in the files, except those that belong to tables."""
    migrate(empty.conninfo(owner=True))
    in_files = set(re.findall(r"CREATE OR REPLACE FUNCTION (\w+)\(", functions.definitions()))
    assert defined(empty).keys() == in_files | OF_TABLES


def as_of(newer: Schema, older: Schema, version: int) -> None:
    """Make ``older`` a database of this version with all rows of ``newer`` that such a version can hold."""
    scripts = {number: script for number, script in migrations().items() if number <= version}
    assert migrate(older.conninfo(owner=True), scripts) == (list(scripts), False)
    for table in ("events", "heads", "transactions", "balances", "reviews", "claims", "owners", "work"):
        names = ", ".join(
            str(name)
            for (name,) in older.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s",
                (older.name, table),
            )
        )
        older.execute(f"INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE SELECT {names} FROM {newer.name}.{table}")
    older.execute("SELECT setval('events_position_seq', max(position)) FROM events")


def columns(schema: Schema) -> list[tuple[object, ...]]:
    """All columns of the schema's tables and views."""
    return schema.execute(
        "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
        " WHERE table_schema = %s ORDER BY table_name, column_name",
        (schema.name,),
    )


@pytest.fixture(scope="module")
def filled(postgresql_url: str) -> Iterator[tuple[Schema, object]]:
    """A database of the last version with two customers, and all data that can be read from it."""
    with new_schema(postgresql_url) as schema:
        migrate(schema.conninfo(owner=True))
        store = PostgresqlStore(schema.conninfo(owner=True))
        append(store)
        seen = contents(store)
        store.close()
        yield schema, seen


@pytest.mark.parametrize("version", range(1, len(migrations())))
def test_a_database_of_any_version_can_be_upgraded(filled: tuple[Schema, object], empty: Schema, version: int) -> None:
    """After the upgrade it shows all stored data, has the tables and functions of a new one, and is usable."""
    newer, seen = filled
    url = empty.conninfo(owner=True)
    as_of(newer, empty, version)
    with pytest.raises(SchemaError, match=f"version {version}, this service needs"):
        PostgresqlStore(url)
    assert migrate(url) == (list(migrations())[version:], True)
    assert defined(empty) == defined(newer)
    assert columns(empty) == columns(newer)
    store = PostgresqlStore(url)
    assert contents(store) == seen
    with store.audit() as audit:
        assert list(verify(audit)) == []
    store.register_owner(OWNER)
    customer = Customer("new")
    assert store.append([customer.deposit("new", owner=OWNER), customer.complete("new")]) == [Committed()] * 2
    store.close()


def test_a_database_of_the_last_version_without_files(empty: Schema) -> None:
    """A database that has all migrations, but still the functions of the migrations, must be migrated."""
    url = empty.conninfo(owner=True)
    migrate(url, migrations())
    before = defined(empty)
    with pytest.raises(
        SchemaError, match=rf"revision 0 of the functions, this service needs {functions.REVISION} .*migrate"
    ):
        PostgresqlStore(url)
    assert migrate(url) == ([], True)
    PostgresqlStore(url).close()
    after = defined(empty)
    for name in OF_TABLES:
        assert after[name] == before[name]


def test_functions_are_applied_once(empty: Schema) -> None:
    """Another migration detects that they have not changed, and does nothing."""
    url = empty.conninfo(owner=True)
    migrate(url)
    before = recorded(empty)
    empty.execute("CREATE OR REPLACE FUNCTION last_position() RETURNS bigint LANGUAGE sql AS 'SELECT 7::bigint'")
    assert migrate(url) == ([], False)
    assert empty.execute("SELECT last_position()") == [(7,)]
    assert recorded(empty) == before


def test_a_change_is_applied(empty: Schema, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service of a new revision refuses the old functions until they are migrated."""
    url = empty.conninfo(owner=True)
    migrate(url)
    change(folder)
    released = functions.REVISION
    monkeypatch.setattr(functions, "REVISION", released + 1)
    needed = rf"revision {released} of the functions, this service needs {released + 1} .*migrate"
    with pytest.raises(SchemaError, match=needed):
        PostgresqlStore(url)
    assert migrate(url) == ([], True)
    assert empty.execute("SELECT last_position()") == [(-1,)]
    assert [revision for revision, _ in recorded(empty)] == [released, released + 1]
    PostgresqlStore(url).close()


def test_other_columns_are_applied_under_the_same_revision(empty: Schema, folder: Path) -> None:
    """A list of columns can change without the files. The digest shows it, and the record keeps one row."""
    url = empty.conninfo(owner=True)
    migrate(url)
    change(folder)  # to a database the same as a longer list
    with pytest.raises(SchemaError, match="migrate"):
        PostgresqlStore(url)
    assert migrate(url) == ([], True)
    assert empty.execute("SELECT last_position()") == [(-1,)]
    assert [revision for revision, _ in recorded(empty)] == [functions.REVISION]
    PostgresqlStore(url).close()


def test_newer_functions_are_left_alone(empty: Schema, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service of an older version neither replaces nor calls the functions of a newer one."""
    url = empty.conninfo(owner=True)
    with monkeypatch.context() as newer:
        change(folder)
        newer.setattr(functions, "REVISION", functions.REVISION + 1)
        migrate(url)
    ours = functions.REVISION
    for attempt in (migrate, PostgresqlStore):
        with pytest.raises(
            SchemaError, match=f"revision {ours + 1} of the functions, newer than this service's {ours}"
        ):
            attempt(url)
    assert empty.execute("SELECT last_position()") == [(-1,)]


def test_a_change_that_fails_leaves_nothing(empty: Schema, folder: Path) -> None:
    """Migrations and functions are one transaction: without the functions there are no tables either."""
    (folder / "work.sql").write_text("CREATE OR REPLACE FUNCTION odd() RETURNS odd LANGUAGE sql AS 'SELECT 1';")
    with pytest.raises(StoreError, match="odd"):
        migrate(empty.conninfo(owner=True))
    assert empty.execute("SELECT 1 FROM pg_tables WHERE schemaname = %s", (empty.name,)) == []
    assert defined(empty) == {}
