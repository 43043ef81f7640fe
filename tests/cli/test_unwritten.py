"""Standard output that takes nothing (a full disk, a closed stream): nobody is led to order the same a second time."""

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
    """What became of a command."""

    status: int
    err: str


Run = Callable[..., Ended]


def to_full(*arguments: str, **environ: str) -> Ended:
    """A command whose standard output is a disk without room."""
    with Path("/dev/full").open("w") as full:
        return _run([sys.executable, "manage.py", *arguments], full.fileno(), environ)


def to_nobody(*arguments: str, **environ: str) -> Ended:
    """A command whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return _run([sys.executable, "manage.py", *arguments], writing, environ)
    finally:
        os.close(writing)


def to_closed(*arguments: str, **environ: str) -> Ended:
    """A command without a standard output."""
    return _run(["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "manage.py", *arguments], None, environ)


def said(*arguments: str, **environ: str) -> str:
    """What a command says where all is well."""
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
    ("run", "reason"), [(to_full, FULL), (to_nobody, "standard output cannot be written: Broken pipe\n")]
)
def test_an_order_whose_answer_cannot_be_written_is_told_as_carried_out(run: Run, reason: str) -> None:
    """Status 3, as of every order that must not be repeated blindly, and a line that says that it was carried out."""
    with peer((201, CUSTOMER)) as service:
        ended = run(*ADJUST, PAYMENTS_URL=service.url)
    assert ended == (3, f"manage.py customers: the command was carried out, but {reason}")


def test_a_read_whose_answer_cannot_be_written_fails() -> None:
    """Status 1 and a line."""
    with peer(listing({"id": "r-1"})) as service:
        ended = to_full("reviews", "list", "--json", PAYMENTS_URL=service.url)
    assert ended == (1, f"manage.py reviews: {FULL}")


def test_a_read_whose_reader_has_had_enough_is_done() -> None:
    """As of a list that goes through head."""
    with peer(listing({"id": "r-1"})) as service:
        assert to_nobody("reviews", "list", "--json", PAYMENTS_URL=service.url) == (0, "")


def test_a_closed_output_is_found_before_anything_is_asked() -> None:
    """No order goes out whose answer nobody could see."""
    with peer((201, CUSTOMER)) as service:
        ended = to_closed(*ADJUST, PAYMENTS_URL=service.url)
    assert ended == (1, "manage.py customers: standard output is closed; nothing was done\n")
    assert service.asked == []


@pytest.mark.parametrize("run", [to_full, to_nobody])
def test_a_key_that_cannot_be_shown_is_revoked(run: Run, database: str) -> None:
    """No key lives on that nobody has seen."""
    ended = run("keys", "create", "--merchant", "main", "--scope", "operations", PAYMENTS_DATABASE_URL=database)
    assert ended.status == 1
    assert "is revoked again, because it could not be shown: standard output cannot be written" in ended.err
    listed = said("keys", "list", PAYMENTS_DATABASE_URL=database)
    assert [line.split()[3] for line in listed.splitlines()] == ["STATE", "revoked"]


def test_a_key_that_was_revoked_is_told_as_that(database: str) -> None:
    """It is gone, whatever becomes of the line that says so."""
    create = ("keys", "create", "--merchant", "main", "--scope", "operations")
    key_id = said(*create, PAYMENTS_DATABASE_URL=database)[4:17]
    ended = to_full("keys", "revoke", key_id, PAYMENTS_DATABASE_URL=database)
    assert ended == (3, f"manage.py keys: {key_id} is revoked, but {FULL}")


def test_a_verdict_that_cannot_be_written_is_none(database: str) -> None:
    """A sound store whose report nobody can read was not verified."""
    assert to_full("verify", PAYMENTS_DATABASE_URL=database) == (1, f"manage.py verify: {FULL}")


def test_a_verdict_keeps_its_status_when_its_reader_goes(database: str) -> None:
    """Whoever reads the first problem alone is not told that all is well."""
    assert to_nobody("verify", PAYMENTS_DATABASE_URL=database) == (0, "")
    tamper(Path(database.removeprefix("sqlite:///")), "UPDATE balances SET available_minor = 7")
    assert to_nobody("verify", PAYMENTS_DATABASE_URL=database) == (1, "")
