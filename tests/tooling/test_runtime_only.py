"""Clock, ids, randomness and threads come from the runtime alone: the simulation depends on it.

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
"""A provider is no part of the service."""

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
"""Nothing of these is used outside the runtime."""
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
"""Nor are these."""
HARMLESS: Final = frozenset({"concurrent.futures.CancelledError"})
"""An exception starts nothing."""

EXCEPTIONS: Final = {
    ("gateways/http.py", "concurrent.futures.ThreadPoolExecutor"): "names are looked up in C, beyond any deadline",
    ("gateways/http.py", "threading.BoundedSemaphore"): "the bound on a provider's connections",
    ("gateways/http.py", "time.monotonic"): "the default of the argument from which a call's deadline is measured",
    ("store/postgresql/work.py", "datetime.datetime.now"): "when an unreadable row was parked, for people only",
    ("store/postgresql/retrying_writer.py", "time.monotonic"): "how long a lost connection's end is waited for",
    (
        "store/sqlite/command_connections.py",
        "time.sleep",
    ): "in a command: a starting service has not made its log yet",
    ("store/sqlite/migrate.py", "time.sleep"): "before the service runs: another process migrates the same file",
    ("store/sqlite/write_connection.py", "threading.Lock"): "turns on the one connection that writes",
}
"""What is used outside the runtime nevertheless, by file, and why. None of it decides what becomes of a payment."""


def uses(source: str) -> set[str]:
    """What is used in ``source`` that only the runtime may use, by full names."""
    tree = ast.parse(source)
    names = dict(_imported(tree))
    found = {name for name in names.values() if name.endswith(".*")}
    parts = set()  # of longer names: "time" in "time.monotonic"
    for node in ast.walk(tree):  # from the outside to the inside
        if isinstance(node, ast.Attribute):
            parts.add(node.value)
        if node in parts:
            continue
        name = _full_name(node, names)
        if name is not None:
            found.add(name)
    # What is imported by its own name may be handed on without being named again.
    found.update(name for name in names.values() if "." in name)
    return {name for name in found if _is_forbidden(name)}


def _imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Names in a module, and the full names of what they stand for."""
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
    """The texts of the rooms' files, by their paths in the checkout; the simulator is left out."""
    paths = [path for room in ROOMS for path in sorted((CHECKOUT / room).rglob(pattern))]
    texts = {path.relative_to(CHECKOUT).as_posix(): path.read_text("utf-8") for path in paths}
    return {path: text for path, text in texts.items() if not path.startswith(SIMULATOR)}


def test_nothing_but_the_runtime_and_what_is_listed() -> None:
    """What is used outside the runtime is what the list gives a reason for: no more, and no less."""
    found = {(path, use) for path, text in sources("*.py").items() for use in uses(text)}
    outside = {(path, use) for path, use in found if not path.startswith(RUNTIME)}
    assert outside - EXCEPTIONS.keys() == set(), "ask the runtime for it, or say in the list why not"
    assert EXCEPTIONS.keys() - outside == set(), "this exception is not used any more"


def test_the_runtime_is_where_it_all_is() -> None:
    """The live runtime has clocks, chance and threads; the one under a seed only the chance that it is given."""
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
    """However a clock, chance or a thread is reached, it is found under its full name."""
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
def test_what_is_no_clock_is_let_through(source: str) -> None:
    """Names that only look alike, and what is asked of the runtime, are not found."""
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
