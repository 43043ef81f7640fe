"""Standard output that cannot be written (a full disk, a closed stream): no operator is led to repeat a command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from config.settings import CHECKOUT
from tests.cli.peer import listing, peer
from tests.store.tampering import fill, tamper

WHY = ("--reason", "paid in cash", "--evidence", "ticket 4711")
ADJUST = ("customers", "adjust", "12345", "10", "USD", *WHY, "--idempotency-key", "k-1")
CUSTOMER = {"customer_id": "12345", "version": 3, "balances": []}
FULL = "standard output cannot be written: No space left on device\n"


class Ended(NamedTuple):
    """Exit status and standard error of a command."""

    status: int
    err: str


Run = Callable[..., Ended]


def to_full(*arguments: str, **environ: str) -> Ended:
    """Run a command whose standard output is a full disk."""
    with Path("/dev/full").open("w") as full:
        return _run([sys.executable, "manage.py", *arguments], full.fileno(), environ)


def to_closed_pipe(*arguments: str, **environ: str) -> Ended:
    """Run a command whose standard output is a pipe without a reader."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return _run([sys.executable, "manage.py", *arguments], writing, environ)
    finally:
        os.close(writing)


def to_closed(*arguments: str, **environ: str) -> Ended:
    """Run a command without a standard output."""
    return _run(["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "manage.py", *arguments], None, environ)


def output_of(*arguments: str, **environ: str) -> str:
    """Run a command, and return its standard output."""
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.check_output(
        command, cwd=CHECKOUT, env={**os.environ, **environ}, stderr=subprocess.DEVNULL, text=True, timeout=60
    )


def _run(command: Sequence[str], stdout: int | None, environ: dict[str, str]) -> Ended:
    ended = subprocess.run(
        command, cwd=CHECKOUT, env={**os.environ, **environ}, stdout=stdout, stderr=subprocess.PIPE, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    return Ended(ended.returncode, ended.stderr)


@pytest.fixture
def database(tmp_path: Path) -> str:
    """The URL of a database with two customers."""
    fill(tmp_path / "payments.db")
    return f"sqlite:///{tmp_path / 'payments.db'}"


@pytest.mark.parametrize(
    ("run", "reason"), [(to_full, FULL), (to_closed_pipe, "standard output cannot be written: Broken pipe\n")]
)
def test_a_command_whose_answer_cannot_be_written_is_reported_as_carried_out(run: Run, reason: str) -> None:
    """The status is 3, as for every command that must not simply be repeated; the line reports the success."""
    with peer((201, CUSTOMER)) as service:
        ended = run(*ADJUST, PAYMENTS_URL=service.url)
    assert ended == (3, f"manage.py customers: the command was carried out, but {reason}")


def test_a_read_whose_answer_cannot_be_written_fails() -> None:
    """A read whose answer cannot be written has status 1 and one line."""
    with peer(listing({"id": "r-1"})) as service:
        ended = to_full("reviews", "list", "--json", PAYMENTS_URL=service.url)
    assert ended == (1, f"manage.py reviews: {FULL}")


def test_a_read_whose_reader_stops_early_succeeds() -> None:
    """A reader that stops early, such as ``head``, is no error."""
    with peer(listing({"id": "r-1"})) as service:
        assert to_closed_pipe("reviews", "list", "--json", PAYMENTS_URL=service.url) == (0, "")


def test_a_closed_output_is_detected_before_anything_is_sent() -> None:
    """Without a standard output no command is sent, because its answer could not be shown."""
    with peer((201, CUSTOMER)) as service:
        ended = to_closed(*ADJUST, PAYMENTS_URL=service.url)
    assert ended == (1, "manage.py customers: standard output is closed; nothing was done\n")
    assert service.requests == []


@pytest.mark.parametrize("run", [to_full, to_closed_pipe])
def test_a_key_that_cannot_be_shown_is_revoked(run: Run, database: str) -> None:
    """``keys create`` revokes a key that could not be shown."""
    ended = run("keys", "create", "--merchant", "main", "--scope", "operations", PAYMENTS_DATABASE_URL=database)
    assert ended.status == 1
    assert "is revoked, because it could not be shown: standard output cannot be written" in ended.err
    listed = output_of("keys", "list", PAYMENTS_DATABASE_URL=database)
    assert [line.split()[3] for line in listed.splitlines()] == ["STATE", "revoked"]


def test_a_revoked_key_is_reported_without_standard_output(database: str) -> None:
    """The key is revoked, and standard error reports it although standard output cannot be written."""
    create = ("keys", "create", "--merchant", "main", "--scope", "operations")
    key_id = output_of(*create, PAYMENTS_DATABASE_URL=database)[4:17]
    ended = to_full("keys", "revoke", key_id, PAYMENTS_DATABASE_URL=database)
    assert ended == (3, f"manage.py keys: {key_id} is revoked, but {FULL}")


def test_verify_fails_when_its_result_cannot_be_written(database: str) -> None:
    """A store does not count as verified if the result could not be written."""
    assert to_full("verify", PAYMENTS_DATABASE_URL=database) == (1, f"manage.py verify: {FULL}")


def test_verify_keeps_its_status_when_its_reader_stops_early(database: str) -> None:
    """If the reader closes the pipe, the status still reports problems."""
    assert to_closed_pipe("verify", PAYMENTS_DATABASE_URL=database) == (0, "")
    tamper(Path(database.removeprefix("sqlite:///")), "UPDATE balances SET available_minor = 7")
    assert to_closed_pipe("verify", PAYMENTS_DATABASE_URL=database) == (1, "")
