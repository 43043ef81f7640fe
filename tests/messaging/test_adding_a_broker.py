"""docs/adding-a-broker.md, followed: both contract suites run in a copy of the checkout."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from messaging.brokers import BROKERS, broker_of
from messaging.port import BrokerUnavailableError, Published, Refused
from tests.messaging.builders import message
from tests.processes.process import PATIENCE_S, Process, free_port, wait_until
from tests.tooling.checkout import CHECKOUT

PAGE: Final = (CHECKOUT / "docs/adding-a-broker.md").read_text("utf-8")
ADAPTER: Final = "messaging/redis_streams.py"
SERVER: Final = "tests/messaging/redis_server.py"
SUITES: Final = sorted(CHECKOUT.glob("tests/messaging/test_contract_*.py"))
COMMAND: Final = ("pytest", "tests/messaging", "-k", "contract and redis")
URL: Final = os.environ.get("PAYMENTS_TEST_REDIS_URL", "redis://127.0.0.1:6379")
IMPORT: Final = "from tests.messaging.redis_server import RedisServer"


def block(place: str) -> str:
    """The first code block of the page after ``place``."""
    found = re.search(r"```python\n(.*?)```", PAGE[PAGE.index(place) :], re.DOTALL)
    assert found is not None
    return found[1]


def test_the_page_has_exactly_the_steps_of_these_tests() -> None:
    """Every code block of the page is one that the tests below run."""
    assert re.findall(r"^(?:`(\S+)`|In `(\S+)` of `(\S+)`):\n\n```python$", PAGE, re.MULTILINE) == [
        (ADAPTER, "", ""),
        ("", "BROKERS", "messaging/brokers.py"),
        (SERVER, "", ""),
    ]
    assert PAGE.endswith(f'\n```\n{" ".join(COMMAND[:3])} "{COMMAND[3]}"\n```\n')
    assert PAGE.count("```") == 2 * 4
    for table, file in (("BROKERS", "brokers.py"), ("BROKER_NETWORKS", "conftest.py")):
        assert f"`{table}` of `tests/messaging/{file}`" in PAGE


# --- the contract suites ---


def entered(text: str, table: str, entry: str) -> str:
    """``text`` with one more entry in a table that is written as a dictionary."""
    added, times = re.subn(rf"^({table}: .*= \{{[^}}]*?),?\n?\}}", rf"\1, {entry}}}", text, flags=re.MULTILINE)
    assert times == 1, table
    return added


@pytest.fixture(scope="module")
def extended_checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout in which all steps of the page were taken."""
    copy = tmp_path_factory.mktemp("checkout")
    ignore = shutil.ignore_patterns("__pycache__")
    rooms = [file.parent for file in CHECKOUT.glob("*/__init__.py")]
    for folder in {*rooms, *(CHECKOUT / name for name in ("bench", "deploy", "docs"))}:
        shutil.copytree(folder, copy / folder.name, ignore=ignore)
    for file in (*CHECKOUT.glob("*.py"), CHECKOUT / "setup.cfg", CHECKOUT / "pyproject.toml"):
        shutil.copy(file, copy)
    (copy / ADAPTER).write_text(block(f"`{ADAPTER}`:"), "utf-8")
    (copy / SERVER).write_text(block(f"`{SERVER}`:"), "utf-8")
    for name, table, entry in (
        ("messaging/brokers.py", "BROKERS", block("In `BROKERS`").strip().rstrip(",")),
        ("tests/messaging/brokers.py", "BROKERS", '"redis": RedisServer'),
        ("tests/messaging/conftest.py", "BROKER_NETWORKS", '"redis": RedisServer'),
    ):
        text = entered((copy / name).read_text("utf-8"), table, entry)
        if name.startswith("tests"):
            text = text.replace("import pytest\n", f"import pytest\n{IMPORT}\n", 1)
        (copy / name).write_text(text, "utf-8")
    run(copy, "ruff", "check", "--no-cache", "--quiet", "--fix", "--select", "I", "messaging", "tests/messaging")
    run(copy, "ruff", "format", "--no-cache", "--quiet", "messaging/brokers.py", "tests/messaging/brokers.py")
    return copy


def run(checkout: Path, *arguments: str) -> str:
    """Run a Python module in the copy; return its output."""
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=PATIENCE_S * 3, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_new_broker_passes_the_contract_suites(extended_checkout: Path) -> None:
    """The command of the page runs both suites on the new adapter. Every case passes, and none is skipped."""
    server = urlsplit(URL)
    try:
        socket.create_connection((server.hostname or "localhost", server.port or 6379), 5).close()
    except OSError as error:
        pytest.skip(f"no Redis at {URL}: {error}")
    output = run(extended_checkout, *COMMAND, "-q", "-p", "no:cacheprovider")
    found = re.search(r"^(\d+) passed, \d+ deselected", output, re.MULTILINE)
    assert found is not None, output
    assert int(found[1]) == sum(suite.read_text("utf-8").count("\ndef test_") for suite in SUITES)
    assert "skipped" not in output


def test_the_code_of_the_page_passes_make_check(extended_checkout: Path) -> None:
    """The page's code passes formatter, linter and type checker as it is."""
    run(extended_checkout, "ruff", "format", "--no-cache", "--check", ADAPTER, SERVER)
    run(extended_checkout, "ruff", "check", "--no-cache", ADAPTER, SERVER)
    run(
        extended_checkout,
        "mypy",
        ADAPTER,
        SERVER,
        "messaging/brokers.py",
        "tests/messaging/brokers.py",
        "tests/messaging/conftest.py",
    )


# --- what only this broker has ---


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The adapter of the page, registered as it describes."""
    ((scheme, name),) = re.findall(r'^    "(\w+)": "(\S+)",$', block("In `BROKERS`"), re.MULTILINE)
    module = types.ModuleType(name)
    exec(compile(block(f"`{ADAPTER}`:"), "docs/adding-a-broker.md", "exec"), vars(module))  # noqa: S102
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(BROKERS, scheme, name)
    return module


@pytest.fixture
def small_server(tmp_path: Path) -> Iterator[str]:
    """The URL of a Redis server that has no memory left."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is missing")
    port = free_port()
    settings = {"port": str(port), "bind": "127.0.0.1", "save": "", "maxmemory": "1", "dir": str(tmp_path)}
    command = [program, *(word for name, value in settings.items() for word in (f"--{name}", value))]
    server = Process("redis", command, cwd=tmp_path, environ=os.environ, folder=tmp_path)
    try:
        wait_until(lambda: answers(port), "Redis answers")
        yield f"redis://127.0.0.1:{port}"
    finally:
        server.end()


def answers(port: int) -> bool:
    """Whether a connection is accepted."""
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_server_without_memory_refuses(adapter: Any, small_server: str) -> None:
    """The refusal names the message and the reason of the server."""
    publisher = broker_of(small_server).publisher(small_server, structured=False)
    published = publisher.publish([message(7)])
    publisher.close()
    assert isinstance(publisher, adapter.RedisPublisher)
    assert published.confirmed == 0
    assert published.refused is not None
    assert published.refused.position == 7
    assert published.refused.reason.startswith("OOM ")


def test_a_server_that_does_not_answer(adapter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait for replies ends, and the next call connects again."""
    monkeypatch.setattr(adapter, "REPLY_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        publisher = adapter.publisher(f"redis://127.0.0.1:{silent.getsockname()[1]}", structured=False)
        for _ in range(2):
            with pytest.raises(BrokerUnavailableError):
                publisher.publish([message(1)])
            silent.accept()[0].close()


@pytest.mark.parametrize(
    ("reply", "refuses"),
    [(b"-WRONGTYPE it has another type", True), (b"-LOADING it starts", False), (b"-READONLY a replica", False)],
)
def test_only_errors_about_a_message_are_refusals(adapter: Any, reply: bytes, *, refuses: bool) -> None:
    """A server that cannot be used now is not a refusal."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as client:
                client.recv(65_536)
                client.sendall(reply + b"\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        publisher = adapter.publisher(f"redis://127.0.0.1:{server.getsockname()[1]}", structured=False)
        if refuses:
            assert publisher.publish([message(1)]) == Published(0, Refused(1, reply[1:].decode()))
        else:
            with pytest.raises(BrokerUnavailableError):
                publisher.publish([message(1)])
        publisher.close()
        thread.join()


@pytest.mark.parametrize("function", ["publisher", "work_queue"])
def test_a_url_with_a_path(adapter: Any, function: str) -> None:
    """It is refused without showing it: the adapter would ignore the path."""
    options = {"structured": False} if function == "publisher" else {}
    with pytest.raises(ValueError, match=r"neither a path nor a query$"):
        getattr(adapter, function)("redis://:hunter2@host/3", **options)
