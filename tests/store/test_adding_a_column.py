"""docs/adding-a-column.md, followed on a copy of the code: a new column needs three places, on both databases."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from store.port import Committed
from store.postgresql.adapter import PostgresqlStore
from store.postgresql.migrate import migrate as migrate_postgresql
from store.postgresql.migrate import migrations as postgresql_migrations
from store.sqlite.adapter import SqliteStore
from store.sqlite.migrate import migrate as migrate_sqlite
from store.sqlite.schema_version import migrations as sqlite_migrations
from tests.store.builders import Clock, Customer
from tests.store.postgresql_server import Schema, new_schema

CHECKOUT: Final = Path(__file__).parents[2]
PAGE: Final = (CHECKOUT / "docs" / "adding-a-column.md").read_text(encoding="utf-8")

FOLLOWED: Final = """
import sys
from dataclasses import replace
from pathlib import Path

from store.port import Committed, StreamKey
from store.postgresql.adapter import PostgresqlStore
from store.postgresql.migrate import migrate as migrate_postgresql
from store.queries import TransactionFilter
from store.sqlite.adapter import SqliteStore
from store.sqlite.migrate import migrate as migrate_sqlite
from store.verify import verify
from tests.store.builders import Clock, Customer


def check(store):
    customer = Customer()
    plain = customer.deposit("t1")
    assert store.append([plain]) == [Committed()]
    assert loaded(store).channel == "web"
    for channel in ("app", "shop"):  # inserted, and then updated
        write = customer.deposit("t2") if channel == "app" else customer.complete("t2")
        (row,) = write.transactions
        assert store.append([replace(write, transactions=(replace(row, channel=channel),))]) == [Committed()]
        assert loaded(store, "t2").channel == channel
    assert loaded(store, "t0", "customer-0").channel == "web", "stored by the earlier version"
    assert store.transaction("main", "t2").transaction.channel == "shop"
    views = store.transactions("main", TransactionFilter(), before=None, limit=10)
    assert [view.transaction.channel for view in views] == ["shop", "web", "web"]
    store.register_owner("o")
    assert {item.transaction.channel for item in store.claim_work("o", "gatewayA", 9)} == {"web"}
    with store.audit() as audit:
        (problem,) = verify(audit)
    assert "channel is 'shop', not 'web'" in problem.text, "the event does not have it"
    store.close()


def loaded(store, key="t1", customer_id="customer-1"):
    return store.load(StreamKey("main", customer_id), [key]).account.transactions[key]


sqlite, sqlite_number, url, postgresql_number = sys.argv[1:]
assert migrate_sqlite(Path(sqlite)) == [int(sqlite_number)]
assert [*migrate_postgresql(url).applied] == [int(postgresql_number)]
for store in (SqliteStore(Path(sqlite), clock=Clock()), PostgresqlStore(url)):
    check(store)
"""


@pytest.fixture
def empty(postgresql_url: str) -> Iterator[Schema]:
    """A schema without tables."""
    with new_schema(postgresql_url) as schema:
        yield schema


def test_a_column_needs_three_places(tmp_path: Path, empty: Schema) -> None:
    """Both stores write, change, read and verify it, also in databases and beside processes of the earlier version."""
    sqlite, url = tmp_path / "payments.db", empty.conninfo(owner=True)
    migrate_sqlite(sqlite)
    migrate_postgresql(url)
    earlier = SqliteStore(sqlite, clock=Clock())
    running = PostgresqlStore(url)
    customer = Customer("customer-0")
    first = customer.deposit("t0")
    for store in (earlier, running):
        assert store.append([first]) == [Committed()]
    earlier.close()
    copy = follow(tmp_path / "checkout")
    numbers = str(len(sqlite_migrations()) + 1), str(len(postgresql_migrations()) + 1)
    done = subprocess.run(
        [sys.executable, "-c", FOLLOWED, sqlite, numbers[0], url, numbers[1]],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert running.append([customer.deposit("t3")]) == [Committed()]
    view = running.transaction("main", "t3")
    assert view is not None
    assert view.transaction == customer.account.transactions["t3"]
    assert empty.execute("SELECT channel FROM transactions WHERE transaction_id = 't3'") == [("web",)]
    running.close()


def test_a_field_without_a_column_stops_the_start(tmp_path: Path) -> None:
    """The first import reports a place that was left out, before the first row that lacks it."""
    for left_out, error in ((1, "no column is declared for the field channel"), (2, "has no fields ['channel']")):
        copy = follow(tmp_path / str(left_out), left_out)
        done = subprocess.run(
            [sys.executable, "-c", "import store.sqlite.rows"], cwd=copy, capture_output=True, text=True, check=False
        )
        assert error in done.stderr


def follow(copy: Path, left_out: int | None = None) -> Path:
    """Copy the code with the page's edits, except one of them: 0 migrations, 1 declaration, 2 field."""
    for room in ("domain", "store", "tests/store"):
        shutil.copytree(CHECKOUT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    sqlite, postgresql = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    declaration, field = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    if left_out != 0:
        for name, number, script in (
            ("sqlite", len(sqlite_migrations()) + 1, sqlite),
            ("postgresql", len(postgresql_migrations()) + 1, postgresql),
        ):
            (copy / f"store/{name}/migrations/{number:04}_channel.sql").write_text(script, encoding="utf-8")
    if left_out != 1:
        insert(
            copy / "store/columns.py",
            '_column("authorization_expires_at", Type.TIME, nullable=True, changes=True),',
            f"        {declaration.strip()},\n",
        )
    if left_out != 2:
        insert(copy / "domain/account.py", "    authorization_expires_at: datetime | None = None", field)
    return copy


def insert(file: Path, after: str, line: str) -> None:
    """Insert a line after the only one that ends with ``after``."""
    text = file.read_text(encoding="utf-8")
    assert text.count(f"{after}\n") == 1
    file.write_text(text.replace(f"{after}\n", f"{after}\n{line}"), encoding="utf-8")
