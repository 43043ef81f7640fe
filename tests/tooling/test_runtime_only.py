"""Clock, ids, randomness and threads come only from the runtime, because the simulation depends on it.

The code is parsed, not run: every name is resolved to its import.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

import pytest

from tests.tooling.checkout import CHECKOUT

ROOMS: Final = ("actors", "domain", "store", "gateways")
RUNTIME: Final = "actors/runtime/"
SIMULATOR: Final = "gateways/simulator/"
"""The simulator stands for a provider, so it is not part of the service."""

MODULES: Final = (
    "_thread",
    "asyncio",
    "concurrent.futures",
    "gevent",
    "multiprocessing",
    "random",
    "sched",
    "secrets",
    "signal",
    "threading",
    "time",
    "uuid",
)
"""Modules that only the runtime may use."""
MEMBERS: Final = frozenset(
    {
        "datetime.date.today",
        "datetime.datetime.now",
        "datetime.datetime.today",
        "datetime.datetime.utcnow",
        "os.getrandom",
        "os.urandom",
    }
)
"""Members of other modules that only the runtime may use."""
HARMLESS: Final = frozenset({"concurrent.futures.CancelledError"})
"""Names in these modules that are allowed: an exception starts nothing."""

EXCEPTIONS: Final = {
    (
        "gateways/http/addresses.py",
        "concurrent.futures.ThreadPoolExecutor",
    ): "host names are resolved in C, which no deadline interrupts",
    ("gateways/http/client.py", "time.monotonic"): "the default of the argument from which deadlines are measured",
    (
        "gateways/http/connection.py",
        "gevent.monkey.get_original",
    ): "the system's poll looks at an idle connection and waits for nothing",
    ("gateways/http/deadlines.py", "threading.Lock"): "a deadline that ends a call never meets the next call",
    ("gateways/http/deadlines.py", "threading.Thread"): "the sweep that ends overdue calls",
    ("gateways/http/deadlines.py", "time.sleep"): "the sweep waits until the next call is due",
    ("gateways/http/pool.py", "threading.Condition"): "the bound on a provider's connections",
    (
        "store/postgresql/work.py",
        "datetime.datetime.now",
    ): "the time at which an unreadable row was parked, for operators only",
    ("store/postgresql/retrying_writer.py", "time.monotonic"): "the time limit for the end of a lost connection",
    (
        "store/sqlite/command_connections.py",
        "time.sleep",
    ): "in a command: waits until a starting service has created its log",
    (
        "store/sqlite/migrate.py",
        "time.sleep",
    ): "before the service runs: waits while another process migrates the same file",
    ("store/relay_health.py", "uuid.UUID"): "reads the time in the id of an event, and makes no id",
    ("store/sqlite/write_connection.py", "threading.Lock"): "serialises the use of the one connection that writes",
}
"""Permitted uses outside the runtime, by file, with the reason. None of them decides the outcome of a payment."""


def uses(source: str) -> set[str]:
    """Full names in ``source`` that only the runtime may use."""
    tree = ast.parse(source)
    names = dict(_imported(tree))
    found = {name for name in names.values() if name.endswith(".*")}
    parts = set()  # parts of longer names: "time" in "time.monotonic"
    for node in ast.walk(tree):  # outer nodes first
        if isinstance(node, ast.Attribute):
            parts.add(node.value)
        if node in parts:
            continue
        name = _full_name(node, names)
        if name is not None:
            found.add(name)
    # A name that is imported directly may be passed on without another use of the name.
    found.update(name for name in names.values() if "." in name)
    return {name for name in found if _is_forbidden(name)}


def _imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Imported names of a module, with their full names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (alias.asname, alias.name) if alias.asname else (alias.name.partition(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _full_name(node: ast.AST, names: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        before = _full_name(node.value, names)
        return None if before is None else f"{before}.{node.attr}"
    return None


def _is_forbidden(name: str) -> bool:
    if name in HARMLESS:
        return False
    return name in MEMBERS or any(name == module or name.startswith(f"{module}.") for module in MODULES)


def sources(pattern: str) -> dict[str, str]:
    """The texts of the packages' files, by their paths in the checkout, without the simulator."""
    paths = [path for room in ROOMS for path in sorted((CHECKOUT / room).rglob(pattern))]
    texts = {path.relative_to(CHECKOUT).as_posix(): path.read_text("utf-8") for path in paths}
    return {path: text for path, text in texts.items() if not path.startswith(SIMULATOR)}


def test_nothing_but_the_runtime_and_what_is_listed() -> None:
    """The uses outside the runtime are exactly the listed exceptions."""
    found = {(path, use) for path, text in sources("*.py").items() for use in uses(text)}
    outside = {(path, use) for path, use in found if not path.startswith(RUNTIME)}
    assert outside - EXCEPTIONS.keys() == set(), "use the runtime for it, or add the reason to the list"
    assert EXCEPTIONS.keys() - outside == set(), "this exception is no longer used"


def test_only_the_live_runtime_has_clocks_and_threads() -> None:
    """The live runtime uses clocks, randomness and threads; the simulated one only the randomness that it is given."""
    texts = sources("*.py")
    live = uses(texts[f"{RUNTIME}runtime.py"])
    assert live >= {"datetime.datetime.now", "os.urandom", "random.Random", "threading.Thread", "time.monotonic"}
    assert uses(texts[f"{RUNTIME}simulated.py"]) == {"random.Random"}


@pytest.mark.parametrize(
    ("source", "use"),
    [
        ("import time\nat = time.time()", "time.time"),
        ("import time as t\nt.sleep(1)", "time.sleep"),
        ("from time import monotonic\nmonotonic()", "time.monotonic"),
        ("from time import monotonic as now\nclock = now", "time.monotonic"),
        ("import time\ndef wait(sleep=time.sleep): ...", "time.sleep"),
        ("import time\nclock = time", "time"),
        ("from time import *", "time.*"),
        ("def late():\n    import time\n    return time.time_ns()", "time.time_ns"),
        ("from datetime import UTC, datetime\ndatetime.now(UTC)", "datetime.datetime.now"),
        ("import datetime\ndatetime.datetime.utcnow()", "datetime.datetime.utcnow"),
        ("import datetime as dt\ndt.date.today()", "datetime.date.today"),
        ("from datetime import datetime as moment\nmoment.today()", "datetime.datetime.today"),
        ("import random\nrandom.Random().random()", "random.Random"),
        ("from uuid import uuid4", "uuid.uuid4"),
        ("import secrets\nsecrets.token_hex()", "secrets.token_hex"),
        ("import os\nos.urandom(10)", "os.urandom"),
        ("from os import urandom", "os.urandom"),
        ("import threading\nthreading.Timer(1, print).start()", "threading.Timer"),
        ("from concurrent.futures import ThreadPoolExecutor", "concurrent.futures.ThreadPoolExecutor"),
        ("import concurrent.futures\nconcurrent.futures.ThreadPoolExecutor()", "concurrent.futures.ThreadPoolExecutor"),
        ("import gevent\ngevent.spawn(print)", "gevent.spawn"),
    ],
)
def test_every_way_to_it_is_found(source: str, use: str) -> None:
    """Every way to use a clock, randomness or a thread is found under its full name."""
    assert uses(source) == {use}


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import UTC, datetime\ndatetime.fromtimestamp(at, UTC)",
        "import os\nos.getpid()",
        "from concurrent.futures import CancelledError",
        "self.runtime.monotonic()\nself.runtime.random()\nruntime.now()",
        "from actors.runtime.runtime import uuid7",
        "from threadings import Lock\nLock()",
        '"time.time()"',
    ],
)
def test_other_names_are_accepted(source: str) -> None:
    """Names that are only similar, and uses of the runtime, are not reported."""
    assert uses(source) == set()


def test_sql_has_neither_chance_nor_a_clock_of_its_own() -> None:
    """SQLite gets the time as an argument. All processes share PostgreSQL's clock. Neither store uses randomness."""
    chance = re.compile(r"\b(random|randomblob|gen_random_uuid|uuidv[47]|uuid_generate_v\w+)\s*\(", re.IGNORECASE)
    clock = re.compile(r"'now'|\b(current_timestamp|current_time|current_date|unixepoch)\b", re.IGNORECASE)
    texts = sources("*.sql")
    assert {path for path, text in texts.items() if chance.search(text)} == set()
    sqlite = {path: text for path, text in texts.items() if path.startswith("store/sqlite/")}
    assert sqlite
    assert {path for path, text in sqlite.items() if clock.search(text)} == set()
